"""Solutions of the lab search_of_your_own."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from learn.solutions.tools import edit_json, replace_text

WRONG = {
    "random_again": "no_better", "first_look_decides": "no_better", "spends_more": "over_budget",
    "chosen_on_held": "wrong_choice", "unseeded": "not_repeated",
}  # fmt: skip

SEARCH = """
import math
import random


def search(evaluate, space, budget, max_epochs, seed):
    rng = random.Random(seed)
    left = budget

    def score(configuration, epochs):
        nonlocal left
        if epochs > left:
            return math.inf
        left -= epochs
        try:
            return evaluate(configuration, epochs)
        except FloatingPointError:
            return math.inf

    def best(configurations, epochs, num):
        scores = [score(each, epochs) for each in configurations]
        order = sorted(range(len(scores)), key=scores.__getitem__)
        return [configurations[place] for place in order[:num]]

    few = max(1, max_epochs // 4)
    many = [draw(space, rng) for _ in range(max(1, budget // (2 * few + 2)))]
    kept = best(many, few, 3)
    width = 0.15
    while left >= 3 * few:
        near = [change(space, rng, kept[0], width) for _ in range(2)]
        kept = best([*kept[:1], *near], few, 2)
        width *= 0.8
    return kept[0]


def draw(space, rng):
    configuration = {}
    for name, axis in space.items():
        if "choices" in axis:
            configuration[name] = rng.choice(axis["choices"])
        else:
            configuration[name] = value_at(axis, rng.random())
    return configuration


def value_at(axis, place):
    low, high = axis["low"], axis["high"]
    value = low * (high / low) ** place if axis["scale"] == "log" else low + (high - low) * place
    return min(high, max(low, value))


def place_of(axis, value):
    low, high = axis["low"], axis["high"]
    if axis["scale"] == "log":
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)


def change(space, rng, configuration, width):
    other = dict(configuration)
    for name, axis in space.items():
        if "choices" in axis:
            if rng.random() < 0.2:
                other[name] = rng.choice(axis["choices"])
        else:
            place = place_of(axis, configuration[name]) + rng.gauss(0, width)
            other[name] = value_at(axis, min(1.0, max(0.0, place)))
    return other
"""

RANDOM = """
    many = [draw(space, rng) for _ in range(max(1, budget // max_epochs))]
    return best(many, max_epochs, 1)[0]
"""


def reference(folder: Path) -> None:
    (folder / "search.py").write_text(SEARCH)
    with (folder / "trials.csv").open() as file:
        wrong = [int(row["wrong"]) for row in csv.DictReader(file)]
    chosen = wrong.index(min(wrong))
    (folder / "choice.json").write_text(json.dumps(choice_of(folder, chosen, wrong[chosen] / 150)))


def choice_of(folder: Path, chosen: int, validation_error: float) -> dict[str, float]:
    with (folder / "held.csv").open() as file:
        held = [int(row[f"trial_{chosen}"]) for row in csv.DictReader(file)]
    num, z = len(held), 1.96
    share = sum(held) / num
    half = z * (share * (1 - share) / num + z * z / (4 * num * num)) ** 0.5
    ends = [(share + z * z / (2 * num) + sign * half) / (1 + z * z / num) for sign in (-1, 1)]
    return {
        "chosen": chosen,
        "validation_error": validation_error,
        "held_error": share,
        "low": ends[0],
        "high": ends[1],
    }


def random_again(folder: Path) -> None:
    replace_text(folder / "search.py", "    few = max(1,", f"{RANDOM}\n    few = max(1,")


def first_look_decides(folder: Path) -> None:
    """Many configurations for one epoch each, and the first is taken."""
    replace_text(
        folder / "search.py",
        "    few = max(1,",
        "    return best([draw(space, rng) for _ in range(budget)], 1, 1)[0]\n    few = max(1,",
    )


def spends_more(folder: Path) -> None:
    replace_text(folder / "search.py", "left -= epochs", "left -= epochs // 2")


def chosen_on_held(folder: Path) -> None:
    with (folder / "held.csv").open() as file:
        rows = list(csv.DictReader(file))
    totals = [sum(int(row[f"trial_{place}"]) for row in rows) for place in range(40)]
    edit_json(folder / "choice.json", lambda choice: choice.update(chosen=totals.index(min(totals))))


def unseeded(folder: Path) -> None:
    replace_text(folder / "search.py", "random.Random(seed)", "random.Random()")
