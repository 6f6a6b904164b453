"""How good the answers are: by labels as far as they have come, and for all rows by the model's own confidence.

A calibrated probability says how often it is right: the expected accuracy is the mean probability of what was answered,
the expected AUC follows from the probabilities as shares of labels. Labels set the probabilities right first, twice.
Those of earlier rows say where among the inputs the model is too sure or not sure enough, which is how an estimate
follows inputs that move (calibration.py). Those of the window itself, as soon as MIN_LABELS have come, show a loss that
no input shows.

Intervals are for these very rows: labels are drawn from the probabilities again and again, and the corrections from
what the labels leave open. They hold where probabilities given the inputs are right; a change of what the labels mean,
with inputs as they were, cannot be seen without labels. (Guillory et al. 2021; Garg et al. 2022)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Figure, Float64
from deepseek.observe.drift.calibration import NUM_DRAWS, Recalibration, fit_recalibration, log_odds

SHARE_INSIDE = 0.9
MIN_LABELS = 200
MIN_ROWS = 50


@dataclass(frozen=True, slots=True)
class AnsweredSample:
    """N rows: probabilities (N, C), the class that was answered (N,), the true one, -1 where it is not known (N,), and
    standardized scores of the inputs (N, F), F may be 0."""

    probabilities: Float64
    answers: NDArray[np.int64]
    labels: NDArray[np.int64]
    scores: Float64

    @property
    def has_label(self) -> NDArray[np.bool_]:
        return self.labels >= 0

    @property
    def can_calibrate(self) -> bool:
        """Whether there are labels enough of both of two classes."""
        known = self.labels[self.has_label]
        return self.probabilities.shape[1] == 2 and len(known) >= MIN_LABELS and 0 < known.sum() < len(known)


@dataclass(frozen=True, slots=True)
class PastCalibration:
    """What earlier rows with labels say of the probabilities; `num_labels`: how many there were."""

    recalibration: Recalibration
    num_labels: int

    @classmethod
    def fit(cls, past: AnsweredSample) -> PastCalibration | None:
        """Rows without a label are passed over. None where there are too few with one, or of one class alone."""
        if not past.can_calibrate:
            return None
        known = past.has_label
        odds, labels = log_odds(past.probabilities[known]), past.labels[known].astype(np.float64)
        return cls(fit_recalibration(odds, past.answers[known], past.scores[known], labels), int(known.sum()))


@dataclass(frozen=True, slots=True)
class Performance:
    """`estimated`: of all rows, from probabilities. `observed`: of the rows with a label; None for too few."""

    estimated: dict[str, Figure]
    observed: dict[str, Figure] | None
    num_rows: int
    num_labels: int
    num_past_labels: int  # of earlier rows, by which the probabilities were set right; 0: they were not
    is_recalibrated: bool  # by labels of the window


def estimate_performance(
    now: AnsweredSample, *, past: PastCalibration | None = None, seed: int = 0
) -> Performance | None:
    """Accuracy, and AUC of two classes; with `past`, of scores by the same scorer. None for fewer than MIN_ROWS
    rows."""
    num_rows, num_labels = len(now.answers), int(now.has_label.sum())
    if num_rows < MIN_ROWS:
        return None
    rng = np.random.default_rng(seed)
    steps = _fit_steps(now, past)
    center = _expect_figures(now, _set_right(now, steps, None))
    draws: dict[str, list[float]] = {}
    shares = now.probabilities
    for draw in range(NUM_DRAWS):
        if steps:
            shares = _set_right(now, steps, draw)
        drawn = (rng.random(num_rows)[:, None] > np.cumsum(shares, axis=1)[:, :-1]).sum(axis=1)
        _append(draws, _figures(now.probabilities, now.answers, drawn))
    estimated = {name: _interval(center[name], draws[name]) for name in center}
    known = now.has_label
    observed = None
    if num_labels >= MIN_ROWS:
        observed = _observe(now.probabilities[known], now.answers[known], now.labels[known], rng)
    used = 0 if past is None else past.num_labels
    return Performance(estimated, observed, num_rows, num_labels, used, now.can_calibrate)


def expected_auc(scores: Float64, shares: Float64) -> float:
    """The AUC of scores (N,) where row i is positive with probability shares[i]; ties count half.

    >>> round(expected_auc(np.array([0.1, 0.9]), np.array([0.0, 1.0])), 3)
    1.0
    """
    _, groups = np.unique(scores, return_inverse=True)
    positive = np.bincount(groups, weights=shares)
    negative = np.bincount(groups, weights=1 - shares)
    below = np.cumsum(negative) - negative
    pairs = positive.sum() * negative.sum()
    return float((positive * (below + negative / 2)).sum() / pairs) if pairs > 0 else float("nan")


@dataclass(frozen=True, slots=True)
class _Step:
    """A correction, and the scores (N, F) of the rows that it looks at."""

    recalibration: Recalibration
    scores: Float64


def _fit_steps(now: AnsweredSample, past: PastCalibration | None) -> list[_Step]:
    """What sets the probabilities of `now` right: earlier labels, then its own."""
    steps = [] if past is None else [_Step(past.recalibration, now.scores)]
    if now.can_calibrate:
        known, none = now.has_label, np.zeros((len(now.answers), 0))
        odds = log_odds(_set_right(now, steps, None))
        fitted = fit_recalibration(odds[known], now.answers[known], none[known], now.labels[known].astype(np.float64))
        steps.append(_Step(fitted, none))
    return steps


def _set_right(now: AnsweredSample, steps: Sequence[_Step], draw: int | None) -> Float64:
    """Probabilities (N, C); by a draw of each correction where its number is given."""
    if not steps:
        return now.probabilities
    odds = log_odds(now.probabilities)
    for step in steps:
        odds = step.recalibration.apply(odds, now.answers, step.scores, draw)
    positive = 1 / (1 + np.exp(-odds))
    result: Float64 = np.column_stack([1 - positive, positive])
    return result


def _expect_figures(now: AnsweredSample, shares: Float64) -> dict[str, float]:
    figures = {"accuracy": float(shares[np.arange(len(now.answers)), now.answers].mean())}
    if shares.shape[1] == 2:
        figures["auc"] = expected_auc(now.probabilities[:, 1], shares[:, 1])
    return figures


def _figures(probabilities: Float64, answers: NDArray[np.int64], labels: NDArray[np.int64]) -> dict[str, float]:
    figures = {"accuracy": float((answers == labels).mean())}
    if probabilities.shape[1] == 2:
        figures["auc"] = expected_auc(probabilities[:, 1], labels.astype(np.float64))
    return figures


def _observe(
    probabilities: Float64, answers: NDArray[np.int64], labels: NDArray[np.int64], rng: np.random.Generator
) -> dict[str, Figure]:
    draws: dict[str, list[float]] = {}
    for _ in range(NUM_DRAWS):
        rows = rng.integers(0, len(answers), len(answers))
        _append(draws, _figures(probabilities[rows], answers[rows], labels[rows]))
    return {name: _interval(value, draws[name]) for name, value in _figures(probabilities, answers, labels).items()}


def _append(draws: dict[str, list[float]], figures: dict[str, float]) -> None:
    for name, value in figures.items():
        draws.setdefault(name, []).append(value)


def _interval(center: float, draws: Sequence[float]) -> Figure:
    tail = (1 - SHARE_INSIDE) / 2
    low, high = np.nanquantile(np.array(draws), [tail, 1 - tail]).tolist()
    return Figure(center, min(low, center), max(high, center))
