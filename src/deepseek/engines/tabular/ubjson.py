"""Reads UBJSON, the binary form of JSON in which xgboost saves models, from bytes that nobody has checked yet.

    read_ubjson(data)       # dicts, lists, text and numbers; an array of one type of number is a numpy array

A length is believed only as far as bytes are there, so memory stays in proportion to the file, and depth is bounded.
What booster.ubjson() writes is read back. Source of the format: UBJSON draft 12, https://ubjson.org.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

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
    value = reader.value(0)
    if reader.at != len(data):
        raise _malformed_error("bytes follow the model", reader.at)
    return value


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def value(self, depth: int) -> Any:
        return self._of(self._take(1), depth)

    def _of(self, mark: bytes, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise _malformed_error(f"it is more than {MAX_DEPTH} levels deep", self.at)
        if mark in _NUMBER_FORMATS:
            form = _NUMBER_FORMATS[mark]
            return struct.unpack(form, self._take(struct.calcsize(form)))[0]
        if mark == b"S":
            return self._text()
        if mark == b"[":
            return self._list(depth + 1)
        if mark == b"{":
            return self._object(depth + 1)
        if mark in _CONSTANTS:
            return _CONSTANTS[mark]
        raise _malformed_error(f"{mark!r} begins no value", self.at - 1)

    def _list(self, depth: int) -> Any:
        mark, count = self._head()
        if mark is not None:
            return self._numbers(mark, count)
        values: list[Any] = []
        while (len(values) < count) if count is not None else self._more(b"]"):
            values.append(self.value(depth))
        return values

    def _object(self, depth: int) -> dict[str, Any]:
        mark, count = self._head()
        members: dict[str, Any] = {}
        num_read = 0
        while (num_read < count) if count is not None else self._more(b"}"):
            key = self._text()
            members[key] = self.value(depth) if mark is None else self._of(mark, depth)
            num_read += 1
        return members

    def _head(self) -> tuple[bytes | None, int | None]:
        """The type that all values have, and their number, where a container states them."""
        mark = None
        if self._next(b"$"):
            mark = self._take(1)
        if self._next(b"#"):
            count = self._length()
            if count > len(self._data) - self.at:  # each takes a byte at the least
                raise _malformed_error(f"a list of {count} does not fit into the file", self.at)
            return mark, count
        if mark is not None:
            raise _malformed_error("a list states a type and no number", self.at)
        return None, None

    def _numbers(self, mark: bytes, count: int | None) -> np.ndarray[Any, Any]:
        if mark not in _NUMBER_FORMATS or count is None:
            raise _malformed_error(f"a list of the type {mark!r}", self.at)
        kind = np.dtype(_NUMBER_FORMATS[mark])
        raw = self._take(count * kind.itemsize)
        return np.frombuffer(raw, kind).astype(kind.newbyteorder("="))

    def _more(self, end: bytes) -> bool:
        return not self._next(end)

    def _next(self, mark: bytes) -> bool:
        """Step over `mark` when it stands here."""
        if self._data[self.at : self.at + 1] != mark:
            return False
        self.at += 1
        return True

    def _length(self) -> int:
        mark = self._take(1)
        if mark[0] not in _INTEGER_MARKERS:
            raise _malformed_error("a length is no whole number", self.at)
        form = _NUMBER_FORMATS[mark]
        count: int = struct.unpack(form, self._take(struct.calcsize(form)))[0]
        if count < 0:
            raise _malformed_error(f"a length is {count}", self.at)
        return count

    def _text(self) -> str:
        at = self.at
        try:
            return self._take(self._length()).decode()
        except UnicodeDecodeError as error:
            raise _malformed_error("text is not UTF-8", at) from error

    def _take(self, size: int) -> bytes:
        taken = self._data[self.at : self.at + size]
        if len(taken) < size:
            raise _malformed_error("it ends too early", len(self._data))
        self.at += size
        return taken


def _malformed_error(what: str, offset: int) -> IntegrityError:
    return IntegrityError(
        f"this is no whole UBJSON file: {what} (byte {offset})",
        expected="a model as xgboost saves it",
        fix="save it again with booster.save_model('model.ubj'), or take an unharmed copy",
    )
