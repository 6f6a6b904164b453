"""Black boxes, row by row: what stands behind "kernel" and "partition" of explain().

    black_box(question, baselines, limits, "partition")

Shapes: N rows, B baselines, P values a row.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepseek.contracts import Float64
from deepseek.errors import InputError
from deepseek.explain.ask import Question, check_answers
from deepseek.explain.hierarchy import Hierarchy
from deepseek.explain.kernel import KernelValues, kernel_shap
from deepseek.explain.pairs import MAX_NUMBERS, Limits, Values
from deepseek.explain.partition import Budget, OwenValues, owen

MAX_CHANNELS = 4  # a first axis of so many beside two others: the colours of a picture, which go together


def black_box(question: Question, baselines: tuple[Tensor, ...], limits: Limits, method: str) -> Values:
    """Values of each row. InputError for several inputs, and for answers that are no numbers."""
    if len(question.inputs) != 1 or (method == "kernel" and not question.inputs[0].is_floating_point()):
        raise InputError(
            "a black box is explained for one input" + (" of real numbers" if method == "kernel" else ""),
            expected="one tensor", fix="give a function of one tensor that makes the others",
        )  # fmt: skip
    with torch.no_grad():
        answer = question.answer(question.inputs)
    check_answers(answer, "row")
    target = question.target_of(answer)
    explain = _kernel if method == "kernel" else _partition
    found = [explain(question, row, baselines[0], int(target[row]), limits) for row in range(question.num_rows)]
    most = max(each.num_evaluations for each in found)
    return Values(
        np.stack([each.values for each in found]), np.array([each.base for each in found]),
        np.array([each.output for each in found]), tuple(target.tolist()), np.stack([each.error for each in found]),
        any(each.is_partial for each in found), (f"{most} evaluations of {len(baselines[0])} rows at most",),
    )  # fmt: skip


def _kernel(question: Question, row: int, baselines: Tensor, target: int, limits: Limits) -> KernelValues:
    given = question.inputs[0][row]
    asked = question.rows(slice(row, row + 1))

    def f(rows: NDArray[np.floating]) -> Any:
        with torch.no_grad():
            made = torch.from_numpy(rows).to(given).view(len(rows), *given.shape)
            return asked.answer([made], times=len(rows))[:, target].double().numpy()

    return kernel_shap(
        f, given.flatten().cpu().numpy(), baselines.flatten(1).cpu().numpy(), num_evaluations=limits.num_evaluations,
        tolerance=limits.tolerance, max_rows=16 * limits.max_rows, time_limit_s=limits.time_limit_s, seed=limits.seed,
    )  # fmt: skip


def _partition(question: Question, row: int, baselines: Tensor, target: int, limits: Limits) -> OwenValues:
    """Of regions of the row's own shape; a region's value is shared by the numbers in it."""
    given = question.inputs[0][row]
    shape = tuple(given.shape) or (1,)
    colours = len(shape) == 3 and shape[0] <= MAX_CHANNELS
    tree = Hierarchy(shape[1:] if colours else shape)
    asked = question.rows(slice(row, row + 1))
    size = max(1, min(limits.max_rows, MAX_NUMBERS // max(1, given.numel())) // len(baselines))

    def value(masks: NDArray[np.bool_]) -> Float64:
        found = []
        for start in range(0, len(masks), size):
            some = torch.from_numpy(masks[start : start + size]).to(given.device)
            keep = some.view(len(some), 1, *((1,) if colours else ()), *tree.shape)
            mixed = torch.where(keep, given, baselines[None].to(given)).flatten(0, 1).view(-1, *given.shape)
            with torch.no_grad():
                answers = asked.answer([mixed], times=len(mixed))[:, target].double()
            found.append(answers.view(len(some), -1).mean(1).cpu().numpy())
        return np.concatenate(found)

    made = owen(value, tree, budget=Budget(limits.num_evaluations, limits.tolerance, limits.time_limit_s))
    return _by_colour(made, shape[0]) if colours else made


def _by_colour(found: OwenValues, channels: int) -> OwenValues:
    """What a place adds, shared by its colours."""
    values, error = (np.tile(each / channels, channels) for each in (found.values, found.error))
    return OwenValues(values, error, found.base, found.output, found.regions, found.num_evaluations, found.is_partial)
