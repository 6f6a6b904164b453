"""What a request leaves until it is written: its figures, and the values of its rows as bytes.

Nothing of the request itself is kept. Events, records and batches that wait in memory would cost a request more than
all of its log: what comes after it finds none of them free again, and takes memory that no cache holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from struct import Struct
from typing import Any

import msgspec
import numpy as np

from deepseek.contracts import AnsweredRows, Event, Flag, Prediction, Record, Tensors
from deepseek.data.table.columns import ColumnarRows
from deepseek.observe.predictions.pictures import file_of, file_size

MAX_TEXT = 256  # characters of a text that are kept: enough to know it again
_NUMBERS, _PLAIN = {float, int}, {float, int, str, bool, type(None)}
_pack = msgspec.msgpack.Encoder().encode
#: Values of rows: numbers of a row one after the other as doubles, rows in MessagePack, or columns as they came.
PackedRows = bytes | ColumnarRows | None


@dataclass(slots=True)  # not frozen, which costs as much as the rest of it
class LoggedRequest:
    """A request that waits to be written."""

    #: Time (s since 1970), id, rows, model, version, digest, route, client, status, error, duration, queue, engine
    #: process, time of its batch.
    figures: tuple[Any, ...]
    num_rows: int  # of the log: 1 for a request without
    names: tuple[str, ...] | None = None  # of the columns; None: of rows in MessagePack, each has its own
    packed: PackedRows = None
    is_numeric: bool = False  # whether `packed` holds doubles
    prediction: Prediction | None = None  # of these rows, or of a whole batch
    start: int = 0  # their first row in it
    flags: Sequence[Flag] = ()
    files: tuple[tuple[int, str, str], ...] = ()  # row, column and base64 of files that are still to be measured

    @property
    def num_file_bytes(self) -> int:
        """Of the files that wait to be measured."""
        return sum(len(coded) for _, _, coded in self.files)

    @property
    def model(self) -> str:
        return str(self.figures[3])


def keep_request(
    event: Event, rows: AnsweredRows | None, epoch_s: float, *, keeps_inputs: bool, keeps_files: bool = False
) -> LoggedRequest:
    """What is kept of a request that was answered at `epoch_s`. `keeps_files`: its files too, until they are
    measured."""
    read = event.fields.get
    pid, compute_s = (0, None) if rows is None else (rows.worker_pid, rows.compute_s)
    kept = LoggedRequest(
        (
            epoch_s, read("request_id", ""), event.num_rows, event.model_name, event.model_version, read("digest", ""),
            read("route", ""), read("client"), event.status, read("error"), event.duration_s, event.queue_s, pid,
            compute_s,
        ),
        event.num_rows or 1,
    )  # fmt: skip
    if rows is None or not event.num_rows:
        return kept
    if event.status < 400:
        kept.prediction, kept.start, kept.flags = rows.prediction, rows.start, rows.flags
    records = rows.records
    if not keeps_inputs or records is None or isinstance(records, Tensors) or len(records) != event.num_rows:
        return kept  # of refused rows answers and inputs may not fit together
    if isinstance(records, ColumnarRows):
        kept.names, kept.packed = records.names, records
        return kept
    if len(records) == 1:
        _keep_record(kept, records[0])
    else:
        kept.packed = _pack([{name: _plain_value(value) for name, value in record.items()} for record in records])
    if keeps_files and not kept.is_numeric:
        kept.files = tuple(
            (row, str(name), coded)
            for row, record in enumerate(records) for name, value in record.items()
            if (coded := file_of(value)) is not None
        )  # fmt: skip
    return kept


def _keep_record(kept: LoggedRequest, record: Record) -> None:
    """Keep the values of the only row: of nearly every request."""
    values = record.values()
    kinds = set(map(type, values))
    kept.names = tuple(record)
    if kinds <= _NUMBERS:
        try:
            kept.packed, kept.is_numeric = _doubles(len(values)).pack(*values), True
            return
        except (OverflowError, ValueError):  # a whole number beyond what a float holds
            pass
    is_plain = kinds <= _PLAIN and int not in kinds and str not in kinds
    kept.packed = _pack([list(values) if is_plain else [_plain_value(value) for value in values]])


@lru_cache(maxsize=64)
def _doubles(num_values: int) -> Struct:
    return Struct(f"{num_values}d")


def _plain_value(value: Any) -> Any:
    """A number, a boolean, a short text or None. Of a file or a list, what it is and how large."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return float(value) if type(value) is float or -1e308 < value < 1e308 else None
    if isinstance(value, str):
        text = value if len(value) <= MAX_TEXT else f"{value[:MAX_TEXT]}… ({len(value)} characters)"
        return text if text.isascii() else text.encode(errors="replace").decode()  # half of a surrogate pair is no text
    if (coded := file_of(value)) is not None:
        return f"<file of {file_size(coded)}>"
    size = len(value) if hasattr(value, "__len__") else 0
    return f"<{type(value).__name__} of {size}>"


def plain_values(values: Iterable[Any]) -> list[Any]:
    """Each value as it is kept."""
    return list(map(_plain_value, values))
