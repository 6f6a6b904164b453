"""Requests and their rows -> columns of a Parquet file: one row for each row of a request, one for a request without.

Columns: time, request_id, row (0..), num_rows, model, version, digest, route, client, host, worker, status, error,
duration_s, queue_s, compute_s, prediction (the label), value (of regression), confidence, probability.LABEL, flags
("unseen:city,imputed:age"), sample (the share of requests that is logged), input.NAME. Times are UTC; confidence is the
highest probability, before the threshold.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from deepseek.contracts import AnsweredRows, Event, Prediction, Record, Tensors

if TYPE_CHECKING:
    import pyarrow as pa

#: A column of one value for each row.
Values = list[Any]
INPUT_PREFIX, PROBABILITY_PREFIX = "input.", "probability."
MAX_TEXT = 256  # characters of a text that are kept: enough to know it again
HASH_BYTES = 8
#: Columns of every log whose type does not depend on what is in them.
TEXTS = (
    "request_id",
    "model",
    "version",
    "digest",
    "route",
    "client",
    "host",
    "worker",
    "error",
    "prediction",
    "flags",
)
FLOATS = ("duration_s", "queue_s", "compute_s", "sample", "confidence", "value")


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """A request, its rows if they were computed, and when its answer left, in seconds since 1970."""

    event: Event
    rows: AnsweredRows | None
    epoch_s: float

    @property
    def num_rows(self) -> int:
        return max(1, self.event.num_rows)


@dataclass(frozen=True, slots=True)
class RowFormat:
    """What the rows of a log have in common."""

    host: str
    inputs: str  # values, hashed, none
    sample: float
    key: bytes = b""  # of the hashes


#: Columns that are the same for all rows of a request, and what they hold.
ALIKE: Mapping[str, Callable[[LoggedRequest], Any]] = {
    "time": lambda each: round(each.epoch_s * 1e6),
    "request_id": lambda each: each.event.fields.get("request_id", ""),
    "num_rows": lambda each: each.event.num_rows,
    "model": lambda each: each.event.model_name,
    "version": lambda each: each.event.model_version,
    "digest": lambda each: each.event.fields.get("digest", ""),
    "route": lambda each: each.event.fields.get("route", ""),
    "client": lambda each: each.event.fields.get("client"),
    "worker": lambda each: str(each.rows.worker_pid) if each.rows is not None and each.rows.worker_pid else None,
    "status": lambda each: each.event.status,
    "error": lambda each: each.event.fields.get("error"),
    "duration_s": lambda each: each.event.duration_s,
    "queue_s": lambda each: each.event.queue_s,
    "compute_s": lambda each: each.rows.compute_s if each.rows is not None else None,
}


def requests_to_table(requests: Sequence[LoggedRequest], form: RowFormat) -> pa.Table:
    """The table of some requests of one model, in their order."""
    import pyarrow as pa

    counts = [each.num_rows for each in requests]
    num_rows = sum(counts)
    columns: dict[str, Values] = {"host": [form.host] * num_rows, "sample": [form.sample] * num_rows}
    for name, value_of in ALIKE.items():
        values = [value_of(each) for each in requests]
        columns[name] = values if num_rows == len(values) else _repeat(values, counts)
    columns["row"] = [row for each in requests for row in (range(each.num_rows) if each.event.num_rows else (None,))]
    place = 0
    for each, count in zip(requests, counts, strict=True):
        for name, values in _row_columns(each, count, form):
            if len(values) == count:  # rows that were refused may not fit together
                columns.setdefault(name, [None] * num_rows)[place : place + count] = values
        place += count
    types = {"time": pa.timestamp("us", "UTC"), "row": pa.int64()} | dict.fromkeys(FLOATS, pa.float64())
    types |= dict.fromkeys(TEXTS, pa.string())
    return pa.table(
        {
            name: pa.array(values, types[name]) if name in types else _typed_array(values)
            for name, values in columns.items()
        }
    )


def _repeat(values: Values, counts: Sequence[int]) -> Values:
    return [value for value, count in zip(values, counts, strict=True) for _ in range(count)]


def _row_columns(request: LoggedRequest, num_rows: int, form: RowFormat) -> Iterator[tuple[str, Values]]:
    """What differs from row to row: the answers, and the inputs."""
    event, rows = request.event, request.rows
    if rows is None or not event.num_rows:
        return
    if rows.predict is not None and event.status < 400:
        yield from _answer_columns(rows.predict(), num_rows)
    if form.inputs == "none":
        return
    hide = _hasher(form.key) if form.inputs == "hashed" else None
    for name, values in _input_columns(rows.records):
        plain = [value if type(value) is float else _plain_value(value) for value in values]
        yield INPUT_PREFIX + name, plain if hide is None else [hide(value) for value in plain]


def _answer_columns(prediction: Prediction, num_rows: int) -> Iterator[tuple[str, Values]]:
    """What was answered; nothing for answers that are neither classes nor numbers."""
    if len(prediction) != num_rows:
        return
    if prediction.labels is not None:
        yield "prediction", prediction.labels.tolist()
    if prediction.probabilities is not None:
        yield "confidence", prediction.probabilities.max(axis=1).tolist()
        for label, shares in zip(prediction.labels_known, prediction.probabilities.T, strict=True):
            yield PROBABILITY_PREFIX + label, shares.tolist()
    if prediction.values is not None:
        yield "value", prediction.values.tolist()
    flags = [""] * num_rows
    if not prediction.flags:
        yield "flags", flags
        return
    for flag in prediction.flags:
        flags[flag.row] += f"{',' if flags[flag.row] else ''}{flag.what}:{flag.column}"
    yield "flags", flags


def _input_columns(records: Sequence[Record] | Tensors | None) -> Iterator[tuple[str, Iterable[Any]]]:
    """The raw columns of records, however they are held. Tensors and rows without records have none."""
    if records is None or isinstance(records, Tensors):
        return
    names, values = getattr(records, "names", None), getattr(records, "values", None)
    if names is not None and values is not None:  # by column already
        for index, name in enumerate(names):
            yield name, (values[:, index] if isinstance(values, np.ndarray) else values[index])
        return
    for name in dict.fromkeys(name for record in records for name in record):
        yield str(name), [record.get(name) for record in records]


def _plain_value(value: Any) -> Any:
    """A number, a boolean, a short text or None. Of a file or a list, what it is and how large."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return float(value) if -1e308 < value < 1e308 else None
    if isinstance(value, str):
        return value if len(value) <= MAX_TEXT else f"{value[:MAX_TEXT]}… ({len(value)} characters)"
    size = len(value) if hasattr(value, "__len__") else 0
    return f"<{type(value).__name__} of {size}>"


def _hasher(key: bytes) -> Callable[[Any], str | None]:
    """A keyed hash, so that equal values stay equal and nobody without the key can try values out."""

    def hide(value: Any) -> str | None:
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return None
        return hashlib.blake2b(repr(value).encode(), digest_size=HASH_BYTES, key=key).hexdigest()

    return hide


def _typed_array(values: Values) -> pa.Array:
    """Numbers as numbers, texts as texts; a column that has both as texts."""
    import pyarrow as pa

    kinds = {type(value) for value in values} - {type(None)}
    if kinds <= {float, int}:
        return pa.array(values, pa.int64() if kinds == {int} else pa.float64())
    if kinds == {bool}:
        return pa.array(values, pa.bool_())
    texts = [value if value is None or isinstance(value, str) else str(value) for value in values]
    return pa.array(texts, pa.string())
