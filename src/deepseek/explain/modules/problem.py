"""An attribution problem: a torch module, its inputs, the baselines against them, and the explained output.

    problem = build_problem(module, inputs, baseline, target=None)
    answer = problem.answer(problem.inputs)        (N, K)
    problem.of(answer, problem.target_of(answer))  (N,) what is explained

Shapes: N rows, K outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deepseek.errors import InputError
from deepseek.explain.modules.fidelity.lookups import LookupCheck

FixedInputs = Mapping[str, Any]  # keyword arguments of a module, the same for input and baseline
Target = int | Callable[[Any], Tensor] | None
ModelInputs = Tensor | Sequence[Tensor]


@dataclass(frozen=True, slots=True)
class ArrayFunction:
    """A function of one array (M, ...), called with a tensor."""

    function: Callable[..., Any]
    dtype: Any  # of the arrays that it takes

    def __call__(self, rows: Tensor, **fixed: Any) -> Tensor:
        return torch.as_tensor(np.asarray(self.function(rows.numpy().astype(self.dtype), **fixed)))


@dataclass(frozen=True, slots=True)
class AttributionProblem:
    """A module and what is explained of it: inputs (N, ...) of numbers or token ids, each with a baseline of its
    shape."""

    module: Callable[..., Any]
    inputs: tuple[Tensor, ...]
    baselines: tuple[Tensor, ...]
    fixed: FixedInputs
    target: Target = None  # an output, what to make of the module's answer, or None: the class that is predicted

    @property
    def num_rows(self) -> int:
        return len(self.inputs[0])

    def answer(self, inputs: Sequence[Tensor], times: int = 1) -> Tensor:
        """The module's answer (times * N, K), or with a callable target what it makes of it, (times * N, 1). The
        module gets copies of what is fixed, for it may write to them; `inputs` are handed on as they are."""
        try:
            output = self.module(*inputs, **self._repeat_fixed(times))
        except IndexError as error:
            with suppress(IndexError), LookupCheck():  # the same again, for the id that is not there
                self.module(*inputs, **self._repeat_fixed(times))
            raise InputError(
                f"the module looks up what is not there: {error}", expected="ids and places that its tables have",
                fix="shorten the text to the model's limit, or use the tokenizer that belongs to the model",
            ) from error  # fmt: skip
        answers = self.target(output) if callable(self.target) else _answer_tensor(output)
        answers = answers.unsqueeze(1) if answers.ndim == 1 else answers
        if answers.ndim != 2 or len(answers) != times * self.num_rows:
            raise InputError(
                f"the module answers with shape {tuple(answers.shape)}", expected=f"({self.num_rows}, classes)",
                fix="give a `target` that makes one number for each row, as lambda answer: answer[:, 0, 3]",
            )  # fmt: skip
        return answers

    def target_of(self, answer: Tensor) -> Tensor:
        """The output that is explained for each row (N,)."""
        num_outputs = answer.shape[1]
        if isinstance(self.target, int):
            if not -num_outputs <= self.target < num_outputs:
                raise InputError(
                    f"there is no output {self.target}", expected=f"0 to {num_outputs - 1}",
                    fix="leave target out for the class that is predicted",
                )  # fmt: skip
            return torch.full((len(answer),), self.target % num_outputs, device=answer.device)
        return answer.detach().argmax(1)

    @staticmethod
    def of(answer: Tensor, target: Tensor) -> Tensor:
        """The explained outputs (rows,) of an answer whose rows are those of `target`, several times over."""
        if len(answer) > len(target):
            target = target.repeat(len(answer) // len(target))
        return answer.gather(1, target[:, None])[:, 0]

    def rows(self, places: slice | Tensor) -> AttributionProblem:
        """The problem of some of its rows."""
        inputs, baselines = (tuple(each[places] for each in many) for many in (self.inputs, self.baselines))
        fixed = {name: value[places] if self._is_by_row(value) else value for name, value in self.fixed.items()}
        return replace(self, inputs=inputs, baselines=baselines, fixed=fixed)

    def _is_by_row(self, value: Any) -> bool:
        return isinstance(value, Tensor) and value.ndim > 0 and len(value) == self.num_rows

    def _repeat_fixed(self, times: int) -> FixedInputs:
        """The fixed arguments for all rows `times` over."""
        return {
            name: value.repeat(times, *(1 for _ in value.shape[1:])) if self._is_by_row(value)
            else value.clone() if isinstance(value, Tensor) else value
            for name, value in self.fixed.items()
        }  # fmt: skip

    @property
    def is_fixed_by_row(self) -> bool:
        """Whether something that is fixed belongs to single rows."""
        return any(map(self._is_by_row, self.fixed.values()))


def build_problem(
    module: Callable[..., Any],
    inputs: ModelInputs,
    baseline: ModelInputs | None = None,
    target: Target = None,
    fixed: FixedInputs | None = None,
) -> AttributionProblem:
    """An attribution problem of one baseline a row. InputError for what does not fit together. `baseline` None: zeros,
    for ids the id 0; else each has its input's shape, or one row of it for all."""
    rows = as_tuple(inputs)
    check_inputs(module, rows)
    bases = tuple(torch.zeros_like(each) for each in rows) if baseline is None else as_tuple(baseline)
    check_baselines(rows, bases, most=None)
    bases = tuple(
        base.detach().to(each).expand(each.shape) if len(base) in {1, len(each)} and base.ndim == each.ndim
        else base.detach().to(each).unsqueeze(0).expand(each.shape)
        for each, base in zip(rows, bases, strict=True)
    )  # fmt: skip
    return AttributionProblem(module, tuple(each.detach() for each in rows), bases, dict(fixed or {}), target)


def as_tuple(inputs: ModelInputs) -> tuple[Tensor, ...]:
    return (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)


def check_inputs(module: Callable[..., Any], inputs: tuple[Tensor, ...]) -> None:
    if not inputs or any(not isinstance(each, Tensor) or each.ndim == 0 for each in inputs):
        raise InputError("there are no inputs", expected="tensors whose first axis is the rows", fix="give one or more")
    if not all(each.numel() for each in inputs):
        shapes = ", ".join(str(tuple(each.shape)) for each in inputs)
        raise InputError(f"an input is empty: {shapes}", expected="one row at least, with values", fix="give rows")
    if len({len(each) for each in inputs}) != 1:
        counts = ", ".join(str(len(each)) for each in inputs)
        raise InputError(
            f"the inputs have {counts} rows", expected="the same number of rows", fix="cut them to the shortest"
        )
    for place, each in enumerate(inputs):
        if each.is_floating_point() and not is_finite(each):
            row = int((~torch.isfinite(each.flatten(1))).any(1).nonzero()[0]) if each.ndim > 1 else 0
            raise InputError(
                f"input {place} is not finite in row {row}", expected="numbers", fix="fill in what is missing before"
            )
    if isinstance(module, nn.Module) and any(part.training and _is_random(part) for part in module.modules()):
        raise InputError(
            "the module is in training mode, where its answer depends on chance or on the other rows",
            expected="a module that always answers the same", fix="call module.eval() before",
        )  # fmt: skip


def check_baselines(inputs: tuple[Tensor, ...], baselines: tuple[Tensor, ...], *, most: int | None) -> None:
    """InputError unless each baseline has the shape of a row, of one or (where `most` is not None) several rows, or of
    all the inputs."""
    if len(inputs) != len(baselines):
        raise InputError(
            f"there are {len(inputs)} inputs and {len(baselines)} baselines", expected="a baseline for each input",
            fix="give as many",
        )  # fmt: skip
    for place, (each, base) in enumerate(zip(inputs, baselines, strict=True)):
        row = tuple(each.shape[1:])
        whole = base.ndim == each.ndim and (most is not None or len(base) in {1, len(each)}) and len(base) > 0
        if not (tuple(base.shape) == row or (whole and tuple(base.shape[1:]) == row)):
            raise InputError(
                f"the baseline of input {place} has shape {tuple(base.shape)}",
                expected=f"{row}, or rows of that shape: one, or as many as the input has",
                fix="give a baseline with the input's own features in their order",
            )
        if base.is_floating_point() and not is_finite(base):
            raise InputError(f"the baseline of input {place} is not finite", expected="numbers", fix="fill it in")


def check_answers(answer: Tensor, what: str) -> None:
    """InputError for a module that answers nothing that can be explained."""
    answer = answer.detach()
    if not is_finite(answer):
        bad = ~torch.isfinite(answer)
        row = int(bad.any(1).nonzero()[0])
        raise InputError(
            f"the model answers {answer[row].tolist()} for {what} {row}", expected="finite numbers",
            fix="see why the model gives NaN or infinity there; what is not a number has no reasons",
        )  # fmt: skip


def is_finite(numbers: Tensor) -> bool:
    """Whether all are; their sum tells, unless it is too large itself."""
    return isfinite(numbers.sum().item()) or bool(torch.isfinite(numbers).all())


def _is_random(part: nn.Module) -> bool:
    if isinstance(part, nn.modules.batchnorm._BatchNorm):
        return True
    return getattr(part, "p", 0) != 0 and "drop" in type(part).__name__.lower()


def _answer_tensor(answer: Any) -> Tensor:
    """The tensor of an answer: itself, its logits, or the first of several."""
    if isinstance(answer, Tensor):
        return answer
    logits = getattr(answer, "logits", None)
    if isinstance(logits, Tensor):
        return logits
    if isinstance(answer, (tuple, list)) and answer and isinstance(answer[0], Tensor):
        return answer[0]
    raise InputError(
        f"the module answers with a {type(answer).__name__}", expected="a tensor (rows, classes)",
        fix="give a `target` that takes the numbers out of it, one for each row",
    )  # fmt: skip
