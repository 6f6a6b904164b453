"""Histograms that are counted without a client library's own cost, and handed over when Prometheus asks.

>>> buckets = HistogramBuckets((1, 2, 4))
>>> for value in (1, 3, 9):
...     buckets.observe(value)
>>> buckets.cumulative()
[('1.0', 1), ('2.0', 1), ('4.0', 2), ('+Inf', 3)]
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray


class HistogramBuckets:
    """The counts of one histogram, by the bounds that values do not exceed."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def observe_all(self, values: Sequence[float] | NDArray[Any]) -> None:
        """Count values (N,)."""
        self.add(np.bincount(np.searchsorted(self.bounds, values), minlength=len(self.counts)), float(np.sum(values)))

    def add(self, counts: NDArray[Any], total: float) -> None:
        """Add values that were counted elsewhere: how many fell into each bucket (B,), and their sum."""
        self.counts = [before + more for before, more in zip(self.counts, counts.tolist(), strict=True)]
        self.total += total

    def cumulative(self) -> list[tuple[str, int]]:
        """How many values did not exceed each bound, as Prometheus writes it."""
        bounds = (str(float(bound)) for bound in self.bounds)
        return list(zip((*bounds, "+Inf"), accumulate(self.counts), strict=True))
