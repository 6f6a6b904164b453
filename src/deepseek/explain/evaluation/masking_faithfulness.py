"""Faithfulness of the explanation of one row, by whatever answers to masks, and how many rows are affordable.

    value = CachedValueFunction(answers)                     answers(masks (S, M)) -> (S,), true where a player stays
    measure_masking(value, values, FaithfulnessConfig())     curves and infidelity
    second_method_agreement(value, values, seed=0)           with a second method
    checks, num_rows = fit_time_limit(costs, FaithfulnessConfig(), 60.0)

A player is a column, a token, a region. Shapes: M players; S masks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float64
from deepseek.explain.evaluation.masking_curves import (
    FaithfulnessConfig,
    attribution_agreement,
    infidelity,
    masking_curve,
    rank_correlation,
)
from deepseek.explain.evaluation.records import AttributionAgreement, MaskingCurve, SkippedFaithfulness
from deepseek.explain.shapley.kernel import kernel_shap

AUTO_LIMIT_S = 5.0  # for all rows: what a reader who did not ask for it waits
REQUESTED_LIMIT_S = 60.0
FEW_PLAYERS = 4  # players, of which the best order comes up by chance once in 24 times
KERNEL_SHAP_NAME = "KernelSHAP by masking"
LEAVE_ONE_OUT_NAME = "leaving out one at a time"
MAX_KERNEL_PLAYERS = 64  # players: with fewer than 8 answers for each, KernelSHAP tells little but its own noise
MAX_SECOND_EVALUATIONS = 512  # of the second method, at most
_CURVE_STEPS = (20, 10, 5)  # of a curve, where time is short
Masks = NDArray[np.bool_]
ValueFunction = Callable[[Masks], Float64]


@dataclass(frozen=True, slots=True)
class MaskingMeasures:
    """What masking the M players of one row shows."""

    num_players: int
    deletion: MaskingCurve
    insertion: MaskingCurve
    infidelity: float | None


class CachedValueFunction:
    """A value function that evaluates each mask once: orders of few players come back to the same sets."""

    def __init__(self, value: ValueFunction) -> None:
        self._value = value
        self._known: dict[bytes, float] = {}

    @property
    def count(self) -> int:
        """Number of masks that the model answered."""
        return len(self._known)

    def __call__(self, masks: Masks) -> Float64:
        keys = [each.tobytes() for each in np.packbits(masks, axis=1)]
        missing = {key: at for at, key in enumerate(keys) if key not in self._known}
        if missing:
            answers = self._value(masks[list(missing.values())])
            self._known |= dict(zip(missing, answers.tolist(), strict=True))
        return np.array([self._known[key] for key in keys])


def measure_masking(
    evaluate: ValueFunction, values: Float64, checks: FaithfulnessConfig, *, sign: int = 1
) -> MaskingMeasures:
    """Curves and infidelity of one row's `values` (M,), M >= 1. With `sign` -1 the curves are those of the other one of
    two classes: what speaks for it goes, or comes back, first."""
    rng = np.random.default_rng(checks.seed)

    def class_answer(masks: Masks) -> Float64:
        answers: Float64 = sign * evaluate(masks)
        return answers

    return MaskingMeasures(
        len(values), masking_curve(class_answer, sign * values, checks, rng, deletes=True),
        masking_curve(class_answer, sign * values, checks, rng, deletes=False),
        infidelity(evaluate, values, checks, rng),
    )  # fmt: skip


def curve_class(
    target: str | None, answer: str | None, labels: Sequence[str], wanted_class: str | None
) -> tuple[str | None, int]:
    """(the class whose answer the curves of a row show, 1 or -1 for the sign of its margin in what is explained). It is
    `wanted_class`; without one, of two classes, the one that the row was answered with, which may be
    the other one of the two than `target`, whose margin is explained.

    >>> curve_class("1", "0", ("0", "1"), None), curve_class("1", "0", ("0", "1"), "1")
    (('0', -1), ('1', 1))
    """
    if wanted_class is None and len(labels) == 2 and target in labels and answer in labels and answer != target:
        return answer, -1
    return target, 1


def second_method_agreement(evaluate: ValueFunction, values: Float64, *, seed: int) -> AttributionAgreement | None:
    """agreement() with KernelSHAP, of many players with leaving out one at a time; None for one player, and for more
    than answers are spent on it."""
    num = len(values)
    if num > MAX_KERNEL_PLAYERS:
        return leave_one_out_agreement(evaluate, values) if num < MAX_SECOND_EVALUATIONS else None
    if num < 2:
        return None
    kernel = kernel_shap(
        lambda rows: evaluate(rows > 0.5), np.ones(num), np.zeros((1, num)), num_evaluations=MAX_SECOND_EVALUATIONS,
        seed=seed,
    )  # fmt: skip
    return attribution_agreement(values, kernel.values)


def second_method_evaluations(num: int) -> int:
    """Number of masks that second_method_agreement() evaluates for `num` players."""
    if num > MAX_KERNEL_PLAYERS:
        return num + 1 if num < MAX_SECOND_EVALUATIONS else 0
    return MAX_SECOND_EVALUATIONS


def second_method_name(sizes: Sequence[int], unit: str) -> str:
    """Name of the second method for rows with these numbers of players.

    >>> second_method_name([4, 80], "tokens")
    'KernelSHAP by masking tokens, above 64 leaving out one at a time'
    """
    if min(sizes) > MAX_KERNEL_PLAYERS:
        return LEAVE_ONE_OUT_NAME
    kernel = f"{KERNEL_SHAP_NAME} {unit}"
    return kernel if max(sizes) <= MAX_KERNEL_PLAYERS else f"{kernel}, above {MAX_KERNEL_PLAYERS} {LEAVE_ONE_OUT_NAME}"


def leave_one_out_agreement(evaluate: ValueFunction, values: Float64) -> AttributionAgreement | None:
    """agreement() with what the answer loses without each player alone; None for one player."""
    if len(values) < 2:
        return None
    answers = evaluate(np.concatenate([np.ones((1, len(values)), bool), ~np.eye(len(values), dtype=bool)]))
    return attribution_agreement(values, answers[0] - answers[1:])


def magnitude_correlation(own: Float64, other: Float64) -> float:
    """Rank correlation of the sizes of two explanations over the players that either names: that both leave out the
    same thousands tells nothing."""
    named = (own != 0) | (other != 0)
    return rank_correlation(np.abs(own[named]), np.abs(other[named])) if named.sum() > 1 else 1.0


def mean_magnitude_correlation(truth: Sequence[Float64], shuffled: Sequence[Float64]) -> float:
    """The mean of magnitude_correlation() over explanations."""
    return float(np.mean([magnitude_correlation(own, other) for own, other in zip(truth, shuffled, strict=True)]))


class MeasurementCost(Protocol):
    """The cost of measuring one row."""

    def seconds(self, checks: FaithfulnessConfig) -> float:
        """What it is expected to take."""
        ...


@dataclass(frozen=True, slots=True)
class RowCost:
    """The masks that one row takes, and what they cost."""

    num_players: int
    answer_s: float  # that one mask takes
    besides: int = 0  # masks beside curves, infidelity and the second method
    has_second: bool = True

    def seconds(self, checks: FaithfulnessConfig) -> float:
        """What it is expected to take."""
        steps = max(0, min(checks.num_steps, self.num_players) - 1)  # both ends are the same for all orders
        masks = 2 + 2 * steps * (1 + checks.num_random) + checks.num_random
        masks += second_method_evaluations(self.num_players) if self.has_second else 0
        if self.num_players < 20:  # there are no more sets than these
            masks = min(masks, 2**self.num_players)
        return (masks + self.besides) * self.answer_s


def fit_time_limit(
    jobs: Sequence[MeasurementCost], checks: FaithfulnessConfig, limit_s: float
) -> tuple[FaithfulnessConfig, int]:
    """What fits into `limit_s`, as (checks, number of rows): first curves get fewer steps, then fewer rows are
    measured."""
    costs = np.zeros(0)
    affordable = checks
    for steps in _CURVE_STEPS:
        affordable = replace(checks, num_steps=min(checks.num_steps, steps))
        costs = np.cumsum([job.seconds(affordable) for job in jobs])
        if costs[-1] <= limit_s:
            return affordable, len(jobs)
    return affordable, max(1, int(np.searchsorted(costs, limit_s, side="right")))


def plan_notes(checks: FaithfulnessConfig, affordable: FaithfulnessConfig, num_rows: int, num_asked: int) -> list[str]:
    """Notes about what fit_time_limit() has left out."""
    notes = []
    if affordable.num_steps < checks.num_steps:
        notes.append(
            f"curves have {affordable.num_steps} steps in place of {checks.num_steps}, to keep to the time limit"
        )
    if num_rows < num_asked:
        notes.append(f"only the first {num_rows} of {num_asked} rows were measured, to keep to the time limit")
    return notes


def skipped_report(expected_s: float, why: str | None = None) -> SkippedFaithfulness:
    """The report where nothing is measured; `expected_s` 0 where more time would not help."""
    return SkippedFaithfulness(None, expected_s, why or f"it would take more than {AUTO_LIMIT_S:g} s")


def fastest_call_s(call: Callable[[], Any], *, opens: bool = True) -> float:
    """Seconds of the quicker of two calls; `opens`: after one that opens what is opened when first needed."""
    if opens:
        call()
    took = []
    for _ in range(2):
        began_s = perf_counter()
        call()
        took.append(perf_counter() - began_s)
    return min(took)
