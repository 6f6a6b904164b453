"""Figures on test rows, from counts with noise: each row is in one count, so that no figure says more of it.

    figures, baseline = noised_figures(task, target, output, noise=1.5)

Classes: a histogram of scores by class (two), or of truth by decision (more). Values: clipped sums of errors. The
interval of a figure holds both the chance of the rows and the noise, by drawing both again from the noised counts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Figure, Float64, Task
from deepseek.train.private.noise import secure_normal

NUM_BINS = 20  # of the probability of the second of two classes; one edge is at the decision
MOST_ERROR = 4.0  # in the study's scale, beyond which an error of a value counts as this
NUM_DRAWS = 300
Figures = dict[str, float]


def noised_figures(
    task: Task, target: NDArray[Any], output: Float64, *, noise: float
) -> tuple[dict[str, Figure], dict[str, Figure]]:
    """Of the model, and of the commonest class (or the mean): targets (N,), probabilities (N, C) or values (N, 1), both
    of values in the study's scale. `noise`: standard deviation for a change of length 1 by a row."""
    if task == "regression":
        return _figures_of_values(target, output[:, 0], noise)
    counts = _count(task, target, output)
    noised = np.maximum(counts + noise * secure_normal(counts.size).reshape(counts.shape), 0.0)
    measure = _measure_binary if task == "binary" else _measure_multiclass
    shares = noised.sum(axis=1) / max(noised.sum(), 1.0)
    prior = Figure(*(float(shares.max()),) * 3)
    return _with_intervals(measure, noised, noise), {"accuracy": prior}


def _count(task: Task, target: NDArray[Any], output: Float64) -> Float64:
    """Rows by class and bin of score (2, NUM_BINS), or by class and decision (C, C)."""
    if task == "binary":
        places, width = np.clip((output[:, 1] * NUM_BINS).astype(np.int64), 0, NUM_BINS - 1), NUM_BINS
    else:
        places, width = output.argmax(axis=1), output.shape[1]
    num_classes = output.shape[1]
    flat = np.bincount(target * width + places, minlength=num_classes * width)
    return flat.reshape(num_classes, width).astype(np.float64)


def _measure_binary(counts: Float64) -> Figures:
    negatives, positives = counts
    half = NUM_BINS // 2
    figures = {"accuracy": float((negatives[:half].sum() + positives[half:].sum()) / max(counts.sum(), 1.0))}
    if negatives.sum() < 1 or positives.sum() < 1:
        return figures
    hits, alarms = (np.append(0, np.cumsum(part[::-1])) / part.sum() for part in (positives, negatives))
    precision = np.cumsum(positives[::-1]) / np.maximum(np.cumsum(counts.sum(axis=0)[::-1]), 1e-9)
    return figures | {
        "auc": float(np.trapezoid(hits, alarms)),
        "average_precision": float((np.diff(hits) * precision).sum()),
    }


def _measure_multiclass(counts: Float64) -> Figures:
    return {"accuracy": float(np.trace(counts) / max(counts.sum(), 1.0))}


def _with_intervals(measure: Callable[[Float64], Figures], counts: Float64, noise: float) -> dict[str, Figure]:
    values = measure(counts)
    rng, num_rows = np.random.default_rng(0), max(1, round(counts.sum()))
    shares = (counts / max(counts.sum(), 1e-9)).ravel() if counts.sum() > 0 else np.full(counts.size, 1 / counts.size)
    draws = []
    for _ in range(NUM_DRAWS):
        drawn = rng.multinomial(num_rows, shares).reshape(counts.shape) + noise * rng.normal(size=counts.shape)
        draws.append(measure(np.maximum(drawn, 0.0)))
    return {name: _interval(value, [draw[name] for draw in draws if name in draw]) for name, value in values.items()}


def _interval(value: float, draws: list[float]) -> Figure:
    """95 %, around the value itself: drawing again moves every figure a little to one side."""
    middle = float(np.median(draws)) if draws else value
    low, high = np.quantile(draws, [0.025, 0.975]) if draws else (value, value)
    return Figure(value, float(min(value, low + value - middle)), float(max(value, high + value - middle)))


def _figures_of_values(
    target: NDArray[Any], predicted: Float64, noise: float
) -> tuple[dict[str, Figure], dict[str, Figure]]:
    """MAE and RMSE of the model and of the mean of the study's sample, in the study's scale."""
    figures = []
    for errors in (target - predicted, np.asarray(target, np.float64)):
        share = np.minimum(np.abs(errors), MOST_ERROR) / MOST_ERROR
        sums = np.array([share.sum(), (share**2).sum()]) + 2 * noise * secure_normal(2)  # four sums change by 1 at most
        num, spread = max(1, len(errors)), 2 * noise
        means, wide = np.clip(sums / num, 0, 1), 1.96 * np.hypot(spread / num, 0.5 / np.sqrt(num))
        lows, highs = np.maximum(means - wide, 0), np.minimum(means + wide, 1)
        mae = Figure(*(float(MOST_ERROR * each[0]) for each in (means, lows, highs)))
        rmse = Figure(*(float(MOST_ERROR * np.sqrt(each[1])) for each in (means, lows, highs)))
        figures.append({"mae": mae, "rmse": rmse})
    return figures[0], figures[1]
