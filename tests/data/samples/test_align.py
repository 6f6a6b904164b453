"""Rows of one table for the rows of another: nearest in time, the same key, the same patient."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek.data.samples.align import align, by_key
from deepseek.errors import InputError

TIMES = st.lists(
    st.one_of(st.integers(-20, 20).map(lambda n: n / 4), st.just(math.nan), st.just(math.inf)), max_size=12
)


def slowly(a: list[float], b: list[float], tolerance: float) -> list[int]:
    """Every pair is looked at."""
    rows = []
    for time in a:
        pairs = [
            (abs(time - other), other, row)
            for row, other in enumerate(b)
            if math.isfinite(time) and math.isfinite(other) and abs(time - other) <= tolerance
        ]
        rows.append(min(pairs)[2] if pairs else -1)
    return rows


@settings(max_examples=300)
@given(TIMES, TIMES, st.sampled_from([0.0, 0.25, 1.0, 100.0]))
def test_the_nearest_is_that_of_the_slow_way(a: list[float], b: list[float], tolerance: float) -> None:
    assert align(a, b, tolerance_s=tolerance).tolist() == slowly(a, b, tolerance)


def test_of_two_as_near_the_earlier_counts_and_of_two_at_once_the_first() -> None:
    assert align([1.0], [1.5, 0.5], tolerance_s=1).tolist() == [1]
    assert align([1.0, 9.0], [2.0, 2.0, 2.0], tolerance_s=10).tolist() == [0, 0]


def test_the_tolerance_is_included_also_after_rounding() -> None:
    assert 0.4 - 0.3 > 0.1
    assert align([0.4], [0.3], tolerance_s=0.1).tolist() == [0]
    assert align([0.4], [0.2], tolerance_s=0.1).tolist() == [-1]
    assert (1.7e9 + 0.2) - 1.7e9 > 0.2
    assert align([1.7e9 + 0.2], [1.7e9], tolerance_s=0.2).tolist() == [0]
    assert align([1.7e9 + 0.21], [1.7e9], tolerance_s=0.2).tolist() == [-1]


def test_dates_are_seconds_apart_whatever_their_unit() -> None:
    a = np.array(["2026-01-01T00:00:00", "NaT", "2026-01-02"], "datetime64[s]")
    b = np.array(["2026-01-01T00:00:00.040", "NaT", "2026-01-01T23:00"], "datetime64[ms]")
    assert align(a, b, tolerance_s=0.05).tolist() == [0, -1, -1]
    assert align(a, b, tolerance_s=3_600).tolist() == [0, -1, 2]
    assert align(a, np.array([], "datetime64[s]"), tolerance_s=1).tolist() == [-1, -1, -1]
    assert align(a, [], tolerance_s=1).tolist() == [-1, -1, -1]
    assert align([], b, tolerance_s=1).tolist() == []


def test_with_keys_the_nearest_is_of_the_same_patient() -> None:
    scans, labs = [0.0, 10.0, 10.0, 5.0], [9.0, 1.0, 30.0, 5.0]
    rows = align(scans, labs, tolerance_s=50, keys=(["ann", "bob", "cid", None], ["bob", "bob", "ann", None]))
    assert rows.tolist() == [2, 0, -1, -1]


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from("xyz")), max_size=15), st.data())
def test_with_keys_it_is_the_same_as_key_by_key(a: list[tuple[int, str]], data: st.DataObject) -> None:
    b = data.draw(st.lists(st.tuples(st.integers(0, 9), st.sampled_from("xyz")), max_size=15))
    alignment = align([t for t, _ in a], [t for t, _ in b], tolerance_s=2, keys=([k for _, k in a], [k for _, k in b]))
    alone = [[t if k == key else math.nan for t, k in b] for _, key in a]
    assert alignment.tolist() == [slowly([t], times, 2)[0] for (t, _), times in zip(a, alone, strict=True)]


def test_times_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(InputError, match="one table has dates"):
        align(np.array(["2026-01-01"], "datetime64[s]"), [1.0], tolerance_s=1)
    with pytest.raises(InputError, match="the times of b"):
        align([1.0], ["2026-01-01"], tolerance_s=1)
    with pytest.raises(InputError, match="tolerance_s is nan"):
        align([1.0], [1.0], tolerance_s=math.nan)
    with pytest.raises(InputError, match="a has 1 keys and 2 times"):
        align([1.0, 2.0], [1.0], tolerance_s=1, keys=(["x"], ["x"]))


def test_each_row_finds_its_record() -> None:
    assert by_key(["p2", "p1", "p2", None, "p9", ""], ["p1", "", "p2", None, ""]).tolist() == [2, 0, 2, -1, -1, -1]
    assert by_key(np.array([3, 1]), [1, 2, 3]).tolist() == [2, 0]
    assert by_key([1.0, math.nan], np.array([math.nan, 1, math.nan])).tolist() == [1, -1]
    assert by_key(pd.array(["a", None], "string"), ["a", "b"]).tolist() == [0, -1]
    assert by_key([], ["a"]).tolist() == []
    assert by_key(["a"], []).tolist() == [-1]


def test_two_records_of_one_key_are_named_by_row_and_not_by_patient() -> None:
    with pytest.raises(InputError, match=r"rows 1 and 3 of b have one key; 2 such pairs") as caught:
        by_key(["a"], ["a", "Mueller", "b", "Mueller", "c", "c"])
    assert "Mueller" not in str(caught.value)


def test_keys_of_other_types_are_refused() -> None:
    with pytest.raises(InputError, match="the keys of a are text, those of b numbers"):
        by_key(["1", "2"], [1, 2])
    with pytest.raises(InputError, match="a list or a dict"):
        by_key([["1"]], ["1"])
