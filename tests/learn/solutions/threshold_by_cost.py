"""Solutions of the lab threshold_by_cost."""

from __future__ import annotations

import csv
import json
import runpy
from pathlib import Path

from learn.solutions.tools import replace_text

WRONG = {
    "costs_exchanged": "wrong_cost", "never_nobody": "calls", "limit_ignored": "over_limit", "share_ignored": "dear",
}  # fmt: skip

CHOOSE = """
def choose(scores, faulty, cost_missed, cost_alarm, max_alarms=None, share=None):
    own = sum(faulty) / len(faulty)
    bad, good = 1.0, 1.0
    if share is not None:
        bad, good = share / own, (1 - share) / (1 - own)
    best = None
    for threshold in [*sorted(set(scores)), 1.01]:
        missed = sum(1 for s, f in zip(scores, faulty) if f and s < threshold)
        alarms = sum(1 for s, f in zip(scores, faulty) if not f and s >= threshold)
        if max_alarms is not None and alarms > max_alarms:
            continue
        cost = bad * cost_missed * missed + good * cost_alarm * alarms
        if best is None or cost < best[0]:
            best = (cost, threshold)
    return best[1]
"""


def reference(folder: Path) -> None:
    (folder / "threshold.py").write_text(CHOOSE)
    write_answers(folder)


def write_answers(folder: Path, *, exchanged: bool = False) -> None:
    rows = list(csv.DictReader((folder / "scores.csv").open()))
    scores, faulty = [float(row["score"]) for row in rows], [int(row["faulty"]) for row in rows]
    costs = json.loads((folder / "costs.json").read_text())
    pair = (costs["alarm"], costs["missed"]) if exchanged else (costs["missed"], costs["alarm"])
    threshold = runpy.run_path(str(folder / "threshold.py"))["choose"](scores, faulty, *pair)

    def cost(at: float) -> float:
        missed = sum(f for s, f in zip(scores, faulty, strict=True) if s < at)
        alarms = sum(1 - f for s, f in zip(scores, faulty, strict=True) if s >= at)
        return missed * costs["missed"] + alarms * costs["alarm"]

    answers = {"threshold": threshold, "cost": cost(threshold), "cost_at_half": cost(0.5)}
    (folder / "answers.json").write_text(json.dumps(answers))


def costs_exchanged(folder: Path) -> None:
    write_answers(folder, exchanged=True)


def never_nobody(folder: Path) -> None:
    replace_text(folder / "threshold.py", "[*sorted(set(scores)), 1.01]", "sorted(set(scores))[:-20]")


def limit_ignored(folder: Path) -> None:
    replace_text(folder / "threshold.py", "max_alarms is not None and alarms > max_alarms", "False")


def share_ignored(folder: Path) -> None:
    replace_text(folder / "threshold.py", "share is not None", "False")
