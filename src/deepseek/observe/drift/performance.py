"""How good the answers are: by labels as far as they have come, and for all rows by the model's own confidence.

A calibrated probability says how often it is right: the expected accuracy is the mean probability of what was answered,
the expected AUC follows from the probabilities as shares of labels. Where at least MIN_LABELS rows have labels, the
probabilities are first set right by them (logistic recalibration of the log-odds), so that a loss which the model does
not know of is seen as soon as some labels come. Intervals: labels are drawn from the probabilities again and again,
with rows and, where there are labels, the recalibration drawn anew. They hold where probabilities given the inputs are
right; a change of what the labels mean, with inputs as they were, cannot be seen without labels. (Guillory et al.
2021; Garg et al.
2022)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Figure, Float64

NUM_DRAWS = 200
SHARE_INSIDE = 0.9
MIN_LABELS = 200
MIN_ROWS = 50
NEWTON_STEPS = 25


@dataclass(frozen=True, slots=True)
class Performance:
    """`estimated`: of all rows, from probabilities. `observed`: of the rows with a label; None for too few."""

    estimated: dict[str, Figure]
    observed: dict[str, Figure] | None
    num_rows: int
    num_labels: int
    is_recalibrated: bool


def estimate_performance(
    probabilities: Float64,
    answers: NDArray[np.int64],
    labels: NDArray[np.int64],
    classes: Sequence[str],
    *,
    seed: int = 0,
) -> Performance | None:
    """Accuracy, and AUC of two classes, of N rows: probabilities (N, C), the class that was answered (N,), and the true
    one, -1 where it is not known (N,). None for fewer than MIN_ROWS rows."""
    if len(answers) < MIN_ROWS:
        return None
    rng = np.random.default_rng(seed)
    known = labels >= 0
    num_labels = int(known.sum())
    recalibrates = len(classes) == 2 and num_labels >= MIN_LABELS and 0 < labels[known].sum() < num_labels
    draws: dict[str, list[float]] = {}
    for _ in range(NUM_DRAWS):
        shares = _recalibrate(probabilities, labels, known, rng) if recalibrates else probabilities
        rows = rng.integers(0, len(answers), len(answers))
        drawn = (rng.random(len(rows))[:, None] > np.cumsum(shares[rows], axis=1)[:, :-1]).sum(axis=1)
        _append(draws, _figures(probabilities[rows], answers[rows], drawn))
    shares = _recalibrate(probabilities, labels, known, None) if recalibrates else probabilities
    center = {"accuracy": float(shares[np.arange(len(answers)), answers].mean())}
    if len(classes) == 2:
        center["auc"] = expected_auc(probabilities[:, 1], shares[:, 1])
    estimated = {name: _interval(center[name], draws[name]) for name in center}
    observed = _observe(probabilities[known], answers[known], labels[known], rng) if num_labels >= MIN_ROWS else None
    return Performance(estimated, observed, len(answers), num_labels, bool(recalibrates))


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


def _recalibrate(
    probabilities: Float64, labels: NDArray[np.int64], known: NDArray[np.bool_], rng: np.random.Generator | None
) -> Float64:
    """Probabilities (N, 2) set right by the rows with labels; by a draw of these with `rng`."""
    odds = np.log(np.clip(probabilities[:, 1], 1e-6, 1 - 1e-6)) - np.log(np.clip(probabilities[:, 0], 1e-6, 1 - 1e-6))
    rows = np.flatnonzero(known)
    if rng is not None:
        rows = rng.choice(rows, len(rows))
    intercept, slope = _fit_logistic(odds[rows], labels[rows].astype(np.float64))
    positive = 1 / (1 + np.exp(-np.clip(intercept + slope * odds, -30, 30)))
    result: Float64 = np.column_stack([1 - positive, positive])
    return result


def _fit_logistic(odds: Float64, labels: Float64) -> tuple[float, float]:
    """Intercept and slope by Newton's method, with steps halved until they help, drawn a little to 0 and 1, what a
    calibrated model has."""
    design, center = np.column_stack([np.ones(len(odds)), odds]), np.array([0.0, 1.0])

    def loss(weights: Float64) -> float:
        margin = design @ weights
        return float(np.logaddexp(0, margin).sum() - labels @ margin + ((weights - center) ** 2).sum() / 2)

    weights, current = center.copy(), loss(center)
    for _ in range(NEWTON_STEPS):
        chance = 1 / (1 + np.exp(-np.clip(design @ weights, -30, 30)))
        gradient = design.T @ (labels - chance) - (weights - center)
        curvature = (design * (chance * (1 - chance))[:, None]).T @ design + np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        while (reached := loss(weights + step)) > current and np.abs(step).max() > 1e-8:
            step = step / 2
        weights = weights + step
        if current - reached < 1e-9 * abs(current):
            break
        current = reached
    return float(weights[0]), float(weights[1])
