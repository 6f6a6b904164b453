"""Rows whose time lies so far ahead that their clock is more likely wrong than right.

    ahead = AheadRows(definition)
    ahead.refuses("M01", time, latest)      # latest: of its last row, or of the fleet where it is new; -inf: none

One such row that counted would make all rows behind it late. It is refused, and the machine's time stays where it was.
A machine that stood still for a season, or whose clock was set, comes back with rows that agree: AGREEING_ROWS of them
that rise are believed. How many there were is in memory alone: a restart asks for them anew.
"""

from __future__ import annotations

import numpy as np

from deepseek.features.machines.definition import WindowDefinition

AHEAD_CAPS = 10.0  # times the cap of remaining life, ...
AHEAD_HOURS = 60 * 24.0  # ... and this at least where times are dates: as far as events of a stream may lie ahead
AGREEING_ROWS = 5
MAX_MACHINES = 1 << 16  # that are counted at once


class AheadRows:
    """The rows in a row of each machine that lay ahead."""

    def __init__(self, definition: WindowDefinition) -> None:
        #: In the definition's unit of time.
        self.bound = max(AHEAD_CAPS * definition.cap, AHEAD_HOURS if definition.is_dated else 0.0)
        self._runs: dict[str, tuple[float, int]] = {}  # of machines: the last such time, and how many agreed so far

    def refuses(self, unit: str, time: float, latest: float) -> bool:
        """Whether a row counts as ahead of what its machine has sent until `latest`."""
        if latest == -np.inf or time <= latest + self.bound:
            self._runs.pop(unit, None)
            return False
        before, number = self._runs.get(unit, (np.inf, 0))
        agrees = before <= time <= before + self.bound
        number = number + (time > before) if agrees else 1
        if number >= AGREEING_ROWS:
            del self._runs[unit]
            return False
        if len(self._runs) >= MAX_MACHINES:
            self._runs.clear()
        self._runs[unit] = time, number
        return True
