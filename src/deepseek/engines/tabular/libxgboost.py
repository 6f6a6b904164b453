"""xgboost through its C interface: load a booster from bytes, predict. No Python package is imported.

`import xgboost` brings scipy, and scikit-learn, pandas and pyarrow where they are installed: 1.4 s and 140 MB, too much
for a server that wants six functions of the library. They are its published C API (xgboost/c_api.h).

    NativeBooster(booster_bytes(table, 0, num_features=F)).margin(features) -> (N,)
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float32
from deepseek.errors import DeepseekError, ExtraError
from deepseek.extras import install_advice

_LIBRARY_FILES = {"linux": "libxgboost.so", "darwin": "libxgboost.dylib", "win32": "xgboost.dll"}
_NOT_INSTALLED = ExtraError("xgboost is not installed", expected="the extra 'serve'", fix=install_advice("serve"))


def is_available() -> bool:
    """Whether the library lies where pip puts it; loads nothing."""
    return _library_path() is not None


def _library_path() -> Path | None:
    spec = importlib.util.find_spec("xgboost")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "lib" / _LIBRARY_FILES.get(sys.platform, "libxgboost.so")
    return path if path.is_file() else None


@functools.cache
def _load_library() -> ctypes.CDLL:
    path = _library_path()
    if path is None:
        raise _NOT_INSTALLED
    library = ctypes.CDLL(str(path))
    library.XGBGetLastError.restype = ctypes.c_char_p
    return library


def _call_library(function: str, *arguments: object) -> None:
    library = _load_library()
    if getattr(library, function)(*arguments) != 0:
        text = (library.XGBGetLastError() or b"").decode(errors="replace").strip()
        raise DeepseekError(
            f"xgboost's {function} failed: {text.splitlines()[0] if text else 'no reason given'}",
            expected="a model and rows that xgboost takes",
            fix="check the installation with: deepseek doctor",
        )


def _array_interface(array: Float32) -> bytes:
    """A contiguous array by its address, in the form of numpy's __array_interface__: nothing is copied, and the caller
    keeps it alive."""
    interface = {"data": [array.ctypes.data, True], "shape": array.shape, "typestr": array.dtype.str, "version": 3}
    return json.dumps(interface).encode()


class NativeBooster:
    """A booster with one margin, built from bytes in xgboost's own format.

    `num_threads` 0 means all cores. margin() may be called from several threads at once.
    """

    def __init__(self, data: bytes, *, num_threads: int = 1) -> None:
        self._handle = ctypes.c_void_p()
        _call_library("XGBoosterCreate", None, ctypes.c_uint64(0), ctypes.byref(self._handle))
        _call_library("XGBoosterLoadModelFromBuffer", self._handle, data, ctypes.c_uint64(len(data)))
        _call_library("XGBoosterSetParam", self._handle, b"nthread", str(num_threads).encode())

    def margin(self, features: Float32) -> Float32:
        """Sums of leaves (N,) in float32 for features (N, F)."""
        rows = np.ascontiguousarray(features, np.float32)
        options = {"type": 1, "iteration_begin": 0, "iteration_end": 0, "strict_shape": True, "missing": float("nan")}
        result = _ResultPointers()
        _call_library(
            "XGBoosterPredictFromDense", self._handle, _array_interface(rows), json.dumps(options).encode(),
            ctypes.c_void_p(), *result.places,
        )  # fmt: skip
        return result.array().reshape(-1)

    def close(self) -> None:
        """Give the memory back; the booster cannot be used afterwards."""
        if self._handle:
            _call_library("XGBoosterFree", self._handle)
            self._handle = ctypes.c_void_p()

    def __del__(self) -> None:
        # the handle is missing when the constructor failed; modules may be gone when the interpreter ends
        if getattr(self, "_handle", None) and not sys.is_finalizing():
            self.close()


class _ResultPointers:
    """Where the library writes the shape and the address of a result, which it owns until this thread asks again."""

    def __init__(self) -> None:
        self._shape = ctypes.POINTER(ctypes.c_uint64)()
        self._num_dims = ctypes.c_uint64()
        self._data = ctypes.POINTER(ctypes.c_float)()
        self.places = (ctypes.byref(self._shape), ctypes.byref(self._num_dims), ctypes.byref(self._data))

    def array(self) -> Float32:
        shape = tuple(self._shape[i] for i in range(self._num_dims.value))
        whole: NDArray[np.float32] = np.ctypeslib.as_array(self._data, shape)
        return whole.copy()
