"""Two columns that add up to the target."""

from __future__ import annotations

import numpy as np

from deepseek.data.split.column_sums import find_sum

RNG = np.random.default_rng(0)


def test_a_sum_is_found_among_many_columns_and_through_gaps() -> None:
    columns = {f"x{number}": RNG.normal(size=400) for number in range(40)}
    target = columns["x3"] + columns["x30"]
    columns["x3"] = np.where(RNG.random(400) < 0.2, np.nan, columns["x3"])
    columns |= {"constant": np.ones(400), "empty": np.full(400, np.nan)}
    found = find_sum(columns, target)
    assert found is not None
    assert (found.left, found.right, found.sign) == ("x3", "x30", 1)
    assert found.r2 > 1 - 1e-9
    assert find_sum(columns, RNG.normal(size=400)) is None


def test_a_mean_is_a_sum_and_a_weighted_one_is_not() -> None:
    a, b = RNG.normal(size=(2, 100))
    assert find_sum({"a": a, "b": b}, (a + b) / 2) is not None
    assert find_sum({"a": a, "b": b}, a + 1.1 * b) is None


def test_few_rows_and_no_spread_say_nothing() -> None:
    a, b = RNG.normal(size=(2, 10))
    assert find_sum({"a": a, "b": b}, a + b) is None
    assert find_sum({"a": np.ones(50), "b": np.ones(50)}, np.ones(50)) is None
    assert find_sum({}, np.arange(50.0)) is None
