"""A column that is filled in only after the answer is known: where it has a value (or none), the class is known.

    describe_presence(missing, classes, names=("no", "yes"), column="refunded_on")

Two findings: one class has a value there and hardly any other has (or the other way round); or of the rows that have a
value (or none) nearly all are of one class, far more than of all rows, and more than chance would do.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MIN_CLASS_ROWS = 10  # a class of fewer rows judges no column
REFUSED_ACCURACY = 0.985  # balanced, of presence for one class
MIN_PRECISION = 0.98  # of the rows with a value, those that are of the one class
MIN_LIFT = 20.0  # times as many of all rows are of other classes
MIN_RECALL = 0.1  # of the class, that has a value
MAX_LOG_CHANCE = np.log(1e-6)  # that rows drawn at random would be of one class so often


def describe_presence(missing: NDArray[np.bool_], classes: NDArray[np.int64], names: Sequence[str], what: str) -> str:
    """How the presence of a value (N,) tells the class (N,), in words; "" where it does not. `what`: the target."""
    sizes = np.bincount(classes, minlength=len(names))
    for number in np.flatnonzero(sizes >= MIN_CLASS_ROWS).tolist():
        is_class = classes == number
        share, others = missing[is_class].mean(), missing[~is_class].mean()
        if (1 + abs(share - others)) / 2 >= REFUSED_ACCURACY:
            value = "no value" if share > others else "a value"
            return f"has {value} in the rows of one class of {what}, and in hardly any other"
        for has_value, value in ((~missing, "a value"), (missing, "no value")):
            words = _describe_precision(has_value, is_class)
            if words:
                return f"has {value} in {words} of the class {names[number]!r} of {what}, as if filled in after it"
    return ""


def _describe_precision(has_value: NDArray[np.bool_], is_class: NDArray[np.bool_]) -> str:
    """Of the rows that have a value how many are of the class, where that is no chance; "" where it may be."""
    num, num_of_class = int(has_value.sum()), int((has_value & is_class).sum())
    share = float(is_class.mean())
    if num == 0 or num_of_class < MIN_RECALL * is_class.sum() or num == len(has_value):
        return ""
    precision = num_of_class / num
    if precision < MIN_PRECISION or (1 - share) < MIN_LIFT * (1 - precision):
        return ""
    # Chernoff's bound on the binomial tail: Hoeffding 1963, theorem 1
    others = num - num_of_class
    log_chance = num_of_class * np.log(share / precision)
    log_chance += others * np.log((1 - share) / (1 - precision)) if others else 0.0
    return f"{num:,} rows, {num_of_class:,} of them" if log_chance < MAX_LOG_CHANCE else ""
