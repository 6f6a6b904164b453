"""CSV as people write it: encodings, separators, types of cells, broken lines."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek.data.table.delimited import find_encoding, find_separator, read_delimited
from deepseek.errors import InputError, MalformedError


def read(text: str | bytes) -> Any:
    return read_delimited(text if isinstance(text, bytes) else text.encode(), "t.csv")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "gbk", "gb18030"])
def test_chinese_text_is_read_in_every_encoding(encoding: str) -> None:
    text = "编号,city\n1,北京市海淀区\n2,上海市\n" * 1
    if encoding in ("utf-16-le", "utf-16-be"):
        text = "\ufeff" + text
    table = read(text.encode(encoding))
    assert table.records() == [{"编号": 1, "city": "北京市海淀区"}, {"编号": 2, "city": "上海市"}]


def test_latin_1_is_the_last_resort_and_is_said() -> None:
    table = read("name,city\nJosé,Zürich\nBjörn,Malmö\n".encode("latin-1"))
    assert table.records()[0] == {"name": "José", "city": "Zürich"}
    assert "latin-1" in table.notes[0]


def test_utf_16_without_a_mark() -> None:
    assert find_encoding("a,b\n1,2\n".encode("utf-16-le")) == "utf-16-le"


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separators_are_found(separator: str) -> None:
    text = f'a{separator}b{separator}c\n1{separator}"x{separator},;y"{separator}2\n3{separator}z{separator}4\n'
    assert find_separator(text.encode()) == separator
    assert read(text).column("b").tolist() == [f"x{separator},;y", "z"]


def test_decimal_commas_in_a_file_with_semicolons() -> None:
    table = read("a;b\n1,5;2\n-2,25;3\n")
    assert table.column("a").tolist() == [1.5, -2.25]
    assert "decimal commas" in table.notes[0]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_line_ends(newline: str) -> None:
    assert read(newline.join(["a,b", "1,x", "2,y", ""])).records() == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]


def test_types_of_cells() -> None:
    table = read(
        "number,code,huge,flag,word,date,short,zone,empty\n"
        "1.5,007,12345678901234567890,true,yes,2018-04-01,2018/4/1,2018-04-01T00:00:00Z,\n"
        "NA,012,12345678901234567891,False,no,2018-04-02 10:00,2018/12/31,2018-04-02T08:00:00+08:00,null\n"
    )
    assert list(table.types.values()) == [
        "number", "text", "text", "boolean", "text", "datetime", "datetime", "datetime", "number",
    ]  # fmt: skip
    assert table.records()[1] == {
        "number": None,
        "code": "012",
        "huge": "12345678901234567891",
        "flag": False,
        "word": "no",
        "date": "2018-04-02T10:00:00",
        "short": "2018-12-31",
        "zone": "2018-04-02",
        "empty": None,
    }


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("a,b\n1,2\n3,4,5\n6,7\n", 3, "3 fields"),
        ("a,b,c\n1,2,3\n\n3,4\n", 4, "2 fields"),
        ('a,b\n"x\ny",2\n3\n', 4, "1 fields"),
        ("a,b\n1,2,\n", 2, "3 fields"),
        ('a,b\n1,"x\n2,y\n3,z\n', 2, "quote"),
        ("a,b\n1,2\n3,\x004\n", 3, "NUL"),
    ],
)
def test_a_broken_line_is_named(text: str, line: int, what: str) -> None:
    with pytest.raises(MalformedError, match=rf"t\.csv, line {line}: .*{what}"):
        read(text)


@pytest.mark.parametrize("text", ["", "\n\n", "   \n", "a,b\n"])
def test_a_file_without_rows_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"empty|no rows"):
        read(text)


def test_a_duplicate_column_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="'a' is there twice"):
        read("a,b, a\n1,2,3\n")


def test_the_index_of_a_saved_frame_gets_a_name() -> None:
    table = read(",a\n0,5\n1,6\n")
    assert table.names == ("Unnamed: 0", "a")
    assert "no name" in table.notes[0]


def test_a_quote_inside_a_field_is_text() -> None:
    assert read('a,b\n1,5" screen\n2,x\n').column("b").tolist() == ['5" screen', "x"]


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00", exclude_categories=["Cs"]), max_size=6)


@settings(max_examples=100)
@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=6))
def test_text_that_the_standard_library_wrote_comes_back(rows: list[tuple[str, str]]) -> None:
    out = io.StringIO(newline="")
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    writer.writerows([("first", "second"), *((f"x{a}x", f"y{b}y") for a, b in rows)])
    table = read(out.getvalue())
    assert table.column("first").tolist() == [f"x{a}x" for a, _ in rows]
    assert table.column("second").tolist() == [f"y{b}y" for _, b in rows]


def test_errors_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"t\.csv"):
        read("a\n")
