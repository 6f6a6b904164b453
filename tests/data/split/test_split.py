"""Splits and folds: shares are kept, nothing is on two sides, the same seed gives the same rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek.data import Split, Table, make_folds, read_table, split_table
from deepseek.errors import InputError

RNG = np.random.default_rng(0)
N = 1_000
TABLE = read_table(
    {
        "when": np.datetime64("2020-01-01", "ms") + RNG.integers(0, 60, N).astype("timedelta64[D]"),
        "stamp": [f"2020-{1 + n % 12:02}-01" for n in range(N)],
        "customer": [f"c{number}" for number in RNG.integers(0, 40, N)],
        "place": RNG.integers(0, 3, N),
        "holey": [None if n == 5 else n for n in range(N)],
        "y": RNG.choice(["a", "b", "c"], N, p=[0.7, 0.25, 0.05]),
        "value": RNG.normal(size=N),
    }
)


def cut(
    split: str = "random", *, table: Table = TABLE, target: str = "y", task: Any = "multiclass", **more: Any
) -> Split:
    return split_table(table, split=split, target=target, task=task, **more)


def shares(split: Split) -> list[float]:
    total = sum(len(part) for part in (split.train, split.validation, split.test))
    return [round(len(part) / total, 3) for part in (split.train, split.validation, split.test)]


@pytest.mark.parametrize("how", ["random", "time:when", "time:stamp", "group:customer", "group:place"])
def test_every_row_is_in_one_part_and_the_seed_decides(how: str) -> None:
    split = cut(how, seed=3)
    assert sorted(np.concatenate([split.train, split.validation, split.test]).tolist()) == list(range(N))
    again = cut(how, seed=3)
    assert np.array_equal(split.train, again.train)
    assert np.array_equal(split.test, again.test)


def test_a_random_split_keeps_the_shares_of_the_classes() -> None:
    split = cut()
    assert shares(split) == [0.6, 0.2, 0.2]
    y = TABLE.column("y")
    for name in "abc":
        counts = [int((y[rows] == name).sum()) for rows in (split.train, split.validation, split.test)]
        assert np.allclose(np.array(counts) / sum(counts), [0.6, 0.2, 0.2], atol=2 / sum(counts))
    assert not np.array_equal(split.test, cut(seed=1).test)


def test_a_part_may_be_empty() -> None:
    assert shares(cut(validation_share=0.0)) == [0.8, 0.0, 0.2]
    assert shares(cut("time:value", validation_share=0.0, test_share=0.25)) == [0.75, 0.0, 0.25]


def test_a_class_of_few_rows_is_in_training_first() -> None:
    table = read_table({"y": ["a"] * 97 + ["b"] + ["c"] * 2})
    split = cut(table=table)
    assert 97 in split.train
    assert (split.train > 97).sum() == (split.test > 97).sum() == 1


def test_by_time_later_rows_judge_and_a_moment_is_on_one_side() -> None:
    split, when = cut("time:when"), TABLE.column("when")
    assert when[split.train].max() < when[split.validation].min()
    assert when[split.validation].max() < when[split.test].min()
    assert np.allclose(shares(split), [0.6, 0.2, 0.2], atol=0.03)


def test_by_group_no_group_is_on_two_sides() -> None:
    split, customer = cut("group:customer"), TABLE.column("customer")
    parts = [set(customer[rows]) for rows in (split.train, split.validation, split.test)]
    assert not parts[0] & parts[1]
    assert not parts[0] & parts[2]
    assert not parts[1] & parts[2]
    assert np.allclose(shares(split), [0.6, 0.2, 0.2], atol=0.05)


def test_regression_is_split_at_random() -> None:
    assert shares(cut(target="value", task="regression")) == [0.6, 0.2, 0.2]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("by luck", "not a way to split"),
        ("time", "not a way to split"),
        ("time:", "no column"),
        ("time:wehn", "Did you mean 'when'"),
        ("time:holey", "missing in 1 rows"),
        ("time:customer", "no date"),
    ],
)
def test_splits_that_cannot_be_made(how: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        cut(how)
    with pytest.raises(InputError, match=words):
        make_folds(TABLE, split=how, target="y", task="multiclass")


def test_too_few_rows_moments_or_groups() -> None:
    small = read_table({"t": [1, 1, 1], "y": ["a", "b", "a"]})
    for how in ("time:t", "group:t"):
        with pytest.raises(InputError, match="'t'"):
            cut(how, table=small)
        with pytest.raises(InputError, match="'t'"):
            make_folds(small, split=how, target="y", task="binary")
    with pytest.raises(InputError, match="2 rows"):
        cut(table=small.take(np.arange(2)))
    for bad in ({"test_share": 0.9}, {"test_share": -0.1}, {"validation_share": 1.0}):
        with pytest.raises(InputError, match="shares"):
            cut(**bad)


@pytest.mark.parametrize("how", ["random", "group:customer"])
def test_folds_judge_every_row_once(how: str) -> None:
    folds = make_folds(TABLE, split=how, target="y", task="multiclass", num_folds=4, seed=1)
    assert sorted(np.concatenate([judged for _, judged in folds]).tolist()) == list(range(N))
    for train, judged in folds:
        assert not np.intersect1d(train, judged).size
        assert len(train) + len(judged) == N
        assert abs(len(judged) - N / 4) < 40
        rare = (TABLE.column("y")[judged] == "c").mean()
        assert abs(rare - (TABLE.column("y") == "c").mean()) < 0.02
    if how != "random":
        groups = [set(TABLE.column("customer")[judged]) for _, judged in folds]
        assert len(set.union(*groups)) == sum(map(len, groups))


def test_folds_by_time_grow_and_look_ahead() -> None:
    when = TABLE.column("when")
    folds = make_folds(TABLE, split="time:when", target="y", task="multiclass", num_folds=3)
    assert len(folds) == 3
    sizes = [len(train) for train, _ in folds]
    assert sizes == sorted(sizes)
    for train, judged in folds:
        assert when[train].max() < when[judged].min()


def test_fewer_folds_than_asked_when_there_is_less() -> None:
    table = read_table({"g": [1, 1, 2, 2], "y": ["a", "b", "a", "b"]})
    assert len(make_folds(table, split="group:g", target="y", task="binary")) == 2
    assert len(make_folds(table, split="time:g", target="y", task="binary")) == 1
    assert len(make_folds(table, target="y", task="binary")) == 4
    with pytest.raises(InputError, match="at least 2"):
        make_folds(table, target="y", task="binary", num_folds=1)


@settings(max_examples=150)
@given(
    classes=st.lists(st.sampled_from("aaaaabbc"), min_size=3, max_size=60),
    share=st.sampled_from([0.0, 0.1, 0.34]),
    seed=st.integers(0, 5),
    how=st.sampled_from(["random", "time:t", "group:t"]),
)
def test_any_table_is_split_whole(classes: list[str], share: float, seed: int, how: str) -> None:
    table = read_table({"y": classes, "t": [len(classes) // 3 and n // 2 for n in range(len(classes))]})
    try:
        split = cut(how, table=table, validation_share=share, seed=seed)
    except InputError:
        assert len(classes) < 6
        return
    assert sorted(np.concatenate([split.train, split.validation, split.test]).tolist()) == list(range(len(classes)))
    assert len(split.train) > 0
    assert len(split.test) > 0
    assert bool(len(split.validation)) == (share > 0)
