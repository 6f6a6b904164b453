"""The safe mode: from a recipe that is known to hold, in small steps, with a budget of trials that may break a limit.

    result = propose_safe(space, evidence, Budget(max_broken=0.05, trials=30, num_done=4, num_broken=0), rng)

1. Of each constraint a process of its margin, in units of the margin at the start: before anything is known, the limit
   is taken to lie about one such unit away from anywhere. A flat constraint shows itself by the trials.
2. A recipe may be tried when the chance that every limit holds is high enough, and when it lies in the trust region:
   boxes around the best recipes that hold, which grow with each trial that holds and shrink with each that breaks.
3. How high is enough follows from the budget: of the trials that may break a small part is planned for, spread over the
   trials that are left. Whatever breaks is paid from it; once it is spent, only what is all but certain is tried.

The chance is the model's, and the model may be wrong; the count of what broke is not, and steers. Sources: Sui et al.
2015 (safe exploration with Gaussian processes), Eriksson et al. 2019 (trust regions), Zhang et al. 2023 (a budget of
violations that is spent online).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import log_ndtr

from deepseek.automl.study.acquisition import log_improvement
from deepseek.automl.study.evidence import Evidence
from deepseek.automl.study.gaussian_process import GaussianProcess, ScalePrior, fit
from deepseek.automl.study.space import Space
from deepseek.automl.study.surface import fit_surface

FIRST_RADIUS, MOST_RADIUS, LEAST_RADIUS = 0.1, 0.5, 0.02  # of the trust region, as shares of the ranges
GROWTH, SHRINKAGE = 1.25, 0.6
#: The share of the budget that the model's chances may spend: the rest is for where the model is wrong.
PLANNED_SHARE = 0.1
LEAST_RISK = 1e-3
MARGIN_SCALES = ScalePrior(mean=-0.9, deviation=1.0)  # shorter, so more careful
LEAST_UNIT = 0.05  # of a margin, as a share of the limit
NUM_CENTERS = 3
NUM_CANDIDATES, NUM_REFINED, NUM_ROUNDS, NUM_TOP = 1200, 200, 4, 20


@dataclass(frozen=True, slots=True)
class Budget:
    """How many trials may break a limit, and how much of that is left."""

    max_broken: float  # share
    trials: int
    num_done: int
    num_broken: int
    expected_broken: float = 0.0  # of the trials whose results are still to come

    @property
    def risk(self) -> float:
        """The chance of breaking a limit that the next trial may take."""
        rest = PLANNED_SHARE * self.max_broken * self.trials - self.num_broken - self.expected_broken
        return float(np.clip(rest / max(self.trials - self.num_done, 1), LEAST_RISK, 0.5))


@dataclass(frozen=True, slots=True, eq=False)
class SafeProposal:
    """A row (d,), the chance that every limit holds there, and whether it is only the best so far again."""

    row: np.ndarray
    chance: float
    is_repeat: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class SafeModel:
    """What is believed of the objective, and of each margin."""

    objective: GaussianProcess
    best: float  # on the objective's scale
    margins: list[GaussianProcess]
    centers: np.ndarray  # (k, d): the best recipes that hold
    radius: float
    is_category: np.ndarray

    def log_chance(self, rows: np.ndarray) -> np.ndarray:
        """(m,): log of the chance that every limit holds in a measurement at rows (m, d)."""
        total = np.zeros(len(rows))
        for process in self.margins:
            mean, deviation = process.predict(rows)
            total += log_ndtr(-mean / np.hypot(deviation, process.noise_sd))
        return total

    def log_gain(self, rows: np.ndarray) -> np.ndarray:
        """(m,): log of the expected improvement."""
        mean, deviation = self.objective.predict(rows)
        return np.asarray(np.log(deviation) + log_improvement((self.best - mean) / deviation))

    def is_near(self, rows: np.ndarray) -> np.ndarray:
        """(m,): which rows lie in the trust region."""
        distance = np.abs(rows[:, None] - self.centers[None])
        distance[:, :, self.is_category] = 0
        return np.asarray(distance.max(axis=2).min(axis=1) <= self.radius + 1e-9)


def propose_safe(
    space: Space, evidence: Evidence, budget: Budget, rng: np.random.Generator, pool: np.ndarray | None = None,
    inside: Callable[[np.ndarray], np.ndarray] | None = None,
) -> SafeProposal:  # fmt: skip
    """The next recipe. At least one trial of `evidence` has to hold. `pool` (m, d): the only rows that there are;
    `inside`: which rows the rules allow."""
    model = fit_safe_model(evidence)
    least = float(np.log1p(-budget.risk))

    def score(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        chance = model.log_chance(rows)
        allowed = (chance >= least) & model.is_near(rows)
        if inside is not None:
            allowed &= inside(rows)
        return np.where(allowed, model.log_gain(rows), -np.inf), chance

    if pool is not None:
        rows = pool
        gain, chance = score(rows)
    else:
        rows, gain, chance = _search(space, model, score, rng)
    index = int(np.argmax(gain))
    if not np.isfinite(gain[index]):
        return SafeProposal(model.centers[0], float(np.exp(model.log_chance(model.centers[:1])[0])), is_repeat=True)
    return SafeProposal(rows[index], float(np.exp(chance[index])))


def fit_safe_model(evidence: Evidence) -> SafeModel:
    """Of all trials; those that are still to come count as if they came out as expected."""
    holds = evidence.own_holds
    holding = np.flatnonzero(holds)
    losses = evidence.losses[:, 0]
    order = holding[np.argsort(losses[holding], kind="stable")]
    surface = fit_surface(evidence.x, losses, evidence.is_category)
    best = float(surface.scale.change(losses[order[:1]])[0])
    margins = [
        fit_margin(evidence.x, margin, evidence.is_category, int(holding[0])).expecting(evidence.pending)
        for margin in evidence.margins.T
    ]
    if len(evidence.failures):
        rows, has_failed = evidence.failure_rows()
        is_category = evidence.is_category[: evidence.size]
        margins.append(fit_margin(rows, has_failed, is_category, int(holding[0])).expecting(evidence.pending))
    return SafeModel(
        surface.process.expecting(evidence.pending), best, margins, evidence.own_x[order[:NUM_CENTERS]],
        trust_radius(~holds), evidence.is_category[: evidence.size],
    )  # fmt: skip


def fit_margin(x: np.ndarray, margin: np.ndarray, is_category: np.ndarray, start: int) -> GaussianProcess:
    """The process of one constraint's margin (n,), in units of that of the row `start`, which holds."""
    unit = max(abs(float(margin[start])), LEAST_UNIT * float(np.abs(margin).max()), 1e-300)
    return fit(x, margin, is_category, unit=(float(margin[start]), unit), scales=MARGIN_SCALES)


def trust_radius(is_broken: np.ndarray) -> float:
    """After trials in their order: it grows with those that held, and shrinks with those that broke."""
    radius = FIRST_RADIUS
    for broken in is_broken[1:]:
        radius = min(max(radius * (SHRINKAGE if broken else GROWTH), LEAST_RADIUS), MOST_RADIUS)
    return radius


def _search(
    space: Space, model: SafeModel, score: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Rows with their gains and chances: drawn from the trust region at several sizes, then closer around the best."""
    centers = model.centers[np.arange(NUM_CANDIDATES) % len(model.centers)]
    sizes = model.radius * rng.choice([1.0, 0.5, 0.2, 0.05], NUM_CANDIDATES)
    even = np.clip(centers + rng.uniform(-1, 1, centers.shape) * sizes[:, None], 0, 1)
    even[:, space.is_category] = centers[:, space.is_category]
    rows = space.snap(np.concatenate([even, space.perturb(centers, sizes / 2, rng)]))
    gain, chance = score(rows)
    for turn in range(NUM_ROUNDS):
        top = np.argsort(-gain)[:NUM_TOP]
        width = np.full(NUM_REFINED, 0.3 * 0.4**turn * model.radius)
        near = space.snap(space.perturb(rows[np.resize(top, NUM_REFINED)], width, rng))
        near_gain, near_chance = score(near)
        rows = np.concatenate([rows[top], near])
        gain, chance = np.concatenate([gain[top], near_gain]), np.concatenate([chance[top], near_chance])
    return rows, gain, chance
