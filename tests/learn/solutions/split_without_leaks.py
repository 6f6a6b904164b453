"""Solutions of the lab split_without_leaks."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np

from learn.solutions.tools import edit_json, replace_text

WRONG = {
    "rows_dealt": "group_leaks", "by_rows_alone": "wrong_accuracy", "number_of_groups": "wrong_share",
    "set_order": "unrepeatable",
}  # fmt: skip

SPLIT = """
import random
from collections import Counter

SHARES = {"train": 0.6, "validation": 0.2, "test": 0.2}


def split(groups, seed):
    counts = Counter(groups)
    names = sorted(counts)
    random.Random(seed).shuffle(names)
    names.sort(key=lambda name: -(counts[name] // 10))
    filled, place = dict.fromkeys(SHARES, 0), {}
    for name in names:
        part = max(SHARES, key=lambda part: SHARES[part] * len(groups) - filled[part])
        filled[part] += counts[name]
        place[name] = part
    parts = {part: [] for part in SHARES}
    for row, group in enumerate(groups):
        parts[place[group]].append(row)
    return parts
"""


def reference(folder: Path) -> None:
    rows = list(csv.DictReader((folder / "digits.csv").open()))
    pixels = np.array([[float(row[f"p{i}"]) for i in range(64)] for row in rows])
    digits, writers = (np.array([int(row[name]) for row in rows]) for name in ("digit", "writer"))
    answers = {
        "accuracy_by_rows": accuracy(pixels, digits, np.arange(len(rows)) % 5 == 0),
        "accuracy_by_writers": accuracy(pixels, digits, writers % 5 == 0),
    }
    (folder / "answers.json").write_text(json.dumps(answers))
    (folder / "split.py").write_text(SPLIT)


def accuracy(pixels: np.ndarray, digits: np.ndarray, is_test: np.ndarray) -> float:
    from sklearn.neighbors import KNeighborsClassifier

    model = KNeighborsClassifier(1).fit(pixels[~is_test], digits[~is_test])
    return float(model.score(pixels[is_test], digits[is_test]))


def rows_dealt(folder: Path) -> None:
    """Shuffles rows, as train_test_split does."""
    (folder / "split.py").write_text(
        "import random\n\n\ndef split(groups, seed):\n    rows = list(range(len(groups)))\n"
        "    random.Random(seed).shuffle(rows)\n    a, b = int(0.6 * len(rows)), int(0.8 * len(rows))\n"
        '    return {"train": rows[:a], "validation": rows[a:b], "test": rows[b:]}\n'
    )


def by_rows_alone(folder: Path) -> None:
    """Measures by rows twice."""
    edit_json(folder / "answers.json", lambda each: each.update(accuracy_by_writers=each["accuracy_by_rows"]))


def number_of_groups(folder: Path) -> None:
    """Counts groups as if they were equally large, the large ones into the same part."""
    replace_text(folder / "split.py", "filled[part] += counts[name]", "filled[part] += 20")


def set_order(folder: Path) -> None:
    replace_text(folder / "split.py", "names = sorted(counts)", "names = list(set(groups))")
