"""Rows by column give the same bits as the same rows as records."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from deepseek.data import Preprocessor, find_kinds, fit_preprocessor, read_table
from deepseek.data.table.columns import ColumnarRows
from deepseek.errors import InputError

RNG = np.random.default_rng(0)
N = 600


@pytest.fixture(scope="module")
def numeric() -> Preprocessor:
    gaps = np.where(RNG.random(N) < 0.1, np.nan, RNG.normal(size=N))
    table = read_table(
        {"plain": RNG.normal(size=N), "seconds": 1.7e9 + RNG.random(N) * 10, "gaps": gaps}
        | {"rooms": RNG.integers(3, 8, N), "on": RNG.integers(0, 2, N).astype(bool), "y": RNG.integers(0, 2, N)}
    )
    return fit_preprocessor(table, find_kinds(table, target="y"), target="y")


@pytest.fixture(scope="module")
def mixed() -> Preprocessor:
    when = np.datetime64("2020-01-01T00:00", "ms") + RNG.integers(0, 10**11, N).astype("timedelta64[ms]")
    table = read_table(
        {"x": RNG.normal(size=N), "color": RNG.choice(["red", "green", "7"], N), "when": when}
        | {"name": [f"n{row}" for row in range(N)], "y": RNG.integers(0, 2, N)}
    )
    return fit_preprocessor(table, find_kinds(table, target="y"), target="y")


def odd_numbers(num_rows: int, dtype: Any) -> np.ndarray[Any, Any]:
    """Usual values, and every unusual one that a float can be, in every column."""
    matrix = np.abs(RNG.normal(size=(num_rows, 5)) * 5).round()
    matrix[:, 1] += 1.7e9
    unusual = [np.nan, np.inf, -np.inf, 1e39 if dtype is np.float64 else 3e38, -0.0, 2.5]
    for place in range(5):
        matrix[RNG.integers(0, num_rows, 6), place] = unusual
    return matrix.astype(dtype)


@pytest.mark.parametrize("num_rows", [1, 7, 100])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_matrix_gives_the_bits_and_flags_of_its_records(numeric: Preprocessor, num_rows: int, dtype: Any) -> None:
    matrix = odd_numbers(num_rows, dtype)
    names = [column.name for column in numeric.columns]
    by_column = numeric.rows(ColumnarRows(names, matrix))
    records = [
        {name: None if np.isnan(value) else value for name, value in zip(names, row, strict=True)}
        for row in matrix.tolist()
    ]
    by_record = numeric.rows(records)
    assert by_column.features.tobytes() == by_record.features.tobytes()
    assert by_column.features.flags.c_contiguous
    assert sorted(by_column.flags, key=str) == sorted(by_record.flags, key=str)


@pytest.mark.parametrize("dtype", [np.int8, np.uint64, np.int64, np.bool_, np.float16])
def test_whole_numbers_and_booleans_are_numbers(numeric: Preprocessor, dtype: Any) -> None:
    matrix = np.array([[0, 1, 1, 0, 1]] * 70).astype(dtype)
    names = [column.name for column in numeric.columns]
    records = [dict(zip(names, row, strict=True)) for row in matrix.tolist()]
    assert numeric.rows(ColumnarRows(names, matrix)).features.tobytes() == numeric.rows(records).features.tobytes()


@pytest.mark.parametrize("num_rows", [1, 3, 90])
def test_columns_of_any_type_and_order_give_the_bits_of_records(mixed: Preprocessor, num_rows: int) -> None:
    columns = {
        "when": ["2020-05-01", None, "2021/1/2"] * 30,
        "color": ["red", "blue", None] * 30,
        "x": [1, None, 1e400] * 30,
        "name": ["read", "by", "nobody"] * 30,
    }
    columns = {name: values[:num_rows] for name, values in columns.items()}
    records = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    features, expected = mixed.rows(ColumnarRows(list(columns), list(columns.values()))), mixed.rows(records)
    assert features.features.tobytes() == expected.features.tobytes()
    assert sorted(features.flags, key=str) == sorted(expected.flags, key=str)
    arrays = [np.array(columns["x"], np.float64), np.array([1.5] * num_rows), *list(columns.values())[:1]]
    shorter = ColumnarRows(["x", "color", "when"], arrays)
    assert len(mixed.rows(shorter)) == num_rows


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["plain", "seconds", "gaps", "rooms"], "no column 'on'"),
        (["plain", "seconds", "gaps", "rooms", "one"], "no column 'on'"),
        (["plain", "seconds", "gaps", "rooms", "on", "more"], "'more' that the model does not know"),
        (["plain", "seconds", "gaps", "rooms", "on", "on"], "'on' stands twice"),
    ],
)
def test_names_that_do_not_fit_are_said(numeric: Preprocessor, names: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        numeric.rows(ColumnarRows(names, np.zeros((3, len(names)))))


@pytest.mark.parametrize("num_rows", [2, 90])
def test_a_value_that_does_not_fit_is_named_with_its_row(mixed: Preprocessor, num_rows: int) -> None:
    values = [["red"] * num_rows, [0.0] * (num_rows - 1) + ["tall"], [None] * num_rows]
    with pytest.raises(InputError, match=rf"row {num_rows - 1}, column 'x': 'tall'"):
        mixed.rows(ColumnarRows(["color", "x", "when"], values))


def test_a_row_is_a_record_of_plain_values() -> None:
    rows = ColumnarRows(("a", "b"), np.array([[1.0, np.nan], [2.0, 3.0]], np.float32))
    assert list(rows) == [{"a": 1.0, "b": None}, {"a": 2.0, "b": 3.0}]
    assert rows[-1:] == [{"a": 2.0, "b": 3.0}]
    assert len(ColumnarRows((), [])) == 0
    with pytest.raises(IndexError):
        rows[2]
