"""Solutions of the lab privacy_budget."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from pathlib import Path

from learn.solutions.tools import replace_text

WRONG = {
    "scale_is_epsilon": "wrong_noise", "fixed_seed": "same_noise", "forgets_the_ledger": "overspent",
    "all_groups_add_up": "wrong_own", "takes_any_value": "not_clipped",
}  # fmt: skip

PUBLISH = """
import json
from pathlib import Path

import numpy as np

RNG = np.random.default_rng()


def noisy_count(rows, epsilon):
    return len(rows) + float(RNG.laplace(0, 1 / epsilon))


def noisy_mean(values, low, high, epsilon):
    clipped = np.clip(values, low, high)
    return float(clipped.mean() + RNG.laplace(0, (high - low) / len(values) / epsilon))


def publish(queries, ledger, budget):
    path = Path(ledger)
    state = json.loads(path.read_text()) if path.exists() else {"spent": 0.0, "answers": {}}
    answers = []
    for query in queries:
        name, epsilon = query["name"], query["epsilon"]
        if name in state["answers"]:
            answers.append(state["answers"][name])
            continue
        if state["spent"] + epsilon > budget + 1e-9:
            answers.append(None)
            continue
        state["spent"] += epsilon
        state["answers"][name] = noisy_count(query["rows"], epsilon)
        path.write_text(json.dumps(state))
        answers.append(state["answers"][name])
    return answers
"""


def reference(folder: Path) -> None:
    (folder / "publish.py").write_text(PUBLISH)
    write_answers(folder, largest=True)


def write_answers(folder: Path, *, largest: bool) -> None:
    sums: defaultdict[str, float] = defaultdict(float)
    for release in json.loads((folder / "releases.json").read_text()):
        sums[release["group"]] += release["epsilon"]
    everybody = sums.pop("all", 0.0)
    spent = everybody + (max(sums.values()) if largest else sum(sums.values()))
    left = 5 - spent
    answers = {"spent": spent, "left": left, "num_more": math.floor(round(left / 0.1, 6))}
    (folder / "answers.json").write_text(json.dumps(answers))


def scale_is_epsilon(folder: Path) -> None:
    replace_text(folder / "publish.py", "RNG.laplace(0, 1 / epsilon)", "RNG.laplace(0, epsilon)")


def fixed_seed(folder: Path) -> None:
    """So that results can be repeated, as for a training."""
    replace_text(folder / "publish.py", "default_rng()", "default_rng(42)")


def forgets_the_ledger(folder: Path) -> None:
    """A budget for each process."""
    replace_text(folder / "publish.py", "if path.exists() else", "if False else")


def all_groups_add_up(folder: Path) -> None:
    write_answers(folder, largest=False)


def takes_any_value(folder: Path) -> None:
    replace_text(folder / "publish.py", "np.clip(values, low, high)", "np.asarray(values)")
