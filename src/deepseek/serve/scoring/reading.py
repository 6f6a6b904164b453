"""Bodies of raw events, and of verdicts, to columns: records, NDJSON, or rows with the names of their columns.

    reader = EventReader(definition, extra_columns)
    raw = reader.read(body, headers)                 # values as they came, and the form that the answer has
    read = reader.columns(raw)                       # EventColumns for the store, and which rows have no key

What is no JSON, or lacks a column, is the sender's error, of the whole body. A time or an amount that is none is left
to the store, which refuses and counts that event alone; a key that is none is refused by the scorer, as one row, too.

Events of numbers alone, as most senders write them, are read by compiled code (plain_json.py), whatever their number.
Other small bodies of records are decoded into their columns at once. Large ones, and objects that hold rows, go the way
of every other route (core/json_body.py): they are looked at before they are decoded, and then decoded in slices, so
that nobody waits for them. On all ways a key stands once in a record, and a value of a column is neither array nor
object. NaN and Infinity are no JSON, but what many libraries write for a missing number: they count as null, so that
their event alone is refused.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec
import numpy as np

from deepseek.contracts import JsonObject
from deepseek.errors import InputError, MalformedError, TooLargeError
from deepseek.features import EventColumns, FeatureDefinition
from deepseek.features.events import Longs
from deepseek.features.raw_values import read_amount_values, read_code_values, read_time_values
from deepseek.features.status import Bytes, Status
from deepseek.serve.core.bodies.offload import INLINE_BYTES
from deepseek.serve.core.bodies.slices import free_in_slices
from deepseek.serve.core.bodies.stream import is_ndjson
from deepseek.serve.core.bodies.structure import PAUSE_S
from deepseek.serve.core.json_body import decode_value, json_type_name
from deepseek.serve.scoring.plain_json import PlainColumns, null_for_nan

Flags: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]
#: What a column of an event may hold. msgspec refuses a nested value before it builds it.
Scalar: TypeAlias = str | int | float | bool | None
Column: TypeAlias = list[Any] | np.ndarray[Any, Any]
_SCALARS = frozenset([str, int, float, bool, type(None)])
#: Lines of a large body that are decoded before others get Python's lock.
PAUSE_LINES = 64
#: How a body was written, which is how it is answered.
BodyForm: TypeAlias = Literal["record", "array", "instances", "lines", "columns"]


@dataclasses.dataclass(frozen=True, slots=True)
class RawRows:
    """N events or verdicts as they came: N values for each column of the reader, in its order, as a list, or as an
    array where all of them are numbers."""

    columns: tuple[Column, ...]
    form: BodyForm

    def __len__(self) -> int:
        return len(self.columns[0])


class RowReader:
    """Reads records that have the columns `names`. Others in a record are passed over."""

    def __init__(self, names: Sequence[str], optional: Sequence[str] = ()) -> None:
        """`optional`: more columns; None where a record has none."""
        self.names = (*names, *optional)
        fields: list[Any] = [(f"column_{place}", Scalar) for place in range(len(names))]
        fields += [
            (f"column_{place + len(names)}", Scalar | msgspec.UnsetType, msgspec.UNSET)
            for place in range(len(optional))
        ]
        labels = {f"column_{place}": name for place, name in enumerate(self.names)}
        self._record = msgspec.defstruct("Record", fields, rename=labels, gc=False)
        self._num_required = len(names)
        self._quoted_names = [json.dumps(name, ensure_ascii=False).encode() for name in self.names]
        self._getters: list[Callable[[Any], Any]] = [attrgetter(name) for name in labels]
        self._decode = msgspec.json.Decoder(self._record).decode
        self._decode_list = msgspec.json.Decoder(list[self._record]).decode  # type: ignore[name-defined]
        self._decode_lines = msgspec.json.Decoder(self._record).decode_lines

    def read(self, body: bytes, media_type: bytes, max_rows: int) -> RawRows:
        """The rows of a body. MalformedError, InputError, TooLargeError."""
        try:
            return self._read_strictly(body, media_type, max_rows)
        except MalformedError:
            mended = null_for_nan(body)
            if mended == body:
                raise
            return self._read_strictly(mended, media_type, max_rows)

    def _read_strictly(self, body: bytes, media_type: bytes, max_rows: int) -> RawRows:
        is_lines = is_ndjson(media_type)
        if is_lines and len(body) > INLINE_BYTES:
            return self._read_large_lines(body, max_rows)
        if not is_lines and (len(body) > INLINE_BYTES or not (body[:1] == b"[" or may_be_record(body))):
            return self._read_document(body, max_rows)
        try:
            if is_lines:
                return self._from_records(body, self._decode_lines(body), "lines", max_rows)
            if body[:1] == b"[":
                return self._from_records(body, self._decode_list(body), "array", max_rows)
            return self._from_records(body, [self._decode(body)], "record", max_rows)
        except msgspec.ValidationError as error:  # well formed, but no such record
            raise InputError(f"an event does not fit: {error}", expected=self._requirement, fix=_FIX) from error
        except (msgspec.DecodeError, RecursionError) as error:
            raise MalformedError(f"the body is no JSON: {error}", expected=self._requirement, fix=_FIX) from error

    def read_records(self, bodies: Sequence[bytes]) -> RawRows:
        """One record of each body, together. MalformedError where one of them is anything else: read() says what."""
        try:
            records = list(map(self._decode, bodies))
        except (msgspec.DecodeError, RecursionError) as error:  # of which ValidationError is one
            mended = list(map(null_for_nan, bodies))
            if mended != list(bodies):
                return self.read_records(mended)
            raise MalformedError("a body is no record", expected=self._requirement, fix=_FIX) from error
        return RawRows(self._columns_of(records, b"\n".join(bodies), bodies), "record")

    @property
    def _requirement(self) -> str:
        return "records with " + ", ".join(self.names[: self._num_required])

    def _columns_of(self, records: Sequence[Any], body: bytes, parts: Sequence[bytes]) -> tuple[list[Any], ...]:
        """The columns of records that msgspec has decoded. MalformedError for a key that stands twice in one of them,
        of which msgspec takes the last. Where each column's name stands in `body` as often as it was read, and nothing
        is escaped, there is none, and nobody has to look closer; `parts`: what is looked at then, each a JSON value."""
        columns = [list(map(getter, records)) for getter in self._getters]
        num_read = [len(records) - column.count(msgspec.UNSET) for column in columns[self._num_required :]]
        num_read = [len(records)] * self._num_required + num_read
        if b"\\" in body or list(map(body.count, self._quoted_names)) != num_read:
            for part in parts:
                if part.strip():
                    decode_value(part)
        for column in columns[self._num_required :]:
            column[:] = [None if value is msgspec.UNSET else value for value in column]
        return tuple(columns)

    def _read_large_lines(self, body: bytes, max_rows: int) -> RawRows:
        """The records of a large body of lines, one line after the other."""
        if body.count(b"\n") > 2 * max_rows:  # some may be blank
            raise _too_many_rows_error(body.count(b"\n"), max_rows)
        records: list[Any] = []
        for number, line in enumerate(body.split(b"\n")):
            if line.strip():
                records.append(decode_value(line))
            if number % PAUSE_LINES == 0:
                time.sleep(PAUSE_S)
        return self._from_documents(records, "lines", max_rows)

    def _read_document(self, body: bytes, max_rows: int) -> RawRows:
        """A large body, or an object that may hold rows. It is no envelope where it is a record itself: a column may
        have the name of a key of an envelope."""
        document = decode_value(body)
        try:
            if type(document) is list:
                return self._from_documents(document, "array", max_rows)
            is_record = type(document) is not dict or all(name in document for name in self.names[: self._num_required])
            if not is_record and "instances" in document:
                return self._from_documents(_as_list(document["instances"], "instances"), "instances", max_rows)
            if not is_record and "columns" in document:
                return self._from_rows(document, max_rows)
            return self._from_documents([document], "record", max_rows)
        finally:
            if len(body) > INLINE_BYTES:
                free_in_slices(document)

    def _from_rows(self, document: JsonObject, max_rows: int) -> RawRows:
        """{"columns": [names], "rows": [[values]]}"""
        names, rows = _as_list(document["columns"], "columns"), _as_list(document.get("rows"), "rows")
        _check_num_rows(len(rows), max_rows)
        if not all(type(name) is str for name in names) or len(set(names)) != len(names):
            raise InputError("the columns are no names, or one stands twice", expected=self._requirement, fix=_FIX)
        missing = [name for name in self.names[: self._num_required] if name not in names]
        if missing:
            raise InputError(f"the column {missing[0]!r} is missing", expected=self._requirement, fix=_FIX)
        if not all(type(row) is list and len(row) == len(names) for row in rows):
            raise InputError("a row has not a value for each column", expected=f"{len(names)} in each", fix=_FIX)
        columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
        return self._check_values(tuple(columns.get(name, [None] * len(rows)) for name in self.names), "columns")

    def _from_documents(self, records: Sequence[Any], form: BodyForm, max_rows: int) -> RawRows:
        """Rows of decoded records."""
        _check_num_rows(len(records), max_rows)
        required = self.names[: self._num_required]
        for place, record in enumerate(records):
            if type(record) is not dict:
                raise InputError(f"event {place} is {json_type_name(record)}", expected=self._requirement, fix=_FIX)
            missing = next((name for name in required if name not in record), None)
            if missing is not None:
                raise InputError(
                    f"event {place} does not fit: it has no {missing!r}", expected=self._requirement, fix=_FIX
                )
        return self._check_values(tuple([record.get(name) for record in records] for name in self.names), form)

    def _check_values(self, columns: tuple[list[Any], ...], form: BodyForm) -> RawRows:
        """InputError for a value that is an array or an object, or a text as long as no small body holds."""
        for name, values in zip(self.names, columns, strict=True):
            nested = next((value for value in values if type(value) not in _SCALARS), None)
            if nested is not None:
                raise InputError(
                    f"{name!r} holds {json_type_name(nested)}", expected="a number, a text or null", fix=_FIX
                )
            if any(type(value) is str and len(value) > INLINE_BYTES for value in values):
                raise InputError(
                    f"a text in {name!r} is too long", expected=f"at most {INLINE_BYTES:,} letters", fix=_FIX
                )
        return RawRows(columns, form)

    def _from_records(self, body: bytes, records: Sequence[Any], form: BodyForm, max_rows: int) -> RawRows:
        """Rows of records that msgspec has decoded into their columns."""
        _check_num_rows(len(records), max_rows)
        parts = body.split(b"\n") if form == "lines" else (body,)
        return RawRows(self._columns_of(records, body, parts), form)


class CodedEvents(NamedTuple):
    """N events for the store. `is_bad`: (N,) whether a key or the id is none, whose code is 0; None: all are good."""

    events: EventColumns
    is_bad: Flags | None


class CodedVerdicts(NamedTuple):
    """N verdicts: codes of ids, and 0 or 1. `status`: (N,) BAD_KEY and BAD_LABEL where they are none, else ACCEPTED;
    None: all are good."""

    ids: Longs
    fraud: Longs
    status: Bytes | None


class EventReader(RowReader):
    """Raw events of a definition; `extra_columns` are what a model reads of an event besides its features."""

    def __init__(self, definition: FeatureDefinition, extra_columns: Sequence[str] = ()) -> None:
        names = definition.columns
        self.key_names = tuple(key.column for key in definition.keys.values())
        required = list(dict.fromkeys((names.time, names.amount, names.id, *self.key_names)))
        super().__init__(required, [name for name in extra_columns if name not in required])
        self._definition = definition
        self._places = {name: place for place, name in enumerate(self.names)}
        codes = (names.time, names.id, *self.key_names)
        is_plain = len(self.names) == len(required) and names.amount not in codes
        self._plain = None
        if is_plain:
            self._plain = PlainColumns(self.names, decimal=names.amount, decimals=definition.amount_decimals)

    def read(self, body: bytes, media_type: bytes, max_rows: int) -> RawRows:
        plain = None if self._plain is None else self._plain.read(body, max_rows, is_lines=is_ndjson(media_type))
        if plain is not None and len(plain.columns[0]) <= max_rows:
            return RawRows(plain.columns, plain.form)
        return super().read(body, media_type, max_rows)

    def read_records(self, bodies: Sequence[bytes]) -> RawRows:
        if self._plain is not None:
            joined = b"\n".join(bodies)
            plain = self._plain.read(joined, len(bodies), is_lines=True)
            is_one_each = plain is not None and len(plain.columns[0]) == len(bodies) == joined.count(b"\n") + 1
            if plain is not None and is_one_each:
                return RawRows(plain.columns, "record")
        return super().read_records(bodies)

    def warm_up(self) -> None:
        """Loads what the first body would wait for."""
        body = json.dumps(dict.fromkeys(self.names, 1)).encode()
        self.read(body, b"application/json", 1)
        null_for_nan(b"NaN")

    def columns(self, raw: RawRows) -> CodedEvents:
        """The events for the store."""
        definition = self._definition
        names = definition.columns
        time = raw.columns[self._places[names.time]]
        amount = raw.columns[self._places[names.amount]]
        bad: set[int] = set()
        events = EventColumns(
            read_time_values(time, definition.time_unit),
            read_amount_values(amount, definition.amount_decimals),
            tuple(read_code_values(raw.columns[self._places[name]], bad) for name in self.key_names),
            read_code_values(raw.columns[self._places[names.id]], bad),
        )
        return CodedEvents(events, _mark(bad, len(raw)) if bad else None)

    def values(self, raw: RawRows, name: str) -> Column:
        """The values of one column as they came."""
        return raw.columns[self._places[name]]


class VerdictReader(RowReader):
    """Verdicts on events by their ids: 1 is fraud, 0 is genuine."""

    def __init__(self, definition: FeatureDefinition) -> None:
        super().__init__((definition.columns.id, definition.columns.label or "label"))

    def verdicts(self, raw: RawRows) -> CodedVerdicts:
        """The verdicts for the store."""
        ids, verdicts = raw.columns
        bad_keys: set[int] = set()
        codes = read_code_values(ids, bad_keys)
        bad_labels = {place for place, verdict in enumerate(verdicts) if verdict not in (0, 1)}
        if not bad_keys and not bad_labels:
            return CodedVerdicts(codes, np.array(verdicts, np.int64), None)
        status = np.zeros(len(raw), np.int8)
        status[list(bad_labels)] = Status.BAD_LABEL
        status[list(bad_keys)] = Status.BAD_KEY
        fraud = [0 if place in bad_labels else int(verdict) for place, verdict in enumerate(verdicts)]
        return CodedVerdicts(codes, np.array(fraud, np.int64), status)


def may_be_record(body: bytes) -> bool:
    """Whether a body is an object that cannot hold several rows."""
    return body[:1] == b"{" and b'"instances"' not in body and b'"rows"' not in body


def join_raw(parts: Sequence[RawRows]) -> RawRows:
    """The rows of several bodies, one behind the other."""
    if len(parts) == 1:
        return parts[0]
    columns = zip(*(part.columns for part in parts), strict=True)
    return RawRows(tuple(map(_join_columns, columns)), "lines")


def _join_columns(parts: tuple[Column, ...]) -> Column:
    if all(isinstance(part, np.ndarray) for part in parts):
        return np.concatenate(parts)
    return list(chain.from_iterable(part.tolist() if isinstance(part, np.ndarray) else part for part in parts))


def _as_list(value: Any, name: str) -> list[Any]:
    if type(value) is not list:
        raise InputError(f"{name!r} is {json_type_name(value)}", expected="an array", fix=_FIX)
    return value


def _check_num_rows(num_rows: int, max_rows: int) -> None:
    if not num_rows:
        raise InputError("the body has no event", expected="at least one", fix=_FIX)
    if num_rows > max_rows:
        raise _too_many_rows_error(num_rows, max_rows)


def _too_many_rows_error(num_rows: int, max_rows: int) -> TooLargeError:
    return TooLargeError(
        f"the body has {num_rows} events", expected=f"at most {max_rows}", fix="send them in several requests"
    )


def _mark(places: set[int], number: int) -> Flags:
    marks = np.zeros(number, np.bool_)
    marks[list(places)] = True
    return marks


def media_type_of(headers: Mapping[bytes, bytes]) -> bytes:
    """What a request calls its body; JSON where it does not say."""
    return headers.get(b"content-type", b"application/json")


_FIX = "the guide on scoring raw events has a body to copy"
