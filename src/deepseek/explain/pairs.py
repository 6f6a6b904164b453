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
from deepseek.errors import InputError
from deepseek.explain import rules as _rules
from deepseek.explain import rules_composed as _composed
from deepseek.explain.ask import Question, check_answers
from deepseek.explain.chains import chain_of, chained
from deepseek.explain.integral import contract, integrate
from deepseek.explain.mirror import Leaf, Mirror, twin_of
from deepseek.explain.traces import scale_of, sum_rows

RULES_READY = (_rules, _composed)  # imported for what they enter into mirror.RULES
MAX_NUMBERS = 1 << 21  # of the inputs of one run


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
class Values:
    """What a method found."""

    values: Float64  # (N, P)
    base: Float64  # (N,)
    output: Float64  # (N,)
    target: tuple[int, ...]  # (N,)
    error: Float64 | None = None  # (N, P)
    is_partial: bool = False
    notes: tuple[str, ...] = ()


def deeplift(question: Question, baselines: tuple[Tensor, ...], limits: Limits) -> Values:
    """Every row against every baseline. `question` has the rows; its own baselines are not looked at."""
    num_rows, num_baselines = question.num_rows, len(baselines[0])
    layers = chain_of(question.module)
    if layers and _is_plain(question) and num_baselines <= _size(question, limits):
        return _by_chain(layers, question, baselines[0], limits)
    found = _Sums(num_rows, num_baselines)
    for start in range(0, num_rows * num_baselines, size := _size(question, limits)):
        places = torch.arange(start, min(start + size, num_rows * num_baselines))
        asked = _pairs(question, baselines, places // num_baselines, places % num_baselines)
        mirror = Mirror()
        given = mirror.start(asked.inputs, asked.baselines)
        with mirror:
            answer = asked.answer(given)
        other = twin_of(answer)
        other = answer.detach() if other is None else other
        check_answers(answer, "row")
        check_answers(other, "baseline")
        target = asked.target_of(answer)
        grads = gradients(asked.of(answer, target), mirror.seen.leaves)
        parts = [(leaf.change, leaf.change * grad) for leaf, grad in zip(mirror.seen.leaves, grads, strict=True)]
        found.add(
            places // num_baselines, _flat(asked, mirror.seen.leaves, [part for _, part in parts]),
            asked.of(other, target), asked.of(answer, target), target,
        )  # fmt: skip
        found.plain |= mirror.seen.plain
    return found.values()


def _is_plain(question: Question) -> bool:
    """Rows of numbers, and an answer as it is."""
    given = question.inputs
    return len(given) == 1 and given[0].ndim == 2 and not question.fixed and not callable(question.target)


def _by_chain(layers: list[nn.Module], question: Question, baselines: Tensor, limits: Limits) -> Values:
    """What deeplift() gives, for a chain of layers."""
    (rows,), num_baselines = question.inputs, len(baselines)
    baselines, size = baselines.to(rows), _size(question, limits) // num_baselines
    found = [
        chained(layers, rows[start : start + size], baselines, question.target_of)
        for start in range(0, len(rows), size)
    ]
    values, base, output, target = found[0] if len(found) == 1 else map(torch.cat, zip(*found, strict=True))
    each = values.cpu().double().numpy()
    return Values(
        each.mean(axis=1), base.cpu().double().numpy().mean(axis=1), output.cpu().double().numpy(),
        tuple(target.tolist()), each.std(axis=1, ddof=1) / num_baselines**0.5 if num_baselines > 1 else None,
    )  # fmt: skip


def integrated(question: Question, baselines: tuple[Tensor, ...], limits: Limits) -> Values:
    """Every row against every baseline, along the line between them."""
    num_baselines = len(baselines[0])
    places = torch.arange(question.num_rows * num_baselines)
    asked = _pairs(question, baselines, places // num_baselines, places % num_baselines)
    size = _size(question, limits)
    with torch.no_grad():
        answer = _in_parts(question, question.inputs, size)
        target = question.target_of(answer)[places // num_baselines]

    def measure(rows: Tensor, steps: Tensor) -> tuple[list[Tensor], Tensor]:
        some = asked.rows(rows)
        run, explained = _on_lines(some, steps, target[rows])
        grads = gradients(explained, run.seen.leaves)
        parts = [
            contract(grad, leaf.tensor.detach(), len(steps)) for leaf, grad in zip(run.seen.leaves, grads, strict=True)
        ]
        moved = explained.detach().view(steps.shape)
        error = sum((sum_rows(part) for part in parts), start=torch.zeros(len(rows)).double())
        return [_flat(some, run.seen.leaves, parts)], (error - (moved[-1] - moved[0])).abs()

    with torch.no_grad():
        base = asked.of(_bases(asked, size), target)
    own = question.of(answer, question.target_of(answer))[places // num_baselines]
    found = integrate(
        measure, scale_of(own - base, answer[places // num_baselines]), tolerance=limits.tolerance,
        max_steps=limits.max_steps, max_rows=size, time_limit_s=limits.time_limit_s,
    )  # fmt: skip
    sums = _Sums(question.num_rows, num_baselines)
    sums.add(places // num_baselines, found.parts[0], base, own, target)
    told = (f"{int(found.num_steps.max())} steps at most",)
    return replace(sums.values(), is_partial=found.is_partial, notes=told)


def gradient(question: Question, baselines: tuple[Tensor, ...], limits: Limits) -> Values:
    """`num_samples` slopes for each row."""
    num_rows, num_baselines, count = question.num_rows, len(baselines[0]), limits.num_samples
    rng, start, size = np.random.default_rng(limits.seed), time.perf_counter(), _size(question, limits)
    found = _Sums(num_rows, count)
    with torch.no_grad():
        answer = _in_parts(question, question.inputs, size)
        target = question.target_of(answer)
        bases = _mean_bases(question, baselines, target, size)
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
            asked = _pairs(question, baselines, rows, chosen)
            run, explained = _on_lines(asked, places[None], target[rows])
            grads = gradients(explained, run.seen.leaves)
            parts = [leaf.change * grad for leaf, grad in zip(run.seen.leaves, grads, strict=True)]
            whole = _flat(asked, run.seen.leaves, parts)
            found.add(rows, whole, explained.detach(), explained.detach(), target[rows])
        drawn = high
    sums = found.values(count=drawn)
    own = question.of(answer, target).double().numpy()
    return replace(sums, base=bases, output=own, is_partial=is_partial)


def gradients(explained: Tensor, leaves: list[Leaf]) -> list[Tensor]:
    """Of each leaf; InputError where there is none."""
    if not explained.requires_grad:
        raise InputError(
            "the module's answer has no gradient with respect to its input",
            expected="a module that is differentiable from its input to its answer",
            fix='explain it as a black box: method="kernel"',
        )
    tensors = [leaf.tensor for leaf in leaves]
    found = torch.autograd.grad(explained.sum(), tensors, allow_unused=True)
    return [torch.zeros_like(leaf) if grad is None else grad for grad, leaf in zip(found, tensors, strict=True)]


class _Sums:
    """Sums over the pairs of each row."""

    def __init__(self, num_rows: int, count: int) -> None:
        self.num_rows, self.count = num_rows, count
        self.total: Tensor | None = None
        self.squares: Tensor | None = None
        self.base, self.output = torch.zeros(num_rows).double(), torch.zeros(num_rows).double()
        self.target = torch.zeros(num_rows, dtype=torch.int64)
        self.plain: dict[str, None] = {}

    def add(self, rows: Tensor, values: Tensor, base: Tensor, output: Tensor, target: Tensor) -> None:
        """Of pairs (M,): values (M, P)."""
        values = values.detach().cpu().double()
        if self.total is None or self.squares is None:
            self.total = values.new_zeros(self.num_rows, values.shape[1])
            self.squares = self.total.clone()
        self.total.index_add_(0, rows, values)
        self.squares.index_add_(0, rows, values**2)
        self.base.index_add_(0, rows, base.detach().cpu().double())
        self.output.index_add_(0, rows, output.detach().cpu().double())
        self.target[rows] = target.cpu()

    def values(self, count: int | None = None) -> Values:
        count = count or self.count
        if self.total is None or self.squares is None:
            raise InputError("there are no baselines", expected="one or more", fix="give a row of the training data")
        mean = self.total / count
        error = None
        if count > 1:
            error = (((self.squares / count - mean**2).clamp_min(0.0)) / (count - 1)).sqrt().numpy()
        notes = (f"without a rule: {', '.join(self.plain)}; their slope stands for them",) if self.plain else ()
        return Values(
            mean.numpy(), (self.base / count).numpy(), (self.output / count).numpy(), tuple(self.target.tolist()),
            error, notes=notes,
        )  # fmt: skip


def _pairs(question: Question, baselines: tuple[Tensor, ...], rows: Tensor, chosen: Tensor) -> Question:
    """The question of some pairs of a row and a baseline."""
    asked = question.rows(rows)
    return replace(
        asked, baselines=tuple(base.to(own)[chosen] for base, own in zip(baselines, asked.inputs, strict=True))
    )


def _on_lines(question: Question, steps: Tensor, target: Tensor) -> tuple[Mirror, Tensor]:
    """A run at `steps` (S, N) of the way, and what is explained (S * N,)."""
    mirror = Mirror(steps)
    given = mirror.start(question.inputs, question.baselines)
    with mirror:
        answer = question.answer(given, times=len(steps))
    check_answers(answer, "row")
    return mirror, question.of(answer, target)


def _flat(question: Question, leaves: list[Leaf], parts: list[Tensor]) -> Tensor:
    """(M, P): contributions of each input side by side, those of a token's vector summed."""
    own = [part for leaf, part in zip(leaves, parts, strict=True) if not leaf.is_lookup]
    tokens = [part.sum(-1) for leaf, part in zip(leaves, parts, strict=True) if leaf.is_lookup]
    found: list[Tensor] = []
    for given in question.inputs:
        if given.is_floating_point():
            found.append(own.pop(0).flatten(1))
        else:
            mine = [part for part in tokens if part.shape == given.shape]
            found.append(sum(mine, start=torch.zeros(given.shape)).flatten(1))
            tokens = [part for part in tokens if part.shape != given.shape]
    return torch.cat(found, dim=1)


def _bases(asked: Question, size: int) -> Tensor:
    """The answers at the baselines of the pairs, with what is fixed of the rows."""
    parts: list[Tensor] = []
    for start in range(0, asked.num_rows, size):
        some = asked.rows(slice(start, start + size))
        steps = torch.zeros(1, some.num_rows)
        mirror = Mirror(steps)
        given = mirror.start(some.inputs, some.baselines)
        with mirror:
            parts.append(some.answer(given).detach())
    return torch.cat(parts)


def _in_parts(question: Question, inputs: tuple[Tensor, ...], size: int) -> Tensor:
    """(N, K) of the inputs as they are."""
    parts = []
    for start in range(0, len(inputs[0]), size):
        some = question.rows(slice(start, start + size))
        parts.append(some.answer([each[start : start + size] for each in inputs]))
    answer = torch.cat(parts)
    check_answers(answer, "row")
    return answer


def _mean_bases(question: Question, baselines: tuple[Tensor, ...], target: Tensor, size: int) -> Float64:
    """(N,): the mean answer to the baselines, with what is fixed of each row."""
    every = torch.arange(len(baselines[0]))
    alike = not question.fixed and all(given.is_floating_point() for given in question.inputs)
    answers = [
        _bases(_pairs(question, baselines, torch.full_like(every, row), every), size)
        for row in range(1 if alike else question.num_rows)
    ]
    means = torch.stack(answers).double().mean(1).expand(question.num_rows, -1)
    found: Float64 = means.gather(1, target[:, None])[:, 0].cpu().numpy()
    return found


def _size(question: Question, limits: Limits) -> int:
    """Rows of one run: eight times as many where a row is a row of numbers, whose layers are as narrow as it."""
    width = sum(each[0].numel() for each in question.inputs)
    flat = all(each.ndim == 2 and each.is_floating_point() for each in question.inputs)
    return max(1, min(limits.max_rows * (8 if flat else 1), MAX_NUMBERS // max(1, width)))


Method = Callable[[Question, tuple[Tensor, ...], Limits], Values]
METHODS: dict[str, tuple[Method, str]] = {
    "deeplift": (deeplift, "DeepLIFT's Rescale rule for every operation, mean over the baselines (DeepLiftShap)"),
    "integrated": (integrated, "integrated gradients, steps by the known error"),
    "gradient": (gradient, "expected gradients (GradientShap)"),
}
