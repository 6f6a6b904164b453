"""Rows out: CSV, JSON lines, Parquet or Arrow by the file's suffix, chunk by chunk and atomically.

    with open_writer(Path("scores.parquet")) as writer:
        writer.write({"row_id": ids, "prediction": labels})

The file appears under its name when all is written; a failure leaves what was there before. In a CSV no cell can be
taken for a formula (look.terminal); the other forms hold text as it is.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from deepseek.errors import InputError
from deepseek.extras import need
from deepseek.files import atomic_file, check_writable
from deepseek.look.terminal import escape_for_spreadsheet

Columns = Mapping[str, NDArray[Any]]
SUFFIXES = (".csv", ".jsonl", ".parquet", ".arrow", ".feather")


class Writer(Protocol):
    def write(self, columns: Columns) -> None:
        """Add rows: columns of one length, the same names each time."""
        ...

    def close(self) -> None: ...


class CsvWriter:
    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._rows = csv.writer(file, lineterminator="\n")
        self._has_header = False

    def write(self, columns: Columns) -> None:
        if not self._has_header:
            self._rows.writerow(map(escape_for_spreadsheet, columns))
            self._has_header = True
        cells = [_cells(column) for column in columns.values()]
        if len(cells) > 1 and all(each.are_plain for each in cells):  # an eighth of what csv takes, which looks at each
            rows = zip(*(each.texts for each in cells), strict=True)
            self._file.write("\n".join(map(",".join, rows)) + "\n" * bool(len(cells[0].texts)))
            return
        self._rows.writerows(zip(*(each.texts for each in cells), strict=True))

    def close(self) -> None:
        self._file.flush()


@dataclass(frozen=True, slots=True)
class _Cells:
    """The cells of a column of a CSV; `are_plain`: none of them is put between quotes."""

    texts: Sequence[str]
    are_plain: bool = True


def _cells(column: NDArray[Any]) -> _Cells:
    """Labels repeat: each is looked at once."""
    if column.dtype in (np.float32, np.float64):
        # Arrow's own text of a float32 is its shortest, as numpy's, in a quarter of the time: 0.1, not 0.10000000149
        texts = need("pyarrow.compute", extra="tabular").cast(need("pyarrow", extra="tabular").array(column), "string")
        return _Cells([f"{text}.0" if text.lstrip("-").isdigit() else text for text in texts.to_pylist()])
    cells: list[str] = column.astype(str).tolist()
    if column.dtype.kind in "biuf":
        return _Cells(cells)
    known = {cell: escape_for_spreadsheet(cell) for cell in set(cells)}
    are_plain = not any(mark in cell for cell in known.values() for mark in ',"\r\n')
    return _Cells([known[cell] for cell in cells], are_plain)


class JsonLinesWriter:
    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, columns: Columns) -> None:
        for row in as_records(columns):
            self._file.write(json.dumps(row, ensure_ascii=False) + "\n")

    def close(self) -> None:
        self._file.flush()


class RecordsWriter:
    """Rows kept as JSON objects, for an answer that is itself JSON."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def write(self, columns: Columns) -> None:
        self.rows += as_records(columns)

    def close(self) -> None: ...


class ArrowWriter:
    """Parquet or the Arrow file format, through pyarrow."""

    def __init__(self, path: Path, *, parquet: bool) -> None:
        self._arrow = need("pyarrow", extra="tabular")
        self._path = path
        self._parquet = parquet
        self._writer: Any = None

    def write(self, columns: Columns) -> None:
        table = self._arrow.table({name: self._arrow.array(column) for name, column in columns.items()})
        if self._writer is None:
            self._writer = self._open(table.schema)
        self._writer.write_table(table)

    def _open(self, schema: Any) -> Any:
        if self._parquet:
            parquet, types = need("pyarrow.parquet", extra="tabular"), self._arrow.types
            repeating = [field.name for field in schema if not _is_number(types, field.type)]
            return parquet.ParquetWriter(self._path, schema, use_dictionary=repeating)
        return need("pyarrow.ipc", extra="tabular").new_file(str(self._path), schema)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


def _is_number(types: Any, kind: Any) -> bool:
    """Whether a column's values seldom repeat, so that a dictionary of them is made and thrown away."""
    return bool(types.is_integer(kind) or types.is_floating(kind))


def as_records(columns: Columns) -> list[dict[str, Any]]:
    """Rows as JSON objects. A float32 is written by its shortest text, not by its double's.

    >>> as_records({"row_id": np.array([0]), "value": np.array([0.1], dtype=np.float32)})
    [{'row_id': 0, 'value': 0.1}]
    """
    plain = [
        [float(text) for text in column.astype(str)] if column.dtype == np.float32 else column.tolist()
        for column in columns.values()
    ]
    return [dict(zip(columns, row, strict=True)) for row in zip(*plain, strict=True)]


@contextmanager
def open_writer(out: Path | None) -> Iterator[Writer]:
    """A writer for `out`, or for CSV on stdout when it is None."""
    if out is None:
        writer: Writer = CsvWriter(sys.stdout)
        yield writer
        writer.close()
        return
    check_suffix(out)
    with atomic_file(out) as part, _writer_at(part, out.suffix.lower()) as writer:
        yield writer


def check_suffix(out: Path) -> None:
    """Refuse a file that cannot be written, before any work is done."""
    if out.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"{out}: the kind of file is not known",
            expected=f"a name that ends in {', '.join(SUFFIXES)}",
            fix=f"name it {out.name}.csv",
        )
    check_writable(out)


@contextmanager
def _writer_at(part: Path, suffix: str) -> Iterator[Writer]:
    if suffix in (".csv", ".jsonl"):
        with part.open("w", encoding="utf-8", newline="") as file:
            text: Writer = CsvWriter(file) if suffix == ".csv" else JsonLinesWriter(file)
            yield text
            text.close()
        return
    table = ArrowWriter(part, parquet=suffix == ".parquet")
    try:
        yield table
    finally:
        table.close()
