"""Tensors of a Hugging Face folder: model.safetensors, or the shards that model.safetensors.index.json names.

    weights = Weights.open(Path("all-MiniLM"))        # reads and checks headers only
    weights.array("embeddings.LayerNorm.bias", (384,))  # float32, a view of the mapped file where it is float32 there

Numbers of 8 bits (packed.py) are multiplied out: such a file is small on the disk, and as large as any other in memory.

The format: https://huggingface.co/docs/safetensors (8 bytes of length, a JSON header, then the tensors without gaps).
Nothing but safetensors is ever read: pytorch_model.bin is a pickle.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from deepseek.bundle.contents import content_problem
from deepseek.bundle.paths import path_problem
from deepseek.contracts import Float32
from deepseek.engines.text.source.folder import has_file, open_plain, read_object
from deepseek.engines.text.source.packed import PACKED_DTYPES, SCALE_SUFFIX, decode_packed
from deepseek.errors import InputError, IntegrityError, MissingError

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
MAX_SHARDS = 1_000
_NUM_LENGTH_BYTES = 8
_FLOAT_DTYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2", "F64": "<f8"}
_COPY_AGAIN = "copy the folder again from where it was made"


class StoredTensor(NamedTuple):
    """Where a tensor lies, by the header of its file."""

    file: str
    dtype: str  # as the header writes it: F32, F8_E4M3, I64
    shape: tuple[int, ...]
    first_byte: int  # from the beginning of the file
    size_bytes: int


class Weights:
    """Named tensors, memory-mapped when they are first used. A file must not be shortened while it is mapped."""

    def __init__(self, folder: Path, tensors: dict[str, StoredTensor]) -> None:
        self.folder = folder
        self._tensors = tensors
        self._maps: dict[str, np.memmap[tuple[int], np.dtype[np.uint8]]] = {}

    @classmethod
    def open(cls, folder: Path) -> Weights:
        """The weights of a folder, whose headers are checked. MissingError without safetensors; IntegrityError names
        the file that is damaged."""
        if has_file(folder, SINGLE_FILE):
            return cls(folder, _read_header(folder, SINGLE_FILE))
        if not has_file(folder, INDEX_FILE):
            pickles = [name for name in ("pytorch_model.bin", "model.pt", "model.ckpt") if has_file(folder, name)]
            reason = f"; {pickles[0]} is a pickle and never loaded" if pickles else ""
            raise MissingError(
                f"{folder} has no {SINGLE_FILE}{reason}",
                expected=f"{SINGLE_FILE}, or {INDEX_FILE} with its shards",
                fix="save the model with save_pretrained(..., safe_serialization=True)",
            )
        return cls(folder, _read_shards(folder))

    @property
    def files(self) -> list[str]:
        """The files that hold tensors, and the index where there is one."""
        shards = sorted({tensor.file for tensor in self._tensors.values()})
        return shards if shards == [SINGLE_FILE] else [INDEX_FILE, *shards]

    @property
    def names(self) -> Sequence[str]:
        return tuple(self._tensors)

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def shape(self, name: str) -> tuple[int, ...]:
        return self._tensors[name].shape

    def dtype(self, name: str) -> str:
        """The dtype of a tensor as the header writes it: F32, F8_E4M3, I64."""
        return self._tensors[name].dtype

    def is_float(self, name: str) -> bool:
        """Whether array() can return the tensor."""
        return self.dtype(name) in PACKED_DTYPES or self.dtype(name) in _FLOAT_DTYPES

    def check(self, name: str, shape: tuple[int, ...]) -> None:
        """IntegrityError unless the tensor is there, holds numbers with a fraction and has this shape."""
        if name not in self._tensors:
            raise IntegrityError(
                f"the weights in {self.folder} have no tensor {name!r}",
                expected="the tensors that config.json promises",
                fix="take config.json and weights of one and the same model",
            )
        tensor = self._tensors[name]
        if tensor.shape != shape:
            raise IntegrityError(
                f"the tensor {name!r} has the shape {list(tensor.shape)}",
                expected=f"{list(shape)}, by config.json",
                fix="take config.json and weights of one and the same model",
            )
        if tensor.dtype in PACKED_DTYPES and (tensor.dtype != "I8" or name + SCALE_SUFFIX in self._tensors):
            self._check_scales(name, shape)
        elif tensor.dtype not in _FLOAT_DTYPES:
            raise InputError(
                f"the tensor {name!r} is of type {tensor.dtype}",
                expected=", ".join([*_FLOAT_DTYPES, *sorted(PACKED_DTYPES)]),
                fix="save the model unquantised; deepseek serve lowers the precision itself where it is asked to",
            )

    def array(self, name: str, shape: tuple[int, ...]) -> Float32:
        """One tensor as float32. IntegrityError as check(), and for a value that is not finite."""
        self.check(name, shape)
        array = np.require(self._read(name), np.float32, ["C", "ALIGNED"])
        if not np.isfinite(array).all():
            raise IntegrityError(
                f"the tensor {name!r} holds NaN or infinity",
                expected="finite weights",
                fix="train or save the model again; such a model answers with nothing but NaN",
            )
        return array

    def _read(self, name: str) -> np.ndarray[Any, Any]:
        file, dtype, shape, first_byte, size_bytes = self._tensors[name]
        raw = self._map(file)[first_byte : first_byte + size_bytes]
        if len(raw) != size_bytes:
            raise IntegrityError(f"{file} in {self.folder} was shortened", expected="a whole file", fix=_COPY_AGAIN)
        if dtype in PACKED_DTYPES:
            scales = self.array(name + SCALE_SUFFIX, self.shape(name + SCALE_SUFFIX))
            if not (scales > 0).all():
                raise IntegrityError(
                    f"the tensor {name + SCALE_SUFFIX!r} holds a scale that is not above 0",
                    expected="a positive scale for each channel", fix=_COPY_AGAIN,
                )  # fmt: skip
            return decode_packed(raw.reshape(shape), scales, dtype)
        array = raw.view(_FLOAT_DTYPES[dtype]).reshape(shape)
        return (array.astype(np.uint32) << 16).view(np.float32) if dtype == "BF16" else array

    def _check_scales(self, name: str, shape: tuple[int, ...]) -> None:
        """IntegrityError unless there is one float for each first index of the tensor."""
        scales = self._tensors.get(name + SCALE_SUFFIX, StoredTensor("", "", (), 0, 0))
        if scales.dtype not in _FLOAT_DTYPES or not shape or scales.shape not in ((shape[0],), (shape[0], 1)):
            raise IntegrityError(
                f"the tensor {name!r} has 8 bits a number, and {name + SCALE_SUFFIX!r} "
                + (f"is {scales.dtype} {list(scales.shape)}" if scales.dtype else "is not there"),
                expected=f"one float for each of its {shape[0] if shape else 0} channels",
                fix="pack the model again with deepseek.compress.quantize.pack",
            )

    def _map(self, file: str) -> np.memmap[tuple[int], np.dtype[np.uint8]]:
        if file not in self._maps:  # copy on write: OpenVINO takes no array that is read-only
            try:
                self._maps[file] = np.memmap(self.folder / file, np.uint8, "c")
            except (OSError, ValueError) as error:
                raise IntegrityError(
                    f"{file} in {self.folder} cannot be mapped: {error}",
                    expected="the file whose header was read",
                    fix=_COPY_AGAIN,
                ) from error
        return self._maps[file]


def _read_header(folder: Path, file: str) -> dict[str, StoredTensor]:
    with open_plain(folder, file) as (stream, size_bytes):
        problem = content_problem(file, stream, size_bytes)
        if problem:
            raise IntegrityError(f"{folder}: {problem}", expected="a whole safetensors file", fix=_COPY_AGAIN)
        stream.seek(0)
        length = int.from_bytes(stream.read(_NUM_LENGTH_BYTES), "little")
        header = json.loads(stream.read(length))
    start = _NUM_LENGTH_BYTES + length
    header.pop("__metadata__", None)
    return {
        name: StoredTensor(file, entry["dtype"], tuple(entry["shape"]), start + first, last - first)
        for name, entry in header.items()
        for first, last in [entry["data_offsets"]]
    }


def _read_shards(folder: Path) -> dict[str, StoredTensor]:
    shard_of = read_object(folder, INDEX_FILE).get("weight_map")
    if not isinstance(shard_of, dict) or not shard_of:
        raise IntegrityError(
            f"{INDEX_FILE} in {folder} has no weight_map", expected='{"weight_map": {...}}', fix=_COPY_AGAIN
        )
    shards = {file for file in shard_of.values() if isinstance(file, str)}
    bad = [file for file in shard_of.values() if not isinstance(file, str) or "/" in file or path_problem(file)]
    bad += [file for file in sorted(shards) if not file.endswith(".safetensors")]
    if bad or len(shards) > MAX_SHARDS:
        raise IntegrityError(
            f"{INDEX_FILE} in {folder} names {repr(bad[0])[:100] if bad else f'{len(shards)} files'}",
            expected=f"at most {MAX_SHARDS} safetensors files in the same folder",
            fix=_COPY_AGAIN,
        )
    headers = {file: _read_header(folder, file) for file in sorted(shards)}
    missing = [name for name, file in shard_of.items() if name not in headers[file]]
    if missing:
        raise IntegrityError(
            f"{shard_of[missing[0]]} in {folder} has no tensor {missing[0][:100]!r}, which {INDEX_FILE} promises",
            expected="shards of one and the same model",
            fix=_COPY_AGAIN,
        )
    return {name: headers[file][name] for name, file in shard_of.items()}
