"""Fits the weights of the heads, and the two judges, on rows that the heads have not learned.

pool = fit_pool(heads, labels)                     # (H,) weights, none below zero
judge = fit_judge(signals, is_right)               # a ConfidenceModel
cross_fitted(signals, is_right)                    # (N,) its probabilities, each row judged by a fit without it
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float32, Float64
from deepseek.engines.assistant.judges import ConfidenceModel
from deepseek.extras import need

START_WEIGHT = 6.0  # of a head, where nothing was held to fit it on
MIN_JUDGED_ROWS = 30  # that a judge is fitted on
MIN_OF_EACH = 5  # right ones and wrong ones
PENALTY = 1e-4  # of the square of a weight of the pool, so that a head that adds nothing goes to zero
NUM_JUDGE_FOLDS = 5


def start_pool(num_heads: int) -> Float64:
    """Weights (H,) for a handful of questions."""
    return np.full(num_heads, START_WEIGHT)


def fit_pool(heads: Sequence[Float32], labels: NDArray[np.int64]) -> Float64:
    """The weights whose softmax of the weighted sum makes the labels (N,) likeliest: a logarithmic opinion pool
    (Genest and Zidek 1986, section 3.2)."""
    minimize = need("scipy.optimize", extra="tabular").minimize
    stacked = np.stack(heads).astype(np.float64)  # (H, N, C)
    own = stacked[:, np.arange(len(labels)), labels]  # (H, N)

    def loss(weights: Float64) -> tuple[float, Float64]:
        pooled = np.tensordot(weights, stacked, axes=1)
        top = pooled.max(axis=1, keepdims=True)
        powers = np.exp(pooled - top)
        shares = powers / powers.sum(axis=1, keepdims=True)
        value = (top[:, 0] + np.log(powers.sum(axis=1)) - weights @ own).mean() + PENALTY * weights @ weights
        expected = np.einsum("nc,hnc->hn", shares, stacked)
        return float(value), (expected - own).mean(axis=1) + 2 * PENALTY * weights

    bounds = [(0.0, None)] * len(heads)
    result = minimize(loss, start_pool(len(heads)), jac=True, bounds=bounds, method="L-BFGS-B")
    return np.asarray(result.x, np.float64)


def fit_judge(
    signals: Float64, is_true: NDArray[np.bool_], weights: Float64 | None = None, *, ignored: Sequence[int] = ()
) -> ConfidenceModel:
    """A logistic regression on all signals but those at the places `ignored`. Too few rows, or of one kind alone: the
    pool's own share, as the first signal has it."""
    if not is_judgeable(is_true):
        first = np.zeros(signals.shape[1])
        first[0] = 1.0
        return ConfidenceModel(np.zeros(signals.shape[1]), np.ones(signals.shape[1]), first, 0.0)
    mean, divisor = signals.mean(axis=0), np.maximum(signals.std(axis=0), 1e-6)
    scaled = np.clip((signals - mean) / divisor, -8, 8)
    model: Any = need("sklearn.linear_model", extra="tabular").LogisticRegression(C=1.0, max_iter=500)
    read = np.setdiff1d(np.arange(signals.shape[1]), ignored)
    model.fit(scaled[:, read], is_true, sample_weight=weights)
    coefficients = np.zeros(signals.shape[1])
    coefficients[read] = model.coef_[0]
    return ConfidenceModel(mean, divisor, coefficients, float(model.intercept_[0]))


def cross_fitted(signals: Float64, is_true: NDArray[np.bool_], seed: int = 0) -> Float64:
    """(N,) probabilities, each by a judge that was fitted on other rows."""
    probabilities = np.empty(len(signals))
    fold_of = np.random.default_rng((seed, 2)).permutation(len(signals)) % NUM_JUDGE_FOLDS
    for fold in range(NUM_JUDGE_FOLDS):
        rows = fold_of == fold
        judge = fit_judge(signals[~rows], is_true[~rows])
        probabilities[rows] = judge.probabilities(signals[rows])
    return probabilities


def is_judgeable(is_true: NDArray[np.bool_]) -> bool:
    """Whether there are enough rows of both kinds to fit a judge."""
    num_true = int(is_true.sum())
    return len(is_true) >= MIN_JUDGED_ROWS and min(num_true, len(is_true) - num_true) >= MIN_OF_EACH
