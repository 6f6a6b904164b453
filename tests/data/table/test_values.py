"""One rule for a value, whatever it comes from."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepseek.data.features.datetimes import CALENDAR_FEATURES
from deepseek.data.table.values import (
    BadValueError,
    format_timestamp,
    is_missing,
    level_name,
    level_names,
    map_distinct,
    parse_boolean,
    parse_number,
    parse_numbers,
    parse_timestamp,
    parse_timestamps,
)


@pytest.mark.parametrize("value", [None, math.nan, np.nan, np.datetime64("NaT"), "", " NA ", "null", Decimal("NaN")])
def test_what_is_missing(value: object) -> None:
    assert is_missing(value)
    assert math.isnan(parse_number(value))
    assert level_name(value) is None


@pytest.mark.parametrize("value", [pd.NA, pd.NaT])
def test_the_missing_values_of_pandas_are_missing(value: object) -> None:
    assert math.isnan(parse_number(value))
    assert parse_timestamp(value) is None
    assert level_name(value) is None


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("3.5", 3.5),
        (" 7 ", 7.0),
        ("+5", 5.0),
        (True, 1.0),
        (np.int8(3), 3.0),
        (Decimal("1.5"), 1.5),
        (10**400, math.inf),
    ],
)
def test_numbers_are_read_from_text_and_from_every_type(value: object, number: float) -> None:
    assert parse_number(value) == number


@pytest.mark.parametrize("value", ["abc", "1_000", "１２", "0x10", [1], {"a": 1}, b"1", "1,5"])
def test_what_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parse_number(value)


def test_booleans_are_read_from_words_and_numbers() -> None:
    assert [parse_boolean(value) for value in ("Yes", "FALSE", "t", "0", True, 1.0)] == [1, 0, 1, 0, 1, 1]
    with pytest.raises(ValueError, match="maybe"):
        parse_boolean("maybe")


@given(st.datetimes(min_value=dt.datetime(1, 1, 1), max_value=dt.datetime(9999, 12, 31)))
def test_a_moment_is_the_same_from_text_object_and_numpy(moment: dt.datetime) -> None:
    expected = int(np.datetime64(moment, "ms").astype(np.int64))
    assert (
        parse_timestamp(moment.isoformat())
        == parse_timestamp(moment)
        == parse_timestamp(np.datetime64(moment, "us"))
        == expected
    )
    assert parse_timestamp(format_timestamp(expected)) == expected


@given(st.datetimes(min_value=dt.datetime(1, 1, 1), max_value=dt.datetime(9999, 12, 31)))
def test_the_calendar_agrees_with_the_standard_library_for_ints_and_arrays(moment: dt.datetime) -> None:
    ms = parse_timestamp(moment)
    assert ms is not None
    whole = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    hour = whole.hour + whole.minute / 60 + (whole.second + whole.microsecond / 1e6) / 3600
    expected = {"hour": hour, "weekday": whole.weekday(), "month": whole.month}
    for name, feature in CALENDAR_FEATURES.items():
        assert feature(ms) == pytest.approx(expected[name])
        assert feature(np.array([ms]))[0] == feature(ms)


@pytest.mark.parametrize("text", ["2018/4/1 9:30", "2018-04-01T09:30:00", "2018-04-01 09:30", "2018.4.1 9:30:00"])
def test_dates_are_read_in_iso_form_and_with_short_months(text: str) -> None:
    assert parse_timestamp(text) == parse_timestamp(dt.datetime(2018, 4, 1, 9, 30))


@pytest.mark.parametrize("value", ["31/01/2018", "yesterday", "２０１８-01-01", "2018-13-01", 5, [1], True])
def test_what_is_no_date_is_refused(value: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        parse_timestamp(value)


def test_a_zone_is_turned_into_utc() -> None:
    assert parse_timestamp("2018-04-01T08:00:00+08:00") == parse_timestamp("2018-04-01")


def test_whole_numbers_and_their_text_name_one_level() -> None:
    assert {level_name(value) for value in (7, 7.0, "7", " 7 ", np.float32(7), np.int64(7))} == {"7"}
    assert level_name(dt.date(2020, 1, 31)) == "2020-01-31"


def test_a_column_names_the_row_of_the_value_that_does_not_fit() -> None:
    with pytest.raises(BadValueError) as caught:
        parse_numbers(["1", None, "x"])
    assert (caught.value.row, caught.value.value) == (2, "x")
    with pytest.raises(BadValueError) as caught:
        level_names(["a", ["b"]])
    assert caught.value.row == 1
    with pytest.raises(BadValueError):
        parse_timestamps(np.array([1.0]))


def test_equal_values_of_two_types_are_read_apart() -> None:
    assert map_distinct([1, True, 1.0], level_name) == ["1", "True", "1"]
