"""Features of some of the events that are scored: how far each has moved from the test rows of a bundle, since when.

    sample = FeatureSample(names, reference.features)
    sample.add(features)          # of the events of a call, one in SAMPLE_STEP is kept
    sample.psi()                  # {"amount": 0.41, ...}, the largest first
    sample.moved_since(psi)       # {"amount": 1793440800.0}: of those that have shifted

The last SAMPLE_ROWS are kept, each with the moment at which it was scored, by the clock of this machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.data.view.drift import SHIFT_PSI, WATCH_PSI, Bins, count_values, psi

SAMPLE_ROWS, SAMPLE_STEP = 4_096, 16  # events whose features are kept, one in SAMPLE_STEP
MIN_DRIFT_ROWS = 500  # below, an index is mostly noise


class FeatureSample:
    """A ring of rows of features."""

    def __init__(
        self, names: Sequence[str], reference: Mapping[str, Bins] | None, *, clock: Callable[[], float] = time.time
    ) -> None:
        """`reference`: of each feature on the test rows; None where the bundle has none."""
        self._names = list(names)
        self._reference = {name: bins for name, bins in (reference or {}).items() if name in self._names}
        self._clock = clock
        self._rows = np.full((SAMPLE_ROWS, len(names)), np.nan, np.float32)
        self._moments = np.zeros(SAMPLE_ROWS, np.float64)
        self._num_added, self._skip = 0, 0

    def __len__(self) -> int:
        return min(self._num_added, SAMPLE_ROWS)

    @property
    def first_s(self) -> float | None:
        """When the oldest row was scored, seconds since 1970; None where there is none."""
        return float(self._moments[self._order()[0]]) if len(self) else None

    def add(self, features: Any) -> None:
        """Keeps the features of one event in SAMPLE_STEP of these (N, F)."""
        rows = range(self._skip, len(features), SAMPLE_STEP)
        now_s = self._clock()
        for row in rows[-SAMPLE_ROWS:]:
            place = self._num_added % SAMPLE_ROWS
            self._rows[place], self._moments[place] = features[row], now_s
            self._num_added += 1
        self._skip = (rows[-1] + SAMPLE_STEP if rows else self._skip) - len(features)

    def psi(self) -> Mapping[str, float]:
        """The index of each feature, the largest first; nothing before MIN_DRIFT_ROWS rows."""
        if len(self) < MIN_DRIFT_ROWS:
            return {}
        rows = self._rows[: len(self)]
        moved = {name: self._psi(name, rows) for name in self._reference}
        return dict(sorted(moved.items(), key=lambda pair: -pair[1]))

    def moved_since(self, indices: Mapping[str, float]) -> Mapping[str, float]:
        """Of each feature whose index is above SHIFT_PSI: the moment from which on every MIN_DRIFT_ROWS rows have been
        above WATCH_PSI, seconds since 1970. One that has come back, but is still among the rows, is left out."""
        order = self._order()
        since: dict[str, float] = {}
        for name in (name for name, index in indices.items() if index > SHIFT_PSI):
            start = len(order)
            while (part := order[max(0, start - MIN_DRIFT_ROWS) : start]).size >= MIN_DRIFT_ROWS:
                if self._psi(name, self._rows[part]) <= WATCH_PSI:
                    break
                start -= MIN_DRIFT_ROWS
            if start < len(order):
                first = 0 if start < MIN_DRIFT_ROWS else start  # what is left over is too few to say otherwise
                since[name] = float(self._moments[order[first]])
        return since

    def _order(self) -> NDArray[np.intp]:
        """The places of the rows, the oldest first."""
        return np.arange(self._num_added - len(self), self._num_added) % SAMPLE_ROWS

    def _psi(self, name: str, rows: NDArray[np.float32]) -> float:
        bins = self._reference[name]
        return psi(bins.counts, count_values(bins, rows[:, self._names.index(name)]))
