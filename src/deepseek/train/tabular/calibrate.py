"""Calibration: probabilities that mean what they say (Platt 1999; temperature scaling, Guo et al. 2017, section 4.2).

    z = slope * margin + bias,  output = sigmoid(z) or softmax(z),  slope > 0 so that no ranking changes within a class

Fitted on rows that the model was not trained on. The form is chosen by its loss on halves that it was not fitted on,
and has to be better there by more than chance: on few rows a slope that seemed better cost .2 % of the loss of others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float64
from deepseek.extras import need
from deepseek.nn.model import sigmoid, softmax

PRIOR_ROWS = 10
MIN_ERRORS = 1.0  # standard errors by which a calibration has to lower the loss of rows that it was not fitted on


@dataclass(frozen=True)
class Calibration:
    """A map from margins to probabilities."""

    slope: float
    bias: tuple[float, ...]  # (K,)

    def apply(self, margin: Float64) -> Float64:
        """Probabilities (N, C) for margins (N, K) on the log-odds scale."""
        z = self.slope * margin + np.asarray(self.bias)
        if margin.shape[1] > 1:
            return softmax(z)
        positive = sigmoid(z)
        return np.concatenate([1 - positive, positive], axis=1)


def identity_calibration(num_margins: int) -> Calibration:
    """The calibration that changes nothing."""
    return Calibration(1.0, (0.0,) * num_margins)


def calibration_loss(calibration: Calibration, margin: Float64, target: NDArray[Any], weight: Float64) -> float:
    """Weighted log loss."""
    total = weight.sum()
    return float(weight @ _row_losses(calibration, margin, target) / total) if total > 0 else 0.0


def fit_slope(margin: Float64, target: NDArray[Any], weight: Float64, *, with_bias: bool) -> Calibration:
    """The slope (and bias) of least log loss; the slope is kept within 1/20 to 20."""
    minimize = need("scipy.optimize", extra="tabular").minimize
    num_margins = margin.shape[1]
    share = weight / max(weight.sum(), 1e-300)
    truth = np.eye(max(2, num_margins))[target]
    truth = truth[:, 1:] if num_margins == 1 else truth

    def objective(theta: Float64) -> tuple[float, Float64]:
        slope, bias = np.exp(theta[0]), theta[1:] if with_bias else np.zeros(num_margins)
        z = slope * margin + bias
        if num_margins == 1:
            value = share @ np.logaddexp(0, np.where(truth > 0, -z, z))[:, 0]
            residual = sigmoid(z) - truth
        else:
            top = z.max(axis=1, keepdims=True)
            value = share @ (np.log(np.exp(z - top).sum(axis=1)) + top[:, 0] - (z * truth).sum(axis=1))
            residual = softmax(z) - truth
        residual = residual * share[:, None]
        gradient = np.append(slope * (residual * margin).sum(), residual.sum(axis=0) if with_bias else [])
        # A unit normal prior on log slope and bias that weighs as much as PRIOR_ROWS rows: where few held-out rows are
        # all right, the likeliest slope is endless, and one wrong row of the future would pay for it.
        pull = PRIOR_ROWS / (2 * max(weight.sum(), 1.0))
        return float(value + pull * theta @ theta), gradient + 2 * pull * theta

    start = np.zeros(1 + (num_margins if with_bias else 0))
    bounds = [(-3.0, 3.0)] + [(-30.0, 30.0)] * (len(start) - 1)
    theta = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    bias = theta[1:] if with_bias else np.zeros(num_margins)
    return Calibration(float(np.exp(theta[0])), tuple(float(b) for b in bias))


def fit_calibration(margin: Float64, target: NDArray[Any], weight: Float64, *, seed: int) -> Calibration:
    """The best of no change, a slope, and a slope with biases, by cross-fitting on two halves. A change has to lower
    the loss there by more than one standard error of what it does to the rows' losses."""
    half = np.random.default_rng(seed).permutation(len(target)) % 2 == 0
    unchanged = identity_calibration(margin.shape[1])
    plain = _row_losses(unchanged, margin, target)
    best: tuple[float, bool | None] = (0.0, None)
    for with_bias in (False, True):
        lowered = np.zeros(len(target))
        for fitted, held_out in ((half, ~half), (~half, half)):
            candidate = fit_slope(margin[fitted], target[fitted], weight[fitted], with_bias=with_bias)
            lowered[held_out] = plain[held_out] - _row_losses(candidate, margin[held_out], target[held_out])
        gain, error = _mean_and_error(lowered, weight)
        if gain > max(best[0], MIN_ERRORS * error):
            best = (gain, with_bias)
    return unchanged if best[1] is None else fit_slope(margin, target, weight, with_bias=best[1])


def _row_losses(calibration: Calibration, margin: Float64, target: NDArray[Any]) -> Float64:
    """Log loss of each row (N,)."""
    losses: Float64 = -np.log(np.clip(calibration.apply(margin)[np.arange(len(target)), target], 1e-15, 1))
    return losses


def _mean_and_error(values: Float64, weight: Float64) -> tuple[float, float]:
    """The weighted mean of values (N,) and its standard error; rows of weight 0 tell nothing."""
    share = weight / max(weight.sum(), 1e-300)
    mean = float(share @ values)
    return mean, float(np.sqrt(share**2 @ (values - mean) ** 2))
