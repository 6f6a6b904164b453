"""Intervals whose width depends on the predicted value: split conformal prediction within groups of it.

    groups = fit_interval_groups(target, value, units, level=0.9)
    groups[0].half_width                                    # for predictions from groups[0].start on

Rows of one unit (a machine, a patient) tell nearly the same, so a unit counts once in each group however many rows it
has there, and the finite-sample correction is by units (Lei et al. 2018, algorithm 2, within a partition: Vovk 2012,
"Conditional validity of inductive conformal predictors", section 3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float64
from deepseek.errors import InputError

MIN_UNITS = 30  # of a group: below, its quantile is mostly noise
MAX_GROUPS = 5


@dataclass(frozen=True, slots=True)
class IntervalGroup:
    """Predictions from `start` on, up to the next group's."""

    start: float
    half_width: float  # in units of the target
    num_units: int  # that it was set on


def fit_interval_groups(
    target: Float64, value: Float64, units: NDArray[np.int64], *, level: float, max_groups: int = MAX_GROUPS
) -> tuple[IntervalGroup, ...]:
    """Groups by falling number until each holds MIN_UNITS units; from held-out targets (N,), predictions (N,) and the
    unit of each row (N,). The first group starts at -inf. InputError where even all units cannot promise the level."""
    for num_groups in range(max_groups, 0, -1):
        edges = np.unique(np.quantile(value, np.arange(1, num_groups) / num_groups))
        place = np.searchsorted(edges, value, side="right")
        counts = [len(np.unique(units[place == group])) for group in range(len(edges) + 1)]
        if min(counts) >= MIN_UNITS or num_groups == 1:
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
