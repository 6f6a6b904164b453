"""How much a trial promises: the logarithm of the expected improvement, of the chance that every limit holds, and the
search for the recipe that promises most (Jones et al. 1998; the logarithm, which keeps its slope where the improvement
is tiny, of Ament et al. 2023, "Unexpected improvements to expected improvement").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import erfcx, log_ndtr, logsumexp

from deepseek.automl.study.gaussian_process import GaussianProcess
from deepseek.automl.study.space import Space

HALF_LOG_2PI = 0.9189385332046727
NUM_ANYWHERE, NUM_AROUND = 384, 192  # candidates over the whole space, and around the best trials
NUM_STARTS = 2  # candidates from which a gradient search starts
MAX_ITERATIONS = 30


def log_improvement(z: np.ndarray) -> np.ndarray:
    """log(phi(z) + z Phi(z)): of the expected improvement of a standard normal by at least -z."""
    z = np.asarray(z, dtype=float)
    result = np.empty_like(z)
    near = z > -1
    inner = z[near]
    density = np.exp(-0.5 * inner**2 - HALF_LOG_2PI)
    result[near] = np.log(density + inner * np.exp(log_ndtr(inner)))
    far = z[~near]
    ratio = np.sqrt(np.pi / 2) * erfcx(-far / np.sqrt(2))
    rest = np.where(far > -1e3, 1 + far * ratio, 1 / np.maximum(far**2, 1))
    result[~near] = -0.5 * far**2 - HALF_LOG_2PI + np.log(np.maximum(rest, 1e-300))
    return result


@dataclass(frozen=True, slots=True, eq=False)
class Limit:
    """A constraint on a measured quantity: its process, and the value (on the process's scale) that it may not pass."""

    process: GaussianProcess
    most: float


@dataclass(frozen=True, slots=True, eq=False)
class Aim:
    """What may be improved: one believed process of the objective, and the value to go below, on its scale."""

    process: GaussianProcess
    best: float


@dataclass(frozen=True, slots=True, eq=False)
class Acquisition:
    """What is maximized: the log of the expected improvement, on average over the aims (none: whatever holds), plus the
    log of the chance that every limit holds."""

    aims: Sequence[Aim]
    limits: Sequence[Limit] = ()

    def values(self, x: np.ndarray) -> np.ndarray:
        """(m,) at rows `x` (m, d)."""
        total = np.zeros(len(x))
        gains = []
        for aim in self.aims:
            mean, deviation = aim.process.predict(x)
            gains.append(np.log(deviation) + log_improvement((aim.best - mean) / deviation))
        if gains:
            total += logsumexp(gains, axis=0) - np.log(len(gains))
        for limit in self.limits:
            mean, deviation = limit.process.predict(x)
            total += log_ndtr((limit.most - mean) / deviation)
        return total

    def value_and_gradient(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """At one row (d,)."""
        total, gradient = 0.0, np.zeros(len(x))
        if self.aims:
            parts = [_log_gain(aim, x) for aim in self.aims]
            gains = np.array([part[0] for part in parts])
            total = float(logsumexp(gains))
            gradient = np.exp(gains - total) @ np.array([part[1] for part in parts])
            total -= float(np.log(len(parts)))
        for limit in self.limits:
            mean, deviation, mean_slope, deviation_slope = limit.process.predict_gradient(x)
            z = (limit.most - mean) / deviation
            log_chance = float(log_ndtr(z))
            total += log_chance
            slope = np.exp(-0.5 * z * z - HALF_LOG_2PI - log_chance)
            gradient += slope * (-mean_slope / deviation - z * deviation_slope / deviation)
        return total, gradient


def _log_gain(aim: Aim, x: np.ndarray) -> tuple[float, np.ndarray]:
    """Log of the expected improvement at one row (d,), and its derivative."""
    mean, deviation, mean_slope, deviation_slope = aim.process.predict_gradient(x)
    z = (aim.best - mean) / deviation
    log_h = float(log_improvement(np.array([z]))[0])
    by_mean = np.exp(float(log_ndtr(z)) - log_h) / deviation
    by_deviation = np.exp(-0.5 * z * z - HALF_LOG_2PI - log_h) / deviation
    return float(np.log(deviation)) + log_h, by_deviation * deviation_slope - by_mean * mean_slope


def search(
    acquisition: Acquisition, space: Space, around: np.ndarray, rng: np.random.Generator,
    inside: Callable[[np.ndarray], np.ndarray] | None = None,
) -> tuple[np.ndarray, float]:  # fmt: skip
    """The row (d,) that promises most, and its value. `around` (k, d): good trials, near which is looked more closely;
    `inside`: which rows (m, d) may be proposed at all, where not all may."""
    widths = np.resize([0.2, 0.05, 0.01], NUM_AROUND)
    near = space.perturb(around[np.arange(NUM_AROUND) % len(around)], widths, rng)
    candidates = np.concatenate([space.draw(NUM_ANYWHERE, rng), near])
    if inside is not None:
        allowed = candidates[inside(candidates)]
        candidates = allowed if len(allowed) else candidates
    values = acquisition.values(candidates)
    order = np.argsort(-values)
    polished = [_climb(acquisition, space, candidates[index]) for index in order[:NUM_STARTS]]
    finalists = space.snap(np.concatenate([polished, candidates[order[:NUM_STARTS]]]))
    if inside is not None:
        allowed = finalists[inside(finalists)]
        finalists = allowed if len(allowed) else candidates[order[:1]]
    values = acquisition.values(finalists)
    best = int(np.argmax(values))
    return finalists[best], float(values[best])


def _climb(acquisition: Acquisition, space: Space, start: np.ndarray) -> np.ndarray:
    """The local maximum above `start` (d,); categories stay."""
    is_free = ~space.is_category

    def negative(position: np.ndarray) -> tuple[float, np.ndarray]:
        row = start.copy()
        row[is_free] = position
        value, gradient = acquisition.value_and_gradient(row)
        return -value, -gradient[is_free]

    row = start.copy()
    if is_free.any():
        result = minimize(
            negative, start[is_free], jac=True, method="L-BFGS-B", bounds=[(0.0, 1.0)] * int(is_free.sum()),
            options={"maxiter": MAX_ITERATIONS},
        )  # fmt: skip
        row[is_free] = np.clip(result.x, 0, 1)
    return row
