"""Rows like those that will come, for an ONNX file: what int8 is calibrated and every lossy engine compared on.

rows = RowsFile.read(Path("rows.npz"))            # an array for each input, the first axis is the rows
arrays = rows.arrays(signature)               # InputError when they do not fit the graph
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import read_array
from numpy.typing import NDArray

from deepseek.contracts import Arrays, Tensors
from deepseek.engines.onnx_file.signature import Signature
from deepseek.errors import InputError
from deepseek.files import read_bounded

SUFFIX = ".npz"
MAX_FILE_BYTES = 1 << 29
MAX_ROWS = 256


@dataclass(frozen=True, slots=True)
class RowsFile:
    """A file of the user's rows, by its path and the digest of its contents."""

    path: Path
    digest: str

    @classmethod
    def read(cls, path: Path) -> RowsFile:
        """Read the file for its digest. MissingError, TooLargeError."""
        return cls(path.absolute(), hashlib.sha256(_read_rows_file(path)).hexdigest())

    def arrays(self, signature: Signature) -> Arrays:
        """The first MAX_ROWS rows of each input. InputError for what is no .npz file, or does not fit the graph."""
        try:
            with zipfile.ZipFile(io.BytesIO(_read_rows_file(self.path))) as opened:
                arrays = {
                    name.removesuffix(".npy"): _read_member(opened, name)[:MAX_ROWS] for name in opened.namelist()
                }
        except (OSError, ValueError, EOFError, IndexError, zipfile.BadZipFile, RuntimeError) as error:
            raise InputError(
                f"{self.path} holds no arrays: {str(error)[:200]}",
                expected="what numpy.savez writes, an array for each input of the graph",
                fix=f"numpy.savez({self.path.name!r}, {signature.inputs[0].name}=ROWS)",
            ) from error
        if not arrays or any(not array.ndim or not len(array) for array in arrays.values()):
            raise InputError(
                f"{self.path} holds no rows", expected="arrays whose first axis is the rows", fix="save some hundred"
            )
        signature.check(Tensors(arrays))
        return arrays


def split_into_calls(signature: Signature, arrays: Arrays, size: int) -> Iterator[Arrays]:
    """Yield the inputs of the calls by which the graph computes these rows, `size` at a time where it can."""
    num_rows = len(next(iter(arrays.values())))
    if signature.rows == "whole":
        yield from ({name: array[row, ...] for name, array in arrays.items()} for row in range(num_rows))
        return
    step = size if signature.rows == "joined" else 1
    for start in range(0, num_rows, step):
        yield {name: array[start : start + step] for name, array in arrays.items()}


def split_in_halves(arrays: Arrays) -> tuple[Arrays, Arrays]:
    """Every second row, and the others, since a file may be in some order. Both are all of it where there is one
    row."""
    if len(next(iter(arrays.values()))) < 2:
        return arrays, arrays
    first, second = ({name: array[start::2] for name, array in arrays.items()} for start in (0, 1))
    return first, second


def _read_member(opened: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """One array of the archive. ValueError for an array of objects, which would be a pickle."""
    with opened.open(name) as file:
        return np.asarray(read_array(file, allow_pickle=False))


def _read_rows_file(path: Path) -> bytes:
    return read_bounded(path, MAX_FILE_BYTES, what="a file of rows", smaller="give some hundred rows")
