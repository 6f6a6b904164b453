"""Solutions of the lab reasons_with_a_bound."""

from __future__ import annotations

import csv
import json
import runpy
from pathlib import Path

import numpy as np

from learn.solutions.tools import replace_text

WRONG = {
    "mean_background": "wrong_value", "never_exact": "not_exact", "spread_for_error": "errors_too_large",
    "pairs_count_twice": "errors_too_small", "fills_up": "unread_column",
}  # fmt: skip

REASONS = """
import math

import numpy as np


def explain(predict, row, background, num_rows, seed):
    num, size = len(row), len(background)

    def worth(inside):
        inside = np.atleast_2d(inside)
        rows = np.where(inside[:, None, :], row, background[None]).reshape(-1, num)
        return np.asarray(predict(rows)).reshape(len(inside), size).mean(1)

    if 2**num * size <= num_rows:
        return exact(worth, num)
    base, answer = worth(np.array([np.zeros(num, bool), np.ones(num, bool)]))
    num_pairs = (num_rows - 2 * size) // (2 * (num - 1) * size)
    rng, gains = np.random.default_rng(seed), []
    for _ in range(num_pairs):
        order = rng.permutation(num)
        pair = [gains_along(worth, path, base, answer) for path in (order, order[::-1])]
        gains.append(np.mean(pair, 0))
    values = np.mean(gains, 0)
    return {"base": base, "values": values, "errors": np.std(gains, 0, ddof=1) / math.sqrt(len(gains))}


def gains_along(worth, order, base, answer):
    inside = np.zeros((len(order) - 1, len(order)), bool)
    for place in range(len(order) - 1):
        inside[place:, order[place]] = True
    gain = np.empty(len(order))
    gain[order] = np.diff(np.concatenate([[base], worth(inside), [answer]]))
    return gain


def exact(worth, num):
    sets = np.arange(2**num)
    inside = (sets[:, None] >> np.arange(num)) & 1 == 1
    worths, sizes = worth(inside), inside.sum(1)
    values = []
    for column in range(num):
        without = sets[~inside[:, column]]
        shares = [math.factorial(s) * math.factorial(num - s - 1) / math.factorial(num) for s in sizes[without]]
        values.append(float(np.sum(shares * (worths[without | 1 << column] - worths[without]))))
    return {"base": float(worths[0]), "values": values, "errors": [0.0] * num}
"""


def reference(folder: Path) -> None:
    (folder / "reasons.py").write_text(REASONS)
    write_answer(folder, read(folder / "background.csv"))


def write_answer(folder: Path, background: np.ndarray) -> None:
    predict = runpy.run_path(str(folder / "model.py"))["predict"]
    explain = runpy.run_path(str(folder / "reasons.py"))["explain"]
    said = explain(predict, read(folder / "row.csv")[0], background, 10**6, 0)
    (folder / "answer.json").write_text(json.dumps({"base": said["base"], "values": said["values"]}))


def read(path: Path) -> np.ndarray:
    return np.array([[float(value) for value in row.values()] for row in csv.DictReader(path.open())])


def mean_background(folder: Path) -> None:
    """One background row, the mean of all."""
    write_answer(folder, read(folder / "background.csv").mean(0, keepdims=True))


def never_exact(folder: Path) -> None:
    replace_text(folder / "reasons.py", "if 2**num * size <= num_rows:", "if False:")


def spread_for_error(folder: Path) -> None:
    """The standard deviation of orders instead of that of their mean."""
    replace_text(folder / "reasons.py", " / math.sqrt(len(gains))", "")


def pairs_count_twice(folder: Path) -> None:
    """Counts every set that was asked as if it were an order of its own."""
    replace_text(folder / "reasons.py", "math.sqrt(len(gains))", "math.sqrt(len(gains) * num)")


def fills_up(folder: Path) -> None:
    """Single columns by chance; what is left of the sum is shared out."""
    replace_text(
        folder / "reasons.py", "values = np.mean(gains, 0)\n",
        "values = np.median(gains, 0)\n    values = values + (answer - base - values.sum()) / num\n",
    )  # fmt: skip
