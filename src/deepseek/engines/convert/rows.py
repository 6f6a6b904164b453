"""Rows that a conversion is compared on: the user's own, and probes made of them.

    rows = read_rows(Path("rows.npz"))      # arrays by the names of the model's inputs; "y" is left out
    rows = read_rows(Path("rows.csv"))      # columns by name
    rows.arrays, rows.num_rows              # the first num_rows are the user's, those behind them are probes

Probes meet what the user's rows may not: values between those of two rows, zeros, and numbers three times as large.
Whole numbers, truths and texts stay values of the user's: an embedding or a look-up has no others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Arrays
from deepseek.data.table.npz import read_npz
from deepseek.engines.onnx_file.signature import TensorSpec
from deepseek.errors import InputError

TARGET_NAME = "y"
MAX_ROWS = 64  # of the user's, evenly out of all of them
NUM_PROBES = 6
PROBE_SCALE = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class ConversionRows:
    """M rows, the user's before the probes."""

    arrays: Arrays  # (M, ...) by name
    num_rows: int  # of the user's
    is_table: bool  # whether the arrays are columns of a table


def read_rows(path: Path, *, seed: int = 0) -> ConversionRows:
    """The rows of a file. MissingError, MalformedError or InputError for one that holds none."""
    is_table = path.suffix != ".npz"
    arrays = _read_columns(path) if is_table else read_npz(path, "data")
    arrays.pop(TARGET_NAME, None)
    if not arrays:
        raise InputError(
            f"{path} holds no arrays", expected="an array for each input of the model",
            fix=f"numpy.savez({path.name!r}, INPUT=ROWS)",
        )  # fmt: skip
    counts = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    if len(set(counts.values())) != 1 or not min(counts.values()):
        described = ", ".join(f"{name}: {count}" for name, count in counts.items())
        raise InputError(
            f"{path} does not hold as many rows for each input ({described[:200]})",
            expected="at least one, and as many",
            fix="save arrays whose first axis is the rows",
        )  # fmt: skip
    for name, array in arrays.items():
        if array.dtype.kind not in "biufUO":
            raise InputError(
                f"{path}: {name!r} is {array.dtype}", expected="numbers, truths or texts", fix="save it as one of these"
            )
    total = next(iter(counts.values()))
    chosen = np.unique(np.linspace(0, total - 1, min(total, MAX_ROWS)).astype(np.int64))
    selected = {name: array[chosen] for name, array in arrays.items()}
    random = np.random.default_rng(seed)
    return ConversionRows(
        {name: np.concatenate([array, _probes(array, random)]) for name, array in selected.items()},
        len(chosen), is_table,
    )  # fmt: skip


def match_inputs(rows: ConversionRows, inputs: Sequence[TensorSpec]) -> Arrays:
    """The arrays (M, ...) by the names, in the types and shapes of a model's inputs. InputError for what does not fit.

    One array fits one input whatever its name; columns of numbers are stacked for one input (N, F), in their order.
    """
    arrays = dict(rows.arrays)
    names = [spec.name for spec in inputs]
    if rows.is_table and len(inputs) == 1 and len(arrays) > 1:
        arrays = {names[0]: _stack(arrays, inputs[0])}
    elif len(inputs) == len(arrays) == 1:
        arrays = {names[0]: next(iter(arrays.values()))}
    missing, unknown = [name for name in names if name not in arrays], sorted(set(arrays) - set(names))
    if missing or (unknown and not rows.is_table):
        raise InputError(
            f"the rows hold {', '.join(sorted(arrays))[:200]}, and the model takes {', '.join(names)[:200]}",
            expected="an array (or a column) for each input", fix="name them as the model names its inputs",
        )  # fmt: skip
    return {spec.name: _fit(arrays[spec.name], spec) for spec in inputs}


def _stack(arrays: Mapping[str, NDArray[Any]], spec: TensorSpec) -> NDArray[Any]:
    """Columns (N,) as one array (N, F)."""
    size = spec.shape[1] if len(spec.shape) == 2 else None
    texts = [name for name, array in arrays.items() if array.dtype.kind not in "biuf"]
    if size != len(arrays) or (texts and spec.dtype != "str"):
        what = f"{len(arrays)} columns" + (f", {texts[0]!r} of texts" if texts else "")
        raise InputError(
            f"the rows are {what}", expected=f"{spec.name}: {spec.describe()}",
            fix="keep the columns that the model takes, in its order, or give a .npz",
        )  # fmt: skip
    return np.stack(list(arrays.values()), axis=1)


def _fit(array: NDArray[Any], spec: TensorSpec) -> NDArray[Any]:
    if array.ndim == 1 and len(spec.shape) == 2 and spec.shape[1] in (1, None):
        array = array[:, None]  # a column as the model takes it
    fits = array.ndim == len(spec.shape) and all(
        not isinstance(dim, int) or size == dim for size, dim in zip(array.shape[1:], spec.shape[1:], strict=True)
    )
    if not fits or (spec.dtype == "str") != (array.dtype.kind in "UO"):
        shape = ", ".join(map(str, ("N", *array.shape[1:])))
        raise InputError(
            f"the rows of {spec.name!r} are {array.dtype} [{shape}]", expected=spec.describe(),
            fix="save them in the type and shape that the model takes",
        )  # fmt: skip
    if spec.dtype == "str":
        return array.astype(np.str_)
    with np.errstate(over="ignore", invalid="ignore"):
        return array.astype(spec.numpy)


def _read_columns(path: Path) -> dict[str, NDArray[Any]]:
    from deepseek.data import read_table

    table = read_table(path)
    columns: dict[str, NDArray[Any]] = {}
    for name, column in table.columns.items():
        is_number = column.dtype.kind in "biuf"
        columns[name] = column if is_number else np.array(["" if cell is None else str(cell) for cell in column])
    return columns


def _probes(array: NDArray[Any], random: np.random.Generator) -> NDArray[Any]:
    """NUM_PROBES rows made of those of `array` (N, ...), in its type."""
    first, second = (array[random.integers(0, len(array), NUM_PROBES)] for _ in range(2))
    if array.dtype.kind != "f" or np.array_equal(array, np.round(array)):
        return first
    share = random.random((NUM_PROBES, *[1] * (array.ndim - 1)))
    probes = first + share * (second - first)
    probes[-1] *= 0
    probes[-2] *= PROBE_SCALE
    return np.asarray(probes, array.dtype)
