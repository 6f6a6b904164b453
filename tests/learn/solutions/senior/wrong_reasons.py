"""Solutions of the lab wrong_reasons."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd

from learn.solutions.tools import deepseek_verb, replace_text

WRONG = {
    "a_measurement": "wrong_column", "keeps_the_shortcut": "still_reads", "column_alone": "not_shapley",
    "deviation_for_error": "too_wide", "half_of_the_error": "no_cover",
}  # fmt: skip
WAYS = ("exposure", "lamp_hours", "slide_batch", "operator_years", "room_temperature", "focus_steps")

TRUST = """
from math import factorial

import numpy as np


def shapley(game, n):
    values = []
    for i in range(n):
        total = 0.0
        for m in range(2**n):
            if not m >> i & 1:
                k = bin(m).count("1")
                total += factorial(k) * factorial(n - k - 1) / factorial(n) * (game[m | 1 << i] - game[m])
        values.append(total)
    return values


def sample_values(game, n, num, seed):
    rng = np.random.default_rng(seed)
    steps = np.zeros((num, n))
    for number in range(num):
        m = 0
        for i in rng.permutation(n).tolist():
            steps[number, i] = game[m | 1 << i] - game[m]
            m |= 1 << i
    return [steps.mean(axis=0), 1.96 * steps.std(axis=0, ddof=1) / num**0.5]
"""


def reference(folder: Path) -> None:
    (folder / "trust.py").write_text(TRUST)
    first, second = (gaps(pd.read_csv(folder / name)) for name in ("train.csv", "other.csv"))
    column = max(WAYS, key=lambda name: abs(first[name]) - abs(second[name]))
    (folder / "answers.json").write_text(json.dumps({"column": column}))
    ship(folder, "--drop", column)


def gaps(frame: pd.DataFrame) -> pd.Series:
    """How far the means of malignant and benign rows lie apart, in standard deviations."""
    means = frame.groupby("diagnosis").mean()
    return (means.loc["malignant"] - means.loc["benign"]) / frame.drop(columns="diagnosis").std()


def ship(folder: Path, *options: str) -> None:
    deepseek_verb(folder, "ship", "train.csv", "--target", "diagnosis", "--out", "model", "--overwrite",
                  "--candidates", "linear", "--trials", "1", *options)  # fmt: skip


def a_measurement(folder: Path) -> None:
    """The measurement that matters most is taken for the fault."""
    (folder / "answers.json").write_text(json.dumps({"column": "worst_perimeter"}))


def keeps_the_shortcut(folder: Path) -> None:
    shutil.rmtree(folder / "model")
    ship(folder)


def column_alone(folder: Path) -> None:
    """What a column adds when no other is known."""
    replace_text(folder / "trust.py", "if not m >> i & 1:", "if m == 0:")
    replace_text(folder / "trust.py", "factorial(k) * factorial(n - k - 1) / factorial(n) * ", "")


def deviation_for_error(folder: Path) -> None:
    replace_text(folder / "trust.py", " / num**0.5]", "]")


def half_of_the_error(folder: Path) -> None:
    """A standard error where 1.96 of them are asked for, and of half of it."""
    replace_text(folder / "trust.py", "1.96 * ", "0.5 * ")
