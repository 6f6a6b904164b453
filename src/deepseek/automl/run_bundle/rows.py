"""Rows of a run's own data: those that it was trained on describe the inputs, those of its validation measure it.

training = training_rows(run, MAX_ROWS)
held_out = validation_rows(run, MAX_ROWS)        # None where the run had none, or a function measured it
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.automl.run_bundle.trained import TrainedRun
from deepseek.errors import InputError
from deepseek.extras import need
from deepseek.train.loop.job import load_data

MAX_TRAINING_ROWS, MAX_VALIDATION_ROWS = 2_000, 20_000


@dataclass(frozen=True, slots=True, eq=False)
class DataRows:
    """N rows of a run's data."""

    inputs: NDArray[Any]  # (N, ...) as the module takes them
    target: NDArray[Any]  # (N, ...) what the loss compares with


def training_rows(run: TrainedRun) -> DataRows:
    """Up to MAX_TRAINING_ROWS; of a run with a privacy budget those of its validation, for ranges and medians of
    training rows would tell of them. InputError for batches that are no pair of tensors, and for a private run without
    a validation."""
    if run.job.dp is not None:
        rows = validation_rows(run)
        if rows is None:
            raise InputError(
                "the run has a privacy budget and no rows that may be shown",
                expected="data.validation: rows that the budget does not protect, by which inputs are described",
                fix="name such a file in the run's TOML file",
            )
        return DataRows(rows.inputs[:MAX_TRAINING_ROWS], rows.target[:MAX_TRAINING_ROWS])
    return _collect_rows(load_data(run.job, run.home, is_training=True), MAX_TRAINING_ROWS)


def validation_rows(run: TrainedRun) -> DataRows | None:
    """Up to MAX_VALIDATION_ROWS; None without a validation, and where a function of the model measures it."""
    data = load_data(run.job, run.home, is_training=False)
    return None if data is None or callable(data) else _collect_rows(data, MAX_VALIDATION_ROWS)


def check_shape(rows: DataRows, shape: tuple[int, ...]) -> None:
    """InputError for a shape that is not that of the run's own rows."""
    if rows.inputs.shape[1:] != shape:
        stated, actual = ("x".join(map(str, each)) or "one number" for each in (shape, rows.inputs.shape[1:]))
        raise InputError(
            f"the shape of a row is given as {stated}, and the run was trained on rows of {actual}",
            expected=actual, fix=f"--input {actual}",
        )  # fmt: skip


def _collect_rows(batches: Iterable[Any], max_rows: int) -> DataRows:
    torch = need("torch", extra="train")
    inputs: list[NDArray[Any]] = []
    targets: list[NDArray[Any]] = []
    num_rows = 0
    for batch in batches:
        parts = batch if isinstance(batch, (tuple, list)) else (batch,)
        if len(parts) != 2 or not all(isinstance(part, torch.Tensor) for part in parts):
            from deepseek.train.loop.stream import describe_batch

            raise InputError(
                f"the run's data gives batches of {describe_batch(batch)}", expected="(inputs, target), a tensor each",
                fix="export a module of several inputs to ONNX yourself",
            )  # fmt: skip
        inputs.append(parts[0].cpu().numpy())
        targets.append(parts[1].cpu().numpy())
        num_rows += len(inputs[-1])
        if num_rows >= max_rows:
            break
    return DataRows(np.concatenate(inputs)[:max_rows], np.concatenate(targets)[:max_rows])
