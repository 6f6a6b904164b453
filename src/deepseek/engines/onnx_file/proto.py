"""The wire format of protocol buffers, as far as reading needs it: fields of a message by their numbers.

    for number, value in iterate_fields(memoryview(data)): ...    # a whole number, or the bytes of what has a length

Nothing is copied and nothing is recursive here. ValueError for bytes that are no message.
Source: "Encoding" in the documentation of protocol buffers.
"""

from __future__ import annotations

from collections.abc import Iterator

FieldValue = int | memoryview
_VARINT, _EIGHT, _LENGTH, _FOUR = 0, 1, 2, 5
MAX_VARINT_BYTES = 10


def iterate_fields(data: memoryview) -> Iterator[tuple[int, FieldValue]]:
    """Yield the number and value of each field of a message, in their order.

    >>> (first, number), (second, data) = iterate_fields(memoryview(b"\\x08\\x05\\x12\\x01a"))
    >>> first, number, second, bytes(data)
    (1, 5, 2, b'a')
    """
    at, end = 0, len(data)
    while at < end:
        key, at = _read_varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _read_varint(data, at)
            yield number, value
            continue
        if kind == _LENGTH:
            length, at = _read_varint(data, at)
        elif kind in (_EIGHT, _FOUR):
            length = 8 if kind == _EIGHT else 4
        else:
            raise ValueError(f"a field is of the unknown kind {kind}")
        if number == 0 or at + length > end:
            raise ValueError("a field goes beyond the end")
        yield number, data[at : at + length]
        at += length


def field_bytes(value: FieldValue) -> memoryview:
    """The bytes of a field that has a length. ValueError for a number."""
    if isinstance(value, int):
        raise ValueError("a number stands where a message should")
    return value


def field_text(value: FieldValue) -> str:
    """A field as text. ValueError (UnicodeDecodeError is one) for what is none."""
    return bytes(field_bytes(value)).decode()


def _read_varint(data: memoryview, at: int) -> tuple[int, int]:
    """Read a whole number, 7 bits a byte; returns it and where it ends."""
    number = shift = 0
    for index in range(at, min(at + MAX_VARINT_BYTES, len(data))):
        byte = data[index]
        number |= (byte & 127) << shift
        if byte < 128:
            return number, index + 1
        shift += 7
    raise ValueError("a number does not end")
