"""The model that chooses what to label next: logistic regression on the numbers of items.

It is small on purpose: it is fitted again after every few labels. What `ship` makes of the labels is judged by itself.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float64
from deepseek.extras import need
from deepseek.train.tabular.calibrate import fit_slope

NUM_FOLDS = 5
STRENGTH = 1.0  # the inverse of the regularization of standardized numbers
TOLERANCE = 1e-3
MOST_STEPS = 200


@dataclass(frozen=True, slots=True)
class Learner:
    """A fitted linear model of the C classes of a project, some of which may have no label yet."""

    coef: Float64  # (D, K)
    bias: Float64  # (K,)
    seen: NDArray[np.int64]  # (K,) the classes with a label
    num_classes: int

    def margins(self, dense: Float64) -> Float64:
        """(N, D) -> (N, K) of the classes with a label."""
        return np.asarray(dense @ self.coef + self.bias)

    def probabilities(self, dense: Float64, slope: float = 1.0) -> Float64:
        """(N, D) -> (N, C), from the margins times `slope`; zero for classes without a label."""
        margin = slope * self.margins(dense)
        margin -= margin.max(axis=1, keepdims=True)
        shares = np.exp(margin)
        out = np.zeros((len(dense), self.num_classes))
        out[:, self.seen] = shares / shares.sum(axis=1, keepdims=True)
        return out

    def direction(self, best: int, second: int) -> Float64:
        """(D,): what speaks for class `best` against class `second`, both of them seen."""
        places = {int(label): place for place, label in enumerate(self.seen)}
        return np.asarray(self.coef[:, places[best]] - self.coef[:, places[second]])


def fit_learner(dense: Float64, target: NDArray[np.int64], weight: Float64, num_classes: int) -> Learner:
    """Fit to labeled items (N, D), their classes (N,) and weights (N,). One class alone is always answered."""
    seen, codes = np.unique(target, return_inverse=True)
    if len(seen) == 1:
        return Learner(np.zeros((dense.shape[1], 1)), np.zeros(1), seen, num_classes)
    linear_model = need("sklearn.linear_model", extra="tabular")
    limits = need("threadpoolctl", extra="tabular").threadpool_limits
    model = linear_model.LogisticRegression(C=STRENGTH, tol=TOLERANCE, max_iter=MOST_STEPS)
    with limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it stopped early: it is fitted again soon
        model.fit(dense, codes, sample_weight=weight)
    coef, bias = model.coef_.T, model.intercept_
    if len(seen) == 2:  # of two classes scikit-learn keeps one margin
        coef, bias = np.hstack([np.zeros_like(coef), coef]), np.concatenate([[0.0], bias])
    return Learner(np.asarray(coef), np.asarray(bias), seen, num_classes)


def fit_held_out_slope(dense: Float64, target: NDArray[np.int64], num_classes: int, seed: int) -> float:
    """How far margins can be believed, 0 to 1: what margins of items (N, D) by a learner of the other folds are to be
    multiplied by, so that their classes `target` (N,) are likeliest. A learner that knows no better than chance gets
    next to 0, however sure it is."""
    fold = np.random.default_rng(seed).permutation(len(target)) % NUM_FOLDS
    margins, truth = [], []
    for each in range(min(NUM_FOLDS, len(target))):
        others, own = fold != each, np.flatnonzero(fold == each)
        learner = fit_learner(dense[others], target[others], np.ones(int(others.sum())), num_classes)
        own = own[np.isin(target[own], learner.seen)]
        if len(learner.seen) < 2 or not len(own):
            continue
        seen = learner.margins(dense[own])
        margin = np.repeat(seen.min(axis=1, keepdims=True), num_classes, axis=1)  # unseen: as the least likely one
        margin[:, learner.seen] = seen
        margins.append(margin)
        truth.append(target[own])
    if not margins:
        return 1.0
    weight = np.ones(sum(map(len, truth)))
    return min(1.0, fit_slope(np.concatenate(margins), np.concatenate(truth), weight, with_bias=False).slope)
