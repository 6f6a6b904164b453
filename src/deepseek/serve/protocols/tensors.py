"""Tensors of the Open Inference Protocol: JSON data or raw bytes behind the JSON (the binary extension).

Raw bytes are little-endian and row-major; a BYTES element is its length in 4 bytes and then the bytes.
Source: Open Inference Protocol, REST; Triton, docs/protocol/extension_binary_data.md.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from deepseek.data.table.values import Values
from deepseek.errors import InputError, TooLargeError
from deepseek.serve.core.json_body import json_type_name

MAX_COLUMN_RANK = 2  # of a tensor that holds columns
MAX_AXIS_SIZE = 1 << 40  # of an axis
MAX_ELEMENTS = 1 << 20  # of a tensor of texts or files
EXPECTED_ENTRY = '{"name", "datatype", "shape", "data"}'
DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    **{f"UINT{bits}": np.dtype(f"<u{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"INT{bits}": np.dtype(f"<i{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": np.dtype(f"<f{bits // 8}") for bits in (16, 32, 64)},
}
DATATYPES = (*DTYPES, "BYTES")
#: Python types that JSON data of a datatype may have; integers for the rest.
_JSON_TYPES: dict[str, set[type]] = {
    "BOOL": {bool},
    "BYTES": {str},
    "FP16": {int, float},
    "FP32": {int, float},
    "FP64": {int, float},
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """A named tensor. `values`: its elements in row-major order, as an array of numbers or booleans (NaN is missing),
    or as a list of numbers, booleans and texts (None is missing)."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: Values


class TensorMetadata(msgspec.Struct, frozen=True):
    """An input or output in the protocol's metadata; -1 in `shape` is any size."""

    name: str
    datatype: str
    shape: list[int]


class OutputTensor(msgspec.Struct, frozen=True):
    """An output in the JSON of an infer response: with `data`, or with the size of its raw bytes in `parameters`."""

    name: str
    datatype: str
    shape: list[int]
    data: list[Any] | msgspec.UnsetType = msgspec.UNSET
    parameters: dict[str, int] | msgspec.UnsetType = msgspec.UNSET


def read_tensor(
    entry: Any, tail: memoryview, offset: int, max_rank: int = MAX_COLUMN_RANK, files: Collection[str] = ()
) -> tuple[Tensor, int]:
    """One entry of "inputs", and where the raw bytes of the next begin in `tail`. InputError when it does not fit, or
    has more axes than `max_rank`. `files`: inputs whose elements are files, not texts."""
    if not isinstance(entry, dict):
        raise InputError(
            f"an input is {json_type_name(entry)}", expected=EXPECTED_ENTRY, fix="see /docs for an example"
        )
    name = entry.get("name")
    if not isinstance(name, str):
        raise InputError(f'the "name" of an input is {json_type_name(name)}', expected="a string", fix="name a column")
    datatype, shape = check_datatype_and_shape(name, entry.get("datatype"), entry.get("shape"), max_rank)
    parameters = entry.get("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, Mapping) else None
    num_values = math.prod(shape)
    if size is None:
        values: Values = _json_values(name, datatype, entry.get("data"), num_values, max(1, len(shape) - 1))
    else:
        if type(size) is not int or not 0 <= size <= len(tail) - offset:
            raise InputError(
                f"binary_data_size of {name[:100]!r} does not fit the body",
                expected=f"a whole number from 0 to {len(tail) - offset}, the raw bytes that are left",
                fix="give the number of bytes of this tensor, and send the tensors in the order of the inputs",
            )
        values = decode_raw(name, datatype, tail[offset : offset + size], num_values, files)
        offset += size
    return Tensor(name, datatype, tuple(shape), values), offset


def check_datatype_and_shape(
    name: str, datatype: Any, shape: Any, max_rank: int = MAX_COLUMN_RANK
) -> tuple[str, list[int]]:
    """The datatype and the shape. InputError for an unknown datatype, or a shape that is not that of rows or has more
    than `max_rank` axes."""
    if datatype not in DATATYPES:
        raise InputError(
            f'the "datatype" of {name[:100]!r} is not known',
            expected=", ".join(DATATYPES),
            fix="take the column's own from the model's metadata",
        )
    columns = max_rank == MAX_COLUMN_RANK
    is_shape = isinstance(shape, list) and (1 if columns else 0) <= len(shape) <= max_rank
    if not is_shape or any(type(size) is not int or not 0 <= size <= MAX_AXIS_SIZE for size in shape):
        raise InputError(
            f'the "shape" of {name[:100]!r} is not one',
            expected="[N] or [N, number of columns]" if columns else f"whole numbers in an array, up to {max_rank}",
            fix="give the number of rows as a whole number in an array" if columns else "give the size of each axis",
        )
    return datatype, shape


def _json_values(name: str, datatype: str, data: Any, num_values: int, depth: int) -> list[Any]:
    if not isinstance(data, list):
        raise InputError(
            f'the "data" of {name[:100]!r} is {json_type_name(data)}',
            expected="an array",
            fix='give "data", or raw bytes with binary_data_size in "parameters"',
        )
    values = _flatten(data, depth)
    if len(values) != num_values:
        raise count_error(name, f"{len(values)} values", num_values)
    allowed = {type(None)} | _JSON_TYPES.get(datatype, {int})
    if not {type(value) for value in values} <= allowed:
        misfit = next(value for value in values if type(value) not in allowed)
        raise InputError(
            f"{name[:100]!r} holds {json_type_name(misfit)}",
            expected=f"values of datatype {datatype}",
            fix="correct the value, or name the datatype that it has",
        )
    if datatype != "BYTES":
        check_integers(name, datatype, values)
    return values


def check_integers(name: str, datatype: str, values: Iterable[Any]) -> None:
    """Raise InputError for a whole number that the datatype cannot hold."""
    if DTYPES[datatype].kind not in "iu":
        return
    limits = np.iinfo(DTYPES[datatype])
    if not all(value is None or limits.min <= value <= limits.max for value in values):
        raise InputError(
            f"{name[:100]!r} holds a number that {datatype} does not",
            expected=f"{limits.min} to {limits.max}",
            fix="correct the value, or name a wider datatype",
        )


def count_error(name: str, content: str, expected: int) -> InputError:
    """The error for a tensor whose data is not as long as its shape says."""
    return InputError(
        f"{name[:100]!r} holds {content}",
        expected=f"{expected}, as its shape says",
        fix="let the shape and the data say the same",
    )


def _flatten(data: list[Any], depth: int) -> list[Any]:
    """The values of an array that may be nested, up to `depth` times."""
    for _ in range(depth):
        if not data or not isinstance(data[0], list):
            break
        data = [value for row in data for value in (row if isinstance(row, list) else [row])]
    return data


def decode_raw(
    name: str, datatype: str, raw: memoryview | bytes, num_values: int, files: Collection[str] = ()
) -> Values:
    """The elements of a tensor from its raw bytes. InputError when there are more or less than `num_values`."""
    if datatype == "BYTES":
        values = _decode_elements(name, raw, num_values, as_files=name in files)
        if len(values) != num_values:
            raise count_error(name, f"{len(values)} values", num_values)
        return values
    dtype = DTYPES[datatype]
    if len(raw) != num_values * dtype.itemsize:
        raise count_error(name, f"{len(raw)} raw bytes", num_values * dtype.itemsize)
    return np.frombuffer(raw, np.uint8).astype(bool) if datatype == "BOOL" else np.frombuffer(raw, dtype)


def _decode_elements(name: str, raw: memoryview | bytes, max_elements: int, *, as_files: bool) -> list[Any]:
    """The elements of raw BYTES; at most one more than `max_elements` is made."""
    elements: list[Any] = []
    if max_elements > MAX_ELEMENTS:
        raise TooLargeError(
            f"{name[:100]!r} holds {max_elements:,} texts",
            expected=f"at most {MAX_ELEMENTS:,}",
            fix="send them in parts",
        )
    offset = 0
    try:
        while offset < len(raw) and len(elements) <= max_elements:
            (size,) = struct.unpack_from("<I", raw, offset)
            offset += 4 + size
            if offset > len(raw):
                raise ValueError("an element is longer than the tensor")
            element = bytes(raw[offset - size : offset])
            elements.append(file_element(element) if as_files else element.decode())
    except (struct.error, ValueError) as error:
        raise InputError(
            f"{name[:100]!r} is no BYTES tensor: {error}",
            expected="4 bytes of length, then UTF-8, per element",
            fix="write each element as its length (little-endian) and its bytes",
        ) from None
    return elements


def file_element(file: bytes) -> bytes | None:
    """A file element; None for an empty one, which stands for a missing value."""
    return file or None


def encode_tensor(name: str, array: np.ndarray[Any, Any], binary: bool) -> tuple[OutputTensor, bytes]:
    """The JSON entry of an output, and its raw bytes (empty unless `binary`)."""
    shape = list(array.shape)
    if not binary:
        return OutputTensor(name, array_datatype(array), shape, data=array.ravel().tolist()), b""
    datatype, raw = encode_raw(array)
    return OutputTensor(name, datatype, shape, parameters={"binary_data_size": len(raw)}), raw


def encode_raw(array: np.ndarray[Any, Any]) -> tuple[str, bytes]:
    """The datatype of an array and its elements as raw bytes."""
    datatype = array_datatype(array)
    if datatype == "BYTES":
        texts = [text.encode() for text in array.ravel().tolist()]
        return datatype, b"".join(struct.pack("<I", len(text)) + text for text in texts)
    return datatype, np.ascontiguousarray(array, DTYPES[datatype]).tobytes()


def array_datatype(array: np.ndarray[Any, Any]) -> str:
    """The protocol's name for an array's type.

    >>> array_datatype(np.zeros(2, np.float32)), array_datatype(np.array(["yes"]))
    ('FP32', 'BYTES')
    """
    if array.dtype.kind in "UO":
        return "BYTES"
    return next(name for name, dtype in DTYPES.items() if dtype == array.dtype)
