"""The kind of a column: found from its values and its name, or said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from deepseek.data import KINDS, find_kinds, read_table
from deepseek.errors import InputError

N = 400
RNG = np.random.default_rng(0)


def kind(values: Any, name: str = "column") -> str:
    columns = {name: list(values), "other": [0.5, 1.5] * (len(values) // 2) + [0.5] * (len(values) % 2)}
    return find_kinds(read_table({**columns, "y": [0.5] * len(values)}), target="y")[name]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (RNG.normal(size=N), "numeric"),
        (RNG.integers(0, 100, N), "numeric"),
        (RNG.permutation(N) * 300, "numeric"),
        (RNG.integers(3, 9, N), "integer_category"),
        (RNG.integers(3, 9, 30), "numeric"),
        (RNG.integers(3, 9, N) / 2, "numeric"),
        (RNG.integers(0, 2, N), "boolean"),
        (RNG.integers(1, 3, N), "numeric"),
        ([True, False] * 30, "boolean"),
        (["yes", "No"] * 30, "boolean"),
        (["yes", "maybe"] * 30, "category"),
        (RNG.choice(["red", "green", "blue"], N), "category"),
        ([str(value) for value in RNG.integers(0, 5, N)], "category"),
        ([f"{value:.3f}" for value in RNG.normal(size=N)], "numeric"),
        (np.arange("2020-01-01", "2020-03-01", dtype="datetime64[D]"), "datetime"),
        ([f"2020-01-{day:02}" for day in range(1, 31)] * 2, "datetime"),
        ([f"the {word} quick brown fox {word}" for word in range(N)], "text"),
        ([f"u{number:05x}" for number in RNG.permutation(N)], "identifier"),
        (range(N), "identifier"),
        (RNG.permutation(N), "identifier"),
        ([7] * N, "constant"),
        ([None] * N, "constant"),
        ([7, None] * N, "numeric"),
        (["x", None] * N, "category"),
        (["a", "b", "c"], "category"),
    ],
)
def test_kinds_by_values(values: Any, expected: str) -> None:
    assert kind(values) == expected


@pytest.mark.parametrize("name", ["CUSTOMER_ID", "id", "PassengerId", "row id", "Unnamed: 0", "客户编号", "index"])
def test_numbers_that_are_named_like_identifiers_are_identifiers(name: str) -> None:
    values = [f"k{number}" for number in RNG.permutation(N)] if name == "id" else RNG.integers(0, 300, N)
    assert kind(values, name) == "identifier"


@pytest.mark.parametrize(
    ("name", "values"),
    [("grid", RNG.integers(0, 300, N)), ("price_index", RNG.integers(0, 300, N)), ("type_id", RNG.integers(3, 9, N))],
)
def test_a_name_alone_makes_no_identifier(name: str, values: Any) -> None:
    assert kind(values, name) != "identifier"


@pytest.mark.parametrize("is_sorted", [True, False])
def test_numbers_of_rows_are_no_input_where_some_rows_were_left_out(is_sorted: bool) -> None:
    kept = RNG.choice(2 * N, N, replace=False)
    assert kind(np.sort(kept) if is_sorted else kept, "row") == "identifier"
    assert kind(RNG.integers(0, 2 * N, N), "count") != "identifier"  # they repeat, as measures do
    assert kind(np.arange(30) * 2 + RNG.integers(0, 2, 30), "few") != "identifier"


def test_a_user_says_which_kind() -> None:
    table = read_table({"id": list(range(50)), "x": [0.5, 1.5] * 25, "y": [0.5] * 50})
    assert find_kinds(table, target="y", overrides={"id": "numeric"}) == {"id": "numeric", "x": "numeric"}


def test_a_row_counter_is_read_when_there_is_nothing_else() -> None:
    assert find_kinds(read_table({"x": range(N), "y": [0.5] * N}), target="y") == {"x": "numeric"}


def test_unknown_names_in_overrides_are_refused() -> None:
    table = read_table({"age": [1, 2], "y": [0, 1]})
    with pytest.raises(InputError, match="Did you mean 'numeric'"):
        find_kinds(table, target="y", overrides={"age": "numerical"})
    with pytest.raises(InputError, match="Did you mean 'age'"):
        find_kinds(table, target="y", overrides={"agee": "numeric"})
    with pytest.raises(InputError, match="no column 'z'"):
        find_kinds(table, target="z")


def test_every_kind_can_be_said() -> None:
    table = read_table({"x": [0, 1] * 20, "y": [0, 1] * 20})
    assert {find_kinds(table, target="y", overrides={"x": kind})["x"] for kind in KINDS} == set(KINDS)
