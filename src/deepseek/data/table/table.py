"""A table in memory: named columns of four types, the form that every file and frame is read into.

    type       stored as                       missing
    number     float64                         NaN
    boolean    float64, 0.0 or 1.0             NaN
    text       object: str                     None
    datetime   datetime64[ms], in UTC          NaT

A Table is never changed; take() and drop() make new ones. read_table (read.py) makes the first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Record
from deepseek.data.table.date_formats import DateFormat
from deepseek.data.table.number_formats import NumberFormat
from deepseek.data.table.readings import ColumnReading
from deepseek.data.table.values import MAX_EXACT_INTEGER, format_timestamp
from deepseek.errors import InputError
from deepseek.plugins import did_you_mean_column

ColumnType = Literal["number", "boolean", "text", "datetime"]
ColumnFormat = NumberFormat | DateFormat
DTYPES: dict[ColumnType, str] = {
    "number": "float64",
    "boolean": "float64",
    "text": "object",
    "datetime": "datetime64[ms]",
}


@dataclass(frozen=True, eq=False)
class Table:
    """N rows. `notes` says what reading changed, in words for the user; `formats` how columns of texts that say numbers
    or dates were read (formats.py).

    >>> table = Table({"age": np.array([31.0, np.nan]), "city": np.array(["Rome", None], object)},
    ...               {"age": "number", "city": "text"})
    >>> table.num_rows, table.names, table.records()
    (2, ('age', 'city'), [{'age': 31, 'city': 'Rome'}, {'age': None, 'city': None}])
    """

    columns: Mapping[str, NDArray[Any]]
    types: Mapping[str, ColumnType]
    notes: tuple[str, ...] = ()
    formats: Mapping[str, ColumnFormat] = field(default_factory=dict)
    readings: tuple[ColumnReading, ...] = ()  # of the columns, in their order, where the table was read by formats.py

    def __post_init__(self) -> None:
        for name, values in self.columns.items():
            if values.dtype != np.dtype(DTYPES[self.types[name]]) or values.shape != (self.num_rows,):
                raise InputError(
                    f"column {name!r} is {values.dtype} {values.shape}",
                    expected=f"{DTYPES[self.types[name]]} ({self.num_rows},)",
                    fix="make the table with read_table",
                )

    @property
    def names(self) -> tuple[str, ...]:
        """Columns, in the order of the file."""
        return tuple(self.columns)

    @property
    def num_rows(self) -> int:
        """How many rows each column has; 0 for a table without columns."""
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def __len__(self) -> int:
        return self.num_rows

    def column(self, name: str) -> NDArray[Any]:
        """Values (N,) of a column, not a copy. InputError names the near one when there is none."""
        if name not in self.columns:
            raise unknown_column_error(name, self.names)
        return self.columns[name]

    def take(self, rows: NDArray[Any]) -> Table:
        """The rows with these numbers, in this order, or where a mask (N,) is true."""
        return replace(self, columns={name: values[rows] for name, values in self.columns.items()})

    def drop(self, names: Iterable[str]) -> Table:
        """The table without these columns. InputError for one that does not exist."""
        dropped = set(names)
        for name in sorted(dropped):
            self.column(name)
        kept = [name for name in self.names if name not in dropped]
        return replace(
            self, columns={name: self.columns[name] for name in kept}, types={name: self.types[name] for name in kept}
        )

    def missing_mask(self, name: str) -> NDArray[np.bool_]:
        """Which values of a column are missing (N,)."""
        values = self.column(name)
        if values.dtype == object:
            return np.array([value is None for value in values.tolist()], bool)
        is_missing: NDArray[np.bool_] = np.isnat(values) if values.dtype.kind == "M" else np.isnan(values)
        return is_missing

    def records(self, limit: int | None = None) -> list[Record]:
        """The first `limit` rows as JSON would hold them: numbers, true or false, text, ISO dates, None."""
        cells = [self._to_python(name, values[:limit]) for name, values in self.columns.items()]
        return [dict(zip(self.names, row, strict=True)) for row in zip(*cells, strict=True)]

    def digest(self) -> str:
        """sha256 of names, types and values in their order. The same values read from CSV and from Parquet have one
        digest when both files give their columns the same types; a Parquet file that stores "1" as text does not."""
        sha = hashlib.sha256(f"table 1 {self.num_rows} {len(self.columns)}".encode())
        for name, values in self.columns.items():
            key = f"{self.types[name]} {name}".encode("utf-8", "surrogatepass")
            sha.update(len(key).to_bytes(8, "little") + key)
            for part in _content_bytes(values):
                sha.update(part)
        return sha.hexdigest()

    def _to_python(self, name: str, values: NDArray[Any]) -> list[Any]:
        if self.types[name] == "text":
            return list(values.tolist())
        if self.types[name] == "datetime":
            missing = np.isnat(values)
            whole = values.astype(np.int64).tolist()
            return [None if is_missing else format_timestamp(ms) for ms, is_missing in zip(whole, missing, strict=True)]
        if self.types[name] == "boolean":
            return [None if value != value else bool(value) for value in values.tolist()]  # noqa: PLR0124 - NaN
        whole = is_integral(self.columns[name])
        return [None if v != v else int(v) if whole else v for v in values.tolist()]  # noqa: PLR0124 - NaN


def concat(tables: Sequence[Table], called: Sequence[str]) -> Table:
    """The rows of several tables, one after the other: a user's own training, validation and test files. `called` is
    what errors call each.

    Columns may stand in another order. InputError for a column that one of them lacks, has beyond those of the first or
    holds as another type; a column without any value fits every type.
    """
    for table, name in zip(tables[1:], called[1:], strict=True):
        _check_same_columns(table, name, tables[0], called[0])
    columns: dict[str, NDArray[Any]] = {}
    types: dict[str, ColumnType] = {}
    for name in tables[0].names:
        file_by_type: dict[ColumnType, str] = {}
        for table, where in zip(tables, called, strict=True):
            if not table.missing_mask(name).all():
                file_by_type.setdefault(table.types[name], where)
        if len(file_by_type) > 1:
            raise InputError(
                f"column {name!r} is " + " and ".join(f"{kind} in {where}" for kind, where in file_by_type.items()),
                expected="one type in all files",
                fix="write it the same way in all files",
            )
        types[name] = next(iter(file_by_type), tables[0].types[name])
        columns[name] = np.concatenate([_as_type(table.columns[name], types[name]) for table in tables])
    notes = tuple(dict.fromkeys(note for table in tables for note in table.notes))
    return Table(columns, types, notes, tables[0].formats, tables[0].readings)


def _check_same_columns(table: Table, called: str, first: Table, first_called: str) -> None:
    missing = [name for name in first.names if name not in table.columns]
    more = [name for name in table.names if name not in first.columns]
    if missing:
        raise InputError(
            f"{called} has no column {missing[0]!r}, which {first_called} has.{did_you_mean_column(missing[0], more)}",
            expected="the same columns in both",
            fix=f"add {missing[0]!r} to {called}",
        )
    if more:
        raise InputError(
            f"{called} has a column {more[0]!r}, which {first_called} has not",
            expected="the same columns in both",
            fix=f"leave {more[0]!r} out of {called}",
        )


def _as_type(values: NDArray[Any], kind: ColumnType) -> NDArray[Any]:
    """`values` where they are of that type, else as many missing values of it."""
    if values.dtype == np.dtype(DTYPES[kind]):
        return values
    empty: dict[ColumnType, Any] = {"text": None, "datetime": np.datetime64("NaT"), "number": np.nan, "boolean": np.nan}
    return np.full(len(values), empty[kind], DTYPES[kind])


def is_integral(values: NDArray[np.float64]) -> bool:
    """Whether every number that is there is whole, finite and exact."""
    present = values[~np.isnan(values)]
    return bool(np.all((np.abs(present) < MAX_EXACT_INTEGER) & (present == np.floor(present))))


def unknown_column_error(name: str, names: Sequence[str], *, where: str = "the table", fix: str = "") -> InputError:
    """The error for a column that is not there; it names the near one."""
    known_names = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    return InputError(
        f"{where} has no column {name!r}.{did_you_mean_column(name, names)}",
        expected=f"one of {known_names}",
        fix=fix or "choose one of these",
    )


def _content_bytes(values: NDArray[Any]) -> list[bytes]:
    """Bytes that are equal exactly for equal columns."""
    if values.dtype.kind == "M":
        return [values.astype("<M8[ms]").tobytes()]
    if values.dtype.kind == "f":
        # One NaN and one zero, whatever bits they came with
        return [np.where(np.isnan(values), np.nan, values + 0.0).astype("<f8").tobytes()]
    encoded = [None if value is None else value.encode("utf-8", "surrogatepass") for value in values.tolist()]
    lengths = np.array([-1 if value is None else len(value) for value in encoded], "<i8")
    return [lengths.tobytes(), b"".join(value for value in encoded if value is not None)]
