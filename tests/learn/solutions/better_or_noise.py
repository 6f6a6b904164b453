"""Solutions of the lab better_or_noise."""

from __future__ import annotations

import csv
import json
import runpy
from pathlib import Path

from learn.solutions.tools import edit_json, replace_text

WRONG = {
    "largest_wins": "false_winner", "two_intervals": "missed", "rows_as_independent": "copies_counted",
    "models_exchanged": "wrong_own",
}  # fmt: skip

COMPARE = """
import math
from collections import defaultdict


def compare(first, second, groups):
    steps = [b - a for a, b in zip(first, second)]
    mean = sum(steps) / len(steps)
    sums, counts = defaultdict(float), defaultdict(int)
    for step, group in zip(steps, groups):
        sums[group] += step
        counts[group] += 1
    num = len(sums)
    spread = sum((sums[group] - mean * counts[group]) ** 2 for group in sums)
    error = math.sqrt(num / (num - 1) * spread) / len(steps)
    low, high = mean - 1.96 * error, mean + 1.96 * error
    verdict = "second" if low > 0 else "first" if high < 0 else "none"
    return {"difference": mean, "low": low, "high": high, "verdict": verdict}
"""
APART = """
import math


def compare(first, second, groups):
    total = len(first)
    shares = [sum(side) / total for side in (first, second)]
    halves = [1.96 * math.sqrt(share * (1 - share) / total) for share in shares]
    mean, half = shares[1] - shares[0], sum(halves)
    verdict = "second" if mean > half else "first" if mean < -half else "none"
    return {"difference": mean, "low": mean - half, "high": mean + half, "verdict": verdict}
"""


def reference(folder: Path) -> None:
    (folder / "compare.py").write_text(COMPARE)
    rows = list(csv.DictReader((folder / "answers.csv").open()))
    first, second = ([int(row[name]) for row in rows] for name in ("first", "second"))
    said = runpy.run_path(str(folder / "compare.py"))["compare"](first, second, [row["patient"] for row in rows])
    pairs = list(zip(first, second, strict=True))
    answers = {
        "difference": said["difference"], "verdict": said["verdict"], "only_first": pairs.count((1, 0)),
        "only_second": pairs.count((0, 1)),
    }  # fmt: skip
    (folder / "answers.json").write_text(json.dumps(answers))


def largest_wins(folder: Path) -> None:
    replace_text(folder / "compare.py", "if low > 0", "if mean > 0")
    replace_text(folder / "compare.py", "if high < 0", "if mean < 0")


def two_intervals(folder: Path) -> None:
    (folder / "compare.py").write_text(APART)


def rows_as_independent(folder: Path) -> None:
    replace_text(
        folder / "compare.py", "for step, group in zip(steps, groups):", "for group, step in enumerate(steps):"
    )


def models_exchanged(folder: Path) -> None:
    def exchange(each: dict[str, int]) -> None:
        each["only_first"], each["only_second"] = each["only_second"], each["only_first"]

    edit_json(folder / "answers.json", exchange)
