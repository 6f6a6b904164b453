"""What an assistant's benchmark keeps between runs: embeddings and fitted heads, by the digest of what made them.

Each is what `recipe assistant` computes, in its order; a second run on the same questions reads it again, so that a run
that was cut off goes on. The CPU seconds of the first time are kept beside it.
"""

from __future__ import annotations

import hashlib
import json
import resource
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from fraud_features import cache_folder
from safetensors.numpy import load_file, save_file

from deepseek.automl.assistant.fit import HeldHeads, hold_heads
from deepseek.automl.assistant.held import HeldHead
from deepseek.automl.assistant.options import AssistantOptions
from deepseek.automl.assistant.questions import KnownQuestions
from deepseek.automl.assistant.tune import TunedEncoders, TuneOptions, tune_encoder
from deepseek.contracts import Arrays, Float32
from deepseek.engines.assistant.heads import CosineHead, KernelHead, TermHead
from deepseek.engines.assistant.model import Encoder
from deepseek.engines.assistant.terms import TermWeights
from deepseek.engines.text.serve.embedding import FolderEncoder

TUNING_VERSION, HEADS_VERSION = 1, 1  # of the code that tunes, and of the code that fits heads
MANY_TEXTS = 64  # that are embedded at once: their embeddings are kept
PART_TEXTS = 2_000  # that are embedded before they are written


class KeptEncoder:
    """An encoder whose embeddings of many texts are kept on the disk, text by text."""

    def __init__(self, encoder: FolderEncoder) -> None:
        self._encoder = encoder
        self._path = kept_path("embeddings", [encoder.name]).with_suffix(".npz")
        self._vectors: dict[str, Float32] = {}
        if self._path.exists():
            with np.load(self._path) as kept:
                self._vectors = dict(zip(kept["digests"].tolist(), kept["vectors"], strict=True))

    def embed(self, texts: Sequence[str]) -> Float32:
        """As the encoder does."""
        if len(texts) < MANY_TEXTS:
            return self._encoder.embed(texts)
        digests = [hashlib.sha256(text.encode()).hexdigest()[:24] for text in texts]
        new = [place for place, digest in enumerate(digests) if digest not in self._vectors]
        new.sort(key=lambda place: len(texts[place]))  # long ones together: less is padding
        for start in range(0, len(new), PART_TEXTS):
            part = new[start : start + PART_TEXTS]
            vectors = self._encoder.embed([texts[place] for place in part])
            self._vectors |= zip([digests[place] for place in part], vectors, strict=True)
            np.savez(self._path, digests=list(self._vectors), vectors=np.stack(list(self._vectors.values())))
        return np.stack([self._vectors[digest] for digest in digests])


def kept_heads(
    known: KnownQuestions, encoders: Mapping[str, Encoder], options: AssistantOptions
) -> tuple[HeldHeads, float]:
    """hold_heads(), and the CPU seconds that it took when it was done."""
    folder = kept_path(
        "heads",
        [
            HEADS_VERSION,
            list(encoders),
            options.num_folds,
            options.seed,
            known.questions,
            known.intents,
        ],
    )
    facts = folder / "facts.json"
    if not facts.exists():
        start_s = cpu_seconds()
        held = hold_heads(known, encoders, options)
        _write_heads(held, folder)
        facts.write_text(json.dumps({"cpu_s": cpu_seconds() - start_s}) + "\n")
    return _read_heads(folder, list(encoders)), float(json.loads(facts.read_text())["cpu_s"])


def _write_heads(held: HeldHeads, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    arrays: Arrays = {"labels": held.labels, "idf": held.terms.idf}
    arrays |= {f"group.{place:02d}": rows for place, rows in enumerate(held.groups)}
    for name, each in held.heads.items():
        if isinstance(each.head, TermHead):
            arrays |= {"terms.weights": each.head.weights, "terms.bias": each.head.bias}
        else:
            arrays |= {
                f"{name}.bank": each.head.bank, f"{name}.dual": each.head.dual, f"{name}.intents": each.head.intents,
                f"{name}.gamma": np.array([each.head.gamma]),
            }  # fmt: skip
        for part, scores in (("inside", each.inside), ("hidden", each.hidden)):
            arrays |= {f"{name}.{part}.{place}": values for place, values in enumerate(scores)}
    save_file({name: np.ascontiguousarray(values) for name, values in arrays.items()}, folder / "heads.safetensors")
    (folder / "terms.json").write_text(json.dumps(held.terms.terms))


def _read_heads(folder: Path, encoders: Sequence[str]) -> HeldHeads:
    arrays = load_file(folder / "heads.safetensors")
    heads: dict[str, HeldHead] = {}
    for name in ("", *encoders):
        head = TermHead(arrays["terms.weights"], arrays["terms.bias"]) if not name else KernelHead(
            arrays[f"{name}.bank"], arrays[f"{name}.dual"], arrays[f"{name}.intents"], float(arrays[f"{name}.gamma"][0])
        )  # fmt: skip
        inside, hidden = (
            tuple(arrays[f"{name}.{part}.{place}"] for place in range(2 if name else 1))
            for part in ("inside", "hidden")
        )
        heads[name] = HeldHead(head, inside, hidden)
    terms = TermWeights(tuple(json.loads((folder / "terms.json").read_text())), arrays["idf"])
    groups = [arrays[name] for name in sorted(arrays) if name.startswith("group.")]
    return HeldHeads(arrays["labels"], groups, terms, heads)


def kept_tuning(known: KnownQuestions, encoder: Path) -> tuple[TunedEncoders, float]:
    """Encoders that were tuned on these questions, and the CPU seconds that this took."""
    choices = TuneOptions()
    folder = kept_path("tuned", [TUNING_VERSION, asdict(choices), encoder.name, known.questions, known.intents])
    facts = folder / "tuned.json"
    if not facts.exists():
        start_s = cpu_seconds()
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        labels = np.unique(np.array(known.intents), return_inverse=True)[1].astype(np.int64)
        tuned = tune_encoder(encoder, known.questions, labels, len(known.names), choices, folder, print)
        arrays = {f"head.{each}": head.directions for each, head in tuned.heads.items()}
        save_file({**arrays, "held": tuned.held}, folder / "heads.safetensors")
        facts.write_text(json.dumps({"cpu_s": cpu_seconds() - start_s}) + "\n")
    arrays = load_file(folder / "heads.safetensors")
    names = sorted(each.removeprefix("head.") for each in arrays if each.startswith("head."))
    folders = {each: folder / each for each in names}
    heads = {each: CosineHead(arrays[f"head.{each}"]) for each in names}
    encoders: dict[str, Encoder] = {each: KeptEncoder(FolderEncoder(path)) for each, path in folders.items()}
    return TunedEncoders(encoders, folders, heads, arrays["held"]), float(json.loads(facts.read_text())["cpu_s"])


def kept_path(kind: str, made_of: object) -> Path:
    """Where something is kept, by what it is made of."""
    digest = hashlib.sha256(json.dumps(made_of, ensure_ascii=False).encode()).hexdigest()[:16]
    return cache_folder("benchmarks") / f"assistant-{kind}-{digest}"


def cpu_seconds() -> float:
    """Of this process, all of its threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
