"""Frames between a front end and an engine process: a head in MessagePack, then the bytes of the arrays.

    socket.sendall(pack_frame((7, "run", "loans", {}), {"features": features}))
    frames.feed(data)  ->  [(head, arrays), ...]

A frame is 16 bytes (length of the head, of the head with its padding, of the arrays with theirs, little-endian), the
head, the arrays one after the other, each padded to ALIGNMENT: engines read them where they lie, and xgboost refuses a
matrix whose address is odd. Both ends are ours and of one version: this is no protocol for others, and nothing of it
comes from a client but the numbers in the arrays.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from deepseek.contracts import Arrays, JsonObject

_LENGTHS = struct.Struct("<IIQ")
ALIGNMENT = 16  # as the contents of a bytes object are
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode

#: Number of the request, action ("open", "run" or "close"), name of the model, and for "open" the model's spec.
RequestHead = tuple[int, str, str, JsonObject]
#: Number of the request, seconds that it took, {} or the fields of the error, and {}.
ResponseHead = tuple[int, float, dict[str, str], JsonObject]


def pack_frame(head: RequestHead | ResponseHead, arrays: Arrays) -> bytes:
    """The bytes of one frame.

    >>> frames = FrameReader()
    >>> list(frames.feed(pack_frame((7, "run", "loans", {}), {"x": np.ones((1, 2), np.float32)})))
    [([7, 'run', 'loans', {}], {'x': array([[1., 1.]], dtype=float32)})]
    """
    shapes = [(name, array.dtype.str, array.shape) for name, array in arrays.items()]
    raws = [array.tobytes() for array in arrays.values()]
    encoded_head = _encode((head, shapes))
    pieces = [_pad(encoded_head), *map(_pad, raws)]
    num_bytes = [len(piece) for piece in pieces]
    return b"".join([_LENGTHS.pack(len(encoded_head), num_bytes[0], sum(num_bytes[1:])), *pieces])


def _pad(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % ALIGNMENT)


class FrameReader:
    """Splits the bytes that arrive into whole frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._needed_bytes = _LENGTHS.size  # bytes of the frame that begins in `_buffer`, as far as they are known

    def feed(self, data: bytes) -> Iterator[tuple[Any, Arrays]]:
        """Yield head and arrays of each frame that is whole now. The arrays are read-only."""
        buffer = self._buffer
        buffer += data
        while len(buffer) >= self._needed_bytes:
            head_bytes, padded_bytes, array_bytes = _LENGTHS.unpack_from(buffer)
            self._needed_bytes = _LENGTHS.size + padded_bytes + array_bytes
            if len(buffer) < self._needed_bytes:
                return
            frame = bytes(buffer[: self._needed_bytes])
            del buffer[: self._needed_bytes]
            self._needed_bytes = _LENGTHS.size
            yield _unpack_frame(frame, head_bytes, padded_bytes)


def _unpack_frame(frame: bytes, head_bytes: int, padded_bytes: int) -> tuple[Any, Arrays]:
    head, shapes = _decode(memoryview(frame)[_LENGTHS.size : _LENGTHS.size + head_bytes])
    offset = _LENGTHS.size + padded_bytes
    arrays = {}
    for name, dtype, shape in shapes:
        kind = np.dtype(dtype)
        size = kind.itemsize
        for length in shape:
            size *= length
        arrays[name] = np.frombuffer(frame, kind, size // kind.itemsize, offset).reshape(shape)
        offset += size + -size % ALIGNMENT
    return head, arrays
