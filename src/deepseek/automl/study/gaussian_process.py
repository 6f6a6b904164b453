"""A Gaussian process for the few trials of a study, with a length scale for each parameter, fitted by the
mode of the posterior (Rasmussen & Williams 2006, chapters 2 and 5; the prior that grows with the number of parameters
is of Hvarfner et al. 2024, "Vanilla Bayesian optimization performs great in high dimensions").

    process = fit(x, values, is_category)
    mean, deviation = process.predict(new_x)

Parameters come scaled to 0..1; of a category, two values are alike or not. Everything is numpy and scipy: a fit of
thirty trials costs some ten milliseconds, and importing torch would cost more than a whole study.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

ROOT5 = 5.0**0.5
LEAST_NOISE = 1e-6  # of the variance of the values; keeps the matrix away from singular
LOG_NOISE = (-9.0, 2.0)  # mean and deviation of the prior: measured processes repeat well, but not always
LOG_SIGNAL = (0.0, 1.0)
#: A constant that all values share is unknown: the prior variance of it, in variances of the values.
OFFSET_VARIANCE = 1.0
MAX_ITERATIONS = 60
#: Of draw_processes: the step of differences, the curvature that is believed, the widening of its normal distribution,
#: and the steps from one process that is kept to the next.
CURVATURE_STEP, CURVATURE_RANGE, WIDENING, STEPS_BETWEEN = 1e-3, (0.2, 1e4), 1.2, 6


@dataclass(frozen=True, slots=True)
class ScalePrior:
    """Of the length scales of d parameters: log(length scale) ~ N(mean + log(d) / 2, deviation^2)."""

    mean: float
    deviation: float


#: With two parameters thirty trials say how long a scale is. With six they do not, and a long one that nothing speaks
#: against is too sure of what lies between the trials: it is believed to be shorter, and more firmly so.
FEW, FEW_SCALES = 2, ScalePrior(-0.4, 1.0)
MANY, MANY_SCALES = 6, ScalePrior(-1.6, 0.5)


def usual_scales(num_parameters: int) -> ScalePrior:
    """What is believed of the length scales of so many parameters, between those of FEW and MANY."""
    share = min(max((num_parameters - FEW) / (MANY - FEW), 0.0), 1.0)
    return ScalePrior(
        FEW_SCALES.mean + share * (MANY_SCALES.mean - FEW_SCALES.mean),
        FEW_SCALES.deviation + share * (MANY_SCALES.deviation - FEW_SCALES.deviation),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Hyperparameters:
    """Of a process: log length scales (d,), log of the signal's and of the noise's variance, and its kernel's name."""

    log_scales: np.ndarray
    log_signal: float
    log_noise: float
    kernel: str = "matern"

    def to_vector(self) -> np.ndarray:
        return np.concatenate([self.log_scales, [self.log_signal, self.log_noise]])

    @classmethod
    def from_vector(cls, vector: np.ndarray, kernel: str) -> Hyperparameters:
        return cls(vector[:-2], float(vector[-2]), float(vector[-1]), kernel)


def squared_differences(a: np.ndarray, b: np.ndarray, is_category: np.ndarray) -> np.ndarray:
    """(d, n, m): for each parameter the squared difference of each pair of rows; of categories 0 or 1."""
    differences = a.T[:, :, None] - b.T[:, None, :]
    squares: np.ndarray = differences**2
    if is_category.any():
        squares[is_category] = squares[is_category] > 0
    return squares


def matern(squared_distance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The kernel of order 5/2 at a squared distance, and its derivative by that: surfaces with two derivatives."""
    scaled = ROOT5 * np.sqrt(squared_distance)
    decay = np.exp(-scaled)
    return (1 + scaled + scaled**2 / 3) * decay, -(5 / 6) * (1 + scaled) * decay


def gaussian(squared_distance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The squared exponential kernel, and its derivative: surfaces as smooth as can be."""
    kernel = np.exp(-0.5 * squared_distance)
    return kernel, -0.5 * kernel


KERNELS: dict[str, Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]] = {"matern": matern, "gaussian": gaussian}


@dataclass(frozen=True, slots=True, eq=False)
class GaussianProcess:
    """A fitted process. `x` (n, d) and `weights` (n,) give the mean, `factor` (n, n) the deviation."""

    x: np.ndarray
    is_category: np.ndarray
    hyper: Hyperparameters
    factor: np.ndarray  # lower Cholesky factor of the covariance of the values
    weights: np.ndarray  # covariance^-1 (values - center)
    center: float
    spread: float  # values = center + spread * standardized ones
    log_evidence: float  # log posterior of the hyperparameters, of the standardized values

    def predict(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation (m,) of the surface itself, without the noise of a measurement, at rows `x` (m, d).
        Columns that `x` lacks are 0: rows of other lines are told apart by a last column."""
        covariance = self._covariance_with(x)
        half = solve_triangular(self.factor, covariance, lower=True, check_finite=False)
        variance = self._prior_variance() - np.einsum("ij,ij->j", half, half)
        mean = covariance.T @ self.weights
        return self.center + self.spread * mean, self.spread * np.sqrt(np.maximum(variance, 1e-12))

    def predict_gradient(self, x: np.ndarray) -> tuple[float, float, np.ndarray, np.ndarray]:
        """Mean and deviation at one row (d,), and their derivatives by it (0 for categories)."""
        hyper = self.hyper
        inverse = np.exp(-2 * hyper.log_scales)
        size = len(x)
        x = np.pad(x, (0, self.x.shape[1] - size))
        differences = x[None, :] - self.x
        squares = differences**2
        if self.is_category.any():
            squares[:, self.is_category] = squares[:, self.is_category] > 0
        kernel, slope = KERNELS[hyper.kernel](squares @ inverse)
        signal = np.exp(hyper.log_signal)
        covariance = signal * kernel + OFFSET_VARIANCE
        by_x = (2 * signal * slope)[:, None] * differences * inverse
        by_x[:, self.is_category] = 0
        by_x = by_x[:, :size]
        solved = cho_solve((self.factor, True), covariance, check_finite=False)
        variance = max(self._prior_variance() - float(covariance @ solved), 1e-12)
        deviation = variance**0.5
        mean = self.center + self.spread * float(covariance @ self.weights)
        mean_slope = self.spread * (self.weights @ by_x)
        return mean, self.spread * deviation, mean_slope, -self.spread * (solved @ by_x) / deviation

    def sample(self, x: np.ndarray, num_samples: int, rng: np.random.Generator) -> np.ndarray:
        """(num_samples, m) surfaces drawn at rows `x` (m, d)."""
        covariance = self._covariance_with(x)
        half = solve_triangular(self.factor, covariance, lower=True, check_finite=False)
        size = x.shape[1]
        squares = squared_differences(x, x, self.is_category[:size])
        prior = _covariance(squares, replace(self.hyper, log_scales=self.hyper.log_scales[:size]))
        prior -= half.T @ half
        prior[np.diag_indices_from(prior)] += 1e-9 + 1e-6 * np.exp(self.hyper.log_signal)
        root = cholesky(prior, lower=True, check_finite=False)
        normal = rng.standard_normal((num_samples, len(x)))
        return np.asarray(self.center + self.spread * (covariance.T @ self.weights + normal @ root.T))

    def expecting(self, x: np.ndarray) -> GaussianProcess:
        """The process as if at rows `x` (m, d) its own mean had been measured: for trials whose results are still to
        come. The mean stays, the deviation shrinks."""
        if not len(x):
            return self
        values = (self.predict(x)[0] - self.center) / self.spread
        known = (self.predict_own() - self.center) / self.spread
        rows = np.concatenate([self.x, np.pad(x, ((0, 0), (0, self.x.shape[1] - x.shape[1])))])
        values = np.concatenate([known, values])
        return _condition(rows, self.is_category, values, self.hyper, self.center, self.spread, self.log_evidence)

    def predict_own(self) -> np.ndarray:
        """The values (n,) that the process was fitted to."""
        standardized = self.factor @ (self.factor.T @ self.weights)
        return np.asarray(self.center + self.spread * standardized)

    @property
    def noise_sd(self) -> float:
        """The deviation of one measurement about the surface, in the unit of the values."""
        return self.spread * float(np.sqrt(np.exp(self.hyper.log_noise) + LEAST_NOISE))

    def _covariance_with(self, x: np.ndarray) -> np.ndarray:
        x = np.pad(x, ((0, 0), (0, self.x.shape[1] - x.shape[1])))
        return _covariance(squared_differences(self.x, x, self.is_category), self.hyper)

    def _prior_variance(self) -> float:
        return float(np.exp(self.hyper.log_signal)) + OFFSET_VARIANCE


def fit(
    x: np.ndarray, values: np.ndarray, is_category: np.ndarray, starts: tuple[Hyperparameters, ...] = (),
    unit: tuple[float, float] | None = None, scales: ScalePrior | None = None, kernel: str = "matern",
) -> GaussianProcess:  # fmt: skip
    """The process at the mode of its posterior. `x` (n, d) in 0..1, `values` (n,), `is_category` (d,).

    `starts`: hyperparameters to begin from, such as those of a fit before; `unit`: center and spread by which the
    values are standardized, where not their own; `scales`: what is believed of the length scales,
    where not the usual."""
    if unit is None:
        center, spread = float(np.mean(values)), float(np.std(values))
        spread = spread if spread > 1e-12 * max(1.0, abs(center)) else 1.0
    else:
        center, spread = unit
    standardized = (values - center) / spread
    squares = squared_differences(x, x, is_category)
    prior_mean, prior_sd = _prior(x.shape[1], scales or usual_scales(x.shape[1]))
    first = [each.to_vector() for each in starts] or [prior_mean]
    results = [
        minimize(
            _negative_log_posterior, start, args=(squares, standardized, prior_mean, prior_sd, kernel), jac=True,
            method="L-BFGS-B", bounds=_bounds(x.shape[1]), options={"maxiter": MAX_ITERATIONS, "ftol": 1e-7},
        )
        for start in first
    ]  # fmt: skip
    best = min(results, key=lambda result: float(result.fun))
    hyper = Hyperparameters.from_vector(best.x, kernel)
    return _condition(x, is_category, standardized, hyper, center, spread, -float(best.fun))


def draw_processes(
    process: GaussianProcess, values: np.ndarray, num: int, rng: np.random.Generator
) -> list[GaussianProcess]:
    """Processes (num,) with hyperparameters as likely as the posterior has them, where `process` has the most likely
    ones of its `values` (n,). With few trials many length scales explain them, and the most likely alone is too sure.

    Metropolis-Hastings; proposals are drawn from the normal distribution that fits the mode (Laplace), a little wider.
    """
    hyper, x, is_category = process.hyper, process.x, process.is_category
    standardized = (values - process.center) / process.spread
    squares = squared_differences(x, x, is_category)
    rest = (squares, standardized, *_prior(x.shape[1], usual_scales(x.shape[1])), hyper.kernel)
    mode = hyper.to_vector()
    low, high = np.array(_bounds(x.shape[1])).T
    slopes = [
        _negative_log_posterior(mode + step, *rest)[1] - _negative_log_posterior(mode - step, *rest)[1]
        for step in CURVATURE_STEP * np.eye(len(mode))
    ]
    curvature = np.array(slopes) / (2 * CURVATURE_STEP)
    eigenvalues, axes = np.linalg.eigh((curvature + curvature.T) / 2)
    widths = axes * (WIDENING / np.sqrt(np.clip(eigenvalues, *CURVATURE_RANGE)))
    current, level, offer_level = mode, -_negative_log_posterior(mode, *rest)[0], 0.0
    processes = []
    for step in range(1, num * STEPS_BETWEEN + 1):
        normal = rng.standard_normal(len(mode))
        offer = np.clip(mode + widths @ normal, low, high)
        offer_log, normal_log = -_negative_log_posterior(offer, *rest)[0], -0.5 * float(normal @ normal)
        if np.log(rng.random()) < offer_log - level - (normal_log - offer_level):
            current, level, offer_level = offer, offer_log, normal_log
        if step % STEPS_BETWEEN == 0:
            drawn = Hyperparameters.from_vector(current, hyper.kernel)
            processes.append(_condition(x, is_category, standardized, drawn, process.center, process.spread))
    return processes


def _bounds(num_parameters: int) -> list[tuple[float, float]]:
    """Of the vector of hyperparameters."""
    return [(-4.0, 5.0)] * num_parameters + [(-6.0, 4.0), (-14.0, 1.5)]


def _prior(num_parameters: int, scales: ScalePrior) -> tuple[np.ndarray, np.ndarray]:
    """Means and deviations of the vector of hyperparameters."""
    scale = scales.mean + 0.5 * np.log(num_parameters)
    mean = np.array([scale] * num_parameters + [LOG_SIGNAL[0], LOG_NOISE[0]])
    return mean, np.array([scales.deviation] * num_parameters + [LOG_SIGNAL[1], LOG_NOISE[1]])


def _covariance(squares: np.ndarray, hyper: Hyperparameters) -> np.ndarray:
    kernel, _ = KERNELS[hyper.kernel](np.tensordot(np.exp(-2 * hyper.log_scales), squares, axes=1))
    return np.asarray(np.exp(hyper.log_signal) * kernel + OFFSET_VARIANCE)


def _negative_log_posterior(
    vector: np.ndarray, squares: np.ndarray, values: np.ndarray, prior_mean: np.ndarray, prior_sd: np.ndarray,
    kernel_name: str,
) -> tuple[float, np.ndarray]:  # fmt: skip
    """Of the hyperparameters, and its derivative (equation 5.9)."""
    inverse = np.exp(-2 * vector[:-2])
    signal, noise = np.exp(vector[-2]), np.exp(vector[-1])
    kernel, slope = KERNELS[kernel_name](np.tensordot(inverse, squares, axes=1))
    covariance = signal * kernel + OFFSET_VARIANCE
    covariance[np.diag_indices_from(covariance)] += noise + LEAST_NOISE
    try:
        factor = cholesky(covariance, lower=True, check_finite=False)
    except np.linalg.LinAlgError:
        return 1e10, np.zeros_like(vector)
    identity = np.eye(len(values))
    precision = cho_solve((factor, True), identity, check_finite=False)
    weights = precision @ values
    pull = precision - np.outer(weights, weights)
    by_scale = -signal * inverse * np.tensordot(squares, pull * slope, axes=([1, 2], [0, 1]))
    gradient = np.concatenate([by_scale, [0.5 * signal * np.sum(pull * kernel), 0.5 * noise * np.trace(pull)]])
    value = 0.5 * float(values @ weights) + float(np.log(np.diag(factor)).sum()) + 0.919 * len(values)
    deviation = (vector - prior_mean) / prior_sd
    return value + 0.5 * float(deviation @ deviation), gradient + deviation / prior_sd


def _condition(
    x: np.ndarray, is_category: np.ndarray, standardized: np.ndarray, hyper: Hyperparameters, center: float,
    spread: float, log_evidence: float = 0.0,
) -> GaussianProcess:  # fmt: skip
    covariance = _covariance(squared_differences(x, x, is_category), hyper)
    covariance[np.diag_indices_from(covariance)] += np.exp(hyper.log_noise) + LEAST_NOISE
    factor = cholesky(covariance, lower=True, check_finite=False)
    weights = cho_solve((factor, True), standardized, check_finite=False)
    return GaussianProcess(x, is_category, hyper, factor, weights, center, spread, log_evidence)
