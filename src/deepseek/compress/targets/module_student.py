"""Training rows for a user's torch module, and the student that is distilled from it.

    lesson = read_training_rows(Path("train.npz"), values)
    student = begun("net.py:small", module, example, seed=0)
    taught(module, student, lesson, seed=0)         # a copy of the student that answers as the module does

The user writes the student's architecture: nothing in a module says which of its layers could be narrower.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from deepseek.compress.distilling.config import DistillConfig
from deepseek.compress.distilling.training import DistillationModule as Fitting
from deepseek.compress.distilling.training import distill, parameter_counts
from deepseek.compress.targets.onnx import TARGET_NAME, check_target, digest_of_arrays
from deepseek.compress.targets.user_module import load_module
from deepseek.data.table.npz import read_npz
from deepseek.errors import InputError
from deepseek.train.loop.config import TrainConfig

ROWS_PER_BATCH = 64
#: A student starts from random weights: at least so many epochs, and for few rows at least so many optimizer steps.
MIN_EPOCHS, MIN_STEPS, LEARNING_RATE = 10, 2_000, 2e-3


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """Rows to train on. Without a target the student learns the original module's outputs alone."""

    inputs: torch.Tensor  # (N, ...)
    target: torch.Tensor | None  # (N,) class numbers
    digest: str

    def batches(self, target: torch.Tensor | None, seed: int) -> DataLoader[Any]:
        """Shuffled batches (inputs, target), or inputs alone where `target` is None."""
        rows = TensorDataset(self.inputs, *(() if target is None else (target,)))
        generator = torch.Generator().manual_seed(seed)
        return DataLoader(
            rows, batch_size=ROWS_PER_BATCH, shuffle=True, generator=generator, drop_last=len(rows) > ROWS_PER_BATCH,
            collate_fn=None if target is not None else _stack_inputs,
        )  # fmt: skip


def _stack_inputs(rows: list[tuple[torch.Tensor, ...]]) -> torch.Tensor:
    return torch.stack([row[0] for row in rows])


def read_training_rows(path: Path, like: NDArray[Any]) -> TrainingRows:
    """Read a .npz with one array of rows shaped like `like` (N, ...) and, if known, their class numbers as "y".

    InputError for other shapes, numbers that are not finite, and targets that are not class numbers.
    """
    arrays = read_npz(path, "train")
    target = arrays.pop(TARGET_NAME, None)
    (values,) = arrays.values() if len(arrays) == 1 else (None,)
    if values is None or values.shape[1:] != like.shape[1:] or not len(values) or values.dtype.kind not in "biuf":
        raise InputError(
            f"{path} has {', '.join(f'{name} {list(array.shape)}' for name, array in arrays.items()) or 'no rows'}",
            expected=f"one array of rows of the shape {list(like.shape[1:])}, as the data has",
            fix="give rows to train on of the same kind as those to judge on",
        )
    if not np.isfinite(values).all():
        raise InputError(f"{path} holds numbers that are not finite", expected="numbers", fix="drop those rows")
    classes = check_target(target, len(values), path)
    if classes is not None and classes.dtype.kind not in "iu":
        raise InputError(f"{path}: {TARGET_NAME!r} is {classes.dtype}", expected="class numbers", fix="leave it out")
    digest = digest_of_arrays({"x": values, **({} if classes is None else {TARGET_NAME: classes})})
    target_of = None if classes is None else torch.from_numpy(classes.astype(np.int64))
    return TrainingRows(torch.from_numpy(values.astype(np.float32)), target_of, digest)


def load_student(name: str, teacher: nn.Module, example: torch.Tensor, *, seed: int) -> nn.Module:
    """The untrained student that FILE.py:NAME builds. InputError for one that does not take `example` (N, ...), whose
    outputs have another shape than the teacher's, or that has more parameters."""
    torch.manual_seed(seed)
    student = load_module(name, "--student")
    parameter_counts(teacher, student)
    fitting = Fitting(teacher, student, DistillConfig(alpha=1.0))
    fitting.check(example)
    fitting.close()
    return student.eval()


def train_student(teacher: nn.Module, student: nn.Module, training_rows: TrainingRows, *, seed: int) -> nn.Module:
    """A copy of the student, trained on the teacher's outputs for the training rows and on their labels."""
    num_batches = max(1, len(training_rows.inputs) // ROWS_PER_BATCH)
    epochs = max(MIN_EPOCHS, math.ceil(MIN_STEPS / num_batches))
    config = DistillConfig(alpha=1.0 if training_rows.target is None else 0.9)
    train = TrainConfig(epochs=epochs, lr=LEARNING_RATE, seed=seed)
    batches = training_rows.batches(training_rows.target, seed)
    return distill(teacher, copy.deepcopy(student), batches, config, train, progress=False).student
