"""The data card: figures of the columns, and nobody's row."""

from __future__ import annotations

import json
import math
import statistics
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek.data import Table, find_kinds, make_card, read_table

RNG = np.random.default_rng(0)
N = 300
TABLE = read_table(
    {
        "age": [None if n < 30 else n + 0.5 for n in range(N)],
        "rooms": RNG.integers(3, 6, N),
        "city": ["Rome"] * 200 + ["Oslo"] * 91 + ["secret place"] * 9,
        "id": [f"u{n}" for n in range(N)],
        "when": np.datetime64("2020-01-01", "ms") + np.arange(N).astype("timedelta64[D]"),
        "y": np.arange(N) % 2 == 0,
    }
)
CARD = make_card(TABLE, find_kinds(TABLE, target="y"), "y")
COLUMNS = {column["name"]: column for column in CARD["columns"]}


def test_it_is_json_and_the_same_each_time() -> None:
    text = json.dumps(CARD, allow_nan=False)
    assert text == json.dumps(make_card(TABLE, find_kinds(TABLE, target="y"), "y"))
    assert CARD["num_rows"] == N
    assert list(COLUMNS) == list(TABLE.names)


def test_numbers_have_ends_quantiles_and_a_histogram_of_all_rows() -> None:
    age = COLUMNS["age"]
    assert (age["min"], age["max"], age["mean"], age["missing_share"]) == (30.5, 299.5, 165.0, 0.1)
    assert age["quantiles"]["0.5"] == 165.0
    assert sum(age["histogram"]["counts"]) == 270
    assert len(age["histogram"]["edges"]) == 21
    assert age["histogram"]["edges"][0] == 30.5
    assert age["histogram"]["edges"][-1] == 299.5


def test_a_rare_level_is_counted_and_not_named() -> None:
    city = COLUMNS["city"]
    assert city["levels"] == [{"level": "Rome", "num_rows": 200}, {"level": "Oslo", "num_rows": 91}]
    assert city["num_other"] == 9
    assert "secret" not in json.dumps(CARD)


def test_identifiers_are_only_counted() -> None:
    assert COLUMNS["id"]["kind"] == "identifier"
    assert COLUMNS["id"]["num_distinct"] == N
    assert "levels" not in COLUMNS["id"]
    assert "u17" not in json.dumps(CARD)


def test_dates_are_in_iso_form() -> None:
    assert COLUMNS["when"]["min"] == "2020-01-01"
    assert COLUMNS["when"]["max"] == "2020-10-26"
    assert sum(COLUMNS["when"]["histogram"]["counts"]) == N


def test_the_target_is_described_too() -> None:
    assert COLUMNS["y"]["levels"] == [{"level": "False", "num_rows": 150}, {"level": "True", "num_rows": 150}]


@settings(max_examples=100)
@given(st.lists(st.one_of(st.none(), st.floats(), st.integers(-3, 3)), min_size=1, max_size=40))
def test_any_numbers_make_a_card(values: list[Any]) -> None:
    table = read_table({"x": values, "y": [0.5] * len(values)})
    for kind in ("numeric", "category", "constant", "integer_category", "text"):
        card = make_card(table, {"x": kind}, "y")
        json.dumps(card, allow_nan=False)
    histogram = make_card(table, {"x": "numeric"}, "y")["columns"][0].get("histogram", {"counts": [0]})
    assert sum(histogram["counts"]) == int(np.isfinite(table.column("x")).sum())


@pytest.mark.parametrize(
    "values",
    [[1.7e308, -1.7e308, 0.0, 1e308], [1.7e308] * 20 + [1.6e308], [-1e308, 1e308], [1e160, 3e160, -2e160], [1.7e308]],
)
@pytest.mark.parametrize("kind", ["numeric", "constant"])
def test_figures_of_numbers_near_the_end_of_float64_are_right(values: list[float], kind: str) -> None:
    table = Table({"x": np.array(values)}, {"x": "number"})
    (column,) = make_card(table, {"x": kind}, None)["columns"]
    exact = [Fraction(value) for value in values]
    mean = sum(exact) / len(exact)
    # a root of a fraction that has no float: by halves of its exponent
    spread = math.sqrt(float(sum((value - mean) ** 2 for value in exact) / len(exact) / 2**1200)) * 2.0**600
    assert column["mean"] == pytest.approx(float(mean), rel=1e-12, abs=1e-12 * max(map(abs, values)))
    assert column["std"] == pytest.approx(spread, rel=1e-9, abs=1e-12 * max(map(abs, values)))
    assert column["quantiles"]["0.5"] == pytest.approx(float(statistics.median(exact)), rel=1e-12)
    edges = column["histogram"]["edges"]
    assert edges == sorted(edges)
    assert (edges[0], edges[-1]) == (min(values), max(values))
    assert sum(column["histogram"]["counts"]) == len(values)
    json.dumps(column, allow_nan=False)
