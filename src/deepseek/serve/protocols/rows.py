"""Rows as positional arrays, for :predict. Half the bytes of records, and a quarter of the work.

    {"rows": [[61, 48000], [33.5, null]]}                                columns in the order of the model's inputs
    {"columns": ["income", "age"], "rows": [[48000, 61], [null, 33.5]]}  or in the order that is named
    -> {"labels_known": ["no", "yes"], "labels": ["yes", "no"], "probabilities": [[0.1, 0.9], [0.8, 0.2]]}

The answer is by column too, each part with one entry for each row: labels and probabilities, or values and intervals;
"flags" for values that were changed, "reasons" where they were asked for.

Main path: rows of numbers and null alone are decoded by their type and become one matrix; what is anything else is
decoded as it is and becomes columns, with the same answer.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Flag, JsonObject, Prediction
from deepseek.data.table.columns import ColumnarRows
from deepseek.data.table.values import MAX_EXACT_INTEGER
from deepseek.errors import InputError, TooLargeError
from deepseek.plugins import did_you_mean_column
from deepseek.serve.core.bodies.slices import SLICE_BYTES, SlicedBody
from deepseek.serve.core.bodies.structure import PAUSE_S, scan
from deepseek.serve.core.json_body import encode_json, json_type_name
from deepseek.serve.core.json_numbers import encode_floats

ROW_KEYS = {"columns", "rows", "reasons"}
ROWS_FORM = '{"columns": [name, ...], "rows": [[value, ...], ...]}, where "columns" may be left out'
#: A longer body of rows is decoded in a thread. Up to it decoding takes 2 ms, and holds Python's lock in a thread too.
INLINE_ROWS_BYTES = 256 * 1024
MAX_ROW_BYTES = 1 << 20  # of a row of numbers that is decoded in one call
_SEARCH_BYTES = 16 * 1024  # within which "rows" is looked for before a body is decoded as rows of numbers


class _NumericBody(msgspec.Struct, forbid_unknown_fields=True):
    """A body whose cells are all numbers or null."""

    rows: list[list[float | None]]
    columns: list[str] | msgspec.UnsetType = msgspec.UNSET
    reasons: int | msgspec.UnsetType = msgspec.UNSET


_decode_numbers = msgspec.json.Decoder(_NumericBody).decode
_decode_rows = msgspec.json.Decoder(list[list[float | None]]).decode
_decode_rest = msgspec.json.Decoder(JsonObject).decode


def may_hold_rows(body: bytes) -> bool:
    """Whether a body may hold positional rows: a quick search for the key, which may err."""
    return body.find(b'"rows"', 0, _SEARCH_BYTES) >= 0


def read_numeric_columns(body: bytes, names: Sequence[str], max_rows: int) -> tuple[ColumnarRows, int] | None:
    """Rows of numbers and the number of reasons; None for a body that is anything else, or malformed.

    >>> read_numeric_columns(b'{"rows": [[1, 2.5], [null, 3]]}', ("a", "b"), 10)[0][1]
    {'a': None, 'b': 3.0}
    """
    if not may_hold_rows(body):
        return None
    try:
        numeric = _decode_whole(body) if len(body) <= INLINE_ROWS_BYTES else _decode_slices(body, max_rows)
    except ValueError:  # msgspec's errors and broken UTF-8: the general reader raises them again
        return None
    if numeric is None or not 0 < numeric.num_rows <= max_rows:
        return None
    names = numeric.columns or names
    width = len(names)
    if numeric.widths != {width} or len(set(names)) < width:
        return None
    matrix = np.concatenate([_to_matrix(rows, width) for rows in numeric.parts])
    if (np.abs(matrix) >= MAX_EXACT_INTEGER).any():  # a whole number that float64 has rounded may be a category's
        return None
    return ColumnarRows(names, matrix), numeric.reasons


@dataclass(slots=True)
class _NumericRows:
    """Rows of numbers as they are decoded, in parts."""

    parts: list[Any]  # lists of rows, or arrays (N, P)
    widths: set[int]
    num_rows: int
    columns: Sequence[str] = ()
    reasons: int = 0


def _decode_whole(body: bytes) -> _NumericRows | None:
    """The rows of a body that is decoded in one call; None when it is not of this form."""
    document = _decode_numbers(body)
    columns = [] if document.columns is msgspec.UNSET else document.columns
    keys = 1 + (document.columns is not msgspec.UNSET) + (document.reasons is not msgspec.UNSET)
    if body.count(b":") != keys + sum(name.count(":") for name in columns):
        return None  # perhaps a key that stands twice
    if document.columns is not msgspec.UNSET and not columns:
        return None
    reasons = 0 if document.reasons is msgspec.UNSET else document.reasons
    return _NumericRows([document.rows], set(map(len, document.rows)), len(document.rows), columns, reasons)


def _decode_slices(body: bytes, max_rows: int) -> _NumericRows | None:
    """The rows of a large body: each slice becomes an array before the next is decoded."""
    sliced = SlicedBody(body, scan(body), msgspec.json.decode)
    outer = sliced.brackets(0, len(body))
    rest: JsonObject = {}
    numeric: _NumericRows | None = None
    for span in sliced.groups(*outer) if outer is not None and body[outer[0] : outer[0] + 1] == b"{" else ():
        if span.num_items > 1 or span.stop - span.start <= SLICE_BYTES:
            members = _decode_rest(b"{%b}" % body[span.start : span.stop])
            if len(members) != span.num_items or not rest.keys().isdisjoint(members):
                return None
            rest |= members
            continue
        key, start = sliced.member(span)
        inner = sliced.brackets(start, span.stop)
        if key != "rows" or numeric is not None or inner is None:
            return None
        numeric = _decode_row_slices(sliced, inner, max_rows)
        if numeric is None:
            return None
    columns, reasons = rest.get("columns"), rest.get("reasons", 0)
    has_names = columns is None or (type(columns) is list and columns and set(map(type, columns)) == {str})
    if numeric is None or rest.keys() - {"columns", "reasons"} or type(reasons) is not int or not has_names:
        return None
    numeric.columns, numeric.reasons = columns or (), reasons
    return numeric


def _decode_row_slices(sliced: SlicedBody, inner: tuple[int, int], max_rows: int) -> _NumericRows | None:
    numeric = _NumericRows([], set(), 0)
    for span in sliced.groups(*inner):
        if span.stop - span.start > MAX_ROW_BYTES:
            return None
        rows = _decode_rows(b"[%b]" % sliced.body[span.start : span.stop])
        numeric.num_rows += len(rows)
        check_num_rows(numeric.num_rows, max_rows)
        numeric.widths.update(map(len, rows))
        if len(rows) != span.num_items or len(numeric.widths) != 1:
            return None
        numeric.parts.append(_to_matrix(rows, len(rows[0])))
        time.sleep(PAUSE_S)
    return numeric


def _to_matrix(rows: Any, width: int) -> NDArray[np.float64]:
    """Rows of one width as an array (N, P); null is NaN."""
    if isinstance(rows, np.ndarray):
        return rows
    try:
        return np.fromiter(chain.from_iterable(rows), np.float64, len(rows) * width).reshape(len(rows), width)
    except TypeError:  # a null
        return np.array(rows, np.float64)


def read_columns(body: JsonObject, names: Sequence[str], *, copy: str) -> ColumnarRows:
    """The rows of a decoded body. InputError names the row that does not fit; `copy` is its advice."""
    sent_names = body.get("columns")
    names = names if sent_names is None else _read_names(sent_names, names)
    rows = body.get("rows")
    if not isinstance(rows, list):
        raise InputError(
            'the body has no "rows"' if rows is None else f'"rows" is {json_type_name(rows)}',
            expected=ROWS_FORM,
            fix=copy,
        )
    if not rows:
        raise InputError('"rows" is empty', expected="at least one row", fix=copy)
    width = len(names)
    for index, row in enumerate(rows):
        if type(row) is not list or len(row) != width:
            shown = ", ".join(names[:20]) + (f" and {width - 20} more" if width > 20 else "")
            problem = f"has {len(row)} values" if type(row) is list else f"is {json_type_name(row)}"
            raise InputError(
                f"rows[{index}] {problem}",
                expected=f"an array of {width} values: {shown}",
                fix="give each row a value for every column, null where it is not known",
            )
    return ColumnarRows(names, _transpose(rows, width))


def _transpose(rows: Sequence[Sequence[Any]], width: int) -> list[list[Any]]:
    """Rows transposed to columns, a thousand at a time: one call for all would hold Python's lock too long."""
    columns: list[list[Any]] = [[] for _ in range(width)]
    for start in range(0, len(rows), 1_000):
        for column, values in zip(columns, zip(*rows[start : start + 1_000], strict=True), strict=True):
            column.extend(values)
    return columns


def _read_names(sent_names: Any, known: Sequence[str]) -> Sequence[str]:
    if not isinstance(sent_names, list) or not sent_names or not all(isinstance(name, str) for name in sent_names):
        raise InputError(
            f'"columns" is {json_type_name(sent_names)}'
            if not isinstance(sent_names, list)
            else '"columns" holds what is no name',
            expected=f"an array of names: {', '.join(known[:20])}",
            fix='name the columns of "rows" in their order, or leave "columns" out',
        )
    twice = (
        next((name for name in sent_names if sent_names.count(name) > 1), None)
        if len(set(sent_names)) < len(sent_names)
        else None
    )
    if twice is not None:
        hint = did_you_mean_column(twice[:100], [name for name in known if name not in sent_names])
        raise InputError(f'"columns" names {twice[:100]!r} twice.{hint}', expected="each once", fix="keep one of them")
    return sent_names


class ColumnarResponse(msgspec.Struct):
    """A response by column; each part has one entry for each row, but `labels_known` and `flags`."""

    labels_known: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    labels: list[str] | msgspec.UnsetType = msgspec.UNSET
    probabilities: list[list[float]] | msgspec.UnsetType = msgspec.UNSET
    values: list[float] | msgspec.UnsetType = msgspec.UNSET
    embeddings: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    outputs: dict[str, list[Any]] | msgspec.UnsetType = msgspec.UNSET  # of a graph, by name
    entities: Any = msgspec.UNSET
    defects: Any = msgspec.UNSET
    intervals: list[list[float]] | msgspec.UnsetType = msgspec.UNSET
    flags: tuple[Flag, ...] | msgspec.UnsetType = msgspec.UNSET
    reasons: Any = msgspec.UNSET


def encode_columns(prediction: Prediction, reasons: Sequence[Any] = ()) -> bytes:
    """The response body by column.

    >>> encode_columns(Prediction(values=np.array([1.5, 2.0], np.float32)))
    b'{"values":[1.5,2.0]}'
    """
    response = ColumnarResponse()
    if prediction.labels is not None and prediction.probabilities is not None:
        response.labels_known = prediction.labels_known
        response.labels = prediction.labels.tolist()
        response.probabilities = prediction.probabilities.tolist()
    elif prediction.values is not None:
        response.values = prediction.values.tolist()
    elif prediction.embeddings is not None:
        response.embeddings = encode_floats(prediction.embeddings)
    elif prediction.tensors is not None:
        response.outputs = {name: array.tolist() for name, array in prediction.tensors.arrays.items()}
    elif prediction.entities is not None:
        response.entities = prediction.entities
    elif prediction.defects is not None:
        response.defects = prediction.defects
    if prediction.intervals is not None:
        response.intervals = prediction.intervals.tolist()
    if prediction.flags:
        response.flags = prediction.flags
    if reasons:
        response.reasons = reasons
    return encode_json(response)


def check_num_rows(num_rows: int, max_rows: int) -> None:
    """Raise TooLargeError when a request holds more rows than the limit."""
    if num_rows > max_rows:
        raise TooLargeError(
            f"the request has {num_rows} rows", expected=f"at most {max_rows}", fix="send them in several requests"
        )
