"""A Table: columns, rows, records and a digest of its content."""

from __future__ import annotations

import numpy as np
import pytest

from deepseek.data import Table, concat, read_table
from deepseek.errors import InputError

COLUMNS = {"age": [31.5, None], "city": ["Rome", None], "member": [True, None], "day": ["2020-01-31", None]}


def table(**changes: list[object]) -> Table:
    columns = {**COLUMNS, **changes}
    return read_table({**columns, "day": np.array(columns["day"], "datetime64[ms]")})


def test_records_are_what_json_would_hold() -> None:
    assert table().records() == [
        {"age": 31.5, "city": "Rome", "member": True, "day": "2020-01-31"},
        {"age": None, "city": None, "member": None, "day": None},
    ]
    assert len(table().records(1)) == 1


def test_missing_values_of_every_type() -> None:
    for name in COLUMNS:
        assert table().missing_mask(name).tolist() == [False, True]


def test_rows_are_taken_by_number_and_by_mask() -> None:
    assert table().take(np.array([1, 0, 0])).column("city").tolist() == [None, "Rome", "Rome"]
    assert table().take(np.array([True, False])).num_rows == 1
    assert table().take(np.array([], int)).num_rows == 0


def test_an_unknown_column_names_the_near_one() -> None:
    with pytest.raises(InputError, match="'city'"):
        table().column("ctiy")
    with pytest.raises(InputError, match="no column 'x'"):
        table().drop(["x"])
    assert table().drop(["age"]).names == ("city", "member", "day")


def test_the_digest_changes_with_a_value_a_name_a_type_and_the_order() -> None:
    same = table().digest()
    assert table().digest() == same
    others = [
        table(age=[31.5, 0.0]),
        table(city=["Rome", "None"]),
        table(member=[False, None]),
        table(day=["2020-01-30", None]),
        table().take(np.array([1, 0])),
        table().drop(["age"]),
        read_table({"age": [1.0]}),
        read_table({"age": [True]}),
        read_table({"age": ["1"]}),
        read_table({"agf": [1.0]}),
    ]
    digests = [other.digest() for other in others]
    assert same not in digests
    assert len(set(digests)) == len(digests)


def test_text_is_not_run_together_in_the_digest() -> None:
    assert read_table({"a": ["ab", "c"]}).digest() != read_table({"a": ["a", "bc"]}).digest()


def test_one_zero_and_one_nan_in_the_digest() -> None:
    odd_nan = np.array([0x7FF8000000000001], np.uint64).view(np.float64)[0]
    assert read_table({"a": [0.0, np.nan]}).digest() == read_table({"a": [-0.0, odd_nan]}).digest()


def test_columns_that_do_not_fit_a_type_are_refused() -> None:
    with pytest.raises(InputError, match="'a'"):
        Table({"a": np.array([1])}, {"a": "number"})
    with pytest.raises(InputError, match="'b'"):
        Table({"a": np.zeros(2), "b": np.zeros(3)}, {"a": "number", "b": "number"})


def test_tables_are_joined_by_name() -> None:
    first, second = table(), table().drop(["age"])
    second = Table({**second.columns, "age": np.array([np.nan, 5.0])}, {**second.types, "age": "number"})
    joined = concat([first, second], ["a file", "another"])
    assert joined.column("age").tolist()[2:] == pytest.approx([np.nan, 5.0], nan_ok=True)
    assert joined.names == first.names


def test_a_column_without_values_joins_any_type() -> None:
    joined = concat([read_table({"a": ["x"]}), read_table({"a": [None]})], ["a file", "another"])
    assert joined.column("a").tolist() == ["x", None]


def test_tables_that_do_not_fit_are_refused_by_name() -> None:
    one, both, text = read_table({"a": [1]}), read_table({"a": [1], "b": [2]}), read_table({"a": ["x"]})
    called = ["the data file loans.csv", "the test file later.csv"]
    with pytest.raises(
        InputError, match=r"the test file later.csv has a column 'b', which the data file loans.csv has"
    ):
        concat([one, both], called)
    with pytest.raises(
        InputError, match=r"the test file later.csv has no column 'b', which the data file loans.csv has"
    ):
        concat([both, one], called)
    with pytest.raises(
        InputError, match=r"'a' is number in the data file loans.csv and text in the test file later.csv"
    ):
        concat([one, text], called)
