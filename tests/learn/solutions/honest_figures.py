"""Solutions of the lab honest_figures."""

from __future__ import annotations

import csv
import json
import runpy
from pathlib import Path

from learn.solutions.tools import edit_json, replace_text

WRONG = {
    "recall_for_precision": "wrong_figure", "ties_forgotten": "ties", "zero_for_none": "not_none",
    "normal_interval": "misses", "always_all": "too_wide",
}  # fmt: skip

FIGURES = """
import math


def figures(scores, truth):
    called = [score >= 0.5 for score in scores]
    caught = sum(1 for c, t in zip(called, truth) if c and t)
    right = sum(1 for c, t in zip(called, truth) if c == bool(t))
    positive = [score for score, t in zip(scores, truth) if t]
    negative = [score for score, t in zip(scores, truth) if not t]
    wins = sum((p > n) + 0.5 * (p == n) for p in positive for n in negative)
    return {
        "accuracy": right / len(truth),
        "recall": caught / len(positive) if positive else None,
        "precision": caught / sum(called) if any(called) else None,
        "auc": wins / (len(positive) * len(negative)) if positive and negative else None,
    }


def interval(caught, total):
    z = 1.96
    center = (caught + z * z / 2) / (total + z * z)
    half = z / (total + z * z) * math.sqrt(caught * (total - caught) / total + z * z / 4)
    return max(0.0, center - half), min(1.0, center + half)
"""


def reference(folder: Path) -> None:
    (folder / "figures.py").write_text(FIGURES)
    rows = list(csv.DictReader((folder / "scores.csv").open()))
    truth = [int(row["diagnosis"]) for row in rows]
    answers = runpy.run_path(str(folder / "figures.py"))["figures"]([float(row["score"]) for row in rows], truth)
    answers["accuracy_of_no"] = 1 - sum(truth) / len(truth)
    (folder / "answers.json").write_text(json.dumps(answers))


def recall_for_precision(folder: Path) -> None:
    edit_json(folder / "answers.json", lambda each: each.update(recall=each["precision"], precision=each["recall"]))


def ties_forgotten(folder: Path) -> None:
    replace_text(folder / "figures.py", "(p > n) + 0.5 * (p == n)", "(p > n)")


def zero_for_none(folder: Path) -> None:
    replace_text(folder / "figures.py", "else None", "else 0.0")


def normal_interval(folder: Path) -> None:
    """The textbook's interval, which is of no width when all are right."""
    path = folder / "figures.py"
    replace_text(path, "center = (caught + z * z / 2) / (total + z * z)", "center = caught / total")
    replace_text(path, "z / (total + z * z) * math.sqrt(caught * (total - caught) / total + z * z / 4)",
                 "z * math.sqrt(center * (1 - center) / total)")  # fmt: skip


def always_all(folder: Path) -> None:
    replace_text(folder / "figures.py", "return max(0.0, center - half), min(1.0, center + half)", "return 0.0, 1.0")
