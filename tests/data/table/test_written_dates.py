"""Dates as people write them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest

from deepseek.data.table.formats import apply_formats, read_formats
from deepseek.data.table.table import Table
from deepseek.data.table.words.months import month_number
from deepseek.data.table.written_dates import DateOrder, parse_written

DAYS = [datetime(2019, 3, 1) + timedelta(days=int(day)) for day in np.random.default_rng(5).integers(0, 1_200, 150)]


def read(cells: Any) -> Table:
    return read_formats(Table({"x": np.array(list(cells), object)}, {"x": "text"}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("14. Mai 2022", "2022-05-14"), ("14 mai 2022", "2022-05-14"), ("14 de mayo de 2022", "2022-05-14"),
        ("lundi 14 mars 2022", "2022-03-14"), ("17 December 2019", "2019-12-17"), ("14 мая 2022 г.", "2022-05-14"),
        ("2020 Feb 07", "2020-02-07"), ("07/Feb/2020", "2020-02-07"), ("Feb-20", "2020-02-01"),
        ("08/Jan/2022:22:41:00 +0000", "2022-01-08T22:41"), ("Sat Jan 08 22:41:00 2022", "2022-01-08T22:41"),
        ("Sat, 08 Jan 2022 22:41:00 GMT", "2022-01-08T22:41"), ("2022-05-14 10:30 +0200", "2022-05-14T08:30"),
        ("22:41 08.01.2022", "2022-01-08T22:41"), ("08.01.2022, 22:41 Uhr", "2022-01-08T22:41"),
        ("2022年5月14日 下午2点30分", "2022-05-14T14:30"), ("2022年5月14日(土)", "2022-05-14"),
        ("2022. 5. 14.", "2022-05-14"),
        ("May 14, 2022 at 3pm", "2022-05-14T15:00"), ("14/05/2022 22h30", "2022-05-14T22:30"),
    ],
)  # fmt: skip
def test_a_text_is_the_moment_that_it_says(text: str, expected: str) -> None:
    assert np.datetime64(parse_written(text, "day"), "m") == np.datetime64(expected, "m")


@pytest.mark.parametrize(
    "text",
    ["MARCH1", "SEPT2", "Mar-5", "1-Mar", "DEC1", "room 12/2020", "14 May 2022 9", "31.04.2022", "A 12-30", "3-1"],
)
def test_names_and_days_that_do_not_exist_are_no_dates(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  whatever a calendar says of it
        parse_written(text, "day")


@pytest.mark.parametrize(("name", "number"), [("mar", 3), ("Août", 8), ("Dez.", 12), ("ott", 10), ("jui", None)])
def test_months_by_their_names(name: str, number: int | None) -> None:
    assert month_number(name) == number


@pytest.mark.parametrize(
    ("pattern", "order"), [("%y-%m-%d", "year"), ("%d.%m.%y", "day"), ("%m/%d/%y", "month"), ("%d-%m-%y", "day")]
)
def test_the_column_decides_which_of_three_numbers_is_the_year(pattern: str, order: DateOrder) -> None:
    table = read(day.strftime(pattern) for day in DAYS)
    assert table.column("x").astype("datetime64[D]").tolist() == [day.date() for day in DAYS]
    assert table.formats["x"].order == order  # type: ignore[union-attr]


def test_rows_in_the_order_of_time_tell_the_day_from_the_month() -> None:
    months = [datetime(2018 + number // 12, number % 12 + 1, 5) for number in range(40)]
    table = read(day.strftime("%d/%m/%Y") for day in months)  # 05/03/2018: either could be the day
    assert table.column("x").astype("datetime64[D]").tolist() == [day.date() for day in months]
    assert "tells" not in table.notes[0]


def test_a_number_that_is_the_same_in_all_dates_is_the_day() -> None:
    shuffled = np.random.default_rng(0).permutation(36)
    months = [datetime(2018 + number // 12, number % 12 + 1, 1) for number in shuffled.tolist()]
    table = read(day.strftime("%d/%m/%Y") for day in months)
    assert table.column("x").astype("datetime64[D]").tolist() == [day.date() for day in months]


def test_numbers_of_eight_digits_are_dates_where_all_are() -> None:
    numbers = np.array([float(day.strftime("%Y%m%d")) for day in DAYS])
    table = read_formats(Table({"x": numbers, "y": numbers + 5_000}, {"x": "number", "y": "number"}))
    assert table.types == {"x": "datetime", "y": "number"}  # 20195301 is no day
    later = apply_formats(Table({"x": np.array([20220514.0])}, {"x": "number"}), table.formats)
    assert str(later.column("x")[0])[:10] == "2022-05-14"
    kept = read_formats(Table({"x": numbers}, {"x": "number"}), keep_numbers=["x"])
    assert kept.types == {"x": "number"}


@pytest.mark.parametrize(
    ("values", "first"),
    [([1.6e9, 1.7e9], "2020-09-13"), ([1.6e12, 1.7e12], "2020-09-13"), ([2020.0, 2021], "2020-01-01"),
     ([44_000.0, 44_001], "2020-06-18")],
)  # fmt: skip
def test_numbers_that_the_user_calls_dates_are_read_as_such(values: list[float], first: str) -> None:
    table = Table({"x": np.array(values)}, {"x": "number"})
    assert read_formats(table).types == {"x": "number"}
    assert str(read_formats(table, kinds={"x": "datetime"}).column("x")[0])[:10] == first


@pytest.mark.parametrize(
    "cells",
    [[f"{row % 9}.{row % 7}.{row % 5}" for row in range(200)],
     [f"{2010 + row % 12}-{row % 2 + 1}" for row in range(200)],
     [f"192.168.{row % 9}.{row}" for row in range(200)], [f"{row % 90 + 10}-{row % 70 + 30}" for row in range(200)],
     [f"{row % 7 + 1}/{row % 12 + 1}" for row in range(200)], [f"{row % 6}-{row % 4}" for row in range(200)]],
)  # fmt: skip
def test_versions_terms_addresses_parts_fractions_and_scores_stay_text(cells: list[str]) -> None:
    assert read(cells).types["x"] == "text"
