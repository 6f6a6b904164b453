"""Columns of texts that say numbers or dates: read as a person would, kept with the model, never guessed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from deepseek.data.table.date_formats import DateFormat, find_date_format
from deepseek.data.table.formats import apply_formats, find_missing_code, read_formats
from deepseek.data.table.number_formats import NumberFormat, find_number_format
from deepseek.data.table.read import read_table
from deepseek.data.table.table import Table, concat

AMOUNTS = [float(each) for each in np.random.default_rng(0).gamma(2, 1_000, 100).round(2)]
DAYS = [np.datetime64("2019-03-01") + 7 * each for each in range(100)]


def text_table(**columns: list[str | None]) -> Table:
    return Table({name: np.array(texts, object) for name, texts in columns.items()}, dict.fromkeys(columns, "text"))


def swiss(amount: float) -> str:
    return f"{amount:,.2f}".replace(",", "'")


def german(amount: float) -> str:
    return f"{amount:,.2f}".translate(str.maketrans(",.", ".,"))


NUMBERS: dict[str, Any] = {
    "thousands": lambda amount: f"{amount:,.2f}", "dollars": lambda amount: f"${amount:,.2f}",
    "euros": lambda amount: f"{amount:.2f} €", "yuan": lambda amount: f"¥{amount:.2f}", "swiss": swiss,
    "german": german, "blanks": lambda amount: f"{amount:,.2f}".replace(",", " "),
    "narrow blanks": lambda amount: f"{amount:,.2f}".replace(",", "\u202f"),
    "unit": lambda amount: f"{amount:.2f} kg", "unit without blank": lambda amount: f"{amount:.2f}km/h",
    "percent": lambda amount: f"{amount:.2f}%", "code": lambda amount: f"USD {amount:.2f}",
    "plus": lambda amount: f"+{amount:,.2f}",
}  # fmt: skip


@pytest.mark.parametrize("kind", NUMBERS)
def test_numbers_are_read_in_every_usual_form(kind: str) -> None:
    table = read_formats(text_table(x=[NUMBERS[kind](amount) for amount in AMOUNTS]))
    assert table.types["x"] == "number"
    np.testing.assert_allclose(table.column("x"), AMOUNTS, rtol=1e-12)
    assert len(table.notes) == 1
    assert "column 'x' is read as numbers" in table.notes[0]


@pytest.mark.parametrize(
    "negative", ["(1,234.50)", "-1,234.50", "1,234.50-", "\u22121,234.50", "-$1,234.50", "$-1,234.50"]
)
def test_negative_amounts_are_read_as_accountants_write_them(negative: str) -> None:
    sign = "$" if "$" in negative else ""
    table = read_formats(text_table(x=[f"{sign}{amount:,.2f}" for amount in AMOUNTS] + [negative]))
    assert table.column("x")[-1] == -1234.5


def test_factors_are_multiplied() -> None:
    table = read_formats(text_table(x=["950", "2.6k", "1.2M", "3 万", "1亿"] * 2))
    assert table.column("x")[:5].tolist() == [950, 2_600, 1_200_000, 30_000, 100_000_000]


@pytest.mark.parametrize("word", ["?", "-", "missing", "None", "n.a.", "#REF!", "未知", "暂无"])
def test_words_for_not_known_count_as_missing_and_are_said(word: str) -> None:
    texts: list[str | None] = [word if row % 30 == 0 else str(amount) for row, amount in enumerate(AMOUNTS)]
    table = read_formats(text_table(x=texts))
    assert np.flatnonzero(np.isnan(table.column("x"))).tolist() == [0, 30, 60, 90]
    assert repr(word) in table.notes[0]


def test_a_few_odd_cells_count_as_missing_and_are_named() -> None:
    table = read_formats(text_table(x=["oops", *map(str, AMOUNTS)]))
    assert np.isnan(table.column("x")[0])
    assert "1 of 101 cells are no numbers and count as missing: 'oops'" in table.notes[0]


def test_many_odd_cells_leave_a_column_text_and_it_is_said() -> None:
    texts: list[str | None] = ["oops" if row % 8 == 0 else str(amount) for row, amount in enumerate(AMOUNTS)]
    table = read_formats(text_table(x=texts))
    assert table.types["x"] == "text"
    assert "stays text: 13 of 100 cells are no numbers: 'oops'" in table.notes[0]


@pytest.mark.parametrize(
    "texts",
    [
        [f"{row:03d}" for row in range(100)],  # codes
        ["small", "large", "medium", "none"],
        ["1", "2", "A", "B"] * 10,
        ["10-20", "20-30", "30-40"] * 10,
        ["1 apple", "2 pears", "3 apples"] * 10,  # two units
        ["5 kg", "5 lb", "7 kg", "9 lb"] * 10,
        ["12A", "12B", "13A", "14C"] * 10,
        [f"192.168.0.{row}" for row in range(100)],
        [f"030 123 45{row:02d}" for row in range(100)],  # telephones
        [f"1{row:019d}" for row in range(100)],  # too many digits to be exact
        [f"v1.{row}" for row in range(100)],
        [f"{row}.png" for row in range(100)],
        [f"img_{row}.jpg" for row in range(100)],
    ],
)
def test_what_only_looks_like_numbers_stays_text(texts: list[str | None]) -> None:
    assert read_formats(text_table(x=texts)).types["x"] == "text"


def test_commas_that_could_be_either_are_said() -> None:
    table = read_formats(text_table(x=["1,499", "12,250", "3,255", "744"]))
    assert table.column("x").tolist() == [1499, 12250, 3255, 744]
    assert "could be decimal commas" in table.notes[0]
    certain = read_formats(text_table(x=["1,499", "12,250", "3,255.5"]))
    assert "could be" not in certain.notes[0]


def day(moment: Any, pattern: str) -> str:
    return str(moment.astype(object).strftime(pattern))


@pytest.mark.parametrize(
    "pattern",
    ["%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%d-%b-%Y", "%d %B %Y", "%b %d, %Y", "%B %d %Y", "%a, %d %b %Y",
     "%Y年%m月%d日", "%d/%m/%y", "%m/%d/%y", "%d%b%Y"],
)  # fmt: skip
def test_dates_are_read_in_every_usual_order(pattern: str) -> None:
    table = read_formats(text_table(x=[day(each, pattern) for each in DAYS]))
    assert table.types["x"] == "datetime"
    assert table.column("x").astype("datetime64[D]").tolist() == [each.astype(object) for each in DAYS]
    assert "column 'x' is read as dates" in table.notes[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5/14/22 2:30 PM", "2022-05-14T14:30:00"), ("5/14/22 12:05 am", "2022-05-14T00:05:00"),
        ("14.05.2022 10:30:15", "2022-05-14T10:30:15"), ("2022年5月14日 9时30分", "2022-05-14T09:30:00"),
        ("2022-05", "2022-05-01"), ("05/2022", "2022-05-01"), ("May 2022", "2022-05-01"), ("2022年5月", "2022-05-01"),
        ("14th May 2022", "2022-05-14"),
        ("2022-05-14T10:30:00", "2022-05-14T10:30:00"),
        ("01/02/69", "1969-01-02"), ("01/02/68", "2068-01-02"),
    ],
)  # fmt: skip
def test_a_date_is_the_moment_that_it_says(text: str, expected: str) -> None:
    form = DateFormat(day_first=text.startswith("14.05"))
    assert np.datetime64(form.parse(text), "ms") == np.datetime64(expected, "ms")


@pytest.mark.parametrize(
    "text", ["31/02/2022", "13/13/2022", "14 Foo 2022", "10:30", "25:00", "13:00 PM", "1.2", "2022", "x" * 500]
)
def test_a_text_that_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  whatever a calendar says of it
        DateFormat().parse(text)


def test_the_column_decides_which_number_is_the_day_and_later_rows_are_read_so() -> None:
    training = read_formats(text_table(x=[day(each, "%d/%m/%Y") for each in DAYS]))
    later = apply_formats(text_table(x=["03/04/2020"]), training.formats)  # alone it could be either
    assert str(later.column("x")[0])[:10] == "2020-04-03"
    american = read_formats(text_table(x=[day(each, "%m/%d/%Y") for each in DAYS]))
    assert str(apply_formats(text_table(x=["03/04/2020"]), american.formats).column("x")[0])[:10] == "2020-03-04"


def test_days_that_nothing_tells_from_months_are_said() -> None:
    table = read_formats(text_table(x=["03/04/2020", "05/06/2020", "07/08/2020"]))
    assert "the month is taken to come first" in table.notes[0]
    table = read_formats(text_table(x=["03.04.2020", "05.06.2020", "07.08.2020"]))
    assert "the day is taken to come first" in table.notes[0]


def test_a_later_text_of_another_form_leaves_the_column_as_it_is() -> None:
    formats = read_formats(text_table(x=[f"${amount:,.2f}" for amount in AMOUNTS])).formats
    assert apply_formats(text_table(x=["$5", "€5"]), formats).types["x"] == "text"
    with pytest.raises(ValueError, match="€5"):
        formats["x"].parse("€5")
    assert formats["x"].parse(7) == 7  # a number is a number


def test_numbers_that_mean_not_known_are_said_or_read_so() -> None:
    values = np.array([1.0, 2, 3, 4, 5, 6] * 20 + [999.0] * 10)
    table = Table({"x": values}, {"x": "number"})
    for read in (read_formats(table), read_formats(table, missing_words=["999"])):
        assert int(np.isnan(read.column("x")).sum()) == 10
        assert "999 count as missing" in read.notes[0]
        assert read.formats["x"].parse(999) != read.formats["x"].parse(999)
    assert "--kind x=numeric" in read_formats(table).notes[0]
    kept = read_formats(table, kinds={"x": "numeric"})
    assert int(np.isnan(kept.column("x")).sum()) == 0
    target = read_formats(table, keep_numbers=["x"])
    assert int(np.isnan(target.column("x")).sum()) == 0
    assert "--missing 999" in target.notes[0]
    assert find_missing_code(np.arange(1_500.0)) is None  # 999 among its like


def test_formats_outlive_what_makes_tables_of_tables() -> None:
    table = read_formats(text_table(x=[f"${amount:,.2f}" for amount in AMOUNTS], y=["a", "b"] * 50))
    for other in (table.take(np.arange(3)), table.drop(["y"]), concat([table, table], ["one", "two"])):
        assert other.formats == {"x": NumberFormat(thousands=",", prefix="$")}
        assert other.types["x"] == "number"


def test_columns_that_the_user_calls_otherwise_stay() -> None:
    texts: list[str | None] = ["$1", "$2", "$3"]
    assert read_formats(text_table(x=texts), leave=["x"]).types["x"] == "text"
    assert read_formats(text_table(x=texts), kinds={"x": "category"}).types["x"] == "text"


def test_a_column_that_the_user_calls_numbers_or_dates_is_read_so_where_half_of_it_is() -> None:
    table = text_table(x=["$5", "n/a so far", "$5", "$6"], y=["14.05.2022", "later", "15.05.2022", None])
    read = read_formats(table, kinds={"x": "numeric", "y": "datetime"})
    assert read.types == {"x": "number", "y": "datetime"}
    assert "'n/a so far'" in read.notes[0]
    assert read_formats(table).types == {"x": "text", "y": "text"}


def test_a_csv_is_read_and_its_plain_columns_are_as_before(tmp_path: Any) -> None:
    path = tmp_path / "a.csv"
    path.write_text('a,b,c\n1.5,"1,200",x\n2.5,"3,400.5",y\n3.5,17,z\n')
    table = read_formats(read_table(path))
    assert table.types == {"a": "number", "b": "number", "c": "text"}
    assert set(table.formats) == {"b"}


@pytest.mark.parametrize("search", [find_number_format, find_date_format])
def test_a_column_of_free_text_costs_a_look_at_a_sample(search: Any) -> None:
    counts = {f"a sentence number {row} of the column": 1 for row in range(200_000)}
    result = search(counts)
    assert result.format is None
    assert not result.is_near


def test_indian_groups_are_read() -> None:
    assert read_formats(text_table(x=["12,34,567", "1,00,000", "5,000"])).column("x").tolist() == [
        1234567,
        100000,
        5000,
    ]


def test_times_of_the_day_are_hours_and_no_dates() -> None:
    """A table with a day and a time has one column of dates, by which it can be split."""
    table = read_formats(
        text_table(day=[day(each, "%d.%m.%Y") for each in DAYS], at=["9:15", "10:30", "23:45", "?"] * 25)
    )
    assert table.types == {"day": "datetime", "at": "number"}
    assert table.column("at")[:3].tolist() == [9.25, 10.5, 23.75]
    assert "'10:30' is 10.5" in table.notes[1] or "'23:45' is 23.75" in table.notes[1]
    afternoon = read_formats(text_table(at=["9:15 AM", "12:00 am", "12:30 PM", "11:45 p.m."]))
    assert afternoon.column("at").tolist() == [9.25, 0, 12.5, 23.75]
    assert read_formats(text_table(at=["3:1", "2:2", "10:4"] * 20)).types["at"] == "text"  # results of matches
