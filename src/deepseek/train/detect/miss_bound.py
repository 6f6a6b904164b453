"""A threshold with a bound on missed defects that holds for finite samples, or a refusal that says what it would take.

    bound = choose_threshold(scores_of_defective_parts, max_miss=0.01, confidence=0.95)
    bound.threshold, bound.num_missed, bound.upper

A part is called defective when its score is at least the threshold. Let N held defective parts, never trained on, have
scores s_(1) <= ... <= s_(N). With the k-th smallest as threshold (k from 1) the share of all future defective parts
that score below it has, whatever the distribution, at most a Beta(k, N - k + 1) law: so P(miss <= m) >= I_m(k, N - k +
1). The threshold is the k-th smallest with the largest k for which that is at least the confidence. This is the
one-sided bound of Clopper and Pearson (1934) for k - 1 misses in N, and it holds although the threshold was chosen from
the same scores, because k depends on N, m and the confidence alone (Wilks 1941, tolerance limits). Ties only lower the
miss rate.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike

from deepseek.contracts import JsonObject
from deepseek.errors import CheckError, InputError
from deepseek.extras import need


@dataclass(frozen=True, slots=True)
class MissBound:
    """A threshold, and what is promised of it."""

    threshold: float
    max_miss: float  # share of defective parts that may be missed, 0 to 1
    confidence: float  # of the promise, 0 to 1
    num_defective: int  # held parts that it rests on
    num_missed: int  # of them, below the threshold
    upper: float  # the bound of Clopper and Pearson for that many misses; at most max_miss

    def to_dict(self) -> JsonObject:
        return asdict(self)


def num_parts_needed(max_miss: float, confidence: float, num_missed: int = 0) -> int:
    """How many held defective parts support a claim when `num_missed` of them are missed.

    >>> num_parts_needed(0.003, 0.95), num_parts_needed(0.05, 0.95)
    (998, 59)
    """
    _check_claim(max_miss, confidence)
    if num_missed == 0:
        return math.ceil(round(math.log1p(-confidence) / math.log1p(-max_miss), 9))
    low = high = num_missed + 1
    while upper_bound(num_missed, high, confidence) > max_miss:
        low, high = high, 2 * high
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if upper_bound(num_missed, middle, confidence) <= max_miss else (middle + 1, high)
    return low


def upper_bound(num_missed: int, num_parts: int, confidence: float) -> float:
    """The upper end of the one-sided interval of Clopper and Pearson.

    >>> round(upper_bound(0, 59, 0.95), 4), upper_bound(3, 3, 0.95)
    (0.0495, 1.0)
    """
    if num_missed >= num_parts:
        return 1.0
    quantile = need("scipy.special", extra="tabular").betaincinv
    return float(quantile(num_missed + 1, num_parts - num_missed, confidence))


def num_allowed_misses(num_parts: int, max_miss: float, confidence: float) -> int:
    """The most misses among `num_parts` that support the claim; -1: none does, the sample is too small.

    >>> num_allowed_misses(58, 0.05, 0.95), num_allowed_misses(59, 0.05, 0.95), num_allowed_misses(100, 0.05, 0.95)
    (-1, 0, 1)
    """
    missed = -1
    while missed + 1 < num_parts and upper_bound(missed + 1, num_parts, confidence) <= max_miss:
        missed += 1
    return missed


def choose_threshold(scores: ArrayLike, max_miss: float, confidence: float) -> MissBound:
    """The highest threshold whose promise the scores (N,) of held defective parts support. CheckError, with the number
    of parts that it would take, where they support none."""
    _check_claim(max_miss, confidence)
    ordered = np.sort(np.asarray(scores, np.float64).ravel())
    if not np.isfinite(ordered).all():
        raise InputError("a score is not finite", expected="numbers", fix="find out which picture has no score")
    allowed = num_allowed_misses(len(ordered), max_miss, confidence)
    if allowed < 0:
        needed, with_one = (num_parts_needed(max_miss, confidence, missed) for missed in (0, 1))
        raise CheckError(
            f"{len(ordered)} held defective parts cannot support at most {100 * max_miss:g} % missed at a confidence "
            f"of {100 * confidence:g} %, not even if none of them is missed",
            expected=f"at least {needed} held defective parts, or {with_one} if one of them "
            "may be missed",
            fix=f"label more defective parts, or claim less: {100 * upper_bound(0, len(ordered), confidence):.3g} % is "
            "what these can support" if len(ordered) else "label defective parts and hold some back",
        )  # fmt: skip
    threshold = float(ordered[allowed])
    missed = int((ordered < threshold).sum())  # fewer than allowed where scores are equal
    return MissBound(
        threshold, max_miss, confidence, len(ordered), missed, upper_bound(missed, len(ordered), confidence)
    )


def _check_claim(max_miss: float, confidence: float) -> None:
    for name, value in (("max-miss", max_miss), ("confidence", confidence)):
        if not 0 < value < 1:
            raise InputError(f"{name} is {value}", expected="above 0 and below 1", fix="for 0.3 % write 0.003")
