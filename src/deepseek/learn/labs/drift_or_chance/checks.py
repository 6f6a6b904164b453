"""Checks of the lab "Drift, or chance"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from deepseek.learn.grading.kit import DataFolder, Mistake, Text, Work

NUM_ROWS, NUM_QUIET, NUM_DRIFTED = 400, 10, 4
MEASURES = 11
CULTIVARS = ("barolo", "grignolino", "barbera")
Columns = dict[str, list[Any]]
Change = Callable[[np.random.Generator, Columns, str], None]


def make(data: DataFolder) -> object:
    rng = data.rng
    reference, week = two_weeks(rng)
    measures = [name for name in week if name != "cultivar"]
    names = [str(name) for name in rng.choice(measures, 3, replace=False)]
    changes: list[tuple[str, Change]] = [
        (names[0], move_mean), (names[1], widen), (names[2], empty_cells), ("cultivar", change_shares),
    ]  # fmt: skip
    chosen = sorted(rng.choice(4, int(rng.integers(2, 5)), replace=False).tolist())
    for place in chosen:
        name, change = changes[place]
        change(rng, week, name)
    data.write_csv("reference.csv", reference)
    data.write_csv("week.csv", week)
    return {"drifted": sorted(changes[place][0] for place in chosen)}


def two_weeks(rng: np.random.Generator) -> tuple[Columns, Columns]:
    """Two samples of the same wines."""
    from sklearn.datasets import load_wine

    source = load_wine()
    noise = source.data.std(0) * 0.3

    def sample() -> Columns:
        rows = rng.choice(len(source.target), NUM_ROWS)
        values = np.round(source.data[rows] + rng.normal(0, 1, (NUM_ROWS, source.data.shape[1])) * noise, 3)
        columns: Columns = {
            str(source.feature_names[i]).replace("/", "_"): values[:, i].tolist() for i in range(MEASURES)
        }
        return columns | {"cultivar": [CULTIVARS[kind] for kind in source.target[rows]]}

    return sample(), sample()


def move_mean(_: np.random.Generator, week: Columns, name: str) -> None:
    values = np.array(week[name], float)
    week[name] = np.round(values + 0.5 * values.std(), 3).tolist()


def widen(_: np.random.Generator, week: Columns, name: str) -> None:
    values = np.array(week[name], float)
    week[name] = np.round(values.mean() + 2.0 * (values - values.mean()), 3).tolist()


def empty_cells(rng: np.random.Generator, week: Columns, name: str) -> None:
    gone = rng.random(len(week[name])) < 0.12
    week[name] = [None if is_gone else value for value, is_gone in zip(week[name], gone, strict=True)]


def change_shares(rng: np.random.Generator, week: Columns, name: str) -> None:
    renamed = rng.random(len(week[name])) < 0.25
    week[name] = ["nebbiolo" if new and old == "barolo" else "barbera" if new else old
                  for old, new in zip(week[name], renamed, strict=True)]  # fmt: skip


def check_own(work: Work) -> None:
    said = work.value("answers.json", "drifted")
    if not isinstance(said, list):
        raise Mistake("no_list", kind=type(said).__name__)
    names, right = set(map(str, said)), set(work.truth["drifted"])
    if names != right:
        raise Mistake("wrong_columns", missed=len(right - names), extra=len(names - right))


def check_quiet(work: Work) -> None:
    pairs = [two_weeks(work.rng(f"quiet {number}")) for number in range(NUM_QUIET)]
    num = sum(bool(said) for said in columns_named(work, pairs))
    if num > 2:
        raise Mistake("wolf", num=num, total=NUM_QUIET)


def check_mean(work: Work) -> None:
    must_find(
        work,
        "mean",
        move_mean,
        "ash",
        Text("a mean that has moved by half a standard deviation", "移动了半个标准差的均值"),
    )


def check_spread(work: Work) -> None:
    must_find(work, "spread", widen, "hue", Text("a spread that has doubled", "翻倍的离散度"))


def check_texts(work: Work) -> None:
    must_find(work, "texts", change_shares, "cultivar", Text("texts whose shares have changed", "文本比例的变化"))


def check_empty(work: Work) -> None:
    must_find(work, "empty", empty_cells, "magnesium", Text("cells that have become empty", "变空的单元格"))


def must_find(work: Work, name: str, change: Change, column: str, what: Text) -> None:
    pairs = []
    for number in range(NUM_DRIFTED):
        rng = work.rng(f"{name} {number}")
        reference, week = two_weeks(rng)
        change(rng, week, column)
        pairs.append((reference, week))
    num = sum(column not in said for said in columns_named(work, pairs))
    if num:
        raise Mistake("missed", what=what, num=num, total=NUM_DRIFTED)


def columns_named(work: Work, pairs: list[tuple[Columns, Columns]]) -> list[list[str]]:
    answers = work.call("drift.py", "find_drift", *([reference, week] for reference, week in pairs))
    for said in answers:
        if not isinstance(said, list):
            raise Mistake("no_list", kind=type(said).__name__)
    return answers
