"""What every layer of a module has contributed, by one of two rules.

pairs      one forward pass on input and baseline side by side, one backward pass by secants (paired_forward.py,
rules.py)
integral   the line from baseline to input, 9 steps or more, until the known error is small (path_integral.py)

    trace = trace_layers(problem, rule="pairs", ...)
    trace.parts[i]        (N, ...) contributions at trace.layers[i], rows first
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from deepseek.errors import ExplainError, InputError
from deepseek.explain.modules import rules as _rules
from deepseek.explain.modules import rules_composite as _composed
from deepseek.explain.modules.activations import Activation, ActivationKey, ActivationRecorder
from deepseek.explain.modules.cuts import PathCounts
from deepseek.explain.modules.fidelity.plain import PlainRun, raise_explain_error
from deepseek.explain.modules.paired_forward import PairedForward, RunRecord, twin_of
from deepseek.explain.modules.path_integral import FIRST_STEPS, Integral, contract_steps, integrate
from deepseek.explain.modules.problem import AttributionProblem, check_answers

TraceRule = Literal["pairs", "integral"]
RULES_READY = (_rules, _composed)  # imported for what they enter into paired.RULES


@dataclass(slots=True)
class TracedLayer:
    """A tensor of the net whose contributions are traced."""

    name: str
    kind: str  # the module's class; "input", "attention heads"
    key: ActivationKey | None  # of recorder.patched; None for an input and for heads
    is_cut: bool
    place: int  # in ForwardRun.tensors


@dataclass(slots=True)
class ForwardRun:
    """One forward pass and every tensor that it recorded."""

    record: RunRecord
    activations: list[Activation]  # that modules gave, in the order in which they came
    answer: Tensor  # (rows, K)
    other: Tensor  # the answer to the baselines, of a run on pairs; else the answer itself
    tensors: list[Tensor] = field(default_factory=list)  # leaves, then activations, then heads

    def place_of(self, layer: TracedLayer) -> int | None:
        """Where a layer of another run stands in this one."""
        if layer.key is None:
            return layer.place if layer.kind == "input" else None
        return next(
            (self.num_leaves + at for at, activation in enumerate(self.activations) if activation.key == layer.key),
            None,
        )

    @property
    def num_leaves(self) -> int:
        return len(self.record.leaves)

    def grads(self, explained: Tensor, *, keep: bool) -> list[Tensor]:
        """Gradients of `explained` (rows,) with respect to all tensors."""
        with raise_explain_error(
            "there is no way back through the module", fix='explain it as a black box: method="kernel"'
        ):
            grads = torch.autograd.grad(explained.sum(), self.tensors, retain_graph=keep, allow_unused=True)
        return [
            torch.zeros_like(tensor) if grad is None else grad for grad, tensor in zip(grads, self.tensors, strict=True)
        ]


@dataclass(slots=True)
class LayerTrace:
    """Contributions of all layers and the run behind them."""

    rule: TraceRule
    layers: list[TracedLayer]
    parts: list[Tensor]  # (N, ...) each
    grads: list[Tensor]  # multipliers or, by steps of the last run, gradients
    run: ForwardRun
    paths: PathCounts
    target: Tensor  # (N,)
    answer: Tensor  # (N, K)
    base_answer: Tensor  # (N, K)
    integral: Integral | None = None

    def spread(self, place: int, grad: Tensor) -> Tensor:
        """Contributions (N, ...) of tensor `place` of the run for a gradient with respect to it."""
        if self.rule == "pairs":
            return _pair_contributions(self.run, place, grad)
        return _step_contributions(self.run.tensors[place], grad, len(self.target), FIRST_STEPS)


def trace_layers(
    problem: AttributionProblem,
    rule: TraceRule,
    plain: PlainRun,
    *,
    max_steps: int,
    max_rows: int,
    time_limit_s: float | None,
    keep: bool,
) -> LayerTrace:
    """Contributions of all layers by one rule. `keep` keeps the graph of a run for edges. The rule "integral" keeps
    that of its first run alone."""
    if not isinstance(problem.module, nn.Module):
        raise InputError(
            f"{type(problem.module).__name__} has no layers", expected="a torch module",
            fix="explain() explains any callable, but not layer by layer",
        )  # fmt: skip
    copied: frozenset[ActivationKey] = frozenset()
    steps = None if rule == "pairs" else torch.tensor([[0.0], [1.0]], dtype=torch.float64).expand(2, problem.num_rows)
    run = run_forward(problem, steps, copied)
    changed = frozenset(each.key for each in run.activations if each.is_changed)
    if changed:  # written over in place: run again with copies of those, as they were when the module gave them
        copied = changed
        run = run_forward(problem, steps, copied)
    if rule == "pairs":
        return _trace_pairs(problem, run, plain, keep)
    return _trace_integral(problem, run, copied, plain, max_steps, max_rows, time_limit_s, keep)


def run_forward(
    problem: AttributionProblem, steps: Tensor | None, copied: frozenset[ActivationKey] = frozenset()
) -> ForwardRun:
    """Run the module once, on pairs or, with `steps` (S, N), on S * N rows between baseline and input."""
    paired = PairedForward(steps)
    leaves = paired.start(problem.inputs, problem.baselines)
    how = "input and baseline side by side" if steps is None else "several steps from baseline to input at once"
    with (
        raise_explain_error(f"the module cannot run on {how}"),
        paired,
        ActivationRecorder(problem.module, paired.record, copied) as recorder,  # type: ignore[arg-type]
    ):
        answer = problem.answer(leaves, times=1 if steps is None else len(steps))
    if not answer.requires_grad or not paired.record.leaves:
        raise ExplainError(
            "the module's answer has no gradient with respect to its input",
            expected="a module that is differentiable from its input to its answer",
            fix='explain it as a black box: explain(module, inputs, method="kernel")',
        )
    twin = twin_of(answer)
    other = answer.detach() if twin is None else twin
    check_answers(other, "baseline" if steps is None else "row")
    check_answers(answer, "row")
    run = ForwardRun(paired.record, recorder.activations, answer, other)
    heads = [each.tensor for each in paired.record.heads if each.tensor.requires_grad]
    run.tensors = [each.tensor for each in paired.record.leaves] + [each.tensor for each in run.activations] + heads
    return run


def _trace_pairs(problem: AttributionProblem, run: ForwardRun, plain: PlainRun, keep: bool) -> LayerTrace:
    target = plain.target.to(run.answer.device)
    explained = problem.of(run.answer, target)
    rows = torch.arange(problem.num_rows)
    plain.check(explained, problem.of(run.other, target), rows, torch.zeros_like(rows), tuple(run.record.branches))
    layers, paths = find_layers(run, explained)
    grads = run.grads(explained, keep=keep)
    parts = [_pair_contributions(run, place, grad) for place, grad in enumerate(grads)]
    return LayerTrace("pairs", layers, parts, grads, run, paths, target, run.answer.detach(), run.other)


def _trace_integral(
    problem: AttributionProblem,
    ends: ForwardRun,
    copied: frozenset[ActivationKey],
    plain: PlainRun,
    max_steps: int,
    max_rows: int,
    time_limit_s: float | None,
    keep: bool,
) -> LayerTrace:
    """`ends` is the run on both ends of the line."""
    base_answer, answer = ends.answer.detach().chunk(2)
    target = plain.target.to(answer.device)
    rows = torch.arange(problem.num_rows)
    plain.check(problem.of(answer, target), problem.of(base_answer, target), rows, torch.zeros_like(rows))
    layers, paths = find_layers(ends, problem.of(ends.answer, target))
    inputs = [layer.place for layer in layers if layer.kind == "input"]
    cuts = [[layer.place] for layer in layers if layer.is_cut and layer.kind != "input"] + [inputs]
    first: list[tuple[ForwardRun, list[Tensor]]] = []

    def measure(rows: Tensor, steps: Tensor) -> tuple[list[Tensor], Tensor]:
        some = problem if len(rows) == problem.num_rows and len(steps) == FIRST_STEPS else problem.rows(rows)
        run = run_forward(some, steps, copied)
        explained = problem.of(run.answer, target[rows])
        grads = run.grads(explained, keep=keep and not first)
        parts = [_step_contributions(tensor, grad, len(rows), len(steps)) for tensor, grad in _both(run.tensors, grads)]
        moved = explained.detach().view(steps.shape)
        moved = (moved[-1] - moved[0]).double()
        sums = [sum((sum_rows(parts[place]) for place in places), start=torch.zeros_like(moved)) for places in cuts]
        first.append((run, grads)) if not first else None
        return parts, torch.stack([(each - moved).abs() for each in sums]).amax(0)

    integral = integrate(
        measure, torch.from_numpy(plain.limit), max_steps=max_steps, max_rows=max_rows, time_limit_s=time_limit_s,
    )  # fmt: skip
    run, grads = first[0]
    return LayerTrace("integral", layers, integral.parts, grads, run, paths, target, answer, base_answer, integral)


def find_layers(run: ForwardRun, explained: Tensor) -> tuple[list[TracedLayer], PathCounts]:
    """The layers of a run: the inputs, every module's answer and the heads of every attention."""
    leaves = run.record.leaves
    paths = PathCounts(explained, [leaf.tensor for leaf in leaves])
    names = ["input"] if len(leaves) == 1 else [f"input {place}" for place in range(len(leaves))]
    layers = [TracedLayer(name, "input", None, len(leaves) == 1, place) for place, name in enumerate(names)]
    for activation in run.activations:
        if paths.num_through(activation.tensor):
            place = next(at for at, tensor in enumerate(run.tensors) if tensor is activation.tensor)
            layers.append(
                TracedLayer(activation.name, activation.kind, activation.key, paths.is_cut(activation.tensor), place)
            )
    for heads in run.record.heads:
        if heads.tensor.requires_grad and paths.num_through(heads.tensor):
            place = next(at for at, tensor in enumerate(run.tensors) if tensor is heads.tensor)
            layers.append(TracedLayer(f"{heads.module} heads", "attention heads", None, False, place))
    return layers, paths


def _pair_contributions(run: ForwardRun, place: int, grad: Tensor) -> Tensor:
    """Contributions (N, ...) of a tensor, rows first."""
    tensor, leaves = run.tensors[place], run.record.leaves
    other = twin_of(tensor)
    change = leaves[place].change if place < len(leaves) else tensor.detach() - (tensor if other is None else other)
    return move_rows_first((grad * change).detach(), len(run.answer))


def _step_contributions(tensor: Tensor, grad: Tensor, num_rows: int, num_steps: int) -> Tensor:
    """Contributions (N, ...) of a tensor whose rows are those of all steps."""
    values, slopes = (move_rows_first(each.detach(), num_rows * num_steps) for each in (tensor, grad))
    if len(values) != num_rows * num_steps:
        return values.new_zeros(num_rows, 0)
    return contract_steps(slopes, values, num_steps)


def move_rows_first(tensor: Tensor, num_rows: int) -> Tensor:
    """(..., rows, ...) -> (rows, ...), (rows * M, ...) -> (rows, M, ...); as it is where no axis can be the rows."""
    shape = tensor.shape
    if not shape or shape[0] == num_rows:
        return tensor
    for axis, size in enumerate(shape):
        if size == num_rows:
            return tensor.movedim(axis, 0)
    return tensor.reshape(num_rows, -1, *shape[1:]) if shape[0] % num_rows == 0 else tensor


def distinct_row_count(tensors: Sequence[Tensor], num_rows: int) -> int:
    """A number of rows, at least `num_rows`, by which the axis of the rows is found where it is not the first."""
    wide = [tensor.shape for tensor in tensors if list(tensor.shape).count(num_rows) > 1]
    if num_rows == 1 or not wide:
        return num_rows
    taken = {size for tensor in tensors for size in tensor.shape}
    return next(count for count in range(num_rows + 1, num_rows + len(taken) + 2) if count not in taken)


def sum_rows(part: Tensor) -> Tensor:
    return part.double().flatten(1).sum(1) if part.ndim > 1 else part.double()


def _both(tensors: Sequence[Tensor], grads: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    return list(zip(tensors, grads, strict=True))
