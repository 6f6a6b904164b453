"""Solutions of the lab table_faults."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np

from learn.solutions.tools import edit_json, replace_text

WRONG = {
    "strongest_measure": "leak_missed", "both_copies": "wrong_copies", "mean_filled": "filled",
    "unknown_dropped": "wrong_rows",
}  # fmt: skip

CLEAN = """
FACTS = {facts}


def clean(rows):
    cleaned, seen = [], set()
    for row in rows:
        key = tuple(row.items())
        if key in seen:
            continue
        seen.add(key)
        new = {{name: value for name, value in row.items() if name not in FACTS["drop"]}}
        if float(row[FACTS["column"]]) == FACTS["value"]:
            new[FACTS["column"]] = ""
        if row["clinic"] == FACTS["clinic"]:
            new["bp"] = str(float(row["bp"]) * 7.50062)
        cleaned.append(new)
    return cleaned
"""


def reference(folder: Path) -> None:
    """Looks for each fault as a person would, without knowing how the table was made."""
    rows = list(csv.DictReader((folder / "patients.csv").open()))
    numbers = {name: np.array([float(row[name]) for row in rows]) for name in rows[0] if is_number(rows[0][name])}
    target = numbers["progression"]
    others = [name for name in numbers if name != "progression"]
    leak = max(others, key=lambda name: abs(np.corrcoef(numbers[name], target)[0, 1]))
    constant = next(name for name in rows[0] if len({row[name] for row in rows}) == 1)
    measured = [name for name in numbers if name not in (leak, "progression", "sex", "bp")]
    unknown, value, count = max(
        ((name, *Counter(numbers[name]).most_common(1)[0]) for name in measured), key=lambda each: odd(numbers, each)
    )
    clinics = np.array([row["clinic"] for row in rows])
    clinic = min(set(clinics), key=lambda name: numbers["bp"][clinics == name].mean())
    whole = [tuple(row.values()) for row in rows]
    report = {
        "unknown_column": unknown, "unknown_value": int(value), "num_unknown": count,
        "num_copies": len(whole) - len(set(whole)), "leak_column": leak, "other_unit_clinic": clinic,
        "other_unit_column": "bp",
    }  # fmt: skip
    (folder / "report.json").write_text(json.dumps(report))
    facts = {"drop": [leak, constant], "column": unknown, "value": float(value), "clinic": str(clinic)}
    (folder / "clean.py").write_text(CLEAN.format(facts=facts))


def odd(numbers: dict[str, np.ndarray], each: tuple[str, float, int]) -> float:
    """How far a frequent value lies from the others of its column."""
    name, value, _ = each
    others = numbers[name][numbers[name] != value]
    return abs(value - others.mean()) / others.std()


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def strongest_measure(folder: Path) -> None:
    """Names the measure that goes best with the answer, as it should."""
    edit_json(folder / "report.json", lambda report: report.update(leak_column="bmi"))


def both_copies(folder: Path) -> None:
    edit_json(folder / "report.json", lambda report: report.update(num_copies=2 * report["num_copies"]))


def mean_filled(folder: Path) -> None:
    replace_text(folder / "clean.py", '= ""', '= "26.4"')


def unknown_dropped(folder: Path) -> None:
    replace_text(folder / "clean.py", 'new[FACTS["column"]] = ""', "continue")
