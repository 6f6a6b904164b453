"""Messages of gRPC that would take long to parse: refused by their fields, before protobuf sees them."""

from __future__ import annotations

import numpy as np
import pytest

from deepseek.errors import TooLargeError
from deepseek.serve.core.bodies.wire import MAX_PACKED_BYTES, check_message
from deepseek.serve.grpc import messages

MANY = 210_000


def request(**fields: object) -> bytes:
    message: bytes = messages.ModelInferRequest(model_name="loans", **fields).SerializeToString()
    return message


def test_what_clients_send_is_let_through() -> None:
    numbers = {"name": "a", "datatype": "FP32", "shape": [1_000_000], "contents": {"fp32_contents": np.ones(1_000_000)}}
    check_message(request(inputs=[numbers]))
    check_message(request(inputs=[{"name": "a"}] * 5_000, raw_input_contents=[b"x" * 6_000] * 5_000))
    words = {"name": "w", "datatype": "BYTES", "shape": [16_384], "contents": {"bytes_contents": [b"car"] * 16_384}}
    check_message(request(inputs=[words] * 8, parameters={"timeout": {"int64_param": 10**9}}))


@pytest.mark.parametrize(
    "body",
    {
        "inputs": b"*\x00" * MANY,
        "outputs": b"2\x00" * MANY,
        "raw contents": b":\x00" * MANY,
        "unknown numbers": b"\x98\x06\x01" * MANY,
        "unknown groups": b"\x9b\x06\x9c\x06" * MANY,
        "elements of text": request(inputs=[{"contents": {"bytes_contents": [b""] * MANY}}]),
        "sizes of a shape": b"*\xc8\xd0\x19" + b"\x18\x01" * MANY,
        "parameters": b'"\x04\n\x00\x12\x00' * MANY,
        "whole numbers": request(inputs=[{"contents": {"int64_contents": np.zeros(MAX_PACKED_BYTES + 1, int)}}]),
        "booleans of several inputs": request(inputs=[{"contents": {"bool_contents": [True] * (1 << 20)}}] * 5),
    }.values(),
)
def test_what_holds_too_much_is_refused(body: bytes) -> None:
    with pytest.raises(TooLargeError, match="the message holds"):
        check_message(body)


@pytest.mark.parametrize("body", [b"", b"\xff" * 100, b"*\xff\xff\xff\xff\x7f", b"\n\x05lo", b"\x0b" * 50])
def test_what_does_not_parse_is_left_to_protobuf(body: bytes) -> None:
    check_message(body)
