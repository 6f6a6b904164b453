"""A file in parts is the file as a whole: the same types, values and errors, wherever the parts are cut."""

from __future__ import annotations

import gzip
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deepseek.data import Table, read_table
from deepseek.data.batches import open_table, sources
from deepseek.errors import InputError


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of tests are small: they are cut into parts as large ones are."""
    monkeypatch.setattr(sources, "SMALL_BLOCK_BYTES", 96)


def read_parts(path: Path, num_rows: int) -> list[Table]:
    with open_table(path) as file:
        parts = list(file.parts(num_rows))
    assert sum(part.num_rows for part in parts) == file.num_rows
    assert all(part.num_rows == num_rows for part in parts[:-1])
    return parts


def check_equal(path: Path, num_rows: int) -> None:
    """The parts, or the error, are those of read_table."""
    error: InputError | None = None
    try:
        whole = read_table(path)
    except InputError as refused:
        error = refused
    if error is not None:
        with pytest.raises(type(error)) as error_info:
            read_parts(path, num_rows)
        assert str(error_info.value) == str(error)
        return
    parts = read_parts(path, num_rows)
    assert {tuple(part.types.items()) for part in parts} == {tuple(whole.types.items())}
    for name in whole.names:
        together = np.concatenate([part.column(name) for part in parts])
        np.testing.assert_array_equal(together, whole.column(name))


def write(path: Path, lines: list[str], header: str = "x,y") -> Path:
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


LATE = {
    "a word": (["1"] * 40 + ["n/k"], "text"),
    "leading zeros": (["1"] * 40 + ["007"], "text"),
    "leading zeros at first": (["007"] + ["1"] * 40, "text"),
    "too many digits": (["1"] * 40 + ["12345678901234567"], "text"),
    "large, then many digits": (["1e20"] + ["1"] * 40 + ["0000000000000001"], "text"),
    "missing at first": (["NA"] * 40 + ["2.5"], "number"),
    "missing at first, then words": ([""] * 40 + ["n/a", "north"], "text"),
    "missing throughout": (["", "NULL"] * 20, "number"),
    "missing late": (["2.5"] * 40 + ["NA", ""], "number"),
    "truth, then a number": (["true", "False"] * 20 + ["1"], "text"),
    "numbers, then truth": (["1", "0"] * 20 + ["true"], "text"),
    "truth": (["true", "", "FALSE"] * 20, "boolean"),
    "dates": (["2018-04-01"] * 40 + ["2019-01-01 10:30"], "datetime"),
    "dates, then another form": (["2018-04-01"] * 40 + ["2018/4/2"], "datetime"),
    "dates, then a word": (["2018-04-01"] * 40 + ["soon"], "text"),
    "dates, then a zone": (["2018-04-01T10:00:00"] * 40 + ["2018-04-01T10:00:00+02:00"], "datetime"),
    "zones": (["2018-04-01T10:00:00Z"] * 40 + ["2018-04-01T10:00:00+02:00"], "datetime"),
    "days as numbers, then dates": (["20180401"] * 40 + ["2018-04-02"], "datetime"),
    "a number beyond float32": (["1"] * 40 + ["1e300", "inf"], "number"),
    "blanks around": ([" 1 "] * 40 + [" 2"], "number"),
}


@pytest.mark.parametrize("name", LATE)
@pytest.mark.parametrize("num_rows", [1, 7, 1000])
def test_a_type_is_that_of_the_whole_column(tmp_path: Path, name: str, num_rows: int) -> None:
    cells, kind = LATE[name]
    path = write(tmp_path / "t.csv", [f"{cell},{place}" for place, cell in enumerate(cells)])
    assert read_table(path).types["x"] == kind
    check_equal(path, num_rows)


@pytest.mark.parametrize("late", ["1", "1,5", "007,5", "north", "12345678901234567"])
def test_decimal_commas(tmp_path: Path, late: str) -> None:
    check_equal(write(tmp_path / "t.csv", ["1,5;a"] * 40 + [f"{late};b"], "x;y"), 7)


CELLS = st.sampled_from(
    ["1", "0", "-2.5", "007", "1e9", "nan", "NA", "", " ", "true", "False", "yes", "2018-04-01", "20180401", "2018/4/1",
     "2018-04-01T10:00:00Z", "a b", "é", '"q, ""r"""', '"two\nlines"', "12345678901234567", "1e400", '"', "x,"]
)  # fmt: skip


@given(st.lists(st.tuples(CELLS, CELLS), max_size=60), st.integers(1, 20), st.sampled_from([",", ";"]))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_csv_is_the_same_in_parts(tmp_path: Path, cells: Any, num_rows: int, separator: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text("".join(separator.join(row) + "\n" for row in [("x", "y"), *cells]), encoding="utf-8")
    check_equal(path, num_rows)


@given(st.binary(max_size=300), st.sampled_from(["t.csv", "t.parquet", "t.arrow", "t.csv.gz"]))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_refused_or_read_alike(tmp_path: Path, data: bytes, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    check_equal(path, 5)


FRAME = pd.DataFrame(
    {
        "number": np.arange(90) / 4,
        "whole": np.arange(90),
        "word": [f"w{place % 7}" if place % 5 else None for place in range(90)],
        "level": pd.Categorical(["a", "b", "ü"] * 30),
        "truth": np.arange(90) % 2 == 0,
        "when": pd.date_range("2020-01-01", periods=90, freq="h", tz="UTC"),
    }
)


@pytest.mark.parametrize("form", ["csv", "csv.gz", "csv.zst", "parquet", "feather", "arrow", "stream.arrow"])
@pytest.mark.parametrize("num_rows", [1, 32, 1000])
def test_every_kind_of_file(tmp_path: Path, form: str, num_rows: int) -> None:
    path = tmp_path / f"t.{form}"
    table, text = pa.Table.from_pandas(FRAME), FRAME.to_csv(index=False).encode()
    if form == "csv":
        path.write_bytes(text)
    elif form == "csv.gz":
        path.write_bytes(gzip.compress(text))
    elif form == "csv.zst":
        with pa.output_stream(path, compression="zstd") as file:
            file.write(text)
    elif form == "parquet":
        pa.parquet.write_table(table, path, row_group_size=25)
    elif form == "feather":
        pa.feather.write_feather(table, path, chunksize=20)
    else:
        opened = pa.ipc.new_file if form == "arrow" else pa.ipc.new_stream
        with opened(str(path), table.schema) as writer:
            writer.write_table(table, max_chunksize=17)
    check_equal(path, num_rows)


@pytest.mark.parametrize("late", [5, 2**60, -(2**60), None])
def test_whole_numbers_that_are_too_large_late_in_a_parquet_file(tmp_path: Path, late: int | None) -> None:
    path = tmp_path / "t.parquet"
    column = pa.array([*range(80), late], pa.int64())
    pa.parquet.write_table(pa.table({"x": column, "y": column}), path, row_group_size=10)
    check_equal(path, 16)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "gb18030", "latin-1"])
def test_every_encoding(tmp_path: Path, encoding: str) -> None:
    word = "年龄" if encoding == "gb18030" else "Zürich"
    path = tmp_path / "t.csv"
    path.write_bytes("\n".join(["x,y", *(f"{word},{place}" for place in range(60))]).encode(encoding))
    check_equal(path, 9)


BROKEN = {
    "too few fields": b"x,y\n" + b"1,2\n" * 60 + b"3\n",
    "too many fields": b"x,y\n" + b"1,2\n" * 60 + b"3,4,5\n1,2\n",
    "an open quote": b"x,y\n" + b"1,2\n" * 60 + b'3,"4\n1,2\n',
    "a NUL byte": b"x,y\n" + b"1,2\n" * 60 + b"3,\x00\n",
    "not UTF-8": b"\xef\xbb\xbfx,y\n" + b"1,2\n" * 60 + b"3,\xff\n",
    "column names alone": b"x,y\n",
    "blank lines": b"\n\r\n\n",
    "two columns of a name": b"x,x\n1,2\n",
    "nothing": b"",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused_before_the_first_part_in_the_same_words(tmp_path: Path, name: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(BROKEN[name])
    with pytest.raises(InputError) as whole:
        read_table(path)
    with pytest.raises(InputError) as error_info, open_table(path):
        pass
    assert str(error_info.value) == str(whole.value)


@pytest.mark.parametrize("form", ["t.parquet", "t.arrow", "t.csv.gz"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
def test_a_file_that_was_cut_off_is_refused_before_the_first_part(tmp_path: Path, form: str, share: float) -> None:
    path = tmp_path / form
    if form == "t.parquet":
        pa.parquet.write_table(pa.Table.from_pandas(FRAME), path)
    elif form == "t.arrow":
        pa.feather.write_feather(pa.Table.from_pandas(FRAME), path)
    else:
        path.write_bytes(gzip.compress(os.urandom(40) + FRAME.to_csv().encode()))
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(InputError), open_table(path):
        pass


def test_a_row_longer_than_a_block_is_read(tmp_path: Path) -> None:
    lines = ["1,a"] * 40 + [f"2,{'long ' * 500}"] + ["3,b"] * 40
    check_equal(write(tmp_path / "t.csv", lines), 11)
    check_equal(write(tmp_path / "q.csv", [*lines, '4,"a\nb"']), 11)


def test_a_pipe_is_read_though_it_comes_once(tmp_path: Path) -> None:
    pipe, text = tmp_path / "pipe", "x,y\n" + "1,a\n" * 50
    os.mkfifo(pipe)
    writing = threading.Thread(target=pipe.write_text, args=(text,))
    writing.start()
    parts = read_parts(pipe, 20)
    writing.join()
    assert [part.num_rows for part in parts] == [20, 20, 10]


def test_paths_that_are_none(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.csv", tmp_path / "nul\0.csv"):
        check_equal(path, 5)


def test_a_wide_table_is_read_in_shorter_parts(tmp_path: Path) -> None:
    assert sources.batch_num_rows(1) == 65_536
    assert sources.batch_num_rows(5_000) * 5_000 <= sources.MAX_BATCH_CELLS
