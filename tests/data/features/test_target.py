"""The task that a target sets, and its labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from deepseek.data import Table, drop_missing_target, encode_target, infer_task, read_table
from deepseek.errors import InputError

N = 200
RNG = np.random.default_rng(0)


def table(values: Any) -> Table:
    return read_table({"y": list(values)})


@pytest.mark.parametrize(
    ("values", "task", "labels"),
    [
        (RNG.integers(0, 2, N), "binary", ("0", "1")),
        (RNG.integers(0, 2, N) * 1.5, "binary", ("0", "1.5")),
        ([True, False] * 20, "binary", ("False", "True")),
        (["yes", "no"] * 20, "binary", ("no", "yes")),
        (RNG.integers(0, 12, N), "multiclass", tuple(map(str, range(12)))),
        (["10", "9", "b"] * 9, "multiclass", ("10", "9", "b")),
        (["10", "9", "1"] * 9, "multiclass", ("1", "9", "10")),
        (RNG.normal(size=N), "regression", ()),
        (RNG.integers(0, 100, N), "regression", ()),
        (range(12), "regression", ()),
        ([f"{value:.3f}" for value in RNG.normal(size=N)], "regression", ()),
    ],
)
def test_task_and_labels(values: Any, task: str, labels: tuple[str, ...]) -> None:
    info = infer_task(table(values), "y")
    assert (info.task, info.labels) == (task, labels)
    encoded = encode_target(table(values), "y", info.labels)
    assert encoded.dtype == (np.float64 if task == "regression" else np.int64)
    if labels:
        assert encoded.min() == 0
        assert encoded.max() == len(labels) - 1


def test_a_task_can_be_said() -> None:
    numbers = table(RNG.integers(0, 5, N))
    assert infer_task(numbers, "y", task="regression").task == "regression"
    assert infer_task(numbers, "y").task == "multiclass"
    with pytest.raises(InputError, match="5 classes"):
        infer_task(numbers, "y", task="binary")
    with pytest.raises(InputError, match="'a'"):
        infer_task(table(["a", "b"] * 9), "y", task="regression")


def test_missing_values_are_refused_with_their_number_and_the_way_out() -> None:
    holey = table([0, 1, None, 1] * 5)
    with pytest.raises(InputError, match="missing in 5 of 20 rows") as caught:
        infer_task(holey, "y")
    assert "--drop-missing-target" in caught.value.fix
    kept = drop_missing_target(holey, "y")
    assert kept.num_rows == 15
    assert "5 rows" in kept.notes[-1]
    assert infer_task(kept, "y").task == "binary"
    assert drop_missing_target(kept, "y") is kept


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([1] * 9, "one class"),
        (["a"] * 9, "one class"),
        ([f"a{n}" for n in range(50)], "50 different values"),
        (np.arange("2020-01-01", "2020-01-20", dtype="datetime64[D]"), "dates"),
        ([1.5, float("inf"), 2.5], "infinite"),
        ([1.5, -2e302, 2.5], "row 1, is too large: -2e.302"),
        ([None, None], "missing"),
    ],
)
def test_targets_that_cannot_be_learned(values: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        infer_task(table(values), "y")


def test_a_class_of_one_row_is_noted() -> None:
    assert "'c'" in infer_task(table(["a", "b"] * 9 + ["c"]), "y").notes[0]


@pytest.mark.parametrize(
    ("labels", "values"),
    [
        (("0", "1"), [0, 1, 1]),
        (("0", "1"), [False, True, True]),
        (("False", "True"), ["false", "True", "yes"]),
        (("False", "True"), [0, 1, 1]),
        (("no", "yes"), ["no", "yes", "yes"]),
        (("no", "yes"), [False, True, True]),
    ],
)
def test_one_class_is_known_in_every_spelling(labels: tuple[str, ...], values: list[Any]) -> None:
    assert encode_target(table(values), "y", labels).tolist() == [0, 1, 1]


def test_a_class_that_is_not_known_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="'c'"):
        encode_target(table(["a", "c"]), "y", ("a", "b"))
    with pytest.raises(InputError, match="no column 'z'"):
        infer_task(table([0, 1]), "z")
