"""What an infer message of gRPC would cost to parse, found by walking over its fields without making them.

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
    waiting = [(0, len(body), "request")]
    while waiting:
        start, stop, kind = waiting.pop()
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
                waiting.append((begin, end, inner))


def _iter_fields(body: bytes, at: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """Number, begin and end of each field; up to the first that is none."""
    while at < stop:
        key, at = _read_varint(body, at, stop)
        number, wire_type = key >> 3, key & 7
        size = 0
        if wire_type == _VARINT:
            begin = at
            _, at = _read_varint(body, at, stop)
            yield number, begin, min(at, stop)
            continue
        if wire_type == _LENGTH:
            size, at = _read_varint(body, at, stop)
        elif wire_type in (_FIXED64, _FIXED32):
            size = 8 if wire_type == _FIXED64 else 4
        yield number, at, min(stop, at + size)  # of a group the begin alone: what it holds follows as fields
        at += size


def _read_varint(body: bytes, at: int, stop: int) -> tuple[int, int]:
    """A number and where it ends; of one without end what is there."""
    found = shift = 0
    while at < stop and shift < 70:
        byte = body[at]
        at += 1
        found |= (byte & 127) << shift
        if byte < 128:
            break
        shift += 7
    return found, at


def _message_too_large_error(what: str) -> TooLargeError:
    return TooLargeError(
        f"the message holds {what}",
        expected=f"at most {MAX_FIELDS:,} fields, and {MAX_PACKED_BYTES:,} whole numbers in typed contents",
        fix="send tensors as raw_input_contents, or the rows in several requests",
    )
