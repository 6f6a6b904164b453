"""Arrays of a file as tensors: .npz (never unpickled) and .parquet (columns of numbers).

The one array beside the target is the model's input; the columns of a .parquet are one array (N, F). Floats become
float32, whole numbers int64.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deepseek.data.table.npz import read_npz
from deepseek.errors import InputError, MissingError
from deepseek.extras import need
from deepseek.plugins import did_you_mean


def read_arrays(key: str, path: Path, target: str) -> tuple[Any, ...]:
    """(inputs, target) with the rows in front. InputError names what the file lacks."""
    if not path.is_file():
        raise MissingError(
            f"{key}: there is no file {path}", expected="a .npz or .parquet file", fix="check the name and the folder"
        )
    arrays = read_npz(path, key) if path.suffix == ".npz" else _read_parquet(key, path, target)
    if target not in arrays:
        raise InputError(
            f"{path} has no {target!r}.{did_you_mean(target, arrays)}", expected=f"one of {', '.join(arrays)}",
            fix="set data.target",
        )  # fmt: skip
    targets = arrays.pop(target)
    if len(arrays) != 1:
        raise InputError(
            f"{path} has {len(arrays)} arrays beside {target!r}", expected="one, the model's input",
            fix="put the inputs together, or give batches from a function: data.train = \"net.py:data\"",
        )  # fmt: skip
    ((name, inputs),) = arrays.items()
    if not inputs.ndim or len(inputs) != len(targets) or not len(targets):
        raise InputError(
            f"{path}: {name!r} has the shape {inputs.shape}, and {target!r} {targets.shape}",
            expected="as many rows in both, and at least one", fix="write the file anew",
        )  # fmt: skip
    return _to_tensor(path, name, inputs), _to_tensor(path, target, targets)


def _read_parquet(key: str, path: Path, target: str) -> dict[str, NDArray[Any]]:
    parquet = need("pyarrow.parquet", extra="tabular")
    arrow = need("pyarrow", extra="tabular")
    try:
        table = parquet.read_table(path)
    except (arrow.ArrowException, OSError) as error:
        raise InputError(
            f"{key}: {path} cannot be read: {error}", expected="a Parquet file", fix="write it anew"
        ) from error
    columns = {name: table.column(name).to_numpy(zero_copy_only=False) for name in table.column_names}
    non_numeric = next((name for name, values in columns.items() if values.dtype.kind not in "biuf"), None)
    if non_numeric is not None:
        raise InputError(
            f"{path}: the column {non_numeric!r} holds no numbers", expected="numbers in every column",
            fix="encode it, leave it out, or train a table with `deepseek ship`",
        )  # fmt: skip
    targets = {target: columns.pop(target)} if target in columns else {}
    if not targets:
        return columns
    return {"inputs": np.column_stack(list(columns.values())) if columns else np.empty((0, 0)), **targets}


def _to_tensor(path: Path, name: str, values: NDArray[Any]) -> torch.Tensor:
    if values.dtype.kind not in "biuf":
        raise InputError(f"{path}: {name!r} holds {values.dtype}", expected="numbers", fix="encode it")
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            row = int(np.argwhere(~np.isfinite(values))[0][0])
            raise InputError(
                f"{path}: {name!r} is not finite in row {row}", expected="finite numbers", fix="fill or drop that row"
            )
        return torch.from_numpy(values.astype(np.float32))
    return torch.from_numpy(values.astype(np.int64))
