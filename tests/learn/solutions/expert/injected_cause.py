"""Solutions of the lab injected_cause."""

from __future__ import annotations

import csv
import json
import runpy
from pathlib import Path

from learn.solutions.tools import edit_json, replace_text

WRONG = {
    "no_past": "false_cause", "one_field_only": "wrong_cause", "always_a_cause": "false_cause",
    "end_of_the_log": "wrong_time", "not_everything": "no_cause",
}  # fmt: skip

CAUSE = """
import itertools
import math

FIELDS = ("version", "region", "tenant", "device", "route", "host", "client")
CLEAN_S, MIN_SCORE, MAX_CONDITIONS = 1800, 60.0, 2


def find_cause(rows):
    expected = expectations(rows)
    slices = {}
    for place, row in enumerate(rows):
        if row["time"] < CLEAN_S:
            continue
        for num in range(MAX_CONDITIONS + 1):
            for fields in itertools.combinations(FIELDS, num):
                slices.setdefault(tuple((field, row[field]) for field in fields), []).append(place)
    best = max((score(rows, expected, places) + (conditions,) for conditions, places in slices.items()))
    if best[0] < MIN_SCORE:
        return None
    return {"conditions": dict(best[2]), "began": best[1]}


def expectations(rows):
    past = [row for row in rows if row["time"] < CLEAN_S]
    usual = (sum(row["failed"] for row in past) + 1) / (len(past) + 1)
    rates = {}
    for field in FIELDS:
        for value in {row[field] for row in past}:
            own = [row["failed"] for row in past if row[field] == value]
            rates[field, value] = (sum(own) + 10 * usual) / (len(own) + 10)
    return [max(rates.get((field, row[field]), usual) for field in FIELDS) for row in rows]


def score(rows, expected, places):
    \"\"\"The best score of the slice over the moments since which it may be so.\"\"\"
    best, num_failed, total = (0.0, 0), 0, 0.0
    for place in reversed(places):
        total += expected[place]
        if rows[place]["failed"]:
            num_failed += 1
            if num_failed > total:
                best = max(best, (num_failed * math.log(num_failed / total) - num_failed + total, rows[place]["time"]))
    return best
"""


def reference(folder: Path) -> None:
    (folder / "cause.py").write_text(CAUSE)
    with (folder / "requests.csv").open() as file:
        rows = [row | {"time": int(row["time"]), "failed": int(row["failed"])} for row in csv.DictReader(file)]
    answer = runpy.run_path(str(folder / "cause.py"))["find_cause"](rows)
    (folder / "answer.json").write_text(json.dumps(answer))


def no_past(folder: Path) -> None:
    """Expects nothing of the past, so that what has always failed is the cause."""
    replace_text(folder / "cause.py", "max(rates.get((field, row[field]), usual) for field in FIELDS)", "0.02")


def one_field_only(folder: Path) -> None:
    replace_text(folder / "cause.py", "MAX_CONDITIONS = 1800, 60.0, 2", "MAX_CONDITIONS = 1800, 60.0, 1")


def always_a_cause(folder: Path) -> None:
    replace_text(folder / "cause.py", "60.0, 2", "0.0, 2")


def end_of_the_log(folder: Path) -> None:
    """Takes the last failure for the beginning."""
    edit_json(folder / "answer.json", lambda answer: answer.update(began=answer["began"] + 1_500))


def not_everything(folder: Path) -> None:
    """Looks at slices with a condition, and asks for scores that only a clear one has."""
    replace_text(folder / "cause.py", "range(MAX_CONDITIONS + 1)", "range(1, MAX_CONDITIONS + 1)")
    replace_text(folder / "cause.py", "60.0, 2", "1e6, 2")
