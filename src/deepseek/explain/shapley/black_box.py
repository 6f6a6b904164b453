"""Black boxes, row by row: what stands behind "kernel" and "partition" of explain().

    explain_black_box(problem, baselines, limits, "partition")

Shapes: N rows, B baselines, P values a row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepseek.contracts import Float64
from deepseek.errors import ExplainError, InputError
from deepseek.explain.modules.fidelity.plain import PlainRun, find_reads, plain_run
from deepseek.explain.modules.gradient_methods import MAX_RUN_NUMBERS, AttributionValues, Limits, build_values
from deepseek.explain.modules.problem import AttributionProblem
from deepseek.explain.shapley.hierarchy import Hierarchy
from deepseek.explain.shapley.kernel import KernelValues, kernel_shap
from deepseek.explain.shapley.partition import Budget, OwenValues, owen_values

MAX_CHANNELS = 4  # a first axis of so many beside two others: the colors of a picture, which go together

#: (problem, row, baselines, plain, limits, is_alone) -> values of the row
RowExplainer = Callable[
    [AttributionProblem, int, tuple[Tensor, ...], PlainRun, Limits, bool], KernelValues | OwenValues
]


def explain_black_box(
    problem: AttributionProblem, baselines: tuple[Tensor, ...], limits: Limits, method: str
) -> AttributionValues:
    """Values of each row. InputError for inputs that do not fit, and for answers that are no numbers. Where the module
    reads its data into Python, or answers otherwise to several rows at once, every row of it runs alone."""
    are_real = all(each.is_floating_point() for each in problem.inputs)
    if (method == "kernel" and not are_real) or (method == "partition" and len(problem.inputs) != 1):
        raise InputError(
            "KernelSHAP explains real numbers" if method == "kernel" else "regions are those of one input",
            expected="inputs of real numbers" if method == "kernel" else "one tensor",
            fix="give a function of such tensors that makes the others",
        )  # fmt: skip
    plain = plain_run(problem, baselines, limits.tolerance, limits.max_rows)
    reads = plain.reads or find_reads(problem)
    explain: RowExplainer = _explain_row_by_kernel if method == "kernel" else _explain_row_by_partition

    def rows_of(is_alone: bool) -> list[KernelValues | OwenValues]:
        values = [explain(problem, row, baselines, plain, limits, is_alone) for row in range(problem.num_rows)]
        _check_ends(plain, np.array([each.output for each in values]), np.array([each.base for each in values]))
        return values

    try:
        values, is_alone = rows_of(bool(reads)), bool(reads)
    except ExplainError:
        if reads:
            raise
        values, is_alone = rows_of(True), True
    most = max(each.num_evaluations for each in values)
    notes = [f"{most} evaluations of {len(baselines[0])} rows at most"]
    if is_alone:
        notes.append("every row ran alone: the module goes another way for other data" + _read_locations(reads))
    return replace(
        build_values(plain, np.stack([each.values for each in values]), np.stack([each.error for each in values])),
        is_partial=any(each.is_partial for each in values), notes=tuple(notes),
    )  # fmt: skip


def _read_locations(reads: tuple[str, ...]) -> str:
    return f", by {', '.join(reads)}" if reads else ""


def _check_ends(plain: PlainRun, output: Float64, base: Float64) -> None:
    """ExplainError where all players together, or none, did not get the module's own answers."""
    missed = np.maximum(np.abs(output - plain.output), np.abs(base - plain.base))
    wrong = ~(missed <= plain.limit)
    if wrong.any():
        row = int(wrong.argmax())
        raise ExplainError(
            f"asked again, the model answers {output[row]:.6g} to row {row} and {base[row]:.6g} to its "
            f"baselines, and before {plain.output[row]:.6g} and {plain.base[row]:.6g}",
            expected="a model that always answers the same",
            fix="take what is random out of it, or fix its seed",
        )


def _answer_rows(problem: AttributionProblem, inputs: list[Tensor], target: int, is_alone: bool) -> Tensor:
    """Explained outputs (M,) of M rows in the place of the problem's one row."""
    count = len(inputs[0])
    with torch.no_grad():
        if not is_alone:
            return problem.answer(inputs, times=count)[:, target].double()
        each = [problem.answer([tensor[place : place + 1] for tensor in inputs]) for place in range(count)]
        return torch.cat(each)[:, target].double()


def _explain_row_by_kernel(
    problem: AttributionProblem,
    row: int,
    baselines: tuple[Tensor, ...],
    plain: PlainRun,
    limits: Limits,
    is_alone: bool,
) -> KernelValues:
    """Shapley values of the numbers of all inputs of one row side by side."""
    problem_row, target = problem.rows(slice(row, row + 1)), int(plain.target[row])
    sizes = [each[0].numel() for each in problem.inputs]

    def f(rows: NDArray[np.floating]) -> Any:
        parts = torch.split(torch.from_numpy(rows), sizes, dim=1)
        inputs = [
            part.to(own).reshape(len(rows), *own.shape[1:]) for part, own in zip(parts, problem_row.inputs, strict=True)
        ]
        return _answer_rows(problem_row, inputs, target, is_alone).cpu().numpy()

    def side_by_side(tensors: tuple[Tensor, ...]) -> NDArray[np.floating]:
        parts = [each.detach().flatten(1).cpu() for each in tensors]
        # NumPy knows no bfloat16; float32 holds all of its numbers.
        return torch.cat([part.float() if part.dtype == torch.bfloat16 else part for part in parts], dim=1).numpy()

    return kernel_shap(
        f, side_by_side(problem_row.inputs)[0], side_by_side(baselines), num_evaluations=limits.num_evaluations,
        tolerance=limits.tolerance, max_rows=16 * limits.max_rows, time_limit_s=limits.time_limit_s, seed=limits.seed,
    )  # fmt: skip


def _explain_row_by_partition(
    problem: AttributionProblem,
    row: int,
    baselines: tuple[Tensor, ...],
    plain: PlainRun,
    limits: Limits,
    is_alone: bool,
) -> OwenValues:
    """Owen values of regions of one row; a region's value is shared by the numbers in it."""
    row_values, bases = problem.inputs[0][row], baselines[0]
    shape = tuple(row_values.shape) or (1,)
    has_channels = len(shape) == 3 and shape[0] <= MAX_CHANNELS
    tree = Hierarchy(shape[1:] if has_channels else shape)
    problem_row, target = problem.rows(slice(row, row + 1)), int(plain.target[row])
    size = max(1, min(limits.max_rows, MAX_RUN_NUMBERS // max(1, row_values.numel())) // len(bases))

    def value(masks: NDArray[np.bool_]) -> Float64:
        means = []
        for start in range(0, len(masks), size):
            some = torch.from_numpy(masks[start : start + size]).to(row_values.device)
            keep = some.view(len(some), 1, *((1,) if has_channels else ()), *tree.shape)
            mixed = torch.where(keep, row_values, bases[None].to(row_values)).flatten(0, 1).view(-1, *row_values.shape)
            answers = _answer_rows(problem_row, [mixed], target, is_alone)
            means.append(answers.view(len(some), -1).mean(1).cpu().numpy())
        return np.concatenate(means)

    owens = owen_values(value, tree, budget=Budget(limits.num_evaluations, limits.tolerance, limits.time_limit_s))
    return _share_by_channel(owens, shape[0]) if has_channels else owens


def _share_by_channel(owen: OwenValues, channels: int) -> OwenValues:
    """The values of places, shared evenly by their color channels."""
    values, error = (np.tile(each / channels, channels) for each in (owen.values, owen.error))
    return OwenValues(values, error, owen.base, owen.output, owen.regions, owen.num_evaluations, owen.is_partial)
