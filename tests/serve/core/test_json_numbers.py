"""Numbers of an answer: what a client reads back as float32 is what the engine has made, bit for bit."""

from __future__ import annotations

import json

import numpy as np
import pytest

from deepseek.contracts import Float32
from deepseek.serve.core.json_body import encode_json
from deepseek.serve.core.json_numbers import encode_floats


def drawn(shape: tuple[int, ...]) -> Float32:
    """Of every size that float32 has, down to those without a leading one."""
    bits = np.random.default_rng(0).integers(0, 2**32, shape, np.uint32)
    floats = bits.view(np.float32)
    return np.where(np.isfinite(floats), floats, np.float32(0.1))


@pytest.mark.parametrize("array", [drawn((7, 300)), drawn((300, 14))[:, ::2], drawn((2_000,)) * np.float32(1e-3)])
def test_they_come_back_bit_for_bit(array: Float32) -> None:
    floats = np.array(json.loads(encode_json({"x": encode_floats(array)}))["x"], np.float32)
    assert floats.tobytes() == np.ascontiguousarray(array).tobytes()


def test_they_have_the_digits_of_float32() -> None:
    assert encode_json({"x": encode_floats(np.array([[0.1, 1 / 3]], np.float32))}) == b'{"x":[[0.1,0.33333334]]}'
