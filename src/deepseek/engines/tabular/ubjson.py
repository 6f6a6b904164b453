"""Reads UBJSON, the binary form of JSON in which xgboost saves models, from bytes that nobody has checked yet.

    read_ubjson(data)       # dicts, lists, text and numbers; an array of one type of number is a numpy array

A length is believed only as far as bytes are there, so memory stays in proportion to the file, and depth is bounded.
What booster.ubjson() writes is read back. Source of the format: UBJSON draft 12, https://ubjson.org.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from deepseek.contracts import JsonObject
from deepseek.errors import IntegrityError

MAX_DEPTH = 32
_NUMBER_FORMATS = {b"i": ">b", b"U": ">B", b"I": ">h", b"l": ">i", b"L": ">q", b"d": ">f", b"D": ">d"}
_INTEGER_MARKERS = frozenset(b"iUIlL")
_CONSTANTS = {b"Z": None, b"T": True, b"F": False}


def read_ubjson(data: bytes) -> Any:
    """The one value in `data`. IntegrityError when the bytes are not that.

    >>> read_ubjson(b"{i\\x01ai\\x07i\\x01b[$d#i\\x01?\\x80\\x00\\x00}")
    {'a': 7, 'b': array([1.], dtype=float32)}
    """
    reader = _Reader(data)
    value = reader.read_value(0)
    if reader.offset != len(data):
        raise _malformed_error("bytes follow the model", reader.offset)
    return value


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self.offset = 0

    def read_value(self, depth: int) -> Any:
        return self._read_marked(self._read_bytes(1), depth)

    def _read_marked(self, mark: bytes, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise _malformed_error(f"it is more than {MAX_DEPTH} levels deep", self.offset)
        if mark in _NUMBER_FORMATS:
            form = _NUMBER_FORMATS[mark]
            return struct.unpack(form, self._read_bytes(struct.calcsize(form)))[0]
        if mark == b"S":
            return self._read_text()
        if mark == b"[":
            return self._read_list(depth + 1)
        if mark == b"{":
            return self._read_object(depth + 1)
        if mark in _CONSTANTS:
            return _CONSTANTS[mark]
        raise _malformed_error(f"{mark!r} begins no value", self.offset - 1)

    def _read_list(self, depth: int) -> Any:
        mark, count = self._read_header()
        if mark is not None:
            return self._read_numbers(mark, count)
        values: list[Any] = []
        while (len(values) < count) if count is not None else self._has_more(b"]"):
            values.append(self.read_value(depth))
        return values

    def _read_object(self, depth: int) -> JsonObject:
        mark, count = self._read_header()
        members: JsonObject = {}
        num_read = 0
        while (num_read < count) if count is not None else self._has_more(b"}"):
            key = self._read_text()
            members[key] = self.read_value(depth) if mark is None else self._read_marked(mark, depth)
            num_read += 1
        return members

    def _read_header(self) -> tuple[bytes | None, int | None]:
        """The type that all values have, and their number, where a container states them."""
        mark = None
        if self._skip(b"$"):
            mark = self._read_bytes(1)
        if self._skip(b"#"):
            count = self._read_length()
            if count > len(self._data) - self.offset:  # each takes a byte at the least
                raise _malformed_error(f"a list of {count} does not fit into the file", self.offset)
            return mark, count
        if mark is not None:
            raise _malformed_error("a list states a type and no number", self.offset)
        return None, None

    def _read_numbers(self, mark: bytes, count: int | None) -> np.ndarray[Any, Any]:
        if mark not in _NUMBER_FORMATS or count is None:
            raise _malformed_error(f"a list of the type {mark!r}", self.offset)
        kind = np.dtype(_NUMBER_FORMATS[mark])
        raw = self._read_bytes(count * kind.itemsize)
        return np.frombuffer(raw, kind).astype(kind.newbyteorder("="))

    def _has_more(self, end: bytes) -> bool:
        return not self._skip(end)

    def _skip(self, mark: bytes) -> bool:
        """Step over `mark` when it stands here."""
        if self._data[self.offset : self.offset + 1] != mark:
            return False
        self.offset += 1
        return True

    def _read_length(self) -> int:
        mark = self._read_bytes(1)
        if mark[0] not in _INTEGER_MARKERS:
            raise _malformed_error("a length is no whole number", self.offset)
        form = _NUMBER_FORMATS[mark]
        count: int = struct.unpack(form, self._read_bytes(struct.calcsize(form)))[0]
        if count < 0:
            raise _malformed_error(f"a length is {count}", self.offset)
        return count

    def _read_text(self) -> str:
        start = self.offset
        try:
            return self._read_bytes(self._read_length()).decode()
        except UnicodeDecodeError as error:
            raise _malformed_error("text is not UTF-8", start) from error

    def _read_bytes(self, size: int) -> bytes:
        taken = self._data[self.offset : self.offset + size]
        if len(taken) < size:
            raise _malformed_error("it ends too early", len(self._data))
        self.offset += size
        return taken


def _malformed_error(what: str, offset: int) -> IntegrityError:
    return IntegrityError(
        f"this is no whole UBJSON file: {what} (byte {offset})",
        expected="a model as xgboost saves it",
        fix="save it again with booster.save_model('model.ubj'), or take an unharmed copy",
    )
