"""Figures over the held-out rows of all parties, from counts that add up: no score of a row leaves its house.

    counts = held_counts(task, probabilities, target)     (B,) sums over a party's held-out rows
    figures = figures_of_counts(task, counts)             {"accuracy": ..., "auc": ...} of their sum over parties

Ranking metrics come from a histogram of scores in NUM_BINS bins of equal width in the log-odds; scores that share a bin
count as tied.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float64, Task

NUM_BINS = 512
MAX_LOG_ODDS = 12.0
LARGEST_LOSS = 35.0  # of a row: -log of the smallest probability that is told apart from 0, rounded up
_MIN_PROBABILITY = 1e-15
_NUM_SUMS = 3  # rows, hits or squared errors, log losses or absolute errors


def num_counts(task: Task) -> int:
    """B."""
    return _NUM_SUMS + (2 * NUM_BINS if task == "binary" else 0)


def held_counts(task: Task, probabilities: Float64, target: NDArray[Any]) -> Float64:
    """Sums (B,) over rows of probabilities (N, C), or values (N, 1), and their targets (N,)."""
    if task == "regression":
        error = np.minimum(np.abs(probabilities[:, 0] - target), LARGEST_LOSS)
        return np.array([len(target), (error**2).sum(), error.sum()])
    hits = (probabilities.argmax(axis=1) == target).sum()
    losses = -np.log(np.clip(probabilities[np.arange(len(target)), target], _MIN_PROBABILITY, 1))
    sums = np.array([len(target), hits, losses.sum()], np.float64)
    if task == "multiclass":
        return sums
    positive = np.clip(probabilities[:, 1], _MIN_PROBABILITY, 1 - _MIN_PROBABILITY)
    log_odds = np.log(positive) - np.log1p(-positive)
    bins = np.clip(((log_odds / MAX_LOG_ODDS + 1) / 2 * NUM_BINS).astype(np.int64), 0, NUM_BINS - 1)
    histograms = [np.bincount(bins[target == label], minlength=NUM_BINS) for label in (0, 1)]
    return np.concatenate([sums, *histograms])


def figures_of_counts(task: Task, counts: Float64, target_scale: float = 1.0) -> dict[str, float]:
    """Metrics by name from sums (B,) over all parties. `target_scale`: of regression, back to the target's units."""
    num_rows = max(float(counts[0]), 1.0)
    if task == "regression":
        return {
            "rmse": float(np.sqrt(counts[1] / num_rows) * target_scale),
            "mae": float(counts[2] / num_rows * target_scale),
        }
    figures = {"accuracy": float(counts[1] / num_rows), "log_loss": float(counts[2] / num_rows)}
    if task == "binary":
        figures |= _ranking_figures(counts[_NUM_SUMS : _NUM_SUMS + NUM_BINS], counts[_NUM_SUMS + NUM_BINS :])
    return figures


def _ranking_figures(negatives: Float64, positives: Float64) -> dict[str, float]:
    """AUC and average precision of histograms (NUM_BINS,) by rising score."""
    hits, alarms = np.cumsum(positives[::-1]), np.cumsum(negatives[::-1])
    if hits[-1] < 0.5 or alarms[-1] < 0.5:
        return {}
    precision = np.divide(hits, hits + alarms, out=np.ones_like(hits), where=hits + alarms > 0)
    steps = np.diff(hits, prepend=0)
    return {
        "auc": float(np.trapezoid(np.append(0, hits), np.append(0, alarms)) / hits[-1] / alarms[-1]),
        "average_precision": float((steps * precision).sum() / hits[-1]),
    }
