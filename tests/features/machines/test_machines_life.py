"""Remaining life: by failures, by a column, by last rows; machines that did not fail are kept as censored."""

from __future__ import annotations

import numpy as np
import pytest

from deepseek.data import Table
from deepseek.errors import InputError
from deepseek.features.machines.history import Histories, MachineColumns, read_histories
from deepseek.features.machines.life import default_cap, read_lives

TYPES = {"unit": "text", "time": "number", "a": "number", "broke": "number", "rul": "number"}


def fleet(**columns: list[float]) -> tuple[Table, Histories]:
    rows: dict[str, np.ndarray] = {
        "unit": np.array(["p", "p", "p", "q", "q"], object), "time": np.array([0.0, 2, 4, 10, 11]),
        "a": np.arange(5.0),
    }  # fmt: skip
    rows |= {name: np.array(values, np.float64) for name, values in columns.items()}
    table = Table(rows, {name: TYPES[name] for name in rows})
    return table, read_histories(table.drop(list(columns)), MachineColumns("unit", "time"))


def test_without_a_column_each_last_row_is_a_failure_and_life_is_in_units_of_time() -> None:
    lives = read_lives(*fleet())
    assert [life.remaining.tolist() for life in lives] == [[4, 2, 0], [1, 0]]


def test_a_machine_without_a_failure_is_censored_with_a_bound() -> None:
    lives = read_lives(*fleet(broke=[0, 0, 1, 0, 0]), failure="broke")
    assert lives[0].remaining.tolist() == [4, 2, 0]
    assert lives[1].is_censored
    assert lives[1].at_least.tolist() == [1, 0]


def test_one_value_of_remaining_life_says_that_of_all_rows() -> None:
    lives = read_lives(*fleet(rul=[np.nan, np.nan, 30, np.nan, np.nan]), rul="rul")
    assert lives[0].remaining.tolist() == [34, 32, 30]
    assert lives[1].is_censored


def test_the_cap_follows_the_median_life_and_is_round() -> None:
    table, histories = fleet(rul=[196, 194, 192, 202, 201])
    assert default_cap(histories, read_lives(table, histories, rul="rul")) == 125  # 5/8 of 199.5
    table, histories = fleet(broke=[0, 0, 0, 0, 0])
    with pytest.raises(InputError, match="no machine's end is known"):
        default_cap(histories, read_lives(table, histories, failure="broke"))


@pytest.mark.parametrize(
    ("columns", "named", "words"),
    [
        ({"broke": [0, 1, 0, 0, 0]}, {"failure": "broke"}, "rows after its failure, the first in row 2"),
        ({"broke": [0, 2, 0, 0, 0]}, {"failure": "broke"}, "other numbers than 0 and 1"),
        ({"rul": [4, 2, -1, 1, 0]}, {"rul": "rul"}, "is -1"),
        ({"rul": [9, 2, 0, 1, 0]}, {"rul": "rul"}, "does not fall by what passes"),
        ({"rul": [4, 2, 0, 1, 0]}, {"rul": "rul", "failure": "rul"}, "both a failure"),
        ({}, {"rul": "left"}, "left"),
    ],
)
def test_columns_that_cannot_be_so_are_refused(
    columns: dict[str, list[float]], named: dict[str, str], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        read_lives(*fleet(**columns), **named)
