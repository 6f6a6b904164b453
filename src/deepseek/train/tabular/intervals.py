"""Exact intervals where a bootstrap has none: of no error in N rows it draws no error, however often.

exact_interval(114, 114)      # (0.968, 1.0), Clopper and Pearson (1934)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float64
from deepseek.extras import need
from deepseek.operating_point import LEVEL, Rate

MIN_ERRORS = 10  # below, of hits or of misses, percentiles of a bootstrap are too narrow


def exact_interval(num_hits: float, num_rows: float) -> tuple[float, float]:
    """The 95 % interval of a share of `num_hits` in `num_rows` (Clopper and Pearson 1934, by the beta distribution,
    which takes numbers that are not whole). (0, 1) without rows.

    >>> [round(end, 3) for end in exact_interval(114, 114)], exact_interval(0, 0)
    ([0.968, 1.0], (0.0, 1.0))
    """
    if num_rows <= 0:
        return 0.0, 1.0
    quantile, tail, misses = need("scipy.special", extra="tabular").betaincinv, (1 - LEVEL) / 2, num_rows - num_hits
    low = 0.0 if num_hits <= 0 else float(quantile(num_hits, misses + 1, tail))
    high = 1.0 if misses <= 0 else float(quantile(num_hits + 1, misses, 1 - tail))
    return low, high


def effective_rows(weight: Float64) -> float:
    """How many rows of equal weight say as much (Kish 1965): all of them where weights are equal.

    >>> effective_rows(np.ones(7)), effective_rows(np.array([1.0, 0.0]))
    (7.0, 1.0)
    """
    squares = float(weight @ weight)
    return float(weight.sum()) ** 2 / squares if squares > 0 else 0.0


def weighted_rate(hit: NDArray[np.bool_], weight: Float64) -> Rate | None:
    """The share of rows (N,) that are hits, with its interval; None without rows of any weight."""
    num_rows = effective_rows(weight)
    if num_rows == 0:
        return None
    value = float(weight @ hit / weight.sum())
    low, high = exact_interval(value * num_rows, num_rows)
    return Rate(value, min(low, value), max(high, value))


def degenerate_interval(name: str, value: float, target: NDArray[Any], weight: Float64) -> tuple[float, float] | None:
    """An interval for a metric whose resamples cannot differ, or differ too little: accuracy with few errors, and every
    perfect score of a ranking or of classes. None where the bootstrap's stands.

    AUC: pairs of one positive and one negative row that share no row are independent, and each is in order with the
    chance that the AUC is: an exact interval of as many pairs as the rarer class has rows. Average precision: what the
    bounds of recall and of the false-positive rate leave at the threshold between the classes. Macro F1: the mean of
    the bounds of each class.
    """
    num_rows = effective_rows(weight)
    if name == "accuracy":
        few = min(value, 1 - value) * num_rows < MIN_ERRORS
        return exact_interval(value * num_rows, num_rows) if few else None
    if value not in (0.0, 1.0) or name not in ("auc", "average_precision", "macro_f1"):
        return None
    sizes = [effective_rows(weight[target == label]) for label in np.unique(target)]
    if name == "auc":
        return exact_interval(value * min(sizes), min(sizes))
    if name == "macro_f1":
        low, high = np.mean([exact_interval(value * size, size) for size in sizes], axis=0)
        return float(low), float(high)
    if value == 0:
        return None
    share = float(weight[target == 1].sum() / weight.sum())
    num_negatives, num_positives = effective_rows(weight[target != 1]), effective_rows(weight[target == 1])
    recall, alarms = exact_interval(num_positives, num_positives)[0], exact_interval(0, num_negatives)[1]
    return recall * share * recall / (share * recall + (1 - share) * alarms), 1.0
