"""Intervals of remaining life by group of predicted life, set on machines that each fold did not learn from.

A row counts where its end is known, and up to a little above the cap: a machine that is far from its end is told the
cap and has it, which would make the intervals of the others too narrow.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from deepseek.train.tabular.group_intervals import ConformalInterval, IntervalGroup, fit_interval_groups

if TYPE_CHECKING:
    from deepseek.automl.develop import DevelopedModel
    from deepseek.automl.pack import FinishedRun
    from deepseek.automl.tabular_run import TabularRun
    from deepseek.contracts import Float64
    from deepseek.features.machines.definition import WindowDefinition

BEYOND_CAP = 1.15  # rows that count reach so far above the cap, as a share of it


def fit_intervals(
    run: TabularRun, developed: DevelopedModel, definition: WindowDefinition, remaining: Float64, level: float
) -> tuple[IntervalGroup, ...]:
    """Half widths by group. `remaining`: uncapped, of the rows to develop on (N,), NaN where it is not known.
    InputError where too few machines have a known end for the level."""
    from deepseek.automl.comparison.differences import group_codes

    cap = definition.cap
    rows = developed.held_out_rows
    counted = remaining[rows] <= BEYOND_CAP * cap  # False where it is not known
    units = group_codes(run.data.development.take(rows[counted]), definition.unit)
    value = np.clip(developed.held_out_output[counted, 0], 0.0, cap)
    return fit_interval_groups(developed.held_out.target[counted], value, level=level, units=units)


def with_intervals(finished: FinishedRun, groups: tuple[IntervalGroup, ...], cap: float, level: float) -> FinishedRun:
    """The run with these intervals, and values between 0 and the cap."""
    widest = max(group.half_width for group in groups)
    interval = ConformalInterval(level, widest, sum(group.num_units for group in groups), groups)
    return replace(finished, decision=replace(finished.decision, interval=interval, range=(0.0, cap)))
