"""Explanations by gradients of every row against every baseline: DeepLIFT, integrated gradients, expected gradients.

deeplift      secants of each pair, one forward and one backward pass (Shrikumar et al. 2017; averaged over baselines
              it is DeepLiftShap, Lundberg & Lee 2017)
integrated    the integral along the line of each pair, steps by its known error (Sundararajan et al. 2017)
gradient      slopes at places by chance on the lines to baselines by chance (expected gradients, Erion et al. 2021; in
              captum and shap GradientShap); places are spread evenly, so that they miss less

Shapes: N rows, B baselines, P values a row. At most `max_rows` pairs or steps are in memory at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from deepseek.contracts import Float64
from deepseek.errors import ExplainError, InputError
from deepseek.explain.modules import rules as _rules
from deepseek.explain.modules import rules_composite as _composed
from deepseek.explain.modules.fidelity.plain import PlainRun, plain_run, raise_explain_error
from deepseek.explain.modules.layer_traces import sum_rows
from deepseek.explain.modules.paired_forward import Leaf, PairedForward, twin_of
from deepseek.explain.modules.path_integral import FIRST_STEPS, contract_steps, integrate
from deepseek.explain.modules.problem import AttributionProblem
from deepseek.explain.modules.sequential import deeplift_chain, find_chain

RULES_READY = (_rules, _composed)  # imported for what they enter into paired.RULES
MAX_RUN_NUMBERS = 1 << 21  # of the inputs of one run


@dataclass(frozen=True, slots=True)
class Limits:
    """How much an explanation may take."""

    tolerance: float = 0.01  # share of the change to be explained that may stay unexplained
    num_samples: int = 200  # of "gradient", for each row
    max_steps: int = 288  # of "integrated", for each row and baseline
    num_evaluations: int = 2048  # of "kernel", for each row; each is one call for every baseline
    max_rows: int = 256  # in one run of the model; of rows of numbers 8 times as many; fewer where a row is long
    time_limit_s: float | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class AttributionValues:
    """The contributions that a method found, beside what they explain."""

    values: Float64  # (N, P)
    base: Float64  # (N,)
    output: Float64  # (N,)
    target: tuple[int, ...]  # (N,)
    error: Float64 | None = None  # (N, P)
    is_partial: bool = False
    notes: tuple[str, ...] = ()
    limit: Float64 | None = None  # (N,) what their sum may miss output - base by


def deeplift(problem: AttributionProblem, baselines: tuple[Tensor, ...], limits: Limits) -> AttributionValues:
    """DeepLIFT of every row against every baseline. `problem` has the rows; its own baselines are not looked at."""
    num_rows, num_baselines, size = problem.num_rows, len(baselines[0]), _rows_per_run(problem, limits)
    plain = plain_run(problem, baselines, limits.tolerance, size)
    layers = find_chain(problem.module)
    if layers and _is_plain_table(problem) and num_baselines <= size:
        return _deeplift_by_chain(layers, problem, baselines[0], plain, size)
    sums = _PairSums(num_rows, num_baselines)
    for start in range(0, num_rows * num_baselines, size):
        places = torch.arange(start, min(start + size, num_rows * num_baselines))
        rows, chosen = places // num_baselines, places % num_baselines
        pairs, target, paired = _pair_problem(problem, baselines, rows, chosen), plain.target[rows], PairedForward()
        leaves = paired.start(pairs.inputs, pairs.baselines)
        with raise_explain_error("the module cannot run on input and baseline side by side"), paired:
            answer = pairs.answer(leaves)
        twin = twin_of(answer)
        other = answer.detach() if twin is None else twin
        target = target.to(answer.device)
        explained = pairs.of(answer, target)
        plain.check(explained, pairs.of(other, target), rows, chosen, tuple(paired.record.branches))
        grads = leaf_gradients(explained, paired.record.leaves)
        parts = [leaf.change * grad for leaf, grad in zip(paired.record.leaves, grads, strict=True)]
        sums.add(rows, _flatten_parts(pairs, paired.record.leaves, parts))
        sums.plain |= paired.record.plain
    return sums.values(plain)


def _is_plain_table(problem: AttributionProblem) -> bool:
    """Whether the input is one table of numbers, and the explained answer an output of the module."""
    inputs = problem.inputs
    return len(inputs) == 1 and inputs[0].ndim == 2 and not problem.fixed and not callable(problem.target)


def _deeplift_by_chain(
    layers: list[nn.Module], problem: AttributionProblem, baselines: Tensor, plain: PlainRun, size: int
) -> AttributionValues:
    """The result of deeplift() for a chain of layers, without twins."""
    (rows,), num_baselines = problem.inputs, len(baselines)
    baselines, size, target = baselines.to(rows), size // num_baselines, plain.target.to(rows.device)
    batches = [
        deeplift_chain(layers, rows[start : start + size], baselines, target[start : start + size])
        for start in range(0, len(rows), size)
    ]
    values, base, output = batches[0] if len(batches) == 1 else map(torch.cat, zip(*batches, strict=True))
    if not plain.is_matched_by(output, base):
        raise ExplainError(
            "layer by layer the module does not answer as it does by itself", expected="layers without side effects",
            fix='explain it as a black box: method="kernel"',
        )  # fmt: skip
    if num_baselines == 1:
        return build_values(plain, values[:, 0].cpu().double().numpy())
    spread, mean = torch.std_mean(values.double(), dim=1)
    return build_values(plain, mean.cpu().numpy(), spread.cpu().numpy() / num_baselines**0.5)


def integrated_gradients(
    problem: AttributionProblem, baselines: tuple[Tensor, ...], limits: Limits
) -> AttributionValues:
    """Integrated gradients of every row against every baseline."""
    num_baselines, size = len(baselines[0]), _rows_per_run(problem, limits)
    plain = plain_run(problem, baselines, limits.tolerance, size)
    places = torch.arange(problem.num_rows * num_baselines)
    of_row, chosen = places // num_baselines, places % num_baselines
    pairs = _pair_problem(problem, baselines, of_row, chosen)

    def measure(rows: Tensor, steps: Tensor) -> tuple[list[Tensor], Tensor]:
        some = pairs.rows(rows)
        run, explained = _run_on_lines(some, steps, plain.target[of_row[rows]])
        moved = explained.detach().view(steps.shape).cpu().double()
        if len(steps) == FIRST_STEPS:  # from end to end
            plain.check(moved[-1], moved[0], of_row[rows], chosen[rows])
        grads = leaf_gradients(explained, run.record.leaves)
        parts = _flatten_parts(some, run.record.leaves, grads, len(steps))
        return [parts], (sum_rows(parts).cpu() - (moved[-1] - moved[0])).abs()

    integral = integrate(
        measure, torch.from_numpy(plain.pair_limit.ravel()), max_steps=limits.max_steps, max_rows=size,
        time_limit_s=limits.time_limit_s,
    )  # fmt: skip
    sums = _PairSums(problem.num_rows, num_baselines)
    sums.add(of_row, integral.parts[0])
    steps_taken = (f"{int(integral.num_steps.max())} steps at most",)
    return replace(sums.values(plain), is_partial=integral.is_partial, notes=steps_taken)


def expected_gradients(problem: AttributionProblem, baselines: tuple[Tensor, ...], limits: Limits) -> AttributionValues:
    """Expected gradients: the mean over `num_samples` slopes for each row."""
    num_rows, num_baselines, count = problem.num_rows, len(baselines[0]), limits.num_samples
    rng, start, size = np.random.default_rng(limits.seed), time.perf_counter(), _rows_per_run(problem, limits)
    plain = plain_run(problem, baselines, limits.tolerance, size)
    _check_ends(problem, baselines, plain, size)
    sums = _PairSums(num_rows, count)
    drawn, is_partial = 0, False
    for low in range(0, count, size):
        if low and limits.time_limit_s is not None and time.perf_counter() - start > limits.time_limit_s:
            is_partial = True
            break
        high = min(low + size, count)
        # One place in each of `count` equal parts of the line, and every baseline as often as any other.
        places = torch.as_tensor((np.arange(low, high) + rng.random(high - low)) / count)
        chosen = torch.as_tensor(rng.permutation(np.arange(low, high) % num_baselines))
        for row in range(num_rows):
            rows = torch.full((high - low,), row)
            pairs = _pair_problem(problem, baselines, rows, chosen)
            run, explained = _run_on_lines(pairs, places[None], plain.target[rows])
            grads = leaf_gradients(explained, run.record.leaves)
            parts = [leaf.change * grad for leaf, grad in zip(run.record.leaves, grads, strict=True)]
            sums.add(rows, _flatten_parts(pairs, run.record.leaves, parts))
        drawn = high
    return replace(sums.values(plain, count=drawn), is_partial=is_partial)


def _check_ends(problem: AttributionProblem, baselines: tuple[Tensor, ...], plain: PlainRun, size: int) -> None:
    """ExplainError where a run of many places at once does not answer at both ends as the module does."""
    num_baselines = len(baselines[0])
    for start in range(0, problem.num_rows * num_baselines, size):
        places = torch.arange(start, min(start + size, problem.num_rows * num_baselines))
        rows, chosen = places // num_baselines, places % num_baselines
        pairs = _pair_problem(problem, baselines, rows, chosen)
        with torch.no_grad():
            _, ends = _run_on_lines(
                pairs, torch.tensor([[0.0], [1.0]]).double().repeat(1, len(rows)), plain.target[rows]
            )
        base, output = ends.view(2, -1)
        plain.check(output, base, rows, chosen)


def leaf_gradients(explained: Tensor, leaves: list[Leaf]) -> list[Tensor]:
    """Gradient of the explained output with respect to each leaf; ExplainError where there is none."""
    if not explained.requires_grad or not leaves:
        raise ExplainError(
            "the module's answer has no gradient with respect to its input",
            expected="a module that is differentiable from its input to its answer",
            fix='explain it as a black box: method="kernel"',
        )
    tensors = [leaf.tensor for leaf in leaves]
    with raise_explain_error(
        "there is no way back through the module", fix='explain it as a black box: method="kernel"'
    ):
        grads = torch.autograd.grad(explained.sum(), tensors, allow_unused=True)
    return [torch.zeros_like(leaf) if grad is None else grad for grad, leaf in zip(grads, tensors, strict=True)]


class _PairSums:
    """Sums and sums of squares of contributions over the pairs of each row."""

    def __init__(self, num_rows: int, count: int) -> None:
        self.num_rows, self.count = num_rows, count
        self.total: Tensor | None = None
        self.squares: Tensor | None = None
        self.plain: dict[str, None] = {}

    def add(self, rows: Tensor, values: Tensor) -> None:
        """Add the values (M, P) of M pairs to the sums of their `rows` (M,)."""
        values = values.detach().cpu().double()
        if self.total is None or self.squares is None:
            self.total = values.new_zeros(self.num_rows, values.shape[1])
            self.squares = self.total.clone()
        self.total.index_add_(0, rows, values)
        self.squares.index_add_(0, rows, values**2)

    def values(self, plain: PlainRun, count: int | None = None) -> AttributionValues:
        count = count or self.count
        if self.total is None or self.squares is None:
            raise InputError("there are no baselines", expected="one or more", fix="give a row of the training data")
        mean = self.total / count
        error = None
        if count > 1:
            error = (((self.squares / count - mean**2).clamp_min(0.0)) / (count - 1)).sqrt().numpy()
        notes = (f"without a rule: {', '.join(self.plain)}; their slope stands for them",) if self.plain else ()
        return replace(build_values(plain, mean.numpy(), error), notes=notes)


def build_values(plain: PlainRun, values: Float64, error: Float64 | None = None) -> AttributionValues:
    """Contributions beside the ends that they explain. ExplainError where they are no numbers."""
    if not np.isfinite(values).all():
        row = int((~np.isfinite(values)).any(axis=1).argmax())
        raise ExplainError(
            f"contributions of row {row} are not finite: the module has no slope there",
            expected="an operator that has one, where the answer depends on it",
            fix='explain it as a black box: method="kernel"',
        )  # fmt: skip
    return AttributionValues(
        values, plain.base, plain.output, tuple(plain.target.tolist()), error, limit=plain.limit
    )  # fmt: skip


def _pair_problem(
    problem: AttributionProblem, baselines: tuple[Tensor, ...], rows: Tensor, chosen: Tensor
) -> AttributionProblem:
    """The problem whose rows are M pairs of a row and a baseline, by the places of both."""
    pairs = problem.rows(rows)
    return replace(
        pairs, baselines=tuple(base.to(own)[chosen] for base, own in zip(baselines, pairs.inputs, strict=True))
    )


def _run_on_lines(problem: AttributionProblem, steps: Tensor, target: Tensor) -> tuple[PairedForward, Tensor]:
    """A run at `steps` (S, N) of the way from baseline to input, and the explained output (S * N,)."""
    paired = PairedForward(steps)
    leaves = paired.start(problem.inputs, problem.baselines)
    with raise_explain_error("the module cannot run on several steps from baseline to input at once"), paired:
        answer = problem.answer(leaves, times=len(steps))
    return paired, problem.of(answer, target.to(answer.device))


def _flatten_parts(
    problem: AttributionProblem, leaves: list[Leaf], parts: list[Tensor], num_steps: int | None = None
) -> Tensor:
    """Contributions (M, P) of each input side by side, those of a token's vector summed. With `num_steps`, `parts` are
    gradients along lines, which are contracted."""
    flat = [torch.zeros(each.shape, dtype=parts[0].dtype).flatten(1) for each in problem.inputs]
    for leaf, part in zip(leaves, parts, strict=True):
        if leaf.places is not None:
            _add_token_parts(flat[leaf.source].view(-1), leaf, part, num_steps)
            continue
        summed = part if num_steps is None else contract_steps(part, leaf.tensor.detach(), num_steps)
        flat[leaf.source] += summed.flatten(1).to(flat[leaf.source])
    return torch.cat(flat, dim=1)


def _add_token_parts(total: Tensor, leaf: Leaf, part: Tensor, num_steps: int | None) -> None:
    """Adds what was looked up for a token to the token's own place in `total` (M * L,), wherever it was moved to."""
    places = leaf.places.flatten().cpu()  # type: ignore[union-attr]
    own = places >= 0  # the others are the module's own ids, the same in both runs
    part = part.reshape(len(places), -1).cpu()[own]
    places = places[own]
    if num_steps is None:
        total.index_add_(0, places, part.sum(-1).to(total))
        return
    order = places.argsort(stable=True)  # by step, then by place
    if len(order) % num_steps:
        raise ExplainError(
            "not every step from baseline to input looks up as many tokens",
            expected="a module that looks up the same number of tokens wherever its input lies",
            fix='give method="kernel" or "partition", which asks for whole answers alone',
        )
    values = leaf.tensor.detach().reshape(-1, part.shape[-1]).cpu()[own][order]
    summed = contract_steps(part[order], values, num_steps).sum(-1)
    total.index_add_(0, places[order][: len(summed)], summed.to(total))


def _rows_per_run(problem: AttributionProblem, limits: Limits) -> int:
    """Number of rows in one run: eight times as many where a row is a vector of numbers, whose layers are narrow."""
    width = sum(each[0].numel() for each in problem.inputs)
    flat = all(each.ndim == 2 and each.is_floating_point() for each in problem.inputs)
    return max(1, min(limits.max_rows * (8 if flat else 1), MAX_RUN_NUMBERS // max(1, width)))


GradientMethod = Callable[[AttributionProblem, tuple[Tensor, ...], Limits], AttributionValues]
GRADIENT_METHODS: dict[str, tuple[GradientMethod, str]] = {
    "deeplift": (deeplift, "DeepLIFT's Rescale rule for every operation, mean over the baselines (DeepLiftShap)"),
    "integrated": (integrated_gradients, "integrated gradients, steps by the known error"),
    "gradient": (expected_gradients, "expected gradients (GradientShap)"),
}
