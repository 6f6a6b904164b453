"""A fitted assistant as a bundle: settings, terms and heads, encoders as they lay in their folders, evidence."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import numpy as np

from deepseek.automl import evidence
from deepseek.automl.assistant.fit import FittedAssistant
from deepseek.automl.assistant.measure import AssistantFigures, share_figure
from deepseek.automl.assistant.options import AssistantOptions
from deepseek.automl.assistant.questions import KnownQuestions
from deepseek.bundle import Bundle, Input, Lineage, Manifest, Output, now, write_bundle
from deepseek.contracts import JsonObject
from deepseek.dialogue.definition import DIALOGUE_FILE, read_dialogue
from deepseek.engines.assistant.runtime import HEADS_FILE, SETTINGS_FILE, TASK, TERMS_FILE

PACKAGES = ("deepseek", "numpy", "scikit-learn")
#: Of an encoder's folder, what is kept: what engines/text reads, and no code.
ENCODER_SUFFIXES = frozenset({".json", ".safetensors", ".txt"})


def pack(
    fitted: FittedAssistant, known: KnownQuestions, folders: Mapping[str, Path], options: AssistantOptions,
    test: AssistantFigures | None = None,
) -> Bundle:  # fmt: skip
    """Write the bundle to options.out. `folders`: of the encoders, by name; `test`: figures on rows that were kept for
    nothing else."""
    from safetensors.numpy import save

    model = fitted.model
    arrays = {name: np.ascontiguousarray(values) for name, values in model.arrays().items()}
    files = {
        SETTINGS_FILE: _json(model.settings()), TERMS_FILE: _json(list(model.terms.terms)), HEADS_FILE: save(arrays),
        "evidence/metrics.json": _json(held_metrics(fitted, test)),
        "evidence/environment.json": _json(evidence.environment(options.command)),
    }  # fmt: skip
    if options.dialogue is not None:
        read_dialogue(options.dialogue, model.intents)
        files[DIALOGUE_FILE] = options.dialogue.read_bytes()
    for encoder in model.encoders:
        files |= {f"{encoder.folder}/{name}": data for name, data in _folder_files(folders[encoder.name]).items()}
    manifest = Manifest(
        name=options.name or options.out.resolve().name, version="1", created=now(), task=TASK, target="intent",
        inputs=(Input("question", "text", "str"),),
        outputs=(
            Output("prediction", "str"), Output("probability", "float64"), Output("second", "str"),
            Output("third", "str"), Output("in_scope", "float64"), Output("decision", "str"),
        ),
        labels=model.intents,
        lineage=Lineage(
            data=_digest(known), seed=options.seed, versions={name: version(name) for name in PACKAGES},
            config={
                "recipe": "assistant", "precision": options.precision, "confidence": options.confidence,
                "keep": options.keep, "tune": options.tune, "encoders": [each.name for each in model.encoders],
                "num_questions": len(known.questions), "num_out_of_scope": len(known.out_of_scope),
                "num_pairs": [] if fitted.pairs is None else list(fitted.pairs.num_learned),
            },
        ),
    )  # fmt: skip
    return write_bundle(options.out, manifest, files, overwrite=options.overwrite, key=options.key)


def held_metrics(fitted: FittedAssistant, test: AssistantFigures | None) -> JsonObject:
    """evidence/metrics.json: figures of held folds, the promise, and figures of test rows where there are any."""
    held = fitted.held
    num_rows = len(held.labels)
    metrics = {
        "accuracy": share_figure(int(held.is_right.sum()), num_rows),
        "top_3": share_figure(int(held.is_near.sum()), num_rows),
    } if num_rows else {}  # fmt: skip
    return {
        "rows": fitted.rows, "num_rows": num_rows, "metrics": metrics, "baseline": {},
        "answer_bound": None if fitted.answer_bound is None else fitted.answer_bound.to_dict(),
        "scope_threshold": fitted.model.thresholds.scope, "warnings": list(fitted.warnings),
        "test": None if test is None else test.to_dict(),
        "pairs": None if fitted.pairs is None else fitted.pairs.to_dict(),
    }  # fmt: skip


def _folder_files(folder: Path) -> dict[str, bytes]:
    """The files of an encoder's folder by name, without hidden ones."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix in ENCODER_SUFFIXES and not path.name.startswith(".")
    }


def _json(document: object) -> bytes:
    return (json.dumps(document, ensure_ascii=False, indent=1) + "\n").encode()


def _digest(known: KnownQuestions) -> str:
    """Of everything that was learned."""
    content = [known.questions, known.intents, known.out_of_scope, known.answers]
    return hashlib.sha256(json.dumps(content, ensure_ascii=False, sort_keys=True).encode()).hexdigest()
