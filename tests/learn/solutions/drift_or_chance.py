"""Solutions of the lab drift_or_chance."""

from __future__ import annotations

import csv
import json
import runpy
from pathlib import Path

from learn.solutions.tools import edit_json, replace_text

WRONG = {
    "each_at_five": "wolf", "means_alone": "missed", "empty_passed_over": "missed", "all_named": "wrong_columns",
}  # fmt: skip

DRIFT = """
from collections import Counter

from scipy.stats import chi2_contingency, ks_2samp


def find_drift(reference, current):
    limit = 0.05 / (2 * len(reference))
    return [name for name in reference if smallest(reference[name], current[name]) < limit]


def smallest(before, after):
    chances = [counts_differ([value is None for value in before], [value is None for value in after])]
    before, after = ([value for value in side if value is not None] for side in (before, after))
    if isinstance(before[0], str):
        return min(*chances, counts_differ(before, after))
    return min(*chances, ks_2samp(before, after).pvalue)


def counts_differ(before, after):
    first, second = Counter(before), Counter(after)
    names = sorted(first | second)
    if len(names) < 2:
        return 1.0
    return chi2_contingency([[first[name] for name in names], [second[name] for name in names]]).pvalue
"""


def reference(folder: Path) -> None:
    (folder / "drift.py").write_text(DRIFT)
    find_drift = runpy.run_path(str(folder / "drift.py"))["find_drift"]
    sides = [read(folder / name) for name in ("reference.csv", "week.csv")]
    (folder / "answers.json").write_text(json.dumps({"drifted": find_drift(*sides)}))


def read(path: Path) -> dict[str, list[float | str | None]]:
    rows = list(csv.DictReader(path.open()))
    return {
        name: [None if row[name] == "" else row[name] if name == "cultivar" else float(row[name]) for row in rows]
        for name in rows[0]
    }


def each_at_five(folder: Path) -> None:
    """As if there were one column."""
    replace_text(folder / "drift.py", "0.05 / (2 * len(reference))", "0.10")


def means_alone(folder: Path) -> None:
    replace_text(folder / "drift.py", "ks_2samp(before, after).pvalue", "ttest_ind(before, after).pvalue")
    replace_text(folder / "drift.py", "import chi2_contingency, ks_2samp", "import chi2_contingency, ttest_ind")


def empty_passed_over(folder: Path) -> None:
    replace_text(
        folder / "drift.py", "[value is None for value in before], [value is None for value in after]", "[], []"
    )


def all_named(folder: Path) -> None:
    names = list(read(folder / "week.csv"))
    edit_json(folder / "answers.json", lambda answers: answers.update(drifted=names))
