"""Rows as a request carries them: JSON by position, or an Arrow stream where they are held by column already.

numpy and pyarrow are used where an array or a table was handed in, and are not imported before.
"""

from __future__ import annotations

import base64
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from deepseek.errors import InputError
from deepseek.extras import need
from deepseek.null_words import NULL_WORDS


@dataclass(frozen=True, slots=True)
class PositionalRows:
    """N rows whose cells JSON can hold. `columns` names the cells of a row; None: they are in the model's order."""

    rows: Sequence[Sequence[Any]]
    columns: list[str] | None = None

    def to_dict(self) -> dict[str, object]:
        """What :predict takes: {"columns", "rows"}, or {"rows"}."""
        return {"rows": self.rows} if self.columns is None else {"columns": self.columns, "rows": self.rows}

    def records(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """Each row as {column: cell}. `names` are the model's columns, for rows that name none."""
        return [dict(zip(self.columns or names, row, strict=True)) for row in self.rows]


def positional_rows(rows: Any) -> PositionalRows:
    """Records, columns by name, a matrix or an Arrow table by position. InputError for what holds no rows.

    >>> positional_rows([{"age": 61, "income": None}]).to_dict()
    {'columns': ['age', 'income'], 'rows': [[61, None]]}
    >>> positional_rows({"age": [61.0, float("nan")]}).to_dict()
    {'columns': ['age'], 'rows': [(61.0,), (None,)]}
    """
    if hasattr(rows, "__arrow_c_stream__"):
        rows = need("pyarrow", extra="tabular").table(rows).to_pydict()
    if is_array(rows):
        if rows.ndim != 2:
            raise shape_error(rows, ())
        return PositionalRows([list(map(json_cell, row)) for row in rows.tolist()])
    if isinstance(rows, Mapping):
        columns = [list(map(json_cell, column)) for column in rows.values()]
        if len({len(column) for column in columns}) != 1:
            raise InputError(
                "the columns are not of one length", expected="as many values in each", fix="give every row a value"
            )
        return PositionalRows(list(zip(*columns, strict=True)), list(rows))
    if isinstance(rows, Sequence) and not isinstance(rows, (str, bytes)) and rows:
        if not isinstance(rows[0], Mapping):
            return PositionalRows([list(map(json_cell, row)) for row in rows])
        names = list(rows[0])
        return PositionalRows([_record_cells(record, names, index) for index, record in enumerate(rows)], names)
    raise InputError(
        f"rows is {type(rows).__name__}, and holds no row",
        expected="a list of records, columns by name, a numpy matrix or an Arrow table",
        fix='give [{"COLUMN": value, ...}, ...]',
    )


def is_array(value: Any) -> bool:
    """Whether a value is a numpy array: there is none while numpy is not imported."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray)


def is_columnar(rows: Any) -> bool:
    """Whether rows are held by column already, so that an Arrow stream costs no object for a cell."""
    if isinstance(rows, Mapping):
        return all(is_array(column) and column.ndim == 1 and column.dtype.kind in "fiubM" for column in rows.values())
    if is_array(rows):
        return rows.dtype.kind in "fiub"
    return hasattr(rows, "__arrow_c_stream__")


def arrow_table(rows: Any, names: Sequence[str]) -> Any:
    """A pyarrow.Table of columnar rows; `names` are the columns of a matrix. InputError for what is no table."""
    pa = need("pyarrow", extra="tabular")
    if is_array(rows):
        if rows.ndim != 2 or rows.shape[1] != len(names):
            raise shape_error(rows, names)
        rows = dict(zip(names, rows.T, strict=True))
    try:
        return pa.table(rows)
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise InputError(
            f"the columns are no table: {str(error)[:200]}",
            expected="columns of one length, each of one type",
            fix="give each column as a list or an array of as many values",
        ) from error


def arrow_stream(table: Any) -> bytes:
    """The bytes of an Arrow IPC stream that holds a pyarrow.Table."""
    pa = need("pyarrow", extra="tabular")
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def encode_json(body: Mapping[str, object]) -> bytes:
    """A body as JSON. InputError for a value that JSON cannot hold."""
    try:
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_json_default)
        return text.encode()  # half a surrogate pair is a ValueError
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InputError(
            f"a value cannot be sent: {str(error)[:200]}",
            expected="numbers, text, booleans, dates, None",
            fix="convert it before, as with float() or str()",
        ) from error


def json_cell(value: Any) -> Any:
    """A cell as JSON can hold it: what is missing as None, dates as ISO text, an array as nested lists."""
    if value is None or type(value) is int:
        return value
    if isinstance(value, str):
        return None if value.strip() in NULL_WORDS else value
    if isinstance(value, (float, list, tuple, dict)):
        return _finite(value)
    if hasattr(value, "dtype"):  # of numpy, which is loaded then
        return _finite(value.tolist()) if is_array(value) else _numpy_cell(value)
    if type(value).__name__ in ("NaTType", "NAType") or (isinstance(value, Decimal) and value.is_nan()):
        return None
    return value.isoformat() if hasattr(value, "isoformat") else value


def shape_error(rows: Any, names: Sequence[str]) -> InputError:
    """The error for a matrix that has other columns than the model."""
    return InputError(
        f"the matrix has the shape {list(rows.shape)}",
        expected=f"[rows, {len(names) or 'columns'}]: {', '.join(names[:20])}".rstrip(": "),
        fix="give one row for each answer, with its columns in the order of the model's inputs",
    )


def _record_cells(record: Any, names: list[str], index: int) -> list[Any]:
    if not isinstance(record, Mapping) or record.keys() != set(names):
        raise InputError(
            f"row {index} has other columns than row 0",
            expected=", ".join(map(str, names[:20])),
            fix="give each row the same columns, None where a value is not known",
        )
    return [json_cell(record[name]) for name in names]


def _numpy_cell(value: Any) -> Any:
    from deepseek.data.table.values import to_python

    cell = to_python(value)
    return str(cell) if hasattr(cell, "dtype") else _finite(cell)  # a datetime64


def _finite(value: Any) -> Any:
    """Nested lists and objects with None in the place of numbers that are not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (list, tuple)):
        return list(map(_finite, value))
    return {name: _finite(part) for name, part in value.items()} if isinstance(value, dict) else value


def _json_default(value: Any) -> str:
    """Text for a value of a type that JSON does not have. TypeError for others."""
    if isinstance(value, (Decimal, UUID)):
        return str(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode()
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    raise TypeError(f"a {type(value).__name__} has no form in JSON")
