"""Requests and their rows -> columns of a Parquet file: one row for each row of a request, one for a request without.

Columns: time, request_id, row (0..), num_rows, model, version, digest, route, client, host, worker, status, error,
duration_s, queue_s, compute_s, prediction (the label), value (of regression), confidence, probability.LABEL, flags
("unseen:city,imputed:age"), sample (the share of requests that is logged), input.NAME. Times are UTC; confidence is the
highest probability, before the threshold. Of a picture "input.NAME" is its size, and "input.NAME: brightness" and
others are what pictures.py measures.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from deepseek.contracts import Prediction
from deepseek.data.table.columns import ColumnarRows
from deepseek.observe.predictions.pictures import PARTS, measure_picture
from deepseek.observe.predictions.requests import LoggedRequest, plain_values
from deepseek.observe.predictions.segments import concat_tables

if TYPE_CHECKING:
    import pyarrow as pa

#: A column of one value for each row.
Values = Sequence[Any] | np.ndarray[Any, Any]
Indices = np.ndarray[Any, np.dtype[np.int64]]
INPUT_PREFIX, PROBABILITY_PREFIX = "input.", "probability."
HASH_BYTES = 8
_unpack = msgspec.msgpack.Decoder().decode


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
    starts = np.cumsum(counts) - counts
    order = [np.arange(starts[index], starts[index] + counts[index]) for group in groups.values() for index in group]
    return concat_tables(tables).take(np.argsort(np.concatenate(order)))


def _row_kind(request: LoggedRequest) -> object:
    """A key that is equal for requests whose rows can become columns together."""
    packed, prediction = request.packed, request.prediction
    answers = None if prediction is None else (prediction.labels_known, prediction.labels is None)
    form = type(packed.values) if isinstance(packed, ColumnarRows) else type(packed)
    return request.names, form, request.is_numeric, answers, bool(request.figures[2])


def _group_to_table(requests: Sequence[LoggedRequest], form: RowFormat) -> pa.Table:
    """The table of requests that are of one kind."""
    import pyarrow as pa

    counts = np.array([request.num_rows for request in requests])
    num_rows = int(counts.sum())
    columns = _request_columns(requests, form)
    if num_rows != len(requests):
        owners = pa.array(np.repeat(np.arange(len(requests)), counts))
        columns = {name: column.take(owners) for name, column in columns.items()}
    place = np.arange(num_rows) - np.repeat(np.cumsum(counts) - counts, counts)  # of each row in its request
    columns["row"] = pa.array(place) if requests[0].figures[2] else pa.nulls(num_rows, pa.int64())
    if requests[0].prediction is not None:
        columns |= _answer_columns(requests, counts, place)
    if requests[0].packed is not None:
        encode = _to_array if form.inputs == "values" else _hasher(form.key)
        for name, values in _input_columns(requests):
            columns[INPUT_PREFIX + name] = encode(values)
    columns |= _picture_columns(requests, counts)
    return pa.table(columns)


def _request_columns(requests: Sequence[LoggedRequest], form: RowFormat) -> dict[str, pa.Array]:
    """What is the same for all rows of a request: one value a request."""
    import pyarrow as pa

    columns = [list(column) for column in zip(*[request.figures for request in requests], strict=True)]
    time_s, request_id, num_rows, model, version, digest, route, client, status, error, *durations_s = columns
    duration_s, queue_s, pids, compute_s = durations_s

    def texts(values: list[str | None]) -> pa.Array:
        """A column of texts; one that stands in every row costs next to nothing."""
        if values.count(values[0]) != len(values):
            return pa.array(values, pa.string())
        return pa.nulls(len(values), pa.string()) if values[0] is None else pa.repeat(values[0], len(values))

    microseconds = np.rint(np.multiply(time_s, 1e6)).astype(np.int64)
    return {
        "host": pa.repeat(form.host, len(requests)), "sample": pa.array(np.full(len(requests), form.sample)),
        "time": pa.array(microseconds).cast(pa.timestamp("us", "UTC")),
        "request_id": pa.array(request_id, pa.string()), "num_rows": pa.array(num_rows, pa.int64()),
        "model": texts(model), "version": texts(version), "digest": texts(digest), "route": texts(route),
        "client": texts(client), "worker": texts([str(pid) if pid else None for pid in pids]),
        "status": pa.array(status, pa.int64()), "error": texts(error),
        "duration_s": pa.array(duration_s, pa.float64()), "queue_s": pa.array(queue_s, pa.float64()),
        "compute_s": pa.array(compute_s, pa.float64()),
    }  # fmt: skip


def _answer_columns(requests: Sequence[LoggedRequest], counts: Indices, place: Indices) -> dict[str, pa.Array]:
    """What was answered; nothing for answers that are neither classes nor numbers."""
    import pyarrow as pa

    predictions, first_rows = _distinct_predictions(requests)
    index = np.repeat(first_rows, counts) + place  # of each row in all predictions together
    columns: dict[str, pa.Array] = {}
    first = predictions[0]
    if first.labels is not None:
        columns["prediction"] = pa.array(_take([each.labels for each in predictions], index).tolist(), pa.string())
    if first.probabilities is not None:
        shares = _take([each.probabilities for each in predictions], index).astype(np.float64)
        columns["confidence"] = pa.array(shares.max(axis=1))
        for label, column in zip(first.labels_known, shares.T, strict=True):
            columns[PROBABILITY_PREFIX + label] = pa.array(column.copy())
    if first.values is not None:
        columns["value"] = pa.array(_take([each.values for each in predictions], index).astype(np.float64))
    return columns | {"flags": pa.array(_flag_texts(requests, counts), pa.string())}


def _distinct_predictions(requests: Sequence[LoggedRequest]) -> tuple[list[Prediction], Indices]:
    """The predictions, of which several requests may share one, and the first row of each request (N,) in all of them
    together."""
    offsets: dict[int, int] = {}
    predictions: list[Prediction] = []
    first_rows, end = [], 0
    for request in requests:
        prediction = request.prediction or Prediction()  # requests of one kind all have one
        offset = offsets.get(id(prediction))
        if offset is None:
            offset = offsets[id(prediction)] = end
            predictions.append(prediction)
            end += len(prediction)
        first_rows.append(offset + request.start)
    return predictions, np.array(first_rows)


def _take(arrays: Sequence[Any], index: Indices) -> np.ndarray[Any, Any]:
    rows: np.ndarray[Any, Any] = np.concatenate(arrays)[index]
    return rows


def _flag_texts(requests: Sequence[LoggedRequest], counts: Indices) -> list[str]:
    """The flags of each row: "unseen:city,imputed:age"."""
    texts = [""] * int(counts.sum())
    first = 0
    for request in requests:
        prediction, start = request.prediction, request.start
        for flag in request.flags:
            _add_flag(texts, first + flag.row, f"{flag.what}:{flag.column}")
        for flag in () if prediction is None else prediction.flags:
            if start <= flag.row < start + request.num_rows:
                _add_flag(texts, first + flag.row - start, f"{flag.what}:{flag.column}")
        first += request.num_rows
    return texts


def _add_flag(texts: list[str], row: int, text: str) -> None:
    texts[row] += f",{text}" if texts[row] else text


def _input_columns(requests: Sequence[LoggedRequest]) -> Iterator[tuple[str, Values]]:
    """The raw columns of the rows of requests of one kind. A value that a row lacks is None."""
    packed: list[Any] = [request.packed for request in requests]
    names = requests[0].names
    if names is None:
        records = list(chain.from_iterable(map(_unpack, packed)))
        for name in dict.fromkeys(chain.from_iterable(records)):
            yield str(name), [record.get(name) for record in records]
    elif requests[0].is_numeric:
        matrix = np.frombuffer(b"".join(packed), np.float64).reshape(-1, len(names))
        for name, column in zip(names, matrix.T, strict=True):
            yield str(name), column.copy()
    elif isinstance(packed[0], bytes):
        rows = chain.from_iterable(map(_unpack, packed))
        yield from zip(map(str, names), map(list, zip(*rows, strict=True)), strict=True)
    else:
        for index, name in enumerate(names):
            if isinstance(packed[0].values, np.ndarray):
                yield str(name), np.concatenate([each.values[:, index] for each in packed])
            else:
                yield str(name), plain_values(list(chain.from_iterable(each.values[index] for each in packed)))


def _picture_columns(requests: Sequence[LoggedRequest], counts: Indices) -> dict[str, pa.Array]:
    """The numbers of the pictures, by "input.COLUMN: PART"; NaN for what is no picture, or was not measured."""
    import pyarrow as pa

    measured: dict[str, np.ndarray[Any, Any]] = {}
    starts = np.cumsum(counts) - counts
    for request, start in zip(requests, starts.tolist(), strict=True):
        for row, column, coded in request.files:
            if (parts := measure_picture(coded)) is not None:
                missing = np.full((int(counts.sum()), len(PARTS)), np.nan)
                measured.setdefault(column, missing)[start + row] = parts
    return {
        f"{INPUT_PREFIX}{column}: {part}": pa.array(values, mask=np.isnan(values))
        for column, matrix in measured.items() for part, values in zip(PARTS, matrix.T.copy(), strict=True)
    }  # fmt: skip


def _to_array(values: Values) -> pa.Array:
    """Numbers as numbers, texts as texts; a column that has both as texts."""
    import pyarrow as pa

    if isinstance(values, np.ndarray):
        return pa.array(values if values.dtype.kind == "b" else values.astype(np.float64))
    kinds = set(map(type, values)) - {type(None)}
    if kinds <= {float}:
        return pa.array(values, pa.float64())
    if len(kinds) == 1:
        return pa.array(values, pa.bool_() if kinds == {bool} else pa.string())
    return pa.array([None if value is None else _to_text(value) for value in values], pa.string())


def _to_text(value: float | bool | str) -> str:
    """A value of a column that has several kinds, as Arrow casts it: tables of one log agree."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else repr(value).removesuffix(".0")


def _hasher(key: bytes) -> Callable[[Values], pa.Array]:
    """Makes a column of keyed hashes: equal values stay equal, and nobody without the key can try values out."""
    import pyarrow as pa

    def hash_value(value: Any) -> str | None:
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return None
        return hashlib.blake2b(repr(value).encode(), digest_size=HASH_BYTES, key=key).hexdigest()

    return lambda values: pa.array([hash_value(value) for value in plain_values(values)], pa.string())
