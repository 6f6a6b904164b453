"""Requests and their rows -> columns of a Parquet file: one row for each row of a request, one for a request without.

Columns: time, request_id, row (0..), num_rows, model, version, digest, route, client, host, worker, status, error,
duration_s, queue_s, compute_s, prediction (the label), value (of regression), confidence, probability.LABEL, flags
("unseen:city,imputed:age"), sample (the share of requests that is logged), input.NAME. Times are UTC; confidence is the
highest probability, before the threshold.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from deepseek.contracts import AnsweredRows, Event, Prediction, Record, Tensors
from deepseek.data.table.columns import ColumnarRows
from deepseek.errors import DeepseekError
from deepseek.observe.predictions.segments import concat_tables

if TYPE_CHECKING:
    import pyarrow as pa

#: A column of one value for each row.
Values = Sequence[Any]
INPUT_PREFIX, PROBABILITY_PREFIX = "input.", "probability."
MAX_TEXT = 256  # characters of a text that are kept: enough to know it again
HASH_BYTES = 8


@dataclass(slots=True)  # not frozen, which costs as much as the rest of what a request pays here
class LoggedRequest:
    """A request that waits to be written, and when it was answered (s since 1970)."""

    event: Event
    rows: AnsweredRows | None
    epoch_s: float

    @property
    def num_rows(self) -> int:
        return self.event.num_rows or 1


@dataclass(frozen=True, slots=True)
class RowFormat:
    """What the rows of a log have in common."""

    host: str
    inputs: str  # values, hashed, none
    sample: float
    key: bytes = b""  # of the hashes


def requests_to_table(requests: Sequence[LoggedRequest], form: RowFormat) -> pa.Table:
    """The table of some requests of one model, in their order.

    Requests whose rows are held alike become columns together: a column of many values costs a few ns a value, and some
    us however few there are.
    """
    groups: dict[object, list[int]] = {}
    for index, request in enumerate(requests):
        groups.setdefault(_row_kind(request), []).append(index)
    tables = [_group_to_table([requests[index] for index in indices], form) for indices in groups.values()]
    if len(tables) == 1:
        return tables[0]
    counts = np.array([request.num_rows for request in requests])
    order = np.concatenate([_row_indices(counts, indices) for indices in groups.values()])
    return concat_tables(tables).take(np.argsort(order))


def _row_kind(request: LoggedRequest) -> object:
    """A key that is equal for requests whose rows can become columns together."""
    rows = request.rows
    if rows is None or not request.event.num_rows:
        return None
    records = rows.records
    kind: object = type(records)
    if records is None or isinstance(records, Tensors) or len(records) != request.num_rows:
        kind = None  # no columns: without records, or refused so that answers and rows may not fit together
    elif isinstance(records, ColumnarRows):
        kind = (records.names, type(records.values))
    return kind, rows.decide if request.event.status < 400 else None


def _row_indices(counts: np.ndarray[Any, Any], indices: Sequence[int]) -> np.ndarray[Any, Any]:
    """Where the rows of the requests `indices` stand among those of all, which have `counts` (N,) rows."""
    starts = np.cumsum(counts) - counts
    return np.concatenate([np.arange(starts[index], starts[index] + counts[index]) for index in indices])


def _group_to_table(requests: Sequence[LoggedRequest], form: RowFormat) -> pa.Table:
    """The table of requests that are of one kind."""
    import pyarrow as pa

    counts = np.array([request.num_rows for request in requests])
    num_rows = int(counts.sum())
    columns = _request_columns(requests, form)
    if num_rows != len(requests):
        owners = pa.array(np.repeat(np.arange(len(requests)), counts))
        columns = {name: column.take(owners) for name, column in columns.items()}
    kind = _row_kind(requests[0])
    has_rows = bool(requests[0].event.num_rows)
    indices = np.arange(num_rows) - np.repeat(np.cumsum(counts) - counts, counts)
    columns["row"] = pa.array(indices) if has_rows else pa.nulls(num_rows, pa.int64())
    if kind is None:
        return pa.table(columns)
    columns |= _answer_columns(requests, num_rows)
    if form.inputs != "none" and isinstance(kind, tuple) and kind[0] is not None:
        encode = _to_array if form.inputs == "values" else _hasher(form.key)
        for name, values in _input_columns([request.rows.records for request in requests if request.rows]):
            columns[INPUT_PREFIX + name] = encode(values)
    return pa.table(columns)


def _request_columns(requests: Sequence[LoggedRequest], form: RowFormat) -> dict[str, pa.Array]:
    """What is the same for all rows of a request: one value a request."""
    import pyarrow as pa

    events = [request.event for request in requests]
    fields = [event.fields for event in events]
    rows = [request.rows for request in requests]

    def texts(values: Values) -> pa.Array:
        return _constant(values) or pa.array(values, pa.string())

    return {
        "host": texts([form.host] * len(requests)),
        "sample": pa.array(np.full(len(requests), form.sample)),
        "time": pa.array([round(request.epoch_s * 1e6) for request in requests], pa.timestamp("us", "UTC")),
        "request_id": pa.array([each.get("request_id", "") for each in fields], pa.string()),
        "num_rows": pa.array([event.num_rows for event in events], pa.int64()),
        "model": texts([event.model_name for event in events]),
        "version": texts([event.model_version for event in events]),
        "digest": texts([each.get("digest", "") for each in fields]),
        "route": texts([each.get("route", "") for each in fields]),
        "client": texts([each.get("client") for each in fields]),
        "worker": texts([str(each.worker_pid) if each is not None and each.worker_pid else None for each in rows]),
        "status": pa.array([event.status for event in events], pa.int64()),
        "error": texts([each.get("error") for each in fields]),
        "duration_s": pa.array([event.duration_s for event in events], pa.float64()),
        "queue_s": pa.array([event.queue_s for event in events], pa.float64()),
        "compute_s": pa.array([None if each is None else each.compute_s for each in rows], pa.float64()),
    }


def _constant(values: Values) -> pa.Array | None:
    """The column of a text that stands in every row; None for values that differ."""
    import pyarrow as pa

    if values.count(values[0]) != len(values):
        return None
    return pa.nulls(len(values), pa.string()) if values[0] is None else pa.repeat(values[0], len(values))


def _answer_columns(requests: Sequence[LoggedRequest], num_rows: int) -> dict[str, pa.Array]:
    """What was answered; nothing for answers that are neither classes nor numbers."""
    import pyarrow as pa

    columns: dict[str, pa.Array] = {}
    prediction = _decide_all(requests) if requests[0].event.status < 400 else None
    if prediction is None or len(prediction) != num_rows:
        return columns
    if prediction.labels is not None:
        columns["prediction"] = pa.array(prediction.labels.tolist(), pa.string())
    if prediction.probabilities is not None:
        columns["confidence"] = pa.array(prediction.probabilities.max(axis=1).astype(np.float64))
        for label, shares in zip(prediction.labels_known, prediction.probabilities.T, strict=True):
            columns[PROBABILITY_PREFIX + label] = pa.array(shares.astype(np.float64))
    if prediction.values is not None:
        columns["value"] = pa.array(prediction.values.astype(np.float64))
    flags = [""] * num_rows
    for flag in prediction.flags:
        flags[flag.row] += f"{',' if flags[flag.row] else ''}{flag.what}:{flag.column}"
    columns["flags"] = pa.array(flags, pa.string())
    return columns


def _decide_all(requests: Sequence[LoggedRequest]) -> Prediction | None:
    """The answers of requests of one kind as one; None where nothing was computed, or no array holds them all."""
    answered = [request.rows for request in requests if request.rows is not None]
    decide = answered[0].decide
    if decide is None:
        return None
    try:
        return decide([rows.part for rows in answered])
    except DeepseekError:  # outputs of several requests that differ in shape: those have no column here
        return None


def _input_columns(requests: Sequence[Any]) -> Iterator[tuple[str, Values]]:
    """The raw columns of the records of requests of one kind. A value that a record lacks is None."""
    if isinstance(requests[0], ColumnarRows):  # all with the same names, in the same order
        for index, name in enumerate(requests[0].names):
            if isinstance(requests[0].values, np.ndarray):
                yield name, np.concatenate([each.values[:, index] for each in requests])
            else:
                yield name, list(chain.from_iterable(each.values[index] for each in requests))
        return
    records: list[Record] = list(chain.from_iterable(requests))
    names = tuple(records[0])
    if len(names) > 1 and set(map(len, records)) == {len(names)}:
        with contextlib.suppress(KeyError):  # then these are other names
            columns = list(zip(*map(itemgetter(*names), records), strict=True))
            yield from zip(map(str, names), columns, strict=True)
            return
    for name in dict.fromkeys(chain.from_iterable(records)):
        yield str(name), [record.get(name) for record in records]


_NUMBERS, _TEXTS = {float, int, type(None)}, {str, type(None)}


def _to_array(values: Values) -> pa.Array:
    """Numbers as numbers, texts as texts; a column that has both as texts."""
    import pyarrow as pa

    if isinstance(values, np.ndarray) and values.dtype.kind == "f":
        return pa.array(values.astype(np.float64))
    kinds = set(map(type, values))
    # A whole number that no float holds exactly, and half of a surrogate pair, go the slow way.
    with contextlib.suppress(pa.ArrowInvalid, UnicodeEncodeError):
        if kinds <= _NUMBERS:
            return pa.array(values, pa.float64())
        if kinds <= _TEXTS and max(map(len, filter(None, values)), default=0) <= MAX_TEXT:
            return pa.array(values, pa.string())
    plain = [_plain_value(value) for value in values]
    kinds = set(map(type, plain)) - {type(None)}
    if kinds <= {float}:
        return pa.array(plain, pa.float64())
    if kinds == {bool}:
        return pa.array(plain, pa.bool_())
    return pa.array([value if value is None else _to_text(value) for value in plain], pa.string())


def _to_text(value: float | bool | str) -> str:
    """A value of a column that has several kinds, as Arrow casts it: tables of one log agree."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = value if isinstance(value, str) else repr(value).removesuffix(".0")
    return text.encode(errors="replace").decode()  # half of a surrogate pair has no bytes


def _plain_value(value: Any) -> Any:
    """A number, a boolean, a short text or None. Of a file or a list, what it is and how large."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return float(value) if type(value) is float or -1e308 < value < 1e308 else None
    if isinstance(value, str):
        return value if len(value) <= MAX_TEXT else f"{value[:MAX_TEXT]}… ({len(value)} characters)"
    size = len(value) if hasattr(value, "__len__") else 0
    return f"<{type(value).__name__} of {size}>"


def _hasher(key: bytes) -> Callable[[Values], pa.Array]:
    """Makes a column of keyed hashes: equal values stay equal, and nobody without the key can try values out."""
    import pyarrow as pa

    def hash_value(value: Any) -> str | None:
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return None
        return hashlib.blake2b(repr(value).encode(errors="replace"), digest_size=HASH_BYTES, key=key).hexdigest()

    return lambda values: pa.array([hash_value(_plain_value(value)) for value in values], pa.string())
