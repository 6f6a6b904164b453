"""`attribute`: what each value of an input contributed to a model's answer, by a method that fits the model.

    attribute(module, inputs, baselines)                torch: DeepLIFT over the baselines, else integrated gradients
    attribute(function, array, baselines)               any function of arrays: Shapley values by sampling
    attribute(function, pictures, method="partition")   Owen values over regions: of many values, and of token ids
    attribute(module, inputs, method="gradient")        expected gradients

What comes back sums to the answer: base_value + values.sum(1) + residual = output. `why` says why this method, `error`
how sure sampled values are, `is_partial` that a limit came first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deepseek.contracts import Attribution
from deepseek.engines.keras_module import as_torch_module, is_keras_model, to_tensors
from deepseek.errors import ExplainError, InputError
from deepseek.explain.modules.gradient_methods import GRADIENT_METHODS, AttributionValues, Limits
from deepseek.explain.modules.problem import (
    ArrayFunction,
    AttributionProblem,
    FixedInputs,
    ModelInputs,
    Target,
    as_tuple,
    check_baselines,
    check_inputs,
)
from deepseek.explain.shapley.black_box import explain_black_box

Method = Literal["auto", "deeplift", "integrated", "gradient", "kernel", "partition"]
BLACK_BOX_METHODS = {
    "kernel": "KernelSHAP, paired coalitions",
    "partition": "Owen values over regions, opened where the value is",
}


def attribute(
    model: Callable[..., Any],
    inputs: ModelInputs | NDArray[np.floating],
    baselines: ModelInputs | NDArray[np.floating] | None = None,
    target: Target = None,
    *,
    method: Method = "auto",
    names: Sequence[str] = (),
    fixed: FixedInputs | None = None,
    limits: Limits | None = None,
) -> Attribution:
    """Contributions (N, P) of the P values of each of N rows; those of a token are one value.

    `model`: a torch module with tensors, a model of Keras on torch with tensors or arrays, or any function of one array
    (M, ...) that gives (M,) or (M, K). `baselines` (B, ...): what absence means, best some rows of the training data;
    default one of zeros. `target`: an output, a function of the answer that gives (N,), or None for the class that is
    predicted. `fixed`: keyword arguments that are the same for all baselines. `method`: "auto" takes DeepLIFT where it
    sums to the answer within `limits.tolerance`, else integrated gradients; without gradients KernelSHAP, and
    "partition" where `limits.num_evaluations` are too few for that, or values are ids.

    `output` and `base_value` are those of plain runs of the model on copies. InputError for what does not fit together
    and for models without an answer; ExplainError for a model that does not answer its rows one by one, or not by the
    method that was asked for; nothing is passed over.

    >>> net = torch.nn.Linear(2, 1, bias=False)
    >>> _ = torch.nn.init.constant_(net.weight, 2.0)
    >>> attribution = attribute(net, torch.tensor([[1.0, 3.0]]))
    >>> attribution.values.tolist(), attribution.why
    ([[2.0, 6.0]], 'DeepLIFT sums to the answer within 1 %, at the price of two runs for each baseline')
    """
    limits = limits or Limits()
    if is_keras_model(model):
        model, inputs, baselines = as_torch_module(model), to_tensors(inputs), to_tensors(baselines)
    if isinstance(inputs, np.ndarray):
        tensor = torch.from_numpy(np.ascontiguousarray(inputs))
        bases = None
        if baselines is not None:
            bases = torch.from_numpy(np.ascontiguousarray(np.asarray(baselines, inputs.dtype)))
        if method not in {"auto", *BLACK_BOX_METHODS}:
            raise InputError(
                f"{method!r} needs gradients, and arrays have none", expected="kernel, partition, or tensors",
                fix="give a torch module and tensors",
            )  # fmt: skip
        problem, many = _build_problem(ArrayFunction(model, inputs.dtype), tensor, bases, target, fixed)
    else:
        problem, many = _build_problem(model, inputs, baselines, target, fixed)  # type: ignore[arg-type]
    return _build_attribution(problem, many, _explain_by_method(problem, many, method, limits), names)


@dataclass(frozen=True, slots=True)
class _Choice:
    """The method that was taken, what it found, and why it was taken."""

    method: str  # in words
    result: AttributionValues
    why: str


def _explain_by_method(
    problem: AttributionProblem, baselines: tuple[Tensor, ...], method: str, limits: Limits
) -> _Choice:
    """The explanation by a method by its name, or by the one that fits."""
    if method in GRADIENT_METHODS:
        function, words = GRADIENT_METHODS[method]
        return _Choice(words, function(problem, baselines, limits), "asked for")
    if method in BLACK_BOX_METHODS:
        result = explain_black_box(problem, baselines, limits, method)
        return _Choice(BLACK_BOX_METHODS[method], result, "asked for")
    if method != "auto":
        raise InputError(
            f"there is no method {method!r}", expected=", ".join(["auto", *GRADIENT_METHODS, *BLACK_BOX_METHODS]),
            fix="name one of these",
        )  # fmt: skip
    if isinstance(problem.module, ArrayFunction):
        reason = "the model is a function of arrays, which has no gradients"
        return _explain_black_box(problem, baselines, limits, reason)
    if not isinstance(problem.module, nn.Module):
        return _explain_black_box(problem, baselines, limits, "the model is a function, not a torch module")
    return _explain_auto(problem, baselines, limits)


def _explain_auto(problem: AttributionProblem, baselines: tuple[Tensor, ...], limits: Limits) -> _Choice:
    """The explanation by the first method whose sum is the change of the module's own answers, the cheapest first."""
    reasons, fallback = list[str](), None
    for name, words in (("deeplift", "DeepLIFT"), ("integrated", "the integral")):
        function, method = GRADIENT_METHODS[name]
        try:
            result = function(problem, baselines, limits)
        except ExplainError as error:
            reasons.append(error.message)
            continue
        if not _incomplete_rows(result).any():
            why = f"sums to the answer within {limits.tolerance:.0%}, at the price of two runs for each baseline"
            return _Choice(method, result, _join_reasons(reasons) or f"{words} {why}".replace("%", " %"))
        reasons.append(f"{words} misses {_max_relative_delta(result):.2g} of the change ({_delta_causes(result)})")
        fallback = _Choice(method, result, _join_reasons(reasons[:-1]))
        if name == "integrated" and result.is_partial and limits.time_limit_s is not None:
            return fallback
    try:
        return _explain_black_box(problem, baselines, limits, _join_reasons(reasons))
    except InputError as error:
        if fallback is not None:
            return fallback
        raise ExplainError(
            f"no way of explaining fits this module: {_join_reasons([*reasons, error.message])}",
            expected="a module that computes every row by itself, by the same calls of torch for all data",
            fix="write branches by torch.where, or give a function of one tensor of real numbers",
        ) from error


def _join_reasons(reasons: Sequence[str]) -> str:
    return "; ".join(dict.fromkeys(reasons))


def _incomplete_rows(result: AttributionValues) -> NDArray[np.bool_]:
    """Rows (N,) whose sum is further from the change than the limit."""
    deltas = np.abs(result.output - result.base - result.values.sum(axis=1))
    return np.asarray(~(deltas <= (0.0 if result.limit is None else result.limit)))


def _within_sampling_error(result: AttributionValues) -> NDArray[np.bool_]:
    """Rows (N,) of which sampling explains what their sum misses: by less than 4 standard errors of all values."""
    deltas = np.abs(result.output - result.base - result.values.sum(axis=1))
    return np.asarray(deltas <= (0.0 if result.error is None else 4 * result.error.sum(axis=1)))


def _max_relative_delta(result: AttributionValues) -> float:
    """The largest part of a change that a sum misses."""
    change = result.output - result.base
    deltas = np.abs(change - result.values.sum(axis=1))
    return float((deltas / np.maximum(np.abs(change), np.finfo(np.float64).tiny)).max())


def _delta_causes(result: AttributionValues) -> str:
    return "; ".join(result.notes) or "the module does something that has no rule"


def _build_problem(
    model: Callable[..., Any],
    inputs: ModelInputs,
    baselines: ModelInputs | None,
    target: Target,
    fixed: FixedInputs | None,
) -> tuple[AttributionProblem, tuple[Tensor, ...]]:
    """The problem, and baselines (B, ...) for each input."""
    rows = as_tuple(inputs)
    check_inputs(model, rows)
    bases = tuple(torch.zeros_like(each[:1]) for each in rows) if baselines is None else as_tuple(baselines)
    check_baselines(rows, bases, most=0)
    many = tuple(
        base.detach() if base.ndim == each.ndim else base.detach()[None] for each, base in zip(rows, bases, strict=True)
    )
    if len({len(base) for base in many}) != 1:
        raise InputError("the inputs have different numbers of baselines", expected="as many for each", fix="cut them")
    problem = AttributionProblem(model, tuple(each.detach() for each in rows), (), dict(fixed or {}), target)
    return problem, many


def _explain_black_box(problem: AttributionProblem, baselines: tuple[Tensor, ...], limits: Limits, why: str) -> _Choice:
    """The explanation by coalitions where so few evaluations can tell the values apart, else by regions."""
    width = sum(each[0].numel() for each in problem.inputs)
    method = "kernel"
    if not all(each.is_floating_point() for each in problem.inputs):
        method, why = "partition", f"{why}; ids are not values to mix"
    elif 2 * width > limits.num_evaluations:
        method = "partition"
        why = f"{why}; {limits.num_evaluations} evaluations are too few to tell {width} values apart one by one"
    return _Choice(BLACK_BOX_METHODS[method], explain_black_box(problem, baselines, limits, method), why)


def _build_attribution(
    problem: AttributionProblem, baselines: tuple[Tensor, ...], choice: _Choice, names: Sequence[str]
) -> Attribution:
    """The explanation as callers get it, with notes on what it leaves unexplained."""
    result = choice.result
    width = result.values.shape[1]
    if names and len(names) != width:
        raise InputError(f"there are {len(names)} names", expected=f"{width}, one a value", fix="give as many, or none")
    targets = set(result.target)
    notes = list(result.notes)
    if not result.values.any() and np.array_equal(result.output, result.base):
        notes.append("the answer is the same for the inputs and the baselines: every contribution is 0")
    incomplete = _incomplete_rows(result)
    is_short = bool(incomplete.any() and (incomplete & ~_within_sampling_error(result)).any())
    if is_short:
        notes.append(f"partial: the contributions leave {_max_relative_delta(result):.2g} of the change unexplained")
    if result.is_partial:
        notes.append("partial: a limit was reached before the error that was asked for")
    return Attribution(
        names=tuple(names) or tuple(f"x{place}" for place in range(width)), values=result.values,
        base_value=result.base, output=result.output, scale="the model's output",
        method=f"{choice.method}; {_baseline_count_text(len(baselines[0]))}",
        target=str(targets.pop()) if len(targets) == 1 and not callable(problem.target) else None, why=choice.why,
        error=result.error, is_partial=result.is_partial or is_short, notes=tuple(notes),
    )  # fmt: skip


def _baseline_count_text(number: int) -> str:
    return "one baseline" if number == 1 else f"{number} baselines"
