"""All that is known of a study as arrays: rows of settings, losses, margins, failures; this line's and other lines'."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deepseek.automl.study.acquisition import Limit
from deepseek.automl.study.definition import Definition
from deepseek.automl.study.gaussian_process import fit
from deepseek.automl.study.trials import Trial

#: How far another line is from this one, as a share of a range: close, until results say otherwise.
LINE_DISTANCE = 0.3
#: Below it a trial counts as giving a result, where 1 is a failure and -1 a result: nearer to what has worked.
LIKELY_RESULT = -0.5
CHEBYSHEV_SLACK = 0.05  # of the augmented Chebyshev function: the weight of the plain sum


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """n measured trials, of which the first n_own are of this line. Each other line has a last column of `x` to itself,
    0 for other rows. A loss is lower where it is better; a margin is above 0 where a limit is broken."""

    x: np.ndarray  # (n, d + number of other lines)
    is_category: np.ndarray  # (d + number of other lines,)
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

    def holding_rows(self) -> np.ndarray:
        """(h, d): the trials of this line that hold; where there is none, those of the other lines."""
        holds = np.all(self.margins <= 0, axis=1)
        own = holds[: self.num_own]
        return self.own_x[own] if own.any() or self.num_own else self.x[holds, : self.size]

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
        """The process of each constraint's margin, and of failing where a trial has failed. On their own scale: what
        matters is where they cross 0."""
        limits = [Limit(fit(self.x, margin, self.is_category), 0.0) for margin in self.margins.T]
        if len(self.failures):
            rows, has_failed = self.failure_rows()
            limits.append(Limit(fit(rows, has_failed, self.is_category[: self.size]), LIKELY_RESULT))
        return limits

    def leaders(self, num: int) -> np.ndarray:
        """Rows (<= num, d) of the best trials of this line, or else of the others: those that hold first, then
        those that break least."""
        rows = slice(self.num_own or None)
        margins = self.margins[rows]
        excess = np.maximum(margins / np.maximum(np.abs(margins).max(axis=0, initial=0), 1e-12), 0).sum(axis=1)
        order = np.lexsort((self.losses[rows, 0], excess))
        return self.x[order[:num], : self.size]


def collect_evidence(
    definition: Definition, trials: Sequence[Trial], others: Sequence[Sequence[Trial]] = ()
) -> Evidence:
    """Of the trials of this line and of others."""
    space = definition.space
    lines = [[trial for trial in line if trial.is_measured] for line in (trials, *others)]
    lines = [lines[0], *(line for line in lines[1:] if line)]
    measured = [trial for line in lines for trial in line]
    losses = [[each.sign * trial.values[each.name] for each in definition.objectives] for trial in measured]
    margins = [
        [each.sign * trial.values[each.name] - each.limit for each in definition.constraints] for trial in measured
    ]
    x, is_category = space.encode([trial.recipe for trial in measured]), space.is_category
    columns = np.array(losses, dtype=float).reshape(len(measured), len(definition.objectives))
    limits = np.array(margins, dtype=float).reshape(len(measured), len(definition.constraints))
    if len(lines) > 1:
        numbers = np.repeat(np.arange(len(lines)), [len(line) for line in lines])
        for table in (columns, limits):
            _align(x, table, numbers, is_category)
        x = np.column_stack([x, *(LINE_DISTANCE * (numbers == line) for line in range(1, len(lines)))])
        is_category = np.append(is_category, [False] * (len(lines) - 1))
    return Evidence(
        x, is_category, columns, limits, len(lines[0]), space.size,
        space.encode([trial.recipe for trial in trials if trial.state == "pending"]),
        space.encode([trial.recipe for trial in trials if trial.state == "failed"]),
    )  # fmt: skip


def _align(x: np.ndarray, columns: np.ndarray, numbers: np.ndarray, is_category: np.ndarray) -> None:
    """Shift the values (n, k) of each other line by what this line's trials differ from its surface on average."""
    own = numbers == 0
    if not own.any():
        return
    for line in range(1, int(numbers.max()) + 1):
        rows = numbers == line
        for column in columns.T:
            expected, _ = fit(x[rows], column[rows], is_category).predict(x[own])
            column[rows] += float(np.mean(column[own] - expected))
