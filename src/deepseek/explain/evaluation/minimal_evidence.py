"""Evidence counterfactual: the fewest parts that were found without which a model answers with another class.

    evidence = find_minimal_evidence(answers, values)      answers(masks (S, M)) -> (S,) codes of classes

Parts are taken away in the order of what they add to the class, until it changes; then each is put back alone, the
weakest first, as long as it stays changed. So each is needed, and it need not be the smallest set of all.
Source: Martens & Provost 2014 (MIS Quarterly 38, 73), section 4.2, without the search for several sets.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float64

Masks = NDArray[np.bool_]
ClassFunction = Callable[[Masks], NDArray[np.int64]]


def find_minimal_evidence(answers: ClassFunction, values: Float64) -> tuple[list[int], int, int] | None:
    """The fewest parts without which the class changes, as (places, other class, number of answers); None where it
    stays, whatever is taken away of what adds to it. `values` (M,) are for the class that is answered.

    >>> find_minimal_evidence(lambda masks: (masks @ np.array([3, 1, 1]) >= 3).astype(int), np.array([3.0, 1.0, 1.0]))
    ([0], 0, 5)
    """
    order = np.argsort(-values, kind="stable")
    order = order[values[order] > 0]
    ranks = np.full(len(values), len(values))
    ranks[order] = np.arange(len(order))
    masks = ranks[None] >= np.arange(len(order) + 1)[:, None]  # the first line has all
    codes = answers(masks)
    others = np.flatnonzero(codes != codes[0])
    if not len(others):
        return None
    keep, other, count = masks[others[0]].copy(), int(codes[others[0]]), len(masks)
    weakest_first, is_less = order[: others[0]][::-1].tolist(), True
    while is_less:  # what was needed beside others may not be needed without them
        is_less = False
        for place in [each for each in weakest_first if not keep[each]]:
            keep[place] = True
            count += 1
            if (again := int(answers(keep[None])[0])) == codes[0]:
                keep[place] = False
            else:
                other, is_less = again, True
    return np.flatnonzero(~keep).tolist(), other, count
