"""Rows out: each kind of file holds the same values, and appears whole or not at all."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.feather
import pyarrow.parquet
import pytest

from deepseek.cli.support.writers import SUFFIXES, check_suffix, open_writer
from deepseek.errors import InputError


def chunk(row_ids: list[int], labels: list[str], chances: list[float]) -> dict[str, np.ndarray]:
    return {
        "row_id": np.array(row_ids),
        "prediction": np.array(labels),
        "probability_好": np.array(chances, np.float32),
    }


CHUNKS = [chunk([0, 1], ["好", 'a,"b"'], [0.1, 1.0]), chunk([2], ["a longer label"], [1e-8])]
ROWS = [(0, "好", 0.1), (1, 'a,"b"', 1.0), (2, "a longer label", 1e-8)]


def rows_of(path: Path) -> list[tuple[object, ...]]:
    if path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as file:
            return [(int(row[0]), row[1], float(row[2])) for row in list(csv.reader(file))[1:]]
    if path.suffix == ".jsonl":
        return [tuple(json.loads(line).values()) for line in path.read_text("utf-8").splitlines()]
    table = pyarrow.parquet.read_table(path) if path.suffix == ".parquet" else pyarrow.feather.read_table(path)
    return [tuple(row.values()) for row in table.to_pylist()]


@pytest.mark.parametrize("label", ["yes", 'with "quotes"', "two\nlines", "a,b", ""])
def test_a_csv_is_what_the_standard_library_writes(label: str, tmp_path: Path) -> None:
    numbers = [0.1, 1.0, -2.0, 1e-8, 12345678.0]
    with open_writer(tmp_path / "out.csv") as writer:
        writer.write(chunk([0, 1, 2, 3, 4], [label] * 5, numbers))
        writer.write(chunk([], [], []))
    with (tmp_path / "expected.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(
            [["row_id", "prediction", "probability_好"]]
            + [[str(row), label, text] for row, text in enumerate(["0.1", "1.0", "-2.0", "1e-8", "12345678.0"])]
        )
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "expected.csv").read_bytes()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_kind_of_file_holds_the_same_rows(tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"scores{suffix}"
    with open_writer(out) as writer:
        for columns in CHUNKS:
            writer.write(columns)
    rows = rows_of(out)
    assert [row[:2] for row in rows] == [row[:2] for row in ROWS]
    assert [row[2] for row in rows] == pytest.approx([row[2] for row in ROWS], rel=1e-6)
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_failure_in_the_middle_leaves_what_was_there(tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"scores{suffix}"
    out.write_text("before")

    def fail_in_the_middle() -> None:
        with open_writer(out) as writer:
            writer.write(CHUNKS[0])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_in_the_middle()
    assert out.read_text() == "before"
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize(
    ("label", "cell"),
    [("=1+1", "'=1+1"), ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"), ("-2+3", "'-2+3"), ("@SUM(A1)", "'@SUM(A1)"),
     ("\t=1", "'\t=1"), ("\r=1", "'\\r=1"), ("\uff1d1", "'\uff1d1"), ("a\x1b[2Jb", "a\\x1b[2Jb"),
     ("\u202eevil", "\\u202eevil"), ("-", "'-"), ("--", "'--"), ("-3.5", "-3.5"), ("+4", "+4"), ("-1e-5", "-1e-5"),
     ("-.5", "-.5"), ("a=b", "a=b"), ("north-east", "north-east"), ("两\n行", "两\n行")],
)  # fmt: skip
def test_no_cell_of_a_csv_is_a_formula_or_drives_a_terminal(tmp_path: Path, label: str, cell: str) -> None:
    columns = {"row_id": np.array([0, 1]), "prediction": np.array([label, "fine"]), label: np.array([-3.5, -np.inf])}
    out = tmp_path / "scores.csv"
    with open_writer(out) as writer:
        writer.write(columns)
    with out.open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [
            ["row_id", "prediction", cell], ["0", cell, "-3.5"], ["1", "fine", "-inf"],
        ]  # fmt: skip


def test_labels_are_as_they_are_in_every_other_form(tmp_path: Path) -> None:
    for suffix in (".jsonl", ".parquet"):
        out = tmp_path / f"scores{suffix}"
        with open_writer(out) as writer:
            writer.write(chunk([0], ["=1+1"], [0.5]))
        assert rows_of(out)[0][1] == "=1+1"


def test_numbers_are_written_by_their_shortest_text(tmp_path: Path) -> None:
    out = tmp_path / "scores.csv"
    with open_writer(out) as writer:
        writer.write(CHUNKS[0])
    assert out.read_text("utf-8").splitlines()[1] == "0,好,0.1"


@pytest.mark.parametrize("name", ["scores.xlsx", "scores", "no/such/folder/scores.csv"])
def test_a_place_that_cannot_be_written_is_refused_before_any_work(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError):
        check_suffix(tmp_path / name)
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        check_suffix(tmp_path / "folder.csv")


def test_no_dictionary_of_numbers_is_written_and_one_of_labels_is(tmp_path: Path) -> None:
    """Of row numbers and chances each value is another: a dictionary of them is made, and thrown away again."""
    columns = {
        "row_id": np.arange(100),
        "prediction": np.array(["no", "yes"])[np.arange(100) % 2],
        "probability_yes": np.linspace(0, 1, 100, dtype=np.float32),
    }
    with open_writer(tmp_path / "out.parquet") as writer:
        writer.write(columns)
    group = pyarrow.parquet.ParquetFile(tmp_path / "out.parquet").metadata.row_group(0)
    have_one = [group.column(place).has_dictionary_page for place in range(3)]
    assert have_one == [False, True, False]
