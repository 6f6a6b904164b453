"""How far values have moved away from those of a reference: the population stability index over bins of the reference.

    bins = make_bins(values)                       # of the reference; numbers alone, no single row
    psi(bins.counts, count_values(bins, others))   # 0 where nothing moved; from 0.1 look, from 0.25 act

A missing value is a bin of its own. Without any shift the index is near (B - 1) (1/n + 1/m) for B bins, n and m rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.data.view.card_schema import ValueBins
from deepseek.errors import InputError

NUM_BINS = 10
WATCH_PSI, SHIFT_PSI = 0.1, 0.25  # as banks read it (Siddiqi 2006, Credit Risk Scorecards)


@dataclass(frozen=True, slots=True)
class Bins:
    """The bins of a reference: (-inf, edges[0]], (edges[0], edges[1]], ..., (edges[-1], inf), then missing values."""

    edges: tuple[float, ...]  # (B - 2,), rising
    counts: tuple[int, ...]  # (B,) rows of the reference

    def to_dict(self) -> ValueBins:
        """As data cards and evidence hold them."""
        return {"edges": list(self.edges), "counts": list(self.counts)}

    @classmethod
    def from_dict(cls, plain: Any) -> Bins:
        """InputError for anything but what to_dict() gives."""
        try:
            bins = cls(tuple(map(float, plain["edges"])), tuple(map(int, plain["counts"])))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                "the bins of a reference do not fit", expected="edges and counts", fix="make the bundle again"
            ) from error
        if len(bins.counts) != len(bins.edges) + 2 or list(bins.edges) != sorted(set(bins.edges)):
            raise InputError(
                "the bins of a reference do not fit", expected="rising edges, two more counts than edges",
                fix="make the bundle again",
            )  # fmt: skip
        return bins


def make_bins(values: NDArray[Any], num_bins: int = NUM_BINS) -> Bins:
    """Bins with about as many values (N,) each; fewer where values repeat.

    >>> make_bins(np.array([1.0, 1.0, 2.0, 3.0, np.nan]), 2)
    Bins(edges=(1.0,), counts=(2, 2, 1))
    """
    known = np.asarray(values, np.float64)
    known = known[~np.isnan(known)]
    edges: NDArray[np.float64] = np.zeros(0)
    if len(known):
        edges = np.unique(np.quantile(known, np.arange(1, num_bins) / num_bins, method="lower"))
        edges = edges[edges < known.max()]
    bins = Bins(tuple(edges.tolist()), (0,) * (len(edges) + 2))
    return Bins(bins.edges, tuple(count_values(bins, values).tolist()))


def bin_numbers(edges: NDArray[np.float64], values: NDArray[Any]) -> NDArray[np.intp]:
    """The bin of each value (N,)."""
    numbers = np.searchsorted(edges, values, side="left")
    return np.where(np.isnan(values), len(edges) + 1, numbers)


def count_values(bins: Bins, values: NDArray[Any]) -> NDArray[np.intp]:
    """How many of the values (N,) are in each bin (B,)."""
    return np.bincount(bin_numbers(np.array(bins.edges), np.asarray(values, np.float64)), minlength=len(bins.counts))


def psi(reference: Any, counts: Any) -> float:
    """The index between two counts (B,) of the same bins, half a row added to each so that none is empty.

    >>> psi([50, 50, 0], [500, 500, 0]) < 0.02, psi([90, 10, 0], [10, 90, 0]) > 1
    (True, True)
    """
    first, second = np.asarray(reference, np.float64) + 0.5, np.asarray(counts, np.float64) + 0.5
    first, second = first / first.sum(), second / second.sum()
    return float(((second - first) * np.log(second / first)).sum())
