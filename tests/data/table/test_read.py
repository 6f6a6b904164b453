"""Whatever holds a table becomes the same Table; what cannot is refused by name."""

from __future__ import annotations

import datetime as dt
import decimal
import gzip
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deepseek.data import Table, read_table
from deepseek.data.table.arrow import MAX_COLUMNS
from deepseek.errors import InputError, MalformedError, MissingError, TooLargeError

FRAME = pd.DataFrame(
    {
        "age": [31.5, 40.0, None],
        "city": ["Rome", None, "Paris"],
        "member": [True, False, True],
        "joined": pd.to_datetime(["2020-01-31", "2021-02-28 12:30", None], format="ISO8601"),
    }
)
TYPES = {"age": "number", "city": "text", "member": "boolean", "joined": "datetime"}


def write(folder: Path, form: str) -> Path:
    path = folder / f"table.{form}"
    if form == "csv":
        FRAME.to_csv(path, index=False)
    elif form == "csv.gz":
        path.write_bytes(gzip.compress(FRAME.to_csv(index=False).encode()))
    elif form == "csv.zst":
        path.write_bytes(pa.Codec("zstd").compress(FRAME.to_csv(index=False).encode(), asbytes=True))
    elif form == "parquet":
        FRAME.to_parquet(path)
    elif form == "feather":
        pyarrow.feather.write_feather(FRAME, path)
    elif form == "arrow":
        with pa.ipc.new_stream(path, pa.Table.from_pandas(FRAME).schema) as writer:
            writer.write_table(pa.Table.from_pandas(FRAME))
    return path


@pytest.mark.parametrize("form", ["csv", "csv.gz", "parquet", "feather", "arrow"])
def test_every_file_format_gives_the_same_table(tmp_path: Path, form: str) -> None:
    table = read_table(write(tmp_path, form))
    assert dict(table.types) == TYPES
    assert table.digest() == read_table(FRAME).digest()
    assert table.records()[1] == {"age": 40.0, "city": None, "member": False, "joined": "2021-02-28T12:30:00"}


def test_zstandard_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "table.csv.zst"
    with pa.output_stream(path, compression="zstd") as stream:
        stream.write(FRAME.to_csv(index=False).encode())
    assert read_table(path).digest() == read_table(FRAME).digest()


@pytest.mark.parametrize(
    "source", [pl.from_pandas(FRAME), pl.from_pandas(FRAME).lazy(), pa.Table.from_pandas(FRAME), FRAME.to_dict("list")]
)
def test_every_frame_gives_the_same_table(source: Any) -> None:
    assert read_table(source).digest() == read_table(FRAME).digest()


def test_a_table_is_handed_back() -> None:
    table = read_table(FRAME)
    assert read_table(table) is table


@pytest.mark.parametrize(
    ("values", "kind", "records"),
    [
        (pd.array([1, None, 3], dtype="Int64"), "number", [1, None, 3]),
        (pd.Categorical(["u", "v", None]), "text", ["u", "v", None]),
        ([1, "x", 2.5], "text", ["1", "x", "2.5"]),
        ([1, "2", None], "number", [1, 2, None]),
        ([decimal.Decimal("1.50"), None], "number", [1.5, None]),
        ([dt.date(2020, 1, 1), None], "datetime", ["2020-01-01", None]),
        ([2**53 + 1, 3], "text", ["9007199254740993", "3"]),
        (pd.to_datetime(["2020-01-01"]).tz_localize("Asia/Shanghai"), "datetime", ["2019-12-31T16:00:00"]),
        ([None, None], "number", [None, None]),
        ([b"a", b"b"], "text", ["a", "b"]),
        ([dt.date(2020, 1, 31), dt.datetime(2020, 1, 31, 12)], "datetime", ["2020-01-31", "2020-01-31T12:00:00"]),
        ([np.datetime64("2020-01-31")], "datetime", ["2020-01-31"]),
        (pd.arrays.SparseArray([0.0, 1.5]), "number", [0.0, 1.5]),
        ([" Rome ", "NA"], "text", ["Rome", None]),
        (["007", "1"], "text", ["007", "1"]),
    ],
)
def test_types_of_columns(values: Any, kind: str, records: list[Any]) -> None:
    table = read_table({"column": values})
    assert table.types["column"] == kind
    assert [record["column"] for record in table.records()] == records


@pytest.mark.parametrize(
    "values",
    [
        [[1], [2]],
        [{"x": 1}, {"x": 2}],
        [b"\xff", b"a"],
        [1, object()],
        np.array([1j]),
        np.zeros((2, 2)),
        np.array(5),
        "abc",
        5,
        ["\ud800", "x"],
        pl.Series([object()], dtype=pl.Object).to_arrow(),
    ],
)
def test_a_column_that_cannot_be_one_is_refused_by_name(values: Any) -> None:
    with pytest.raises(InputError, match="'bad'"):
        read_table({"bad": values})


@pytest.mark.parametrize(
    "source",
    [{}, {"a": []}, {"a": [1, 2], "b": [1]}, 5, None, [{"a": 1}], pd.Series([1]), np.zeros((2, 2)), {"\ud800": [1]}],
)
def test_what_is_no_table_is_refused(source: Any) -> None:
    with pytest.raises(InputError):
        read_table(source)


def test_duplicate_columns_are_refused_by_name() -> None:
    with pytest.raises(InputError, match="'a' is there twice"):
        read_table(pd.DataFrame([[1, 2]], columns=["a", "a"]))


def test_names_of_several_levels_are_refused() -> None:
    frame = pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", "b"), ("a", "c")]))
    with pytest.raises(InputError, match="several levels"):
        read_table(frame)


def test_too_many_columns_are_refused_with_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "wide.csv"
    names = [f"c{place}" for place in range(10_000)]
    path.write_text(",".join(names) + "\n" + ",".join("1" for _ in names) + "\n")
    for source in (path, {name: [1] for name in names}):
        with pytest.raises(TooLargeError, match="10000") as caught:
            read_table(source)
        assert str(MAX_COLUMNS) in caught.value.expected


@pytest.mark.slow
def test_the_most_columns_are_read(tmp_path: Path) -> None:
    path = tmp_path / "wide.csv"
    names = [f"c{place}" for place in range(MAX_COLUMNS)]
    path.write_text(",".join(names) + "\n" + ",".join("1" for _ in names) + "\n")
    assert len(read_table(path).names) == MAX_COLUMNS


def test_a_path_that_is_not_there_or_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no file"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(InputError, match="folder"):
        read_table(tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        read_table("a\0b")


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("t.parquet", b"hello", "not what its name says"),
        ("t.parquet", b"PAR1 then nothing", "Parquet"),
        ("t.arrow", b"ARROW1\0\0 then nothing", "Arrow"),
        ("t.csv.gz", b"\x1f\x8b broken", "unpack"),
        ("t.xlsx", b"PK\x03\x04", "Excel"),
        ("t.pkl", b"\x80\x04", "pickle"),
        ("t.json", b"[]", "JSON"),
        ("t.csv", b"", "empty"),
    ],
)
def test_files_that_are_no_tables(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(InputError, match=words):
        read_table(path)


def test_a_parquet_file_that_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "cut.parquet"
    pq.write_table(pa.table({"a": list(range(1000))}), path)
    whole = path.read_bytes()
    for size in (8, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(MalformedError, match=r"cut\.parquet"):
            read_table(path)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=400), suffix=st.sampled_from([".csv", ".parquet", ".arrow", ".gz", ""]))
def test_any_bytes_give_a_table_or_a_named_error(tmp_path: Path, data: bytes, suffix: str) -> None:
    path = tmp_path / f"any{suffix}"
    path.write_bytes(data)
    try:
        table = read_table(path)
    except InputError:
        return
    assert isinstance(table, Table)
    assert table.num_rows > 0


CELLS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.dates(),
    st.datetimes(),
    st.binary(max_size=3),
    st.decimals(),
    st.lists(st.integers(), max_size=2),
)


@settings(max_examples=150)
@given(st.dictionaries(st.text(max_size=4), st.lists(CELLS, min_size=2, max_size=2), min_size=1, max_size=4))
def test_any_columns_give_a_table_or_a_named_error(columns: dict[str, list[Any]]) -> None:
    for source in (columns, pd.DataFrame(columns)):
        try:
            table = read_table(source)
        except InputError:
            continue
        assert table.num_rows == 2
        assert len(table.digest()) == 64


@pytest.mark.slow
def test_a_large_csv_is_read_in_seconds(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "large.csv"
    pd.DataFrame({f"x{place}": rng.normal(size=500_000).round(4) for place in range(24)}).to_csv(path, index=False)
    assert path.stat().st_size > 80e6
    start_s = time.process_time()
    assert read_table(path).num_rows == 500_000
    assert time.process_time() - start_s < 15


def _with_index(*, named: bool) -> pa.Table:
    mixed = FRAME.iloc[[2, 0, 1]]
    frame = mixed.set_index(FRAME.columns[0]) if named else mixed
    return pa.Table.from_pandas(frame)


@pytest.mark.parametrize("form", ["parquet", "arrow", "object"])
@pytest.mark.parametrize(("named", "words"), [(True, repr(FRAME.columns[0])), (False, "which has no name")])
def test_the_index_of_a_saved_frame_is_no_column_and_is_said(
    tmp_path: Path, form: str, named: bool, words: str
) -> None:
    table = _with_index(named=named)
    path = tmp_path / f"t.{form}"
    if form == "parquet":
        pa.parquet.write_table(table, path)
    elif form == "arrow":
        pa.feather.write_feather(table, path)
    table_read = read_table(table if form == "object" else path)
    expected = [str(name) for name in FRAME.columns[1 if named else 0 :]]
    assert list(table_read.names) == expected
    assert words in table_read.notes[0]
    assert "reset_index() makes it a column" in table_read.notes[0]


def test_an_index_of_several_levels_is_left_out() -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": [3, 4], "c": [5, 6]}).set_index(["a", "b"])
    assert read_table(pa.Table.from_pandas(frame)).names == ("c",)


def test_a_counter_is_no_column_of_the_file_and_nothing_is_said() -> None:
    table = read_table(pa.Table.from_pandas(pd.DataFrame({"a": [1, 2], "b": [3, 4]})))
    assert (table.names, table.notes) == (("a", "b"), ())


@pytest.mark.parametrize(
    "metadata",
    [
        b"",
        b"[]",
        b"{",
        b"{}",
        b'{"index_columns": 5}',
        b'{"index_columns": ["none", 3, null, {"kind": "range"}]}',
        b"\xff",
    ],
)
def test_metadata_that_names_no_index_changes_nothing(metadata: bytes) -> None:
    table = pa.table({"a": [1, 2], "b": [3, 4]}).replace_schema_metadata({b"pandas": metadata})
    assert read_table(table).names == ("a", "b")


def test_a_frame_that_is_nothing_but_its_index_is_refused() -> None:
    with pytest.raises(InputError, match="no columns"):
        read_table(pa.Table.from_pandas(pd.DataFrame({"a": [1, 2]}).set_index("a")))


def test_columns_of_a_frame_are_read_whatever_their_type() -> None:
    days = pd.Series(pd.to_datetime(["2020-01-01", "2020-03-05", None]))
    frame = pd.DataFrame(
        {
            "wait": days - days.min(), "month": days.dt.to_period("M"),
            "band": pd.cut(pd.Series([1, 5, 9]), [0, 4, 10]),
            "level": pd.Categorical([1, 2, None]), "count": pd.array([1, None, 3], "Int64"), 7: [True, False, None],
        }
    )  # fmt: skip
    table = read_table(frame)
    assert table.types == {
        "wait": "number", "month": "datetime", "band": "text", "level": "number", "count": "number", "7": "boolean",
    }  # fmt: skip
    assert table.column("wait").tolist()[:2] == [0.0, 64 * 24.0]
    assert str(table.column("month")[1])[:10] == "2020-03-01"
    assert table.column("band").tolist() == ["(0, 4]", "(4, 10]", "(4, 10]"]
    assert "column 'wait' has times without a date; they are hours" in table.notes
