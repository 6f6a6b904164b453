"""How good the labels make a model, what an hour more would bring, and a bound on what is left to win.

Now. The accuracy on the labeled items of the test, which were drawn at random, with its exact interval.

The next hour. Models of the first quarter, half, ... of the labels, in the order in which they came, are measured on
the test; accuracy(n) = a - b n^-c is fitted to them (an inverse power law: Figueroa et al. 2012) and read at the number
of labels that an hour brings at the pace so far. The interval is of 200 draws of the test items.

What is left. All further labels together cannot win more than the share of errors, whose upper limit is exact: that
bound always holds. A second, sharper one is an expectation: between two models the accuracy differs by at most the
share of items on which they differ; if that share goes on falling by each doubling of the labels as it fell last, what
is left is the sum of a geometric series (after Bloodgood and Grothendieck 2013).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepseek.automl.label.choose.learner import Learner, fit_learner
from deepseek.contracts import Float64
from deepseek.train.tabular.intervals import exact_interval

SHARES = (0.25, 0.375, 0.5, 0.75, 1.0)  # of the labels, that the curve is measured at
EXPONENTS = np.array([0.2, 0.35, 0.5, 0.75, 1.0, 1.5])
NUM_DRAWS = 200
LEAST_TEST = 5  # labeled items of the test, below which nothing is said of how good it is
LEAST_TRAIN = 8  # labels to learn from, below which no curve is drawn


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class LabelForecast:
    """What labels have brought, and what more of them would."""

    accuracy: Interval  # on the test
    baseline: float  # of the most frequent class of the labels, on the test
    num_test: int
    curve: tuple[tuple[int, float], ...]  # number of labels, accuracy on the test
    num_next: int  # labels that are looked ahead
    gain: Interval | None  # in accuracy, of these labels; None for too few
    left_at_most: float  # accuracy that all further labels can win; the interval's upper limit of the errors
    left_expected: float | None  # the sharper bound, where changes are falling


def forecast(
    train: Float64, target: NDArray[np.int64], weight: Float64, test: Float64, truth: NDArray[np.int64], pool: Float64,
    num_classes: int, num_next: int, seed: int = 0,
) -> LabelForecast:  # fmt: skip
    """`train` (L, D) in the order in which the labels came, with their classes and weights; `test` (T, D) with `truth`;
    `pool` (P, D) items without labels; `num_next` labels are looked ahead."""
    sizes = (
        sorted({max(1, round(share * len(target))) for share in SHARES})
        if len(target) >= LEAST_TRAIN
        else [len(target)]
    )
    learners = [fit_learner(train[:size], target[:size], weight[:size], num_classes) for size in sizes]
    hits = np.stack([learner.probabilities(test).argmax(axis=1) == truth for learner in learners]).astype(np.float64)
    num_hits = float(hits[-1].sum())
    low, high = exact_interval(num_hits, len(truth))
    majority = np.bincount(target, weights=weight, minlength=num_classes).argmax()
    can_tell = len(sizes) > 2 and num_next > 0
    gain = _forecast_gain(np.array(sizes, np.float64), hits, num_next, seed) if can_tell else None
    return LabelForecast(
        Interval(num_hits / len(truth), low, high), float((truth == majority).mean()), len(truth),
        tuple(zip(sizes, hits.mean(axis=1).tolist(), strict=True)), num_next, gain, 1 - low,
        _expect_left(learners, sizes, pool),
    )  # fmt: skip


def _forecast_gain(sizes: Float64, hits: Float64, num_next: int, seed: int) -> Interval:
    """What `num_next` more labels add by the curve, with the spread that the test items leave."""
    draw = np.random.default_rng(seed)
    rows = draw.integers(0, hits.shape[1], (NUM_DRAWS, hits.shape[1]))
    curves = np.vstack([hits.mean(axis=1), hits[:, rows].mean(axis=2).T])
    gains = np.array([_read_curve(sizes, curve, num_next) for curve in curves])
    low, high = np.quantile(gains[1:], [0.025, 0.975])
    return Interval(float(gains[0]), float(min(low, gains[0])), float(max(high, gains[0])))


def _read_curve(sizes: Float64, accuracy: Float64, num_next: int) -> float:
    """The gain of a curve a - b n^-c, whose a is at most 1 and b at least 0, fitted by least squares."""
    best, gain = np.inf, 0.0
    for exponent in EXPONENTS:
        power = sizes**-exponent
        centered = power - power.mean()
        slope = min(0.0, float(centered @ accuracy / (centered @ centered)))
        level = float(accuracy.mean() - slope * power.mean())
        if level > 1:  # through a = 1
            level, slope = 1.0, min(0.0, float(power @ (accuracy - 1) / (power @ power)))
        loss = float(np.square(level + slope * power - accuracy).sum())
        if loss < best:
            last = sizes[-1]
            best, gain = loss, abs(slope) * float(last**-exponent - (last + num_next) ** -exponent)
    return gain


def _expect_left(learners: list[Learner], sizes: list[int], pool: Float64) -> float | None:
    """The sum of the changes that are still to come, if they go on falling; None where they do not fall."""
    by_size = dict(zip(sizes, learners, strict=True))
    quarter, half, whole = (by_size.get(max(1, round(share * sizes[-1]))) for share in (0.25, 0.5, 1.0))
    if quarter is None or half is None or whole is None or not len(pool):
        return None
    answers = [learner.probabilities(pool).argmax(axis=1) for learner in (quarter, half, whole)]
    before, last = (float((answers[k] != answers[k + 1]).mean()) for k in (0, 1))
    upper = exact_interval(last * len(pool), len(pool))[1]
    if last >= before:
        return None
    ratio = max(last, 1 / len(pool)) / before
    return None if ratio >= 1 else float(upper * ratio / (1 - ratio))
