"""A limit on what a gRPC infer message costs to parse, checked by walking over its fields without building them.

    check_message(body)        # TooLargeError above MAX_FIELDS or MAX_PACKED_BYTES

A message of 32 MiB may hold sixteen million empty inputs; protobuf would make an object of each in one call, which
holds Python's lock. The walk is Python: whoever waits for the lock gets it meanwhile.

Source: https://protobuf.dev/programming-guides/encoding; fields of the Open Inference Protocol, inference_grpc.md.
"""

from __future__ import annotations

from collections.abc import Iterator

from deepseek.errors import TooLargeError

MAX_FIELDS = 200_000  # of a message, at any depth; an element of bytes_contents is one
MAX_PACKED_BYTES = 4 << 20  # of whole numbers and booleans, of which each may be one byte; floats count a quarter
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_FLOATS, _BYTES_CONTENTS = (6, 7), 8  # fields of typed contents

#: Kind of a message and number of its field -> kind of the message that it holds.
_NESTED_MESSAGES = {
    ("request", 4): "parameter",
    ("request", 5): "tensor",
    ("request", 6): "output",
    ("tensor", 4): "parameter",
    ("tensor", 5): "contents",
    ("output", 2): "parameter",
}


def check_message(body: bytes) -> None:
    """Raise TooLargeError for a ModelInferRequest that holds too much. What does not parse is for protobuf to refuse.

    >>> check_message(b"\\n\\x05loans" + b"*\\x00" * 300_000)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    deepseek.errors.TooLargeError: the message holds more than 200,000 fields. Expected: ...
    """
    num_fields = num_packed = 0
    pending = [(0, len(body), "request")]
    while pending:
        start, stop, kind = pending.pop()
        for number, begin, end in _iter_fields(body, start, stop):
            num_fields += 1
            if num_fields > MAX_FIELDS:
                raise _message_too_large_error(f"more than {MAX_FIELDS:,} fields")
            if kind == "contents":
                if number != _BYTES_CONTENTS:
                    num_packed += (end - begin) // (4 if number in _FLOATS else 1)
                    if num_packed > MAX_PACKED_BYTES:
                        raise _message_too_large_error("too many numbers in typed contents")
                continue
            inner = _NESTED_MESSAGES.get((kind, number))
            if inner is not None:
                pending.append((begin, end, inner))


def _iter_fields(body: bytes, position: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """Number, start and end of each field between two bytes, up to the first that does not parse."""
    while position < stop:
        key, position = _read_varint(body, position, stop)
        number, wire_type = key >> 3, key & 7
        size = 0
        if wire_type == _VARINT:
            begin = position
            _, position = _read_varint(body, position, stop)
            yield number, begin, min(position, stop)
            continue
        if wire_type == _LENGTH:
            size, position = _read_varint(body, position, stop)
        elif wire_type in (_FIXED64, _FIXED32):
            size = 8 if wire_type == _FIXED64 else 4
        # Of a group the start alone: what it holds follows as fields.
        yield number, position, min(stop, position + size)
        position += size


def _read_varint(body: bytes, position: int, stop: int) -> tuple[int, int]:
    """The varint at `position`, and the byte after it. One that is cut off gives what is there."""
    number = shift = 0
    while position < stop and shift < 70:
        byte = body[position]
        position += 1
        number |= (byte & 127) << shift
        if byte < 128:
            break
        shift += 7
    return number, position


def _message_too_large_error(content: str) -> TooLargeError:
    return TooLargeError(
        f"the message holds {content}",
        expected=f"at most {MAX_FIELDS:,} fields, and {MAX_PACKED_BYTES:,} whole numbers in typed contents",
        fix="send tensors as raw_input_contents, or the rows in several requests",
    )
