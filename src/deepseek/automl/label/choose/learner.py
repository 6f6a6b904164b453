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
from deepseek.train.tabular.calibrate import Calibration, calibration_loss, fit_slope

NUM_FOLDS = 5
STRENGTH = 1.0  # the inverse of the regularization of standardized numbers
STRENGTHS = (0.001, 0.01, 0.1, STRENGTH)  # of which held-out labels choose one
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


@dataclass(frozen=True, slots=True)
class HeldOutFit:
    """How a learner is to be fitted and read, by labels that its folds have not seen."""

    strength: float  # the inverse of the regularization
    slope: float  # 0 to 1: how far its margins can be believed


def fit_learner(
    dense: Float64, target: NDArray[np.int64], weight: Float64, num_classes: int, strength: float = STRENGTH
) -> Learner:
    """Fit to labeled items (N, D), their classes (N,) and weights (N,). One class alone is always answered."""
    seen, codes = np.unique(target, return_inverse=True)
    if len(seen) == 1:
        return Learner(np.zeros((dense.shape[1], 1)), np.zeros(1), seen, num_classes)
    linear_model = need("sklearn.linear_model", extra="tabular")
    limits = need("threadpoolctl", extra="tabular").threadpool_limits
    model = linear_model.LogisticRegression(C=strength, tol=TOLERANCE, max_iter=MOST_STEPS)
    with limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it stopped early: it is fitted again soon
        model.fit(dense, codes, sample_weight=weight)
    coef, bias = model.coef_.T, model.intercept_
    if len(seen) == 2:  # of two classes scikit-learn keeps one margin
        coef, bias = np.hstack([np.zeros_like(coef), coef]), np.concatenate([[0.0], bias])
    return Learner(np.asarray(coef), np.asarray(bias), seen, num_classes)


def fit_held_out(dense: Float64, target: NDArray[np.int64], num_classes: int, seed: int) -> HeldOutFit:
    """The strength of STRENGTHS whose chances of held-out labels are likeliest, the least one where two are as good.

    `dense` (N, D) are the labeled items, `target` (N,) their classes. Margins are first multiplied by the slope that
    makes held-out classes likeliest, so that a learner that knows no better than chance gets next to 0, however sure it
    is. Where nothing can be held out: STRENGTH, and margins as they are.
    """
    best, least_loss = HeldOutFit(STRENGTH, 1.0), np.inf
    for strength in STRENGTHS:
        margins, truth = _held_out_margins(dense, target, num_classes, strength, seed)
        if not len(truth):
            return best
        weight = np.ones(len(truth))
        slope = min(1.0, fit_slope(margins, truth, weight, with_bias=False).slope)
        loss = calibration_loss(Calibration(slope, (0.0,) * num_classes), margins, truth, weight)
        if loss < least_loss:
            best, least_loss = HeldOutFit(strength, slope), loss
    return best


def _held_out_margins(
    dense: Float64, target: NDArray[np.int64], num_classes: int, strength: float, seed: int
) -> tuple[Float64, NDArray[np.int64]]:
    """Margins (M, C) of items by a learner of the other folds, and their classes (M,). Items of a class that the other
    folds do not have are left out."""
    fold = np.random.default_rng(seed).permutation(len(target)) % NUM_FOLDS
    margins, truth = [np.zeros((0, num_classes))], [np.zeros(0, np.int64)]
    for each in range(min(NUM_FOLDS, len(target))):
        others, own = fold != each, np.flatnonzero(fold == each)
        learner = fit_learner(dense[others], target[others], np.ones(int(others.sum())), num_classes, strength)
        own = own[np.isin(target[own], learner.seen)]
        if len(learner.seen) < 2 or not len(own):
            continue
        seen = learner.margins(dense[own])
        margin = np.repeat(seen.min(axis=1, keepdims=True), num_classes, axis=1)  # unseen: as the least likely one
        margin[:, learner.seen] = seen
        margins.append(margin)
        truth.append(target[own])
    return np.concatenate(margins), np.concatenate(truth)
