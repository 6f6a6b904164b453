"""A student of a ninth of its teacher on a real text task, against the same student without a teacher.

    python benchmarks/compression_distill.py [--quick] [--only CLAIM]

Teacher: MiniLM fine-tuned once on banking77 (text_tasks.py), for eight passes: .9202 of the validation rows, .8964
after three, and a weak teacher is easy to follow. Student: what `deepseek compress --methods distill` makes of it with
the training rows: one layer, fewer neurons and pieces of words, begun as a copy of its teacher's, taught by the
teacher's answers to the rows, to what customers of banks ask in clinc150 (its training part, without its labels) and to
texts made of both, and by the labels of the rows. Without a teacher: a BERT of the same
shape and tokenizer with random weights, trained on the labels of all rows for as many steps.

Five seeds set what texts are made up, their order, dropout and random weights; rates and recipe of both were chosen on
validation rows with another seed. Test rows are scored once, by the engine that serves the folders, each with its own
tokenizer; so was the teacher.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch
from fraud_features import cache_folder, data_folder
from result import ROOT, claim, finish, options
from text_tasks import RECIPES, Rows, load_classifier, load_task, teacher

from deepseek.compress import DistillConfig, distill
from deepseek.compress.distilling.cls_only import ClsOnlyClassifier
from deepseek.compress.distilling.config import UNLABELED
from deepseek.compress.distilling.text_student import (
    Student,
    StudentRecipe,
    build_student,
    distill_folder,
    write_student,
)
from deepseek.compress.distilling.texts import TextBatches
from deepseek.engines.text import TextEngine, TextModel

NAME, TASK, SEEDS = "compression_distill", "banking77", (0, 1, 2, 3, 4)
CLAIMS = ("size", "lost", "gain")
RECIPE = StudentRecipe(epochs=24)
UNLABELLED = ("banking", "credit_cards")  # domains of clinc150
TEACHER = replace(RECIPES[TASK], epochs=8)
LABEL_RATE, LABEL_DROPOUT = 5e-4, 0.1  # without a teacher
BATCH = 32


def master_folder() -> Path:
    """Of the teacher."""
    return teacher(TASK, recipe=TEACHER)


def right(folder: Path, rows: Rows) -> float:
    """Share of the texts whose class a folder finds, by the engine that serves it."""
    model, engine = TextModel.open(folder), TextEngine.open(folder)
    tokens = list(model.prepare(rows.texts))
    order = sorted(range(len(tokens)), key=lambda row: len(tokens[row]))
    num_right = 0
    for start in range(0, len(order), BATCH):
        chosen = order[start : start + BATCH]
        logits = engine.run(model.join([tokens[row] for row in chosen]))["logits"]
        num_right += int((logits.argmax(1) == np.array([rows.labels[row] for row in chosen])).sum())
    engine.close()
    return num_right / len(order)


def taught(out: Path, seed: int) -> None:
    """The student, by its teacher's answers."""
    rows, more = load_task(TASK).train, unlabelled()
    labels = [*rows.labels, *[UNLABELED] * len(more)]
    distill_folder(master_folder(), [*rows.texts, *more], labels, out, RECIPE, seed=seed, progress=False)


@cache
def unlabelled() -> tuple[str, ...]:
    """Training texts of clinc150 in the domains of banks."""
    import pyarrow.parquet as pq

    folder = data_folder() / "clinc150"
    domains = json.loads((folder / "domains.json").read_text("utf-8"))
    table = pq.read_table(folder / "clinc150_full.parquet").to_pydict()
    wanted = {intent for domain in UNLABELLED for intent in domains[domain]}
    each = zip(table["text"], table["split"], table["intent"], strict=True)
    return tuple(text for text, split, intent in each if split == "train" and intent in wanted)


def untaught(out: Path, seed: int) -> None:
    """The same student by the labels alone, for as many steps; its weights begin at random."""
    import transformers

    rows, folder = load_task(TASK).train, master_folder()
    model, master = TextModel.open(folder), load_classifier(folder)
    torch.manual_seed(seed)
    recipe = replace(RECIPE, dropout=LABEL_DROPOUT)
    copied = build_student(master, model, [row.ids.tolist() for row in model.prepare(rows.texts)], recipe)
    module = transformers.AutoModelForSequenceClassification.from_config(copied.module.config)
    student = Student(module, copied.tokenizer)
    write_student(student, model, out)
    ids = [row.ids.tolist() for row in TextModel.open(out).prepare(rows.texts)]
    blank = np.zeros((len(ids), len(model.labels)), np.float32)  # so that the teacher is not asked
    data = TextBatches(ids, rows.labels, blank, batch_size=RECIPE.batch_size, seed=seed)
    num_texts = len(ids) + len(unlabelled())
    each = num_texts + RECIPE.num_made(num_texts) // RECIPE.turns  # texts of a pass of the taught one
    train = replace(RECIPE.train(seed), epochs=round(RECIPE.epochs * each / len(ids)), lr=LABEL_RATE)
    distill(master, ClsOnlyClassifier(student.module), data, DistillConfig(alpha=0.0), train, progress=False)
    write_student(student, model, out)


def run_seed(seed: int) -> dict[str, float]:
    """Shares of the test rows that are right, and the size; kept by the digest of what they depend on."""
    files = sorted((ROOT / "src/deepseek/compress/distilling").glob("*.py"))
    key = json.dumps(
        {
            "recipe": asdict(RECIPE),
            "rate": LABEL_RATE,
            "dropout": LABEL_DROPOUT,
            "unlabelled": UNLABELLED,
            "seed": seed,
            "teacher": master_folder().name,
        }
    )
    digest = hashlib.sha256(key.encode() + b"".join(file.read_bytes() for file in files)).hexdigest()[:12]
    kept = cache_folder("benchmarks") / f"distill-{TASK}-{seed}-{digest}.json"
    figures: dict[str, float] = json.loads(kept.read_text()) if kept.exists() else {}
    for name in ("student", "without"):
        if name in figures:
            continue
        with tempfile.TemporaryDirectory() as place:
            out = Path(place) / name
            if name == "student":
                taught(out, seed)
                figures |= {"parameters": num_parameters(out), "bytes": (out / "model.safetensors").stat().st_size}
            else:
                untaught(out, seed)
            figures[name] = right(out, load_task(TASK).test)
        kept.write_text(json.dumps(figures, indent=1))
        print(seed, name, figures[name], flush=True)
    return figures


def num_parameters(folder: Path) -> int:
    return sum(weight.numel() for weight in load_classifier(folder).parameters())


def claims_of(runs: Sequence[dict[str, float]], master: dict[str, float]) -> dict[str, dict[str, Any]]:
    """By the name in CLAIMS."""
    lost = [100 * (master["right"] - each["student"]) for each in runs]
    gain = [100 * (each["student"] - each["without"]) for each in runs]
    each_seed = "; ".join(
        f"{name} {' '.join(f'{100 * one[name]:.2f}' for one in runs)}" for name in ("student", "without")
    )
    spread = stdev(lost) if len(lost) > 1 else 0.0
    return {
        "size": claim(
            "distill_size", ours=runs[0]["parameters"] / 1e6, rival=master["parameters"] / 1e6,
            rival_name="teacher", ratio=min(master["parameters"] / each["parameters"] for each in runs),
            unit="M parameters", op=">=", bar=9.0, num_seeds=len(runs),
            note=f"model.safetensors {runs[0]['bytes'] / 1e6:.2f} MB, {master['bytes'] / runs[0]['bytes']:.2f}x "
            "smaller than the teacher's, both float32",
        ),
        "lost": claim(
            "distill_lost", ours=mean(lost), unit="points", op="<=", bar=1.2, num_seeds=len(runs),
            note=f"{TASK}, test rows; teacher {100 * master['right']:.2f}, one seed; sd {spread:.2f}, most "
            f"{max(lost):.2f}; {each_seed}",
        ),
        "gain": claim(
            "distill_gain", ours=mean(gain), unit="points", op=">=", bar=3.0, num_seeds=len(runs),
            note=f"over the same student from random weights on the labels alone, as many steps, rate {LABEL_RATE:g} "
            f"and dropout {LABEL_DROPOUT:g} by validation; mean of pairs, least {min(gain):.2f}",
        ),
    }  # fmt: skip


def main() -> int:
    arguments = options(__doc__, CLAIMS, quick="Leaves out what needs seeds that were not run before.").parse_args()
    torch.set_num_threads(1)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    chosen = [arguments.only] if arguments.only else list(CLAIMS)
    if arguments.quick:
        return finish(NAME, [], not_run=chosen)
    folder = master_folder()
    runs = [run_seed(seed) for seed in SEEDS]
    master = {
        "right": right(folder, load_task(TASK).test), "parameters": num_parameters(folder),
        "bytes": (folder / "model.safetensors").stat().st_size,
    }  # fmt: skip
    claims = claims_of(runs, master)
    return finish(NAME, [claims[name] for name in chosen], not_run=[])


if __name__ == "__main__":
    sys.exit(main())
