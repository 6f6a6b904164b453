"""A large JSON object, decoded in slices: no call into C lasts longer than a slice, and other threads get their turn.

    value = decode_in_slices(body, scan(body), decode_slice)     # as msgspec decodes it; ValueError for what is no JSON

msgspec decodes 32 MiB in one call, during which the event loop with its health checks waits for Python's lock.
Here an array or object above SLICE_BYTES is cut at its own commas into groups of items, each group is decoded by
msgspec as an array or object by itself, and between two groups the lock is released.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec
import numpy as np

from deepseek.contracts import JsonObject
from deepseek.errors import MalformedError, TooLargeError
from deepseek.serve.core.bodies.structure import CLOSE, COLON, COMMA, MAX_KEYS, OPEN, PAUSE_S, JsonStructure

SLICE_BYTES = 1 << 15  # that are decoded in one call: 1.5 ms where they are empty arrays
MAX_TEXT_ESCAPES = 1_000_000  # of one text
TEXT_SLICE_BYTES = 1 << 18  # of a long text, that are decoded in one call
FREED_ITEMS = 256  # of an array, that are freed in one call

SliceDecoder = Callable[[bytes], Any]
_BYTE_OFFSET = re.compile(r"\(byte (\d+)\)")  # where msgspec's errors say that it broke
_BRACKET_PAIRS = (b"[]", b"{}")
_QUOTE = b'"'[0]
_ESCAPE_BYTES = len(rb"\ud83d\ude00")  # of a pair of surrogates, the longest that cannot be cut
_SPACES = b" \t\n\r"


class Span(NamedTuple):
    """A part of a body: its bytes from `start` to before `stop`, and how many items of an array or object it holds."""

    start: int
    stop: int
    num_items: int


class SlicedBody:
    """A JSON body that is decoded in slices. `decode_slice` decodes one slice; its errors come through."""

    def __init__(self, body: bytes, structure: JsonStructure, decode_slice: SliceDecoder) -> None:
        self.body = body
        self._structure = structure
        self._decode_slice = decode_slice

    def value(self, start: int, stop: int) -> Any:
        """The JSON value between two bytes of the body; spaces around it are allowed."""
        brackets = None if stop - start <= SLICE_BYTES else self.brackets(start, stop)
        if brackets is None:  # small, or one long text, or malformed: decoding it says which
            start, stop = self._trim(start, stop)
            return (
                self._decode(self.body[start:stop], start) if stop - start <= SLICE_BYTES else self._text(start, stop)
            )
        opening, closing = brackets
        return (
            self._items(opening, closing)
            if self.body[opening] == _BRACKET_PAIRS[0][0]
            else self._members(opening, closing)
        )

    def groups(self, opening: int, closing: int) -> Iterator[Span]:
        """The items of the array or object between two brackets, as many together as fit into a slice."""
        structure = self._structure
        low, high = np.searchsorted(structure.places, (opening, closing + 1))
        depth = structure.depths[low]
        is_comma = (structure.kinds[low:high] == COMMA) & (structure.depths[low:high] == depth)
        commas = structure.places[low:high][is_comma].astype(np.int64)
        if not len(commas) and len({*self._trim(opening + 1, closing)}) == 1:
            return
        starts, ends = np.concatenate(([opening + 1], commas + 1)), np.concatenate((commas, [closing]))
        first_item = 0
        while first_item < len(starts):
            start = int(starts[first_item])
            end = max(first_item + 1, int(np.searchsorted(ends, start + SLICE_BYTES, side="right")))
            yield Span(start, int(ends[end - 1]), end - first_item)
            first_item = end

    def brackets(self, start: int, stop: int) -> tuple[int, int] | None:
        """The bytes of the opening and the closing bracket, when an array or object fills this part; else None."""
        structure = self._structure
        low, high = np.searchsorted(structure.places, (start, stop))
        if low == high or structure.kinds[low] != OPEN:
            return None
        closes = (structure.kinds[low:high] == CLOSE) & (structure.depths[low:high] == structure.depths[low])
        offset = int(np.argmax(closes))
        if not closes[offset]:
            raise msgspec.DecodeError("Input data was truncated")
        opening, closing = int(structure.places[low]), int(structure.places[low + offset])
        if self.body[opening : opening + 1] + self.body[closing : closing + 1] not in _BRACKET_PAIRS:
            raise msgspec.DecodeError(f"JSON is malformed: the brackets at bytes {opening} and {closing} are no pair")
        return (opening, closing) if self._trim(start, stop) == (opening, closing + 1) else None

    def member(self, span: Span) -> tuple[str, int]:
        """The key of one member of an object, and where its value begins."""
        structure = self._structure
        low, high = np.searchsorted(structure.places, (span.start, span.stop))
        colons = structure.places[low:high][structure.kinds[low:high] == COLON]
        if not len(colons):
            raise msgspec.DecodeError("JSON is malformed: expected ':'")
        colon = int(colons[0])
        key = self.value(span.start, colon)
        if type(key) is not str:
            raise msgspec.DecodeError(f"JSON is malformed: object keys must be strings (byte {span.start})")
        return key, colon + 1

    def _trim(self, start: int, stop: int) -> tuple[int, int]:
        """The part without the spaces around it, which may be long."""
        while start < stop and not (block := self.body[start : min(stop, start + SLICE_BYTES)].lstrip(_SPACES)):
            start += SLICE_BYTES
        if start >= stop:
            return stop, stop
        start = min(stop, start + SLICE_BYTES) - len(block)
        while not (block := self.body[max(start, stop - SLICE_BYTES) : stop].rstrip(_SPACES)):
            stop -= SLICE_BYTES
        return start, max(start, stop - SLICE_BYTES) + len(block)

    def _text(self, start: int, stop: int) -> str:
        """A long text, decoded a part at a time. MalformedError for anything else, such as a number without end."""
        body = self.body
        if body[start] != _QUOTE or body[stop - 1] != _QUOTE:
            raise MalformedError(
                f"a number or a word at byte {start} has more digits or letters than any that is read here",
                expected="a number such as 1.5, or a text in quotes", fix="write the body with a JSON library",
            )  # fmt: skip
        parts: list[str] = []
        num_escapes, position, last = 0, start + 1, stop - 1
        while position < last:
            end = min(last, position + TEXT_SLICE_BYTES)
            num_escapes += body.count(b"\\", position, end)
            if num_escapes > MAX_TEXT_ESCAPES:
                raise TooLargeError(
                    "a text holds too many escapes", expected=f"at most {MAX_TEXT_ESCAPES:,} in one text",
                    fix="write it in UTF-8 without escapes",
                )  # fmt: skip
            part, position = self._part(position, end, is_last=end == last)
            parts.append(part)
        return "".join(parts)

    def _part(self, start: int, end: int, *, is_last: bool) -> tuple[str, int]:
        """The text from `start` to `end` or a little before it, and the byte after it. A part that is cut within an
        escape, a pair of surrogates or a letter of several bytes does not decode, so the first cut that does is right.
        """
        first_error: ValueError | None = None
        for stop in range(end, max(start, end - _ESCAPE_BYTES), -1):
            try:
                part: str = self._decode(b'"%b"' % self.body[start:stop], start - 1)
            except ValueError as error:  # msgspec's errors and broken UTF-8
                first_error = first_error or error
                if is_last:
                    break
            else:
                return part, stop
        raise first_error or msgspec.DecodeError("Input data was truncated")

    def _items(self, opening: int, closing: int) -> list[Any]:
        values: list[Any] = []
        for span in self.groups(opening, closing):
            if span.num_items == 1 and span.stop - span.start > SLICE_BYTES:
                values.append(self.value(span.start, span.stop))
                continue
            items = self._decode(b"[%b]" % self.body[span.start : span.stop], span.start - 1)
            if len(items) != span.num_items:
                raise _missing_value_error(span)
            values += items
        return values

    def _members(self, opening: int, closing: int) -> JsonObject:
        values: JsonObject = {}
        num_keys = 0
        for span in self.groups(opening, closing):
            if span.num_items == 1 and span.stop - span.start > SLICE_BYTES:
                key, start = self.member(span)
                members = {key: self.value(start, span.stop)}
            else:
                members = self._decode(b"{%b}" % self.body[span.start : span.stop], span.start - 1)
                if len(members) != span.num_items:
                    raise _missing_value_error(span)
            num_keys += len(members)
            if num_keys > MAX_KEYS:
                raise TooLargeError(
                    "an object has too many keys", expected=f"at most {MAX_KEYS:,}", fix="leave out what is no column"
                )
            twice = next((key for key in members if key in values), None)
            if twice is not None:
                raise DuplicateKeyError(twice)
            values |= members
        return values

    def _decode(self, data: bytes, start: int) -> Any:
        """One slice decoded in one call. `start`: the offset of its first byte in the body, for errors."""
        try:
            value = self._decode_slice(data)
        except msgspec.DecodeError as error:
            raise msgspec.DecodeError(
                _BYTE_OFFSET.sub(lambda match: f"(byte {start + int(match[1])})", str(error))
            ) from None  # fmt: skip
        time.sleep(PAUSE_S)
        return value


def free_in_slices(value: Any) -> None:
    """Free a value of decode_in_slices() in slices, too: its last owner would free it in one call."""
    pending = [value]
    while pending:
        container = pending.pop()
        if type(container) is dict:
            pending.extend(container.values())
            container.clear()
        elif type(container) is list:
            while container:
                pending.extend(
                    item for item in container[-FREED_ITEMS:] if type(item) is list and len(item) > FREED_ITEMS
                )
                del container[-FREED_ITEMS:]
                time.sleep(PAUSE_S)


class DuplicateKeyError(ValueError):
    """An object has a key twice; `args` holds the key."""


def decode_in_slices(body: bytes, structure: JsonStructure, decode_slice: SliceDecoder) -> Any:
    """The value of a body. `decode_slice` decodes bytes of up to SLICE_BYTES, or a longer text or number; its errors
    come through. ValueError for what is no JSON, DuplicateKeyError, TooLargeError for an object of too many keys."""
    return SlicedBody(body, structure, decode_slice).value(0, len(body))


def _missing_value_error(span: Span) -> msgspec.DecodeError:
    return msgspec.DecodeError(f"JSON is malformed: a value is missing between bytes {span.start} and {span.stop}")
