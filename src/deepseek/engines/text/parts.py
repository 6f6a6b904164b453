"""A batch of texts in parts of like length: the attention pays for each row what the longest row of its part is long.

parts([5, 60, 6, 58], call_cells=100)     # [[0, 2], [1, 3]]: two calls of 2 x 8 and 2 x 64 cells instead of 4 x 64

The dense layers see the tokens alone, whatever stands beside them (graph.py), so only the cells (rows x longest row)
of the attention are weighed here, against what a further call costs. The least sum is found by going over the lengths
in order, as in Bellman's optimal partition of a line.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import numpy as np
from numpy.typing import NDArray

#: Lengths are rounded up to this: for each new size OpenVINO prepares its kernels anew.
LENGTH_STEP = 8


def width_of(length: int) -> int:
    """A length as it is computed."""
    return -(-length // LENGTH_STEP) * LENGTH_STEP


def parts(lengths: Sequence[int], *, call_cells: float) -> list[NDArray[np.int64]]:
    """The numbers of the rows of each part, shortest rows first. `lengths` (N,), N >= 1, at least 1 each; a call costs
    as much as `call_cells` cells."""
    widths = np.array([width_of(length) for length in lengths])
    order = np.argsort(widths, kind="stable")
    found, counts = np.unique(widths, return_counts=True)
    ends = np.cumsum(counts)  # rows that are not wider
    before = np.concatenate([[0], ends])
    best, cut = [0.0], [0]  # the least cost of what is not wider, and where the last of its parts begins
    for last, width in enumerate(found.tolist()):
        least, at = inf, 0
        for first in range(last + 1):
            cost = best[first] + call_cells + width * int(ends[last] - before[first])
            if cost < least:
                least, at = cost, first
        best.append(least)
        cut.append(at)
    made: list[NDArray[np.int64]] = []
    last = len(found)
    while last:
        first = cut[last]
        made.append(order[before[first] : before[last]])
        last = first
    return made[::-1]
