"""All that is known of a study as arrays: rows of settings, losses, margins, failures; this line's and other lines'."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deepseek.automl.study.acquisition import Limit
from deepseek.automl.study.definition import Definition
from deepseek.automl.study.surface import fit_surface
from deepseek.automl.study.trials import Trial

CHEBYSHEV_SLACK = 0.05  # of the augmented Chebyshev function: the weight of the plain sum


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """n measured trials, of which the first n_own are of this line. With other lines, `x` has a last column that says
    which line a row is of: 0 this one. A loss is lower where it is better; a margin is above 0 where a limit is broken.
    """

    x: np.ndarray  # (n, d), or (n, d + 1) with other lines
    is_category: np.ndarray  # (d,) or (d + 1,)
    losses: np.ndarray  # (n, k)
    margins: np.ndarray  # (n, c)
    num_own: int
    size: int  # d
    pending: np.ndarray  # (p, d): asked for, and not told yet
    failures: np.ndarray  # (f, d): without a result

    @property
    def has_others(self) -> bool:
        return len(self.x) > self.num_own

    @property
    def own_x(self) -> np.ndarray:
        """(n_own, d)"""
        return self.x[: self.num_own, : self.size]

    @property
    def own_losses(self) -> np.ndarray:
        return self.losses[: self.num_own]

    @property
    def own_margins(self) -> np.ndarray:
        return self.margins[: self.num_own]

    @property
    def own_holds(self) -> np.ndarray:
        """(n_own,): which trials break no limit."""
        return np.asarray((self.own_margins <= 0).all(axis=1))

    def scalarize(self, rng: np.random.Generator) -> np.ndarray:
        """(n,): the one loss, or the losses along a random direction of the front."""
        if self.losses.shape[1] == 1:
            return self.losses[:, 0]
        weights = rng.dirichlet(np.ones(self.losses.shape[1]))
        low = self.losses.min(axis=0)
        scaled = (self.losses - low) / np.maximum(np.ptp(self.losses, axis=0), 1e-12)
        weighted = scaled * weights
        return np.asarray(weighted.max(axis=1) + CHEBYSHEV_SLACK * weighted.sum(axis=1))

    def failure_rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows (n_own + f, d), and 1 where a trial has failed, -1 where it gave a result."""
        rows = np.concatenate([self.own_x, self.failures])
        return rows, np.repeat([-1.0, 1.0], [self.num_own, len(self.failures)])

    def fit_limits(self) -> list[Limit]:
        """The surface of each constraint, and of failing where a trial has failed."""
        limits = []
        for margin in self.margins.T:
            surface = fit_surface(self.x, margin, self.is_category)
            limits.append(Limit(surface.process, float(surface.scale.change(np.zeros(1))[0])))
        if len(self.failures):
            rows, has_failed = self.failure_rows()
            process = fit_surface(rows, has_failed, self.is_category[: self.size], can_change=False).process
            limits.append(Limit(process, 0.0))
        return limits

    def leaders(self, num: int) -> np.ndarray:
        """Rows (<= num, d) of the best trials of this line: those that hold first, then those that break least."""
        if not self.num_own:
            return np.full((1, self.size), 0.5)
        excess = np.maximum(self.own_margins / np.maximum(np.abs(self.own_margins).max(axis=0), 1e-12), 0).sum(axis=1)
        order = np.lexsort((self.own_losses[:, 0], excess))
        return self.own_x[order[:num]]


def collect_evidence(
    definition: Definition, trials: Sequence[Trial], others: Sequence[Sequence[Trial]] = ()
) -> Evidence:
    """Of the trials of this line and of others."""
    space = definition.space
    lines = [[trial for trial in line if trial.is_measured] for line in (trials, *others)]
    measured = [trial for line in lines for trial in line]
    x, is_category = space.encode([trial.recipe for trial in measured]), space.is_category
    if len(measured) > len(lines[0]):
        numbers = np.repeat(np.arange(len(lines), dtype=float), [len(line) for line in lines])
        x, is_category = np.column_stack([x, numbers]), np.append(is_category, True)
    losses = [[each.sign * trial.values[each.name] for each in definition.objectives] for trial in measured]
    margins = [
        [each.sign * trial.values[each.name] - each.limit for each in definition.constraints] for trial in measured
    ]
    return Evidence(
        x, is_category, np.array(losses, dtype=float).reshape(len(measured), len(definition.objectives)),
        np.array(margins, dtype=float).reshape(len(measured), len(definition.constraints)), len(lines[0]), space.size,
        space.encode([trial.recipe for trial in trials if trial.state == "pending"]),
        space.encode([trial.recipe for trial in trials if trial.state == "failed"]),
    )  # fmt: skip
