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

    def probabilities(self, dense: Float64) -> Float64:
        """(N, D) -> (N, C); zero for classes without a label."""
        margin = dense @ self.coef + self.bias
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
