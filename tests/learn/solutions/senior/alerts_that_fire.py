"""Solutions of the lab alerts_that_fire."""

from __future__ import annotations

import csv
import json
import runpy
from pathlib import Path

from learn.solutions.tools import edit_json, replace_text

WRONG = {
    "mean_of_shares": "wrong_rate", "long_window_alone": "goes_on", "short_window_alone": "woken",
    "fast_pair_alone": "slow_missed", "percent": "wrong_own",
}  # fmt: skip

ALERTS = """
import numpy as np


def burn_rates(total, bad, window, budget):
    ends = np.arange(1, len(total) + 1)
    starts = np.maximum(ends - window, 0)
    sums = []
    for counts in (bad, total):
        running = np.concatenate([[0.0], np.cumsum(counts)])
        sums.append(running[ends] - running[starts])
    return [b / t / budget if t else 0.0 for b, t in zip(*sums)]


def firing(total, bad, budget):
    fires = np.zeros(len(total), bool)
    for long, short, limit in ((60, 5, 14.4), (360, 30, 6.0)):
        over_long = np.array(burn_rates(total, bad, long, budget)) >= limit
        over_short = np.array(burn_rates(total, bad, short, budget)) >= limit
        fires |= over_long & over_short
    return fires.tolist()
"""


def reference(folder: Path) -> None:
    (folder / "alerts.py").write_text(ALERTS)
    rows = list(csv.DictReader((folder / "requests.csv").open()))
    total, bad = ([int(row[name]) for row in rows] for name in ("total", "bad"))
    fires = runpy.run_path(str(folder / "alerts.py"))["firing"](total, bad, 0.001)
    answers = {
        "budget_spent": sum(bad) / (0.001 * sum(total)), "first_minute": fires.index(True), "num_firing": sum(fires),
    }  # fmt: skip
    (folder / "answers.json").write_text(json.dumps(answers))


def mean_of_shares(folder: Path) -> None:
    """A rolling mean of the share of each minute, as a dashboard shows it."""
    replace_text(
        folder / "alerts.py", "return [b / t / budget if t else 0.0 for b, t in zip(*sums)]",
        "shares = [b / t if t else 0.0 for b, t in zip(bad, total)]\n"
        "    return [float(np.mean(shares[a:z]) / budget) for a, z in zip(starts, ends)]",
    )  # fmt: skip


def long_window_alone(folder: Path) -> None:
    replace_text(folder / "alerts.py", "over_long & over_short", "over_long")


def short_window_alone(folder: Path) -> None:
    replace_text(folder / "alerts.py", "over_long & over_short", "over_short")


def fast_pair_alone(folder: Path) -> None:
    replace_text(folder / "alerts.py", ", (360, 30, 6.0))", ",)")


def percent(folder: Path) -> None:
    edit_json(folder / "answers.json", lambda answers: answers.update(budget_spent=100 * answers["budget_spent"]))
