"""Bodies of raw events, and of verdicts, to columns: records, NDJSON, or rows with the names of their columns.

    reader = EventReader(definition, extra_columns)
    raw = reader.read(body, headers)                 # values as they came, and the form that the answer has
    columns = reader.columns(raw)                    # EventColumns for the store

What is no JSON or no key is the sender's error, of the whole body. A time or an amount that is none is left to the
store, which refuses and counts that event alone.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from operator import attrgetter
from typing import Any, Literal, TypeAlias

import msgspec
import numpy as np

from deepseek.errors import InputError, MalformedError, TooLargeError
from deepseek.features import EventColumns, FeatureDefinition
from deepseek.features.definition import TICKS_PER_SECOND
from deepseek.features.events import BAD_TIME, Longs, code_of, read_amounts, read_times

NDJSON_TYPES = frozenset([b"application/x-ndjson", b"application/jsonl", b"application/x-jsonlines"])
#: How a body was written, which is how it is answered.
BodyForm: TypeAlias = Literal["record", "array", "instances", "lines", "columns"]


@dataclasses.dataclass(frozen=True, slots=True)
class RawRows:
    """N events or verdicts as they came: one list of N values for each column of the reader, in its order."""

    columns: tuple[list[Any], ...]
    form: BodyForm

    def __len__(self) -> int:
        return len(self.columns[0])


class RowReader:
    """Reads records that have the columns `names`. Others in a record are passed over."""

    def __init__(self, names: Sequence[str], optional: Sequence[str] = ()) -> None:
        """`optional`: more columns; None where a record has none."""
        self.names = (*names, *optional)
        fields: list[Any] = [(f"column_{place}", Any) for place in range(len(names))]
        fields += [(f"column_{place + len(names)}", Any, None) for place in range(len(optional))]
        labels = {f"column_{place}": name for place, name in enumerate(self.names)}
        self._record = msgspec.defstruct("Record", fields, rename=labels, gc=False)
        self._num_required = len(names)
        self._getters: list[Callable[[Any], Any]] = [attrgetter(name) for name in labels]
        self._decode = msgspec.json.Decoder(self._record).decode
        self._decode_list = msgspec.json.Decoder(list[self._record]).decode  # type: ignore[name-defined]
        self._decode_lines = msgspec.json.Decoder(self._record).decode_lines

    def read(self, body: bytes, media_type: bytes, max_rows: int) -> RawRows:
        """The rows of a body. MalformedError, InputError, TooLargeError."""
        try:
            if is_ndjson(media_type):
                return self._from_records(self._decode_lines(body), "lines", max_rows)
            start = body.lstrip()[:1]
            if start == b"[":
                return self._from_records(self._decode_list(body), "array", max_rows)
            if start == b"{" and self._is_envelope(body):
                return self._read_envelope(body, max_rows)
            return self._from_records([self._decode(body)], "record", max_rows)
        except msgspec.ValidationError as error:  # well formed, but no such record
            raise InputError(f"an event does not fit: {error}", expected=self._requirement, fix=_FIX) from error
        except (msgspec.DecodeError, RecursionError) as error:
            raise MalformedError(f"the body is no JSON: {error}", expected=self._requirement, fix=_FIX) from error

    def read_records(self, bodies: Sequence[bytes]) -> RawRows:
        """One record of each body, together. MalformedError where one of them is anything else: read() says what."""
        try:
            records = list(map(self._decode, bodies))
        except (msgspec.DecodeError, RecursionError) as error:  # of which ValidationError is one
            raise MalformedError("a body is no record", expected=self._requirement, fix=_FIX) from error
        return RawRows(tuple(list(map(getter, records)) for getter in self._getters), "record")

    @property
    def _requirement(self) -> str:
        return "records with " + ", ".join(self.names[: self._num_required])

    def _is_envelope(self, body: bytes) -> bool:
        """Whether the object holds rows, and is no row itself. A column may have the name of a key of an envelope."""
        if may_be_record(body):
            return False
        try:
            self._decode(body)
        except msgspec.ValidationError:
            return True
        return False

    def _read_envelope(self, body: bytes, max_rows: int) -> RawRows:
        envelope = msgspec.json.decode(body, type=_Envelope)
        if envelope.instances is not None:
            records = msgspec.convert(envelope.instances, list[self._record])  # type: ignore[name-defined]
            return self._from_records(records, "instances", max_rows)
        names, rows = envelope.columns, envelope.rows or []
        missing = [name for name in self.names[: self._num_required] if name not in names]
        if missing:
            raise InputError(f"the column {missing[0]!r} is missing", expected=self._requirement, fix=_FIX)
        if {len(names)} != set(map(len, rows)):
            raise InputError("a row has not a value for each column", expected=f"{len(names)} in each", fix=_FIX)
        _check_num_rows(len(rows), max_rows)
        columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
        return RawRows(tuple(columns.get(name, [None] * len(rows)) for name in self.names), "columns")

    def _from_records(self, records: Sequence[Any], form: BodyForm, max_rows: int) -> RawRows:
        _check_num_rows(len(records), max_rows)
        return RawRows(tuple(list(map(getter, records)) for getter in self._getters), form)


class EventReader(RowReader):
    """Raw events of a definition; `extra_columns` are what a model reads of an event besides its features."""

    def __init__(self, definition: FeatureDefinition, extra_columns: Sequence[str] = ()) -> None:
        names = definition.columns
        self.key_names = tuple(key.column for key in definition.keys.values())
        required = list(dict.fromkeys((names.time, names.amount, names.id, *self.key_names)))
        super().__init__(required, [name for name in extra_columns if name not in required])
        self._definition = definition
        self._places = {name: place for place, name in enumerate(self.names)}

    def columns(self, raw: RawRows) -> EventColumns:
        """The events for the store. InputError for a key or an id that is none."""
        definition = self._definition
        names = definition.columns
        time = raw.columns[self._places[names.time]]
        amount = raw.columns[self._places[names.amount]]
        return EventColumns(
            _read_time_values(time, definition.time_unit),
            _read_amount_values(amount, definition.amount_decimals),
            tuple(_read_code_values(raw.columns[self._places[name]], name) for name in self.key_names),
            _read_code_values(raw.columns[self._places[names.id]], names.id),
        )

    def values(self, raw: RawRows, name: str) -> list[Any]:
        """The values of one column as they came."""
        return raw.columns[self._places[name]]


class VerdictReader(RowReader):
    """Verdicts on events by their ids: 1 is fraud, 0 is genuine."""

    def __init__(self, definition: FeatureDefinition) -> None:
        self._id, label = definition.columns.id, definition.columns.label or "label"
        super().__init__((self._id, label))

    def verdicts(self, raw: RawRows) -> tuple[Longs, Longs]:
        """Codes of ids and 0 or 1 (N,). InputError for anything else."""
        ids, verdicts = raw.columns
        for verdict in verdicts:
            if verdict not in (0, 1):
                raise InputError(
                    f"{str(verdict)[:40]!r} in {self.names[1]!r} is no verdict", expected="0 or 1", fix=_FIX
                )
        return _read_code_values(ids, self._id), np.array(verdicts, np.int64)


def is_ndjson(media_type: bytes) -> bool:
    """Whether a body is said to be lines of JSON."""
    return media_type.split(b";")[0].strip().lower() in NDJSON_TYPES


def may_be_record(body: bytes) -> bool:
    """Whether a body is an object that cannot hold several rows."""
    return body[:1] == b"{" and b'"instances"' not in body and b'"rows"' not in body


def join_raw(parts: Sequence[RawRows]) -> RawRows:
    """The rows of several bodies, one behind the other."""
    if len(parts) == 1:
        return parts[0]
    columns = zip(*(part.columns for part in parts), strict=True)
    return RawRows(tuple(list(chain.from_iterable(values)) for values in columns), "lines")


class _Envelope(msgspec.Struct):
    instances: list[Any] | None = None
    columns: list[str] = []
    rows: list[list[Any]] | None = None


def _check_num_rows(num_rows: int, max_rows: int) -> None:
    if not num_rows:
        raise InputError("the body has no event", expected="at least one", fix=_FIX)
    if num_rows > max_rows:
        raise TooLargeError(
            f"the body has {num_rows} events", expected=f"at most {max_rows}", fix="send them in several requests"
        )


def _read_time_values(values: list[Any], unit: str) -> Longs:
    types = set(map(type, values))
    if types in ({int}, {float}):
        try:
            return read_times(np.array(values), unit)
        except (InputError, OverflowError):  # whole numbers beyond 64 bits
            pass
    return np.array([_read_time(value, unit) for value in values], np.int64)


def _read_time(value: Any, unit: str) -> int:
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return BAD_TIME
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
        since = moment - _EPOCH
        micros = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
        return micros * TICKS_PER_SECOND[unit] // 1_000_000
    if type(value) not in (int, float) or not -(2**62) < value < 2**62:
        return BAD_TIME
    return int(value)


def _read_amount_values(values: list[Any], decimals: int) -> Longs:
    if not set(map(type, values)) <= {int, float}:
        values = [value if type(value) in (int, float) else math.nan for value in values]
    try:
        numbers = np.array(values, np.float64)
    except OverflowError:  # a whole number beyond float64
        numbers = np.array([value if abs(value) < 2**64 else math.inf for value in values], np.float64)
    return read_amounts(numbers, decimals)


def _read_code_values(values: list[Any], name: str) -> Longs:
    if set(map(type, values)) == {int}:
        try:
            return np.array(values, np.int64)
        except OverflowError:
            pass
    return np.fromiter((code_of(value, name) for value in values), np.int64, len(values))


def media_type_of(headers: Mapping[bytes, bytes]) -> bytes:
    """What a request calls its body; JSON where it does not say."""
    return headers.get(b"content-type", b"application/json")


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIX = "the guide on scoring raw events has a body to copy"
