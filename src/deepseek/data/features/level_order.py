"""An order of a category's levels by what the target is where they stand, for trees, which split an ordered code.

    ranks = rank_levels(codes, num_levels, target, weight, num_classes)    (L,): of each code its place, 0 for code 0

A tree that splits codes in the order of the target's mean finds the best two groups of levels among all (Fisher 1958,
JASA 53; Breiman et al. 1984 for two classes); of more classes the first principal component of their shares stands for
the mean (Coppersmith, Hong and Hosking 1999, Data Mining and Knowledge Discovery 3). In the order of their frequency it
takes a split a level. A mean of few rows is drawn to that of all: else rare levels stand at both ends by chance alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float64

MIN_LEVELS = 3  # the order of two is that of their numbers or its reverse
PRIOR_ROWS = 10.0  # rows of the mean of all that count with a level's own


def rank_levels(
    codes: NDArray[np.int64], num_levels: int, target: NDArray[Any], weight: Float64, num_classes: int
) -> NDArray[np.int64]:
    """The place from 1 of each of `num_levels` codes by rising target, of codes, classes or values, and weights (N,).
    Code 0, which is missing, unseen or rare, stays 0. `num_classes`: 0 of values.

    Levels of equal means stand by chance: where codes are already in the order of a target that includes rows to judge
    by, levels that these rows alone have would keep it."""
    ranks = np.arange(num_levels)
    if num_levels - 1 < MIN_LEVELS:
        return ranks
    means = _target_means(codes, num_levels, target, weight, num_classes)
    by_chance = np.random.default_rng(num_levels).permutation(num_levels - 1)
    order = np.lexsort((by_chance, means[1:])) + 1
    ranks[order] = np.arange(1, num_levels)
    return ranks


def _target_means(
    codes: NDArray[np.int64], num_levels: int, target: NDArray[Any], weight: Float64, num_classes: int
) -> Float64:
    """The mean (L,) of the target by code, of more than two classes the first component of their shares."""
    columns = [target.astype(np.float64)] if not num_classes else [target == label for label in range(1, num_classes)]
    rows = np.bincount(codes, weight, minlength=num_levels)
    size = max((float(np.abs(column).max(initial=0.0)) for column in columns), default=0.0) or 1.0
    means: list[Float64] = []
    for column in columns:
        total = np.bincount(codes, weight * column, minlength=num_levels)
        overall = float(total.sum() / max(rows.sum(), np.finfo(np.float64).tiny))
        apart = (total - overall * rows) / (rows + PRIOR_ROWS)  # from the mean of all; 0 where a level has no rows
        means.append((apart / size).round(12))  # rounding errors of a sum order nothing, however small the target is
    if len(means) == 1:
        return means[0]
    shares = np.stack(means, axis=1)  # (L, C - 1) apart from those of all rows
    _, axes = np.linalg.eigh((shares * rows[:, None]).T @ shares)
    first = axes[:, -1] * np.sign(axes[np.abs(axes[:, -1]).argmax(), -1])
    component: Float64 = (shares @ first).round(12)  # equal levels stay equal on any processor
    return component
