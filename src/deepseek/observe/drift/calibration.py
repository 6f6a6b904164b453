"""Probabilities set right by rows with labels, for the rows that come in: how far off a model is depends on where its
inputs lie, and these move.

A logistic regression of the labels on what the model says: its log-odds and their bend, its answer, and a bounded
weight for each score of the inputs. How bounded (the ridge) is chosen by the labels' own likelihood in five parts:
where inputs say nothing that the model does not know, the weights stay at 0. Draws of the weights from their posterior
say how well the labels know them (Laplace's approximation).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float64

RIDGES = (3.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 10_000.0)  # prior precision of a weight
NUM_PARTS, NUM_DRAWS = 5, 200
NO_WORSE = 1.0  # log-likelihood: of ridges that are no worse the largest is taken
PRECISIONS = (4.0, 10.0, 4.0, 30.0)  # of the first weights: a model that was calibrated once is not far off
NEWTON_STEPS = 25
DRAW_WIDTH = 2.0  # of the posterior's: it knows nothing of rows that have moved (chosen on tables that no figure is of)
MAX_ODDS = float(np.log(1e6))


@dataclass(frozen=True, slots=True)
class Recalibration:
    """`weights` (F + 4,): of 1, the log-odds, what was answered, the bend of the log-odds, and F scores; `draws`
    (NUM_DRAWS, F + 4): what the labels leave open."""

    weights: Float64
    draws: Float64

    def apply(self, odds: Float64, answers: NDArray[np.int64], scores: Float64, draw: int | None = None) -> Float64:
        """Log-odds (N,) set right, from the model's, the class that was answered (N,) and scores (N, F); by one of the
        draws where its number is given."""
        weights = self.weights if draw is None else self.draws[draw]
        result: Float64 = np.clip(_design(odds, answers, scores) @ weights, -MAX_ODDS, MAX_ODDS)
        return result


def log_odds(probabilities: Float64) -> Float64:
    """Of class 1, from probabilities (N, 2)."""
    odds: Float64 = np.log(np.clip(probabilities[:, 1], 1e-6, 1)) - np.log(np.clip(probabilities[:, 0], 1e-6, 1))
    return odds


def fit_recalibration(
    odds: Float64, answers: NDArray[np.int64], scores: Float64, labels: Float64, *, seed: int = 0
) -> Recalibration:
    """From the model's log-odds (N,), the class that was answered (N,), scores (N, F) with mean 0 and variance 1, and
    labels (N,) of 0 and 1."""
    design = _design(odds, answers, scores)
    ridge = RIDGES[0] if not scores.shape[1] else _choose_ridge(design, labels, seed)
    weights, curvature = _fit(design, labels, ridge)
    root = DRAW_WIDTH * np.linalg.cholesky(np.linalg.inv(curvature))
    loss_of = _loss_function(design, labels, ridge)
    rng, least = np.random.default_rng(seed), loss_of(weights)
    draws = []
    for _ in range(NUM_DRAWS):
        normal = rng.standard_normal(len(weights))
        step = root @ normal
        # Where labels are less likely than a normal posterior supposes (all of them right, say) it is drawn nearer
        while loss_of(weights + step) > least + 1 + DRAW_WIDTH**2 * (normal @ normal) / 2 and np.abs(step).max() > 1e-9:
            step = step / 2
        draws.append(weights + step)
    return Recalibration(weights, np.array(draws))


def _design(odds: Float64, answers: NDArray[np.int64], scores: Float64) -> Float64:
    """With a column of what was answered the expected accuracy of the labeled rows is the one that they have."""
    return np.column_stack([np.ones(len(odds)), odds, answers - 0.5, odds * np.abs(odds) / 4, scores])


def _choose_ridge(design: Float64, labels: Float64, seed: int) -> float:
    parts = np.random.default_rng(seed).integers(0, NUM_PARTS, len(labels))
    losses = []
    for ridge in RIDGES:
        loss = 0.0
        for part in range(NUM_PARTS):
            weights, _ = _fit(design[parts != part], labels[parts != part], ridge)
            margin = design[parts == part] @ weights
            loss += float(np.logaddexp(0, margin).sum() - labels[parts == part] @ margin)
        losses.append(loss)
    return max(ridge for ridge, loss in zip(RIDGES, losses, strict=True) if loss <= min(losses) + NO_WORSE)


def _fit(design: Float64, labels: Float64, ridge: float) -> tuple[Float64, Float64]:
    """Weights and the curvature there, by Newton's method with steps halved until they help. Intercept and slope are
    drawn a little to 0 and 1, what a calibrated model has."""
    center, precision = _prior(design.shape[1], ridge)
    loss_of = _loss_function(design, labels, ridge)
    weights, current = center.copy(), loss_of(center)
    for _ in range(NEWTON_STEPS):
        chance = 1 / (1 + np.exp(-np.clip(design @ weights, -30, 30)))
        gradient = design.T @ (labels - chance) - precision * (weights - center)
        curvature = (design * (chance * (1 - chance))[:, None]).T @ design + np.diag(precision)
        step = np.linalg.solve(curvature, gradient)
        while (reached := loss_of(weights + step)) > current and np.abs(step).max() > 1e-8:
            step = step / 2
        weights = weights + step
        if current - reached < 1e-9 * abs(current):
            break
        current = reached
    return weights, curvature


def _prior(num_weights: int, ridge: float) -> tuple[Float64, Float64]:
    """Where weights are drawn to, and how strongly."""
    center, precision = np.zeros(num_weights), np.full(num_weights, ridge)
    center[1] = 1.0
    precision[: len(PRECISIONS)] = PRECISIONS
    return center, precision


def _loss_function(design: Float64, labels: Float64, ridge: float) -> Callable[[Float64], float]:
    """The negative log of the posterior at weights, but for a constant."""
    center, precision = _prior(design.shape[1], ridge)

    def loss_of(weights: Float64) -> float:
        margin = design @ weights
        return float(np.logaddexp(0, margin).sum() - labels @ margin + (precision * (weights - center) ** 2).sum() / 2)

    return loss_of
