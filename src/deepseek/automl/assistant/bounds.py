"""A threshold from which answers are right in a stated share, proven on rows that taught nothing, or a refusal.

    bound = choose_answer_threshold(probabilities, is_right, precision=0.98, confidence=0.95)
    bound.threshold, bound.num_answered, bound.lower

Rows are let in from the surest down, in steps that depend on their number alone, and after each step the lower end of
Clopper and Pearson's one-sided interval must be at least the precision. The first step that fails ends it, and the last
one that held gives the threshold: a sequence of tests in a fixed order, each at the full level (Angelopoulos et al.
2021, "Learn then Test", arXiv 2110.01052, section 4). So the promise holds although the threshold was chosen on the
same rows.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float64, JsonObject
from deepseek.errors import CheckError
from deepseek.train.detect.miss_bound import num_parts_needed, upper_bound

NUM_STEPS = 200  # from all rows to none
FIRST_SHARE = 0.1  # of the rows are let in at the first step, where that many suffice to prove anything
SPARE_ERRORS = 2  # of the first step: so that one wrong label does not end it


@dataclass(frozen=True, slots=True)
class PrecisionBound:
    """A threshold, and what is promised of answers from it on."""

    threshold: float  # least probability of an answer
    precision: float  # share of right answers that was asked for, 0..1
    confidence: float  # of the promise, 0..1
    num_rows: int  # that it was chosen on
    num_answered: int  # of them, from the threshold on
    num_wrong: int  # of those
    lower: float  # lower end of the interval of Clopper and Pearson; at least `precision`

    def to_dict(self) -> JsonObject:
        """For evidence and decision files."""
        return asdict(self)


def choose_answer_threshold(
    probabilities: Float64, is_right: NDArray[np.bool_], *, precision: float, confidence: float
) -> PrecisionBound:
    """`probabilities` (N,) of the first intent, `is_right` (N,) whether it was the right one. CheckError, with the
    number of rows that it would take, where no threshold can be proven.

    >>> sure = np.linspace(1, 0, 400)
    >>> bound = choose_answer_threshold(sure, sure > 0.25, precision=0.95, confidence=0.95)
    >>> 290 < bound.num_answered < 320, bound.lower >= 0.95
    (True, True)
    """
    num_rows = len(probabilities)
    order = np.argsort(-probabilities, kind="stable")
    ranked, wrong = probabilities[order], np.cumsum(~is_right[order])
    least = num_parts_needed(1 - precision, confidence, SPARE_ERRORS)
    start = max(least, round(FIRST_SHARE * num_rows)) if num_rows >= least else num_rows
    best: PrecisionBound | None = None
    for wanted in range(start, num_rows + 1, max(1, num_rows // NUM_STEPS)):
        if wanted == 0:
            break
        num_answered = int(np.searchsorted(-ranked, -ranked[wanted - 1], side="right"))  # with all that are as sure
        num_wrong = int(wrong[num_answered - 1])
        lower = 1 - upper_bound(num_wrong, num_answered, confidence)
        if lower < precision:
            break
        best = PrecisionBound(
            float(ranked[num_answered - 1]), precision, confidence, num_rows, num_answered, num_wrong, lower
        )
    if best is None:
        raise _unproven_error(num_rows, precision, confidence)
    return best


def _unproven_error(num_rows: int, precision: float, confidence: float) -> CheckError:
    needed = num_parts_needed(1 - precision, confidence)
    return CheckError(
        f"{num_rows} held questions do not support {100 * precision:g} % right answers at a confidence of "
        f"{100 * confidence:g} %",
        expected=f"at least {needed} held questions, all of them answered rightly, or more with a few that are not",
        fix="bring more questions of each intent, or ask for a lower precision",
    )
