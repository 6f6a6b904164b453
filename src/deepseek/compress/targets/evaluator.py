"""Scores of a model's outputs, and the share of the original model's score, with paired bootstrap intervals.

    evaluator = Evaluator.labels(classes)                     # accuracy on labeled rows
    evaluator = Evaluator.fidelity(original_outputs, are_classes=True)  # agreement or cosine, without labels
    evaluator.score(outputs), evaluator.share_of_score(original_outputs, outputs)    # Figure, Figure

The resamples are drawn once, so that two models are compared on the same ones (Efron and Tibshirani 1993, chapter 13).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Figure, Float64
from deepseek.errors import InputError

NUM_RESAMPLES = 400
CALIBRATION_ROWS = 300
MIN_ROWS = 16
#: (truth (N, ...), outputs (N, ...), row weights (N,)) -> one number.
ScoreFunction = Callable[[NDArray[Any], NDArray[Any], Float64], float]


@dataclass(frozen=True, slots=True)
class Evaluator:
    """Scores outputs against the truth of one data set. `name` is the metric; the first axis of `truth` is the rows."""

    name: str
    truth: NDArray[Any]
    measure: ScoreFunction
    higher_is_better: bool = True
    seed: int = 0
    _weights: list[Float64] = field(default_factory=list, repr=False)

    @classmethod
    def labels(cls, target: NDArray[np.int64], seed: int = 0) -> Evaluator:
        """Accuracy: the share of rows whose largest output (N, C) is that of the class `target` (N,)."""
        return cls("accuracy", target, _share_equal, seed=seed)

    @classmethod
    def fidelity(cls, original_outputs: NDArray[Any], *, are_classes: bool, seed: int = 0) -> Evaluator:
        """For data without labels: the share of rows with the original model's largest output, or the mean cosine
        between outputs (N, ...) and the original model's."""
        if are_classes:
            return cls(
                "agreement", original_outputs.reshape(len(original_outputs), -1).argmax(axis=1), _share_equal, seed=seed
            )
        return cls("cosine", _unit_rows(original_outputs), _mean_cosine, seed=seed)

    @classmethod
    def values(cls, target: NDArray[Any], seed: int = 0) -> Evaluator:
        """Root of the mean squared error of values (N, 1), in the target's units: lower is better."""
        return cls("rmse", target.astype(np.float64), _rmse, higher_is_better=False, seed=seed)

    @property
    def num_rows(self) -> int:
        return len(self.truth)

    def first_rows(self, num_rows: int) -> Evaluator:
        """The same evaluator for the first `num_rows` rows alone."""
        return replace(self, truth=self.truth[:num_rows], _weights=[])

    def score(self, outputs: NDArray[Any]) -> Figure:
        """The score on all rows, with the middle 95 % of its resamples."""
        resampled = [self.measure(self.truth, outputs, weight) for weight in self._resamples()]
        return _figure(self.measure(self.truth, outputs, np.ones(self.num_rows)), resampled)

    def share_of_score(self, original_outputs: NDArray[Any], outputs: NDArray[Any]) -> Figure:
        """Score of `outputs` as a share of the original model's, 1.0 for equal ones, on the same resamples."""
        resampled = [self._share(original_outputs, outputs, weight) for weight in self._resamples()]
        return _figure(self._share(original_outputs, outputs, np.ones(self.num_rows)), resampled)

    def _share(self, original_outputs: NDArray[Any], outputs: NDArray[Any], weight: Float64) -> float:
        before, after = (self.measure(self.truth, scored, weight) for scored in (original_outputs, outputs))
        better_numerator, denominator = (after, before) if self.higher_is_better else (before, after)
        if denominator == 0:
            return 1.0 if better_numerator == 0 or not self.higher_is_better else float("inf")
        return better_numerator / denominator

    def _resamples(self) -> list[Float64]:
        if not self._weights:
            rng = np.random.default_rng(self.seed)
            draws = rng.integers(0, self.num_rows, (NUM_RESAMPLES, self.num_rows))
            self._weights.extend(np.bincount(draw, minlength=self.num_rows).astype(np.float64) for draw in draws)
        return self._weights


def split_rows(num_rows: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Disjoint row numbers: rows for calibration (of activation ranges or probabilities), and rows for evaluation.
    InputError for fewer than MIN_ROWS."""
    if num_rows < MIN_ROWS:
        raise InputError(
            f"the data has {num_rows} rows",
            expected=f"at least {MIN_ROWS}: a quarter of them, up to {CALIBRATION_ROWS}, calibrate, the others judge",
            fix="give more rows that the model has not been trained on",
        )
    order = np.random.default_rng(seed).permutation(num_rows)
    size = min(CALIBRATION_ROWS, num_rows // 4)
    return np.sort(order[:size]), np.sort(order[size:])


def _figure(value: float, resampled: list[float]) -> Figure:
    low, high = np.nanquantile(resampled, [0.025, 0.975])
    return Figure(value, float(low), float(high))


def _share_equal(truth: NDArray[Any], outputs: NDArray[Any], weight: Float64) -> float:
    return _weighted_mean(outputs.reshape(len(truth), -1).argmax(axis=1) == truth, weight)


def _mean_cosine(truth: NDArray[Any], outputs: NDArray[Any], weight: Float64) -> float:
    return _weighted_mean((_unit_rows(outputs) * truth).sum(axis=1), weight)


def _rmse(truth: NDArray[Any], outputs: NDArray[Any], weight: Float64) -> float:
    return float(np.sqrt(_weighted_mean((outputs.reshape(len(truth), -1)[:, 0] - truth) ** 2, weight)))


def _weighted_mean(values: NDArray[Any], weight: Float64) -> float:
    return float(values @ weight / weight.sum())


def _unit_rows(rows: NDArray[Any]) -> Float64:
    flat = rows.reshape(len(rows), -1).astype(np.float64)
    unit: Float64 = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)
    return unit
