"""Checks of the lab "A split that nothing leaks through"."""

from __future__ import annotations

from typing import Any

import numpy as np

from deepseek.contracts import JsonObject
from deepseek.learn.grading.kit import DataFolder, Mistake, Text, Work

NUM_ROWS, NUM_WRITERS = 900, 20
SHARES = {"train": 0.6, "validation": 0.2, "test": 0.2}
MAX_OFF = 0.08


def make(data: DataFolder) -> object:
    """Digits by writers with hands of their own: a background of each, which rows of one writer share."""
    from sklearn.datasets import load_digits

    rng, source = data.rng, load_digits()
    rows = rng.choice(len(source.target), NUM_ROWS, replace=False)
    writers = rng.integers(0, NUM_WRITERS, NUM_ROWS)
    hands = rng.normal(0, 2.6, (NUM_WRITERS, 64))
    preferred = rng.integers(0, 10, NUM_WRITERS)  # a writer writes one digit more often than others
    digits = source.target[rows]
    often = rng.random(NUM_ROWS) < 0.5
    for place in np.flatnonzero(often):
        same = np.flatnonzero(source.target == preferred[writers[place]])
        rows[place] = rng.choice(same)
        digits[place] = preferred[writers[place]]
    pixels = np.round(source.data[rows] + hands[writers] + rng.normal(0, 2.5, (NUM_ROWS, 64)), 1)
    columns: JsonObject = {f"p{i}": pixels[:, i] for i in range(64)}
    data.write_csv("digits.csv", columns | {"writer": writers, "digit": digits})
    number = np.arange(NUM_ROWS)
    return {
        "accuracy_by_rows": nearest_accuracy(pixels, digits, number % 5 == 0),
        "accuracy_by_writers": nearest_accuracy(pixels, digits, writers % 5 == 0),
    }


def nearest_accuracy(pixels: Any, digits: Any, is_test: Any) -> float:
    """The share of test pictures whose nearest training picture shows the same digit."""
    train, test = pixels[~is_test], pixels[is_test]
    distances = (test**2).sum(1)[:, None] - 2 * test @ train.T + (train**2).sum(1)
    return float((digits[~is_test][distances.argmin(1)] == digits[is_test]).mean())


def check_gap(work: Work) -> None:
    for key, wanted in work.truth.items():
        said = work.number("answers.json", key)
        if abs(said - wanted) > 0.006:
            swapped = abs(said - work.truth[other_key(key)]) <= 0.006
            why = (
                Text("that is the other of the two figures", "这是两个指标中的另一个")
                if swapped
                else Text("look again which rows are the test", "再看看哪些行是测试")
            )
            raise Mistake("wrong_accuracy", key=key, said=f"{said:.3f}", why=why)


def other_key(key: str) -> str:
    return "accuracy_by_rows" if key == "accuracy_by_writers" else "accuracy_by_writers"


def check_whole(work: Work) -> None:
    groups = new_groups(work, "whole")
    parts = split_of(work, [[groups, 1]])[0]
    count = np.zeros(len(groups), int)
    for rows in parts.values():
        known = [row for row in rows if 0 <= row < len(groups)]
        np.add.at(count, known, 1)
    if (count != 1).any():
        raise Mistake("rows_lost", num=(count == 0).sum(), total=len(groups), twice=(count > 1).sum())


def check_apart(work: Work) -> None:
    groups = new_groups(work, "apart")
    places: dict[str, set[str]] = {}
    for part, rows in split_of(work, [[groups, 2]])[0].items():
        for row in rows:
            places.setdefault(groups[row], set()).add(part)
    for group, parts in places.items():
        if len(parts) > 1:
            raise Mistake("group_leaks", group=group, parts=", ".join(sorted(parts)))
    if not places:
        raise Mistake("rows_lost", num=len(groups), total=len(groups), twice=0)


def check_shares(work: Work) -> None:
    groups = new_groups(work, "shares")
    for parts in split_of(work, [[groups, seed] for seed in (3, 4, 5)]):
        for part, wanted in SHARES.items():
            share = len(parts[part]) / len(groups)
            if abs(share - wanted) > MAX_OFF:
                raise Mistake("wrong_share", part=part, share=f"{share:.2f}", wanted=f"{wanted:.1f}")


def check_repeats(work: Work) -> None:
    groups = new_groups(work, "repeats")
    first = split_of(work, [[groups, seed] for seed in (6, 7, 8)])
    again = split_of(work, [[groups, 6]])  # in another process, whose sets have another order
    if places_of(first[0], groups) != places_of(again[0], groups):
        raise Mistake("unrepeatable")
    if places_of(first[0], groups) == places_of(first[1], groups) == places_of(first[2], groups):
        raise Mistake("no_chance")


def check_order(work: Work) -> None:
    groups = new_groups(work, "order")
    order = work.rng("reordered").permutation(len(groups))
    other = [groups[row] for row in order]
    before, after = split_of(work, [[groups, 9], [other, 9]])
    first, second = places_of(before, groups), places_of(after, other)
    for group, part in first.items():
        if second.get(group) != part:
            raise Mistake("by_order", group=group, before=part, after=second.get(group, "none"))


def new_groups(work: Work, name: str) -> list[str]:
    """Groups of rows: one of a fifth of them, some large, many small."""
    rng = work.rng(name)
    sizes = [120, 60, 50, 40, *rng.integers(1, 25, 30).tolist()]
    groups = [f"g{rng.integers(10**6)}-{number}" for number, size in enumerate(sizes) for _ in range(size)]
    names = {number: f"w{rng.integers(10**6)}" for number in range(len(sizes))}
    groups = [names[int(group.rpartition("-")[2])] for group in groups]
    return [groups[row] for row in rng.permutation(len(groups))]


def split_of(work: Work, calls: list[list[object]]) -> list[dict[str, list[int]]]:
    answers = work.call("split.py", "split", *calls)
    for parts in answers:
        good = isinstance(parts, dict) and set(parts) == set(SHARES)
        if not good or not all(hasattr(rows, "__iter__") for rows in parts.values()):
            raise Mistake("no_parts", kind=type(parts).__name__)
    return [{part: [int(row) for row in rows] for part, rows in parts.items()} for parts in answers]


def places_of(parts: dict[str, list[int]], groups: list[str]) -> dict[str, str]:
    """The part of each group."""
    return {groups[row]: part for part, rows in parts.items() for row in rows}
