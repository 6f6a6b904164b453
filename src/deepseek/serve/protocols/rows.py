"""Many rows as positional arrays, for :predict. Half the bytes of records, and a quarter of the work.

    {"rows": [[61, 48000], [33.5, null]]}                                columns in the order of the model's inputs
    {"columns": ["income", "age"], "rows": [[48000, 61], [null, 33.5]]}  or in the order that is named
    -> {"labels_known": ["no", "yes"], "labels": ["yes", "no"], "probabilities": [[0.1, 0.9], [0.8, 0.2]]}

The answer is by column too, each part with one entry for each row: labels and probabilities, or values and intervals;
"flags" for values that were changed, "reasons" where they were asked for.

Main path: rows of numbers and null alone are decoded by their type and become one matrix; what is anything else is
decoded as it is and becomes columns, with the same answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec
import numpy as np

from deepseek.contracts import Prediction
from deepseek.data.columns import Columns
from deepseek.data.values import EXACT
from deepseek.errors import InputError, TooLargeError
from deepseek.plugins import did_you_mean
from deepseek.serve.protocols.json_body import encode, kind_of
from deepseek.serve.protocols.json_numbers import numbers

KEYS = {"columns", "rows", "reasons"}
FORM = '{"columns": [name, ...], "rows": [[value, ...], ...]}, where "columns" may be left out'
#: A longer body of rows is decoded in a thread. Up to it decoding takes 2 ms, and holds Python's lock in a thread too.
INLINE_BYTES = 256 * 1024
_LOOK_BYTES = 16 * 1024  # within which "rows" is looked for before a body is decoded as rows of numbers


class _Numbers(msgspec.Struct, forbid_unknown_fields=True):
    """A body whose cells are all numbers or null."""

    rows: list[list[float | None]]
    columns: list[str] | msgspec.UnsetType = msgspec.UNSET
    reasons: int | msgspec.UnsetType = msgspec.UNSET


_decode_numbers = msgspec.json.Decoder(_Numbers).decode


def holds_rows(body: bytes) -> bool:
    """Whether a body may hold rows as positional arrays. A quick look, which may err."""
    return body.find(b'"rows"', 0, _LOOK_BYTES) >= 0


def read_numbers(body: bytes, names: Sequence[str], max_rows: int) -> tuple[Columns, int] | None:
    """Rows of numbers and how many reasons are asked for; None for a body that is anything else, or that is wrong.

    >>> read_numbers(b'{"rows": [[1, 2.5], [null, 3]]}', ("a", "b"), 10)[0][1]
    {'a': None, 'b': 3.0}
    """
    if not holds_rows(body):
        return None
    try:
        found = _decode_numbers(body)
    except ValueError:  # msgspec's errors and broken UTF-8: who reads the body next finds them too
        return None
    given = [] if found.columns is msgspec.UNSET else found.columns
    keys = 1 + (found.columns is not msgspec.UNSET) + (found.reasons is not msgspec.UNSET)
    if body.count(b":") != keys + sum(name.count(":") for name in given) or not 0 < len(found.rows) <= max_rows:
        return None  # a key that stands twice, perhaps
    names = names if found.columns is msgspec.UNSET else given
    rows, width = found.rows, len(names)
    if set(map(len, rows)) != {width} or len(set(names)) < width:
        return None
    try:
        matrix = np.fromiter(chain.from_iterable(rows), np.float64, len(rows) * width).reshape(len(rows), width)
    except TypeError:  # a null
        matrix = np.array(rows, np.float64)
    if (np.abs(matrix) >= EXACT).any():  # a whole number that float64 has rounded may be a category's
        return None
    return Columns(names, matrix), 0 if found.reasons is msgspec.UNSET else found.reasons


def from_body(body: Mapping[str, Any], names: Sequence[str], *, copy: str) -> Columns:
    """The rows of a decoded body. InputError names the row that does not fit; `copy` says where a body to copy is."""
    named = body.get("columns")
    names = names if named is None else _names(named, names)
    rows = body.get("rows")
    if not isinstance(rows, list):
        raise InputError(
            'the body has no "rows"' if rows is None else f'"rows" is {kind_of(rows)}', expected=FORM, fix=copy
        )
    if not rows:
        raise InputError('"rows" is empty', expected="at least one row", fix=copy)
    width = len(names)
    for index, row in enumerate(rows):
        if type(row) is not list or len(row) != width:
            shown = ", ".join(names[:20]) + (f" and {width - 20} more" if width > 20 else "")
            what = f"has {len(row)} values" if type(row) is list else f"is {kind_of(row)}"
            raise InputError(
                f"rows[{index}] {what}",
                expected=f"an array of {width} values: {shown}",
                fix="give each row a value for every column, null where it is not known",
            )
    return Columns(names, list(zip(*rows, strict=True)))


def _names(named: Any, known: Sequence[str]) -> Sequence[str]:
    if not isinstance(named, list) or not named or not all(isinstance(name, str) for name in named):
        raise InputError(
            f'"columns" is {kind_of(named)}' if not isinstance(named, list) else '"columns" holds what is no name',
            expected=f"an array of names: {', '.join(known[:20])}",
            fix='name the columns of "rows" in their order, or leave "columns" out',
        )
    twice = next((name for name in named if named.count(name) > 1), None) if len(set(named)) < len(named) else None
    if twice is not None:
        hint = did_you_mean(twice[:100], [name for name in known if name not in named])
        raise InputError(f'"columns" names {twice[:100]!r} twice.{hint}', expected="each once", fix="keep one of them")
    return named


def encode_columns(prediction: Prediction, reasons: Sequence[Any] = ()) -> bytes:
    """The answer by column.

    >>> encode_columns(Prediction(values=np.array([1.5, 2.0], np.float32)))
    b'{"values":[1.5,2.0]}'
    """
    found: dict[str, Any] = {}
    if prediction.labels is not None and prediction.probabilities is not None:
        found["labels_known"] = prediction.labels_known
        found["labels"] = prediction.labels.tolist()
        found["probabilities"] = prediction.probabilities.tolist()
    elif prediction.values is not None:
        found["values"] = prediction.values.tolist()
    elif prediction.embeddings is not None:
        found["embeddings"] = numbers(prediction.embeddings)
    elif prediction.tensors is not None:
        found["outputs"] = {name: array.tolist() for name, array in prediction.tensors.arrays.items()}
    elif prediction.entities is not None:
        found["entities"] = prediction.entities
    if prediction.intervals is not None:
        found["intervals"] = prediction.intervals.tolist()
    if prediction.flags:
        found["flags"] = [
            {"row": flag.row, "column": flag.column, "what": flag.what} for flag in prediction.flags
        ]  # fmt: skip
    if reasons:
        found["reasons"] = reasons
    return encode(found)


def check_rows(num_rows: int, max_rows: int) -> None:
    """Raise TooLargeError when a request holds more rows than the limit."""
    if num_rows > max_rows:
        raise TooLargeError(
            f"the request has {num_rows} rows", expected=f"at most {max_rows}", fix="send them in several requests"
        )
