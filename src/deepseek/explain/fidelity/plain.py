"""What the module itself answers, and whether an explanation's own runs of it have answered the same.

    plain = plain_run(question, baselines, max_rows)      one run on copies of the inputs, one on copies of the baselines
    plain.check(answers, bases, rows, chosen, branches)   ExplainError where the runs behind an explanation differ
    with in_words("..."):                                 errors of the module as an ExplainError

A sum that closes proves nothing when both of its ends come of the same wrong run: a branch in Python is taken once for
whatever is computed side by side, an operator may be read amiss, chance may have a hand in it. So both ends of every
explanation are those of plain runs, and what misses them is not handed on.

Shapes: N rows, B baselines, K outputs, M pairs of both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from deepseek.errors import ExplainError
from deepseek.explain.ask import ArrayFunction, Question, check_answers
from deepseek.explain.chains import chain_of
from deepseek.explain.fidelity.reads import Reads
from deepseek.explain.fidelity.resolution import limit_of, scale_of

#: What the code of a module raises where it cannot run.
FAULTS = (RuntimeError, TypeError, ValueError, LookupError, AttributeError, AssertionError)


@dataclass(frozen=True, slots=True)
class PlainRun:
    """Both ends of what is explained. Differences of answers are taken in float64."""

    answer: Tensor  # (N, K) to the inputs
    target: Tensor  # (N,) which output is explained
    output: Tensor  # (N,) of that
    bases: Tensor  # (N, B) of that for each baseline
    tolerance: float
    reads: tuple[str, ...] = ()  # where the module reads values of its inputs into Python

    @property
    def base(self) -> Tensor:
        """(N,): the mean over the baselines."""
        return self.bases.mean(1)

    @property
    def limit(self) -> Tensor:
        """What a sum of contributions may miss the change by, (N,)."""
        return limit_of(self.output, self.base, self.answer.dtype, self.tolerance)

    @property
    def scale(self) -> Tensor:
        """What a sum's error is measured by (N,): `tolerance` of it is the limit."""
        return scale_of(self.output, self.base, self.answer.dtype, self.tolerance)

    def pair_limit(self, rows: Tensor, chosen: Tensor) -> Tensor:
        """The same for pairs of a row and a baseline, (M,)."""
        return limit_of(self.output[rows], self.bases[rows, chosen], self.answer.dtype, self.tolerance)

    def check(
        self, answers: Tensor, bases: Tensor, rows: Tensor, chosen: Tensor, branches: Sequence[str] = ()
    ) -> None:
        """Of pairs (M,): ExplainError where what a run gave is not what the module answers. `branches`: where Python
        has read what differs between input and baseline."""
        limit = self.pair_limit(rows, chosen)
        for found, own, what in (
            (answers, self.output[rows], "input"), (bases, self.bases[rows, chosen], "baseline"),
        ):  # fmt: skip
            found = found.detach().cpu().double()
            missed = (found - own).abs()
            wrong = ~(missed <= limit)
            if wrong.any():
                place = int(wrong.nonzero()[0, 0])
                raise ExplainError(
                    f"computed side by side, the module answers {float(found[place]):.6g} to the {what} of row "
                    f"{int(rows[place])}, and by itself {float(own[place]):.6g}{_because(branches, self.reads)}",
                    expected="a module that computes every row by itself, by the same calls of torch for all data",
                    fix="write the branch by torch.where, pass masks as `fixed`, or explain it as a black box: "
                    'method="kernel"',
                )


def _because(branches: Sequence[str], reads: Sequence[str]) -> str:
    if branches:
        return f": Python reads what differs between input and baseline, by {', '.join(branches)}"
    return f": Python reads values of the input, by {', '.join(reads)}" if reads else ""


def plain_run(question: Question, baselines: Sequence[Tensor], tolerance: float, max_rows: int) -> PlainRun:
    """Every row and each of its baselines (B, ...), at most `max_rows` in one run of the module. Where the module reads
    its data into Python every baseline runs alone, and ExplainError where a row alone gets another answer."""
    reads = reads_of(question)
    answer = _answers(question, max_rows, reads)
    target, num_rows, num_baselines = question.target_of(answer), question.num_rows, len(baselines[0])
    bases = [base.to(own) for base, own in zip(baselines, question.inputs, strict=True)]
    size = 1 if reads else max_rows
    if question.is_fixed_by_row:  # a baseline is answered with what is fixed of its row
        places = torch.arange(num_rows * num_baselines)
        paired = question.rows(places // num_baselines)
        base_answer = answers_of_rows(paired, [base[places % num_baselines] for base in bases], size)
        own = question.of(base_answer, target.repeat_interleave(num_baselines)).view(num_rows, num_baselines)
    else:
        base_answer = answers_of_rows(replace(question, inputs=tuple(bases), baselines=()), bases, size)
        own = base_answer.t()[target]
    check_answers(base_answer, "baseline")
    output = question.of(answer, target)
    return PlainRun(answer, target.cpu(), output.cpu().double(), own.cpu().double(), tolerance, reads)


def plain_run_of_pairs(question: Question, tolerance: float, max_rows: int) -> PlainRun:
    """Every row and its own baseline."""
    reads = reads_of(question)
    answer = _answers(question, max_rows, reads)
    base_answer = answers_of_rows(question, question.baselines, 1 if reads else max_rows)
    check_answers(base_answer, "baseline")
    target = question.target_of(answer)
    output, base = (question.of(each, target).cpu().double() for each in (answer, base_answer))
    return PlainRun(answer, target.cpu(), output, base[:, None], tolerance, reads)


def _answers(question: Question, max_rows: int, reads: Sequence[str]) -> Tensor:
    """(N, K) to the inputs."""
    answer = answers_of_rows(question, question.inputs, max_rows)
    check_answers(answer, "row")
    if reads and question.num_rows > 1:
        alone = answers_of_rows(question, question.inputs, 1)
        apart = ~torch.isclose(answer, alone, rtol=1e-3, atol=1e-5).all(1)
        if apart.any():
            row = int(apart.nonzero()[0, 0])
            raise ExplainError(
                f"the answer to row {row} depends on the rows beside it{_because((), reads)}",
                expected="a module that answers each row by itself", fix="explain one row in a call",
            )  # fmt: skip
    return answer


def answers_of_rows(question: Question, inputs: Sequence[Tensor], max_rows: int) -> Tensor:
    """The module's answers (N, K) to copies of `inputs`, without a graph."""
    found = []
    for start in range(0, len(inputs[0]), max_rows):
        places = slice(start, start + max_rows)
        some = question if len(inputs[0]) <= max_rows else question.rows(places)
        with torch.no_grad(), in_words("the module cannot run on what it is given"):
            found.append(some.answer([each[places].clone() for each in inputs]))
    return found[0] if len(found) == 1 else torch.cat(found)


def reads_of(question: Question) -> tuple[str, ...]:
    """Where the module reads values of its inputs into Python, as one row shows it."""
    if isinstance(question.module, ArrayFunction) or chain_of(question.module) is not None:
        return ()
    row = question.rows(slice(0, 1))
    with torch.no_grad(), in_words("the module cannot run on one row"), Reads() as reads:
        row.answer(reads.marked(row.inputs))
    return tuple(reads.found)


@contextmanager
def in_words(what: str, expected: str = "", fix: str = "") -> Iterator[None]:
    """What the code of a module or of torch raises, as an ExplainError that begins with `what`."""
    try:
        yield
    except FAULTS as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ExplainError(
            f"{what}: {type(error).__name__}: {lines[0][:300]}",
            expected=expected or "rows of the shape and kind that the module takes",
            fix=fix or "see that module(*inputs) answers by itself",
        ) from error
