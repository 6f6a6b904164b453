"""From Arrow's columns to a Table's: one type for each, what cannot be a column is refused by name.

    from_arrow(pyarrow_table)         # typed columns keep their types
    reader = TableReader(names)       # the same of a table that comes in parts: see() all of them, then read() each

Text is trimmed, and the words for "no value" (null_words.py) are missing, whatever the file. The index of a pandas
frame, which its metadata names, is no column.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from deepseek.data.table.cells import (
    CellColumnReader,
    ReadColumn,
    overflow_note,
    read_timestamps,
    to_float64,
    to_text_array,
    trim_cells,
)
from deepseek.data.table.table import ColumnType, Table
from deepseek.data.table.values import MAX_EXACT_INTEGER
from deepseek.errors import InputError, TooLargeError
from deepseek.extras import need

MAX_COLUMNS = 5_000
_UNITS_PER_HOUR = {"s": 3_600, "ms": 3_600_000, "us": 3_600_000_000, "ns": 3_600_000_000_000}
MAX_NAME_CHARACTERS = 500  # letters in the name of a column


def from_arrow(table: Any, *, cells: bool = False, decimal_comma: bool = False) -> Table:
    """A Table of a pyarrow.Table. `cells` says that all is text whose type is to be found, as in a CSV, and
    `decimal_comma` that 1,5 may be a number there.

    InputError names the column that is nested, binary or there twice.
    """
    columns, notes = drop_pandas_index(table)
    reader = TableReader(columns.column_names, cells=cells, decimal_comma=decimal_comma)
    reader.begin()
    reader.see(columns)
    table_read = reader.read(columns)
    return Table(table_read.columns, table_read.types, (*notes, *table_read.notes))


class ColumnReader(Protocol):
    """Finds the type of a column from all of its parts, and then reads each part as this type."""

    @property
    def is_settled(self) -> bool: ...
    def begin(self) -> None: ...
    def see(self, chunked: Any) -> None: ...
    def read(self, chunked: Any) -> ReadColumn: ...


class TableReader:
    """Columns that come in parts (pyarrow.Table), whose types are those of the whole.

    `names`: of the columns as they are in the file; InputError as check_names() raises it.
    """

    def __init__(self, names: Sequence[str], *, cells: bool = False, decimal_comma: bool = False) -> None:
        self.names = check_names([str(name) for name in names])
        self._readers: list[ColumnReader] = [
            CellColumnReader(decimal_comma=decimal_comma) if cells else TypedColumnReader(name) for name in self.names
        ]

    @property
    def is_settled(self) -> bool:
        """Whether every part has been seen as what it will be read as. If not, one more pass is needed."""
        return all(reader.is_settled for reader in self._readers)

    def begin(self) -> None:
        """Start a pass over all parts."""
        for reader in self._readers:
            reader.begin()

    def see(self, part: Any) -> None:
        """Look at the next part to find the types. InputError names the column that cannot be read."""
        for name, reader, chunked in zip(self.names, self._readers, part.columns, strict=True):
            with _translate_errors(name):
                reader.see(chunked)

    def read(self, part: Any) -> Table:
        """A part as a Table, once the types are settled."""
        columns: dict[str, NDArray[Any]] = {}
        types: dict[str, ColumnType] = {}
        notes: list[str] = []
        for name, reader, chunked in zip(self.names, self._readers, part.columns, strict=True):
            with _translate_errors(name):
                types[name], columns[name], note = reader.read(chunked)
            if note:
                notes.append(f"column {name!r} {note}")
        return Table(columns, types, tuple(notes))


@contextmanager
def _translate_errors(name: str) -> Iterator[None]:
    """Turn an error of Arrow into an InputError that names the column."""
    pa = need("pyarrow", extra="tabular")
    try:
        yield
    except pa.ArrowMemoryError:
        raise
    except pa.ArrowException as error:
        reason = str(error)[:200]
        raise InputError(
            f"column {name!r} cannot be read: {reason}", expected="values of the column's type",
            fix=f"leave {name!r} out",
        ) from error  # fmt: skip


def drop_pandas_index(table: Any) -> tuple[Any, list[str]]:
    """The columns of a pyarrow.Table without the index of the pandas frame that it was, and a note on each part of it.

    A counter that pandas keeps as a range is no column of the file to begin with.
    """
    notes = []
    for name in pandas_index_names(table.schema):
        indices = table.schema.get_all_field_indices(name)
        if indices:
            table = table.remove_column(indices[-1])  # pandas writes its index behind the columns
            what = "has no name" if name.startswith("__index_level_") else f"is {name!r}"
            notes.append(f"the index of the saved frame, which {what}, was left out; reset_index() makes it a column")
    return table, notes


def pandas_index_names(schema: Any) -> list[str]:
    """The names of the index columns in pandas' metadata of a schema; none where there is no such metadata."""
    try:
        names = json.loads((schema.metadata or {})[b"pandas"])["index_columns"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return []
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def check_names(names: list[str]) -> list[str]:
    """The names, without blanks around them. InputError for too many, too long, empty or equal ones."""
    if not names:
        raise InputError("the table has no columns", expected="at least two named columns", fix="give columns")
    if len(names) > MAX_COLUMNS:
        raise TooLargeError(
            f"the table has too many columns: {len(names)}",
            expected=f"at most {MAX_COLUMNS}",
            fix="keep the columns that matter, or reduce them first (principal components, sums by group)",
        )
    stripped = [name.strip() or f"Unnamed: {place}" for place, name in enumerate(names)]
    seen: set[str] = set()
    for position, name in enumerate(stripped, 1):
        if name in seen:
            raise InputError(
                f"column {name!r} is there twice", expected="one name for each", fix="rename one of the two"
            )
        if len(name) > MAX_NAME_CHARACTERS:
            raise InputError(
                f"the name of column {position} has {len(name)} letters",
                expected=f"at most {MAX_NAME_CHARACTERS}",
                fix="rename it",
            )
        if "\x00" in name or any("\ud800" <= letter <= "\udfff" for letter in name):
            raise InputError(
                f"the name of column {position} is not text: {name[:40]!r}",
                expected="letters that can be written as UTF-8",
                fix="rename it",
            )
        seen.add(name)
    return stripped


class TypedColumnReader:
    """A column that has a type in its file."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._is_exact = True  # whole numbers that float64 can hold, so far
        self.is_settled = False

    def begin(self) -> None:
        self.is_settled = True

    def see(self, chunked: Any) -> None:
        """InputError for a type that no column of a Table has."""
        pa, pc = need("pyarrow", extra="tabular"), need("pyarrow.compute", extra="tabular")
        chunked = _decode_array(chunked)
        if pa.types.is_integer(chunked.type):
            ends = pc.min_max(chunked).as_py()
            self._is_exact &= ends["max"] is None or max(abs(ends["min"]), abs(ends["max"])) <= MAX_EXACT_INTEGER
        elif not _is_readable(chunked.type):
            raise InputError(
                f"column {self._name!r} is of type {chunked.type}",
                expected="numbers, true or false, text, dates, times or durations",
                fix=f"turn {self._name!r} into such columns, or leave it out of the file",
            )
        elif _is_text(chunked.type):
            _to_utf8(self._name, chunked)

    def read(self, chunked: Any) -> ReadColumn:
        pa = need("pyarrow", extra="tabular")
        chunked = _decode_array(chunked)
        kind = chunked.type
        if pa.types.is_null(kind):
            return "number", np.full(len(chunked), np.nan), ""
        if pa.types.is_boolean(kind):
            return "boolean", to_float64(chunked.cast(pa.int8())), ""
        if pa.types.is_integer(kind):
            if not self._is_exact:
                strings = to_text_array(chunked.cast(pa.string()))
                return "text", strings, "has whole numbers too large to be exact; it is read as text"
            return "number", to_float64(chunked), ""
        if pa.types.is_floating(kind):
            values = to_float64(chunked)
            return "number", values, overflow_note(values)
        if pa.types.is_decimal(kind):
            return "number", to_float64(chunked.cast(pa.float64())), ""
        if any(is_one(kind) for is_one in (pa.types.is_date, pa.types.is_timestamp, *_clock_types())):
            return _read_times(chunked)
        return "text", to_text_array(trim_cells(_to_utf8(self._name, chunked))), ""


def _is_readable(kind: Any) -> bool:
    types = need("pyarrow", extra="tabular").types
    plain = (types.is_null, types.is_boolean, types.is_floating, types.is_decimal, types.is_date, types.is_timestamp)
    return any(is_one(kind) for is_one in (*plain, *_clock_types())) or _is_text(kind)


def _clock_types() -> tuple[Any, Any]:
    """What asks whether a type is a duration, or a time of the day."""
    types = need("pyarrow", extra="tabular").types
    return types.is_duration, types.is_time


def _read_times(chunked: Any) -> ReadColumn:
    """Dates and timestamps as moments, durations and times of the day as hours."""
    pa, kind = need("pyarrow", extra="tabular"), chunked.type
    if not any(is_one(kind) for is_one in _clock_types()):
        return read_timestamps(chunked)
    whole = chunked.cast(pa.int32() if pa.types.is_time32(kind) else pa.int64())
    return "number", to_float64(whole) / _UNITS_PER_HOUR[kind.unit], "has times without a date; they are hours"


def _decode_array(chunked: Any) -> Any:
    """The values behind dictionaries, run-end encodings and extension types."""
    pa, pc = need("pyarrow", extra="tabular"), need("pyarrow.compute", extra="tabular")
    kind = chunked.type
    if isinstance(kind, pa.BaseExtensionType) and kind.extension_name.startswith("arrow."):
        return _decode_array(pa.chunked_array([chunk.storage for chunk in chunked.chunks], kind.storage_type))
    if pa.types.is_dictionary(kind):
        return _decode_array(chunked.cast(kind.value_type))
    if pa.types.is_run_end_encoded(kind):
        return _decode_array(pa.chunked_array([pc.run_end_decode(chunk) for chunk in chunked.chunks], kind.value_type))
    return chunked


def _is_text(kind: Any) -> bool:
    types = need("pyarrow", extra="tabular").types
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind) or _is_binary(kind))


def _is_binary(kind: Any) -> bool:
    types = need("pyarrow", extra="tabular").types
    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind))


def _to_utf8(name: str, chunked: Any) -> Any:
    """The column as large_string. Bytes are taken for text when they are UTF-8, else InputError."""
    pa = need("pyarrow", extra="tabular")
    try:
        strings = chunked.cast(pa.large_string())
        strings.validate(full=True)
    except pa.ArrowInvalid as error:
        raise InputError(
            f"column {name!r} holds bytes that are not UTF-8", expected="text", fix=f"leave {name!r} out"
        ) from error
    return strings
