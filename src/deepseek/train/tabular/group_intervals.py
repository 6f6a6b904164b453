"""Intervals whose width depends on the predicted value: split conformal prediction within groups of it.

    groups = fit_interval_groups(target, value, level=0.9, units=machines)
    groups[0].half_width                                    # for predictions from groups[0].start on

Without units each row counts by itself. Rows of one unit (a machine, a patient) tell nearly the same, so a unit counts
once in each group however many rows it has there, and the finite-sample correction is by units (Lei et al. 2018,
algorithm 2, within a partition: Vovk 2012, "Conditional validity of inductive conformal predictors", section 3).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float64, JsonObject
from deepseek.errors import InputError
from deepseek.train.tabular.decide import conformal_half_width

MIN_OUTSIDE = 3.0  # units of a group that lie outside of its interval: with fewer its width is mostly noise
MAX_GROUPS = 5
MIN_ROWS_OF_FLOOR = 100


@dataclass(frozen=True, slots=True)
class IntervalGroup:
    """Predictions from `start` on, up to the next group's."""

    start: float
    half_width: float  # in units of the target
    num_units: int  # that it was set on


@dataclass(frozen=True, slots=True)
class ConformalInterval:
    """An interval around each value, from the residuals of held-out rows."""

    level: float  # the share of new values that it should hold, 0..1
    half_width: float  # in units of the target
    num_rows: int  # that it was set on
    groups: tuple[IntervalGroup, ...] = ()  # widths by the predicted value, where one for all will not do
    floor: float | None = None  # what the lower end does not go below

    @classmethod
    def fit(cls, target: Float64, value: Float64, level: float) -> ConformalInterval:
        """From the targets (M,) and predictions (M,) of held-out rows: one width for small tables, widths by the fifth
        of the predictions where rows suffice. Where none of many targets is negative, no lower end is: of M
        exchangeable values the next one is the first below 0 with a chance of at most 1 in M + 1."""
        half_width = conformal_half_width(target, value, level)
        groups = fit_interval_groups(target, value, level=level)
        has_floor = len(target) >= MIN_ROWS_OF_FLOOR and float(np.min(target)) >= 0
        return cls(level, half_width, len(target), groups if len(groups) > 1 else (), 0.0 if has_floor else None)

    def to_dict(self) -> JsonObject:
        """As decision.json holds it; a first group has no start."""
        plain: JsonObject = {"level": self.level, "half_width": self.half_width, "num_rows": self.num_rows}
        if self.groups:
            plain["groups"] = [
                asdict(group) | {"start": None if place == 0 else group.start}
                for place, group in enumerate(self.groups)
            ]
        return plain | ({} if self.floor is None else {"floor": self.floor})


def fit_interval_groups(
    target: Float64, value: Float64, *, level: float, units: NDArray[np.int64] | None = None,
    max_groups: int = MAX_GROUPS,
) -> tuple[IntervalGroup, ...]:  # fmt: skip
    """Groups by falling number until each holds 3 / (1 - level) units, 30 at 0.9; from held-out targets (N,),
    predictions (N,) and the unit of each row (N,). The first group starts at -inf. InputError where even all units
    cannot promise the level."""
    if units is None:
        units = np.arange(len(target))
    for num_groups in range(max_groups, 0, -1):
        edges = np.unique(np.quantile(value, np.arange(1, num_groups) / num_groups))
        place = np.searchsorted(edges, value, side="right")
        counts = [len(np.unique(units[place == group])) for group in range(len(edges) + 1)]
        if min(counts) * (1 - level) >= MIN_OUTSIDE - 1e-9 or num_groups == 1:
            break
    starts = [-np.inf, *edges.tolist()]
    residual = np.abs(target - value)
    return tuple(
        IntervalGroup(float(start), _weighted_rank(residual[place == group], units[place == group], level), count)
        for group, (start, count) in enumerate(zip(starts, counts, strict=True))
    )


def half_widths(groups: tuple[IntervalGroup, ...], value: Float64) -> Float64:
    """(N,) for predictions (N,)."""
    place = np.searchsorted([group.start for group in groups[1:]], value, side="right")
    return np.array([group.half_width for group in groups])[place]


def _weighted_rank(residual: Float64, units: NDArray[np.int64], level: float) -> float:
    """The residual that the share `level` does not exceed, one more unit counted that exceeds all."""
    _, codes, counts = np.unique(units, return_inverse=True, return_counts=True)
    num_units = len(counts)
    wanted = level * (num_units + 1) / num_units
    if wanted > 1:
        raise InputError(
            f"{num_units} held machines cannot promise an interval of {level}",
            expected=f"at most {num_units / (num_units + 1):.3f}", fix="bring more machines, or lower the level",
        )  # fmt: skip
    order = np.argsort(residual, kind="stable")
    share = np.cumsum((1 / counts)[codes][order]) / num_units
    return float(residual[order][min(int(np.searchsorted(share, wanted - 1e-9)), len(order) - 1)])
