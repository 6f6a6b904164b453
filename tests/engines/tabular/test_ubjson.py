"""UBJSON of xgboost and of our own writer is read; what is cut, too long or too deep is refused."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepseek.engines.tabular.booster import write_ubjson
from deepseek.engines.tabular.ubjson import MAX_DEPTH, read_ubjson
from deepseek.errors import IntegrityError


def test_what_the_writer_wrote_is_read_back() -> None:
    value = {"a": [1, -2], "b": "风险", "c": {"d": np.array([1.5, -2], np.float32)}}
    document = read_ubjson(write_ubjson(value))
    np.testing.assert_array_equal(document["c"].pop("d"), [1.5, -2])
    assert document == {"a": [1, -2], "b": "风险", "c": {}}


def test_small_numbers_words_and_lists_without_a_count_are_read() -> None:
    assert read_ubjson(b"[i\xffU\xffI\x01\x00TFZd\x3f\x80\x00\x00]") == [-1, 255, 256, True, False, None, 1.0]
    assert read_ubjson(b"{i\x01ai\x01}") == {"a": 1}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[#L\x7f" + b"\xff" * 7,  # a length beyond the file
        b"[#i\xff",  # a length below zero
        b"[$d#i\x02\x00\x00\x00\x00",  # one number of two
        b"[$Z#i\x7f" + b"\x00" * 127,  # values that take no bytes
        b"[" * (MAX_DEPTH + 2),
        b"Si\x01\xff",  # not UTF-8
        b"i\x01i\x01",  # two values
        b"\x80\x04K\x01.",  # a pickle
    ],
)
def test_what_is_no_whole_value_is_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError, match="no whole UBJSON file"):
        read_ubjson(data)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(IntegrityError):
        read_ubjson(data)
