"""What the module itself answers, and whether an explanation's own runs of it have answered the same.

    plain = plain_run(problem, baselines, tolerance, max_rows)    on copies of inputs and of baselines
    plain.check(answers, bases, rows, chosen, branches)           ExplainError where another run answered otherwise
    with raise_explain_error("..."):                              errors of the module as an ExplainError

A sum that closes proves nothing when both of its ends come of the same wrong run: a branch in Python is taken once for
whatever is computed side by side, an operator may be read amiss, chance may have a hand in it. So both ends of every
explanation are those of plain runs, and what misses them is not handed on.

Shapes: N rows, B baselines, K outputs, M pairs of both. Differences of answers are taken in float64.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepseek.contracts import Float64
from deepseek.errors import ExplainError
from deepseek.explain.modules.fidelity.reads import DataReads
from deepseek.explain.modules.fidelity.resolution import error_limit, error_scale, relative_precision
from deepseek.explain.modules.problem import ArrayFunction, AttributionProblem, check_answers
from deepseek.explain.modules.sequential import find_chain

#: What the code of a module raises where it cannot run.
MODULE_ERRORS = (RuntimeError, TypeError, ValueError, LookupError, AttributeError, AssertionError)


@dataclass(frozen=True, slots=True)
class PlainRun:
    """Both ends of what is explained, in float64."""

    problem: AttributionProblem
    target: Tensor  # (N,) which output is explained
    output: Float64  # (N,) what the module answers to the inputs
    bases: Float64  # (N, B) and to each baseline
    eps: float  # relative precision of its answers
    tolerance: float
    reads: tuple[str, ...] = ()  # where it reads values of its inputs into Python; not looked for of a single pair

    @property
    def base(self) -> Float64:
        """Mean answer (N,) over the baselines."""
        return np.asarray(self.bases.mean(axis=1))

    @property
    def limit(self) -> Float64:
        """How far a sum of contributions may be from the change, (N,)."""
        return error_limit(self.output, self.base, self.eps, self.tolerance)

    @property
    def scale(self) -> Float64:
        """What a sum's error is measured by (N,): `tolerance` of it is the limit."""
        return error_scale(self.output, self.base, self.eps, self.tolerance)

    @property
    def pair_limit(self) -> Float64:
        """The limit (N, B) for each pair of a row and a baseline."""
        return error_limit(self.output[:, None], self.bases, self.eps, self.tolerance)

    def check(self, answers: Tensor, bases: Tensor, rows: Tensor, chosen: Tensor, branches: Sequence[str] = ()) -> None:
        """ExplainError where a run of M pairs gave other answers than the module itself. `branches`: where Python
        has read what differs between input and baseline."""
        of_row, of_base = rows.numpy(), chosen.numpy()
        own = self.output[of_row], self.bases[of_row, of_base]
        self._compare(answers, own[0], of_row, "input", branches)
        self._compare(bases, own[1], of_row, "baseline", branches)

    def _compare(
        self, run_answers: Tensor, own: Float64, of_row: NDArray[np.int64], what: str, branches: Sequence[str]
    ) -> None:
        answers, limit = _float64(run_answers), self.pair_limit.max(axis=1)[of_row]
        wrong = ~(np.abs(answers - own) <= limit)
        if wrong.any():
            place, reads = int(wrong.argmax()), self.reads or find_reads(self.problem)
            raise ExplainError(
                f"computed side by side, the module answers {answers[place]:.6g} to the {what} of row "
                f"{of_row[place]}, and by itself {own[place]:.6g}{_divergence_reason(branches, reads)}",
                expected="a module that computes every row by itself, by the same calls of torch for all data",
                fix="write the branch by torch.where, pass masks as `fixed`, or explain it as a black box: "
                'method="kernel"',
            )

    def is_matched_by(self, output: Tensor, bases: Tensor) -> bool:
        """Whether the answers to all rows (N,) and to all their baselines (N, B) are the module's own."""
        limit = self.pair_limit
        apart = np.maximum(np.abs(_float64(bases) - self.bases), np.abs(_float64(output) - self.output)[:, None])
        return bool((apart <= limit).all())


def _float64(tensor: Tensor) -> Float64:
    return np.asarray(tensor.detach().cpu().double().numpy())


def _divergence_reason(branches: Sequence[str], reads: Sequence[str]) -> str:
    if branches:
        return f": Python reads what differs between input and baseline, by {', '.join(branches)}"
    return f": Python reads values of the input, by {', '.join(reads)}" if reads else ""


def plain_run(problem: AttributionProblem, baselines: Sequence[Tensor], tolerance: float, max_rows: int) -> PlainRun:
    """The module's own answers to every row and each of its baselines (B, ...), at most `max_rows` in one run. Where
    the module reads its data into Python every baseline runs alone, and ExplainError where a row alone gets another
    answer."""
    num_rows, num_baselines = problem.num_rows, len(baselines[0])
    reads = find_reads(problem) if num_rows * num_baselines > 1 else ()
    answer = _input_answers(problem, max_rows, reads)
    target = problem.target_of(answer)
    bases = [base.to(own) for base, own in zip(baselines, problem.inputs, strict=True)]
    size = 1 if reads else max_rows
    if problem.is_fixed_by_row:  # a baseline is answered with what is fixed of its row
        places = torch.arange(num_rows * num_baselines)
        row_pairs = problem.rows(places // num_baselines)
        base_answer = answer_rows(row_pairs, [base[places % num_baselines] for base in bases], size)
        own = problem.of(base_answer, target.repeat_interleave(num_baselines)).view(num_rows, num_baselines)
    else:
        of_bases = AttributionProblem(problem.module, tuple(bases), (), problem.fixed, problem.target)
        base_answer = answer_rows(of_bases, bases, size)
        own = base_answer.index_select(1, target).t()
    check_answers(base_answer, "baseline")
    output, eps = problem.of(answer, target), relative_precision(answer.dtype)
    return PlainRun(problem, target.cpu(), _float64(output), _float64(own), eps, tolerance, reads)


def plain_run_of_pairs(problem: AttributionProblem, tolerance: float, max_rows: int) -> PlainRun:
    """The module's own answers to every row and its own baseline."""
    reads = find_reads(problem) if problem.num_rows > 1 else ()
    answer = _input_answers(problem, max_rows, reads)
    base_answer = answer_rows(problem, problem.baselines, 1 if reads else max_rows)
    check_answers(base_answer, "baseline")
    target = problem.target_of(answer)
    output, base = (_float64(problem.of(each, target)) for each in (answer, base_answer))
    return PlainRun(problem, target.cpu(), output, base[:, None], relative_precision(answer.dtype), tolerance, reads)


def _input_answers(problem: AttributionProblem, max_rows: int, reads: Sequence[str]) -> Tensor:
    """The module's answers (N, K) to the inputs, checked to be the same for rows alone where it reads its data."""
    answer = answer_rows(problem, problem.inputs, max_rows)
    check_answers(answer, "row")
    if reads and problem.num_rows > 1:
        alone = answer_rows(problem, problem.inputs, 1)
        apart = ~torch.isclose(answer, alone, rtol=1e-3, atol=1e-5).all(1)
        if apart.any():
            row = int(apart.nonzero()[0, 0])
            raise ExplainError(
                f"the answer to row {row} depends on the rows beside it{_divergence_reason((), reads)}",
                expected="a module that answers each row by itself", fix="explain one row in a call",
            )  # fmt: skip
    return answer


def answer_rows(problem: AttributionProblem, inputs: Sequence[Tensor], max_rows: int) -> Tensor:
    """The module's answers (N, K) to copies of `inputs`, without a graph."""
    with torch.no_grad(), raise_explain_error("the module cannot run on what it is given"):
        if len(inputs[0]) <= max_rows:
            return problem.answer([each.clone() for each in inputs])
        parts = [slice(start, start + max_rows) for start in range(0, len(inputs[0]), max_rows)]
        return torch.cat([problem.rows(part).answer([each[part].clone() for each in inputs]) for part in parts])


def find_reads(problem: AttributionProblem) -> tuple[str, ...]:
    """Where the module reads values of its inputs into Python, as one row shows it."""
    if isinstance(problem.module, ArrayFunction) or find_chain(problem.module) is not None:
        return ()
    row = problem.rows(slice(0, 1))
    with torch.no_grad(), raise_explain_error("the module cannot run on one row"), DataReads() as reads:
        row.answer(reads.mark_inputs(row.inputs))
    return tuple(reads.locations)


@contextmanager
def raise_explain_error(what: str, expected: str = "", fix: str = "") -> Iterator[None]:
    """A context in which errors of a module or of torch become an ExplainError that begins with `what`."""
    try:
        yield
    except MODULE_ERRORS as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ExplainError(
            f"{what}: {type(error).__name__}: {lines[0][:300]}",
            expected=expected or "rows of the shape and kind that the module takes",
            fix=fix or "see that module(*inputs) answers by itself",
        ) from error
