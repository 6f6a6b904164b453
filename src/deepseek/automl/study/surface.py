"""What has been measured -> a surface with its uncertainty: a Gaussian process of the values, after the monotone change
of scale under which they are most likely (Snelson et al. 2004, "Warped Gaussian processes").

    surface = fit_surface(x, values, is_category)
    surface.process.predict(new_x)      # on the changed scale, where lower is lower
    surface.to_values(changed)          # back in the unit of the measurement

Yields, wear and costs often span powers of ten above a floor or below a ceiling; on a logarithm from there one process
with one length scale fits them, and the optimum is found with fewer trials.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deepseek.automl.study.gaussian_process import GaussianProcess, Hyperparameters, fit

#: Distances of the floor or ceiling from the extreme value, as shares of the range of the values.
DISTANCES = (0.03, 0.3)
FEWEST_TO_CHANGE = 6  # below, the scale stays as it is
#: A changed scale has to be this much more likely (natural log) than the unchanged one.
LEAST_GAIN = 1.0


@dataclass(frozen=True, slots=True)
class Scale:
    """A monotone change of values: "as it is", or a logarithm above a floor or below a ceiling."""

    kind: str = "linear"  # linear, floor, ceiling
    bound: float = 0.0  # the floor or ceiling, in the unit of the values
    range: float = 1.0

    def change(self, values: np.ndarray) -> np.ndarray:
        """Increasing in `values`. What lies beyond the bound counts as close to it."""
        if self.kind == "linear":
            return values
        if self.kind == "floor":
            return np.asarray(np.log(np.maximum((values - self.bound) / self.range, 1e-9)))
        return np.asarray(-np.log(np.maximum((self.bound - values) / self.range, 1e-9)))

    def restore(self, changed: np.ndarray) -> np.ndarray:
        """The values that `change` has come from."""
        if self.kind == "linear":
            return changed
        if self.kind == "floor":
            return np.asarray(self.bound + self.range * np.exp(changed))
        return np.asarray(self.bound - self.range * np.exp(-changed))

    def log_slope(self, values: np.ndarray) -> float:
        """The sum over `values` of the logarithm of the derivative of `change`."""
        if self.kind == "linear":
            return 0.0
        distance = values - self.bound if self.kind == "floor" else self.bound - values
        return -float(np.log(np.maximum(distance, 1e-9 * self.range)).sum())


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """A process of the changed values."""

    scale: Scale
    process: GaussianProcess

    def quantiles(self, x: np.ndarray, deviations: float = 1.645) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Median, low and high (m,) in the unit of the values, at rows `x` (m, d)."""
        mean, deviation = self.process.predict(x)
        restore = self.scale.restore
        return restore(mean), restore(mean - deviations * deviation), restore(mean + deviations * deviation)


def fit_surface(x: np.ndarray, values: np.ndarray, is_category: np.ndarray) -> Surface:
    """The surface under the most likely scale. `x` (n, d) in 0..1, `values` (n,) finite."""
    linear = Scale()
    best = Surface(linear, fit(x, values, is_category))
    extent = float(np.ptp(values))
    if len(values) < FEWEST_TO_CHANGE or extent <= 1e-9 * max(1.0, float(np.abs(values).max())):
        return best
    best_log = _log_likelihood(best, values) + LEAST_GAIN
    start: tuple[Hyperparameters, ...] = (best.process.hyper,)
    for distance in DISTANCES:
        floor = Scale("floor", float(values.min()) - distance * extent, extent)
        ceiling = Scale("ceiling", float(values.max()) + distance * extent, extent)
        for scale in (floor, ceiling):
            surface = Surface(scale, fit(x, scale.change(values), is_category, start))
            likelihood = _log_likelihood(surface, values)
            if likelihood > best_log:
                best, best_log = surface, likelihood
    smooth = Surface(
        best.scale, fit(x, best.scale.change(values), is_category, (best.process.hyper,), kernel="gaussian")
    )
    return smooth if _log_likelihood(smooth, values) > _log_likelihood(best, values) else best


def _log_likelihood(surface: Surface, values: np.ndarray) -> float:
    """Of the values on their own scale, with the prior of the hyperparameters."""
    process = surface.process
    return process.log_evidence + surface.scale.log_slope(values) - len(values) * float(np.log(process.spread))
