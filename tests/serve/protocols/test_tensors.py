"""Tensors of the Open Inference Protocol, as JSON and as raw bytes."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepseek.errors import InputError
from deepseek.serve.protocols.tensors import DTYPES, encode_tensor, read_tensor

NOTHING = memoryview(b"")


def read(entry: Any, tail: bytes = b"") -> list[Any]:
    tensor, at = read_tensor(entry, memoryview(tail), 0)
    assert at == len(tail)
    values = tensor.values.tolist() if isinstance(tensor.values, np.ndarray) else list(tensor.values)
    return [None if value != value else value for value in values]  # noqa: PLR0124 - NaN, how raw bytes say "missing"


def test_nested_and_flat_data_are_the_same_tensor() -> None:
    entry = {"name": "x", "datatype": "FP64", "shape": [2, 2]}
    assert read(entry | {"data": [[1, 2], [3, 4.5]]}) == read(entry | {"data": [1, 2, 3, 4.5]}) == [1, 2, 3, 4.5]


def test_null_and_nan_are_missing_values() -> None:
    assert read({"name": "x", "datatype": "FP64", "shape": [2], "data": [None, 1.5]}) == [None, 1.5]
    raw = np.array([np.nan, 1.5], "<f8").tobytes()
    entry = {"name": "x", "datatype": "FP64", "shape": [2], "parameters": {"binary_data_size": len(raw)}}
    assert read(entry, raw) == [None, 1.5]


@pytest.mark.parametrize("datatype", DTYPES)
def test_raw_numbers_come_back_as_they_were_written(datatype: str) -> None:
    array = np.array([0, 1, 1], DTYPES[datatype])
    tensor, raw = encode_tensor("x", array, binary=True)
    entry = msgspec.to_builtins(tensor)
    assert entry == {"name": "x", "datatype": datatype, "shape": [3], "parameters": {"binary_data_size": len(raw)}}
    assert read(entry, raw) == array.tolist()


@given(st.lists(st.text(st.characters(codec="utf-8")), max_size=6))
def test_raw_texts_come_back_as_they_were_written(texts: list[str]) -> None:
    tensor, raw = encode_tensor("x", np.array(texts, dtype=object), binary=True)
    assert read(msgspec.to_builtins(tensor), raw) == texts


@pytest.mark.parametrize(
    "change",
    [
        {"name": 3}, {"name": None}, {"datatype": "FP128"}, {"datatype": ["FP32"]}, {"datatype": None}, {"shape": None},
        {"shape": []}, {"shape": [3]}, {"shape": [-1]}, {"shape": [2.0]}, {"shape": [True]}, {"shape": [1, 1, 2]},
        {"shape": [10**30]}, {"data": None}, {"data": "12"}, {"data": [1, "2"]}, {"data": [1, True]},
        {"data": [1, [2]]},
        {"data": [1, {}]}, {"datatype": "INT64", "data": [1, 2.5]},
        {"datatype": "UINT8", "data": [1, 256]}, {"datatype": "UINT8", "data": [None, -1]},
        {"datatype": "INT8", "data": [-129, 0]}, {"datatype": "INT64", "data": [1, 2**63]}, {"datatype": "BYTES"},
        {"datatype": "BOOL"},
        {"data": None, "parameters": {"binary_data_size": 4}}, {"data": None, "parameters": {"binary_data_size": -1}},
        {"data": None, "parameters": {"binary_data_size": "8"}},
        {"data": None, "parameters": {"binary_data_size": 10**30}},
        {"parameters": "none", "data": 3},
    ],
)  # fmt: skip
def test_what_is_no_tensor_is_refused(change: dict[str, Any]) -> None:
    entry = {"name": "x", "datatype": "FP32", "shape": [2], "data": [1, 2]} | change
    with pytest.raises(InputError):
        read_tensor(entry, NOTHING, 0)


@pytest.mark.parametrize(
    "raw", [b"\x05\x00\x00\x00abc", b"\x01\x00", b"\x01\x00\x00\x00\xff", b"\xff\xff\xff\xff", b"\x00\x00\x00\x00"]
)
def test_raw_texts_that_do_not_fit_are_refused(raw: bytes) -> None:
    entry = {"name": "x", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": len(raw)}}
    with pytest.raises(InputError):
        read_tensor(entry, memoryview(raw), 0)


@pytest.mark.parametrize("entry", [None, 3, "x", [], [1]])
def test_an_input_that_is_no_object_is_refused(entry: Any) -> None:
    with pytest.raises(InputError):
        read_tensor(entry, NOTHING, 0)
