"""How much of what went wrong each slice explains, and how likely chance alone would do as much.

Of a slice S with n rows and C bad ones in the window, q = C / n, and p what the past lets expect of these rows
(baseline.py):

    inside = n (q ln(q / p) + (1 - q) ln((1 - q) / (1 - p)))    the log-likelihood ratio of a rate that changed in S
    mix    = what follows from S being asked for more often, S having been bad before

The score is their sum, in nats, a little more where S was rare in the past. It is largest for the tightest slice that
holds all that went wrong: a wider one dilutes q, a narrower one loses rows. (Kulldorff 1997, the Bernoulli scan
statistic; against the slice's own past instead of against the rows outside of it.)

The probability is the tail of a negative binomial around the past's rate, whose spread is that of the slice's own rates
in parts of the past as long as the window. All slices together are bounded by Benjamini and Hochberg (1995).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float64

SHIFT_WEIGHT = 0.2  # most of what is added for a slice that the past did not have
DEFAULT_SPREAD = 0.04  # squared coefficient of variation of a rate where the past is too short to say
NEW_SPREAD = 0.01  # squared coefficient of variation of the rate of a slice that the past did not have
MIN_PARTS = 4


@dataclass(frozen=True, slots=True)
class SliceCounts:
    """Weighted rows of S slices: in the window (S,), in each of T parts of the past (S, T); and of all rows: () and
    (T,).
    `row_weight`: how many rows one row of the sample stands for, at most."""

    num_rows: Float64
    num_bad: Float64
    expected: Float64  # bad rows as the past lets expect, in each part of it and in the window: (S, T + 1)
    past_rows: Float64
    past_bad: Float64
    all_rows: float
    all_bad: float
    all_past_rows: Float64
    all_past_bad: Float64
    row_weight: float = 1.0


@dataclass(frozen=True, slots=True)
class SliceScores:
    """Of S slices (S,): the score, the probability by chance, the rate that the past lets expect, and the bad rows
    beyond it. `by_share`: what rose is the slice's share of the requests, not its rate."""

    score: Float64
    p_value: Float64
    past_rate: Float64
    excess: Float64
    by_share: NDArray[np.bool_]
    plain: Float64  # the score without what is added for a slice that is new


def score_slices(counts: SliceCounts) -> SliceScores:
    """Scores of all slices; 0 for those that are no worse than in the past."""
    tiny = np.finfo(np.float64).tiny
    past_total, past_bad_total = counts.all_past_rows.sum(), counts.all_past_bad.sum()
    base = (past_bad_total + 0.5) / (past_total + 1.0)
    prior = 1 / base
    past_rows, past_bad = counts.past_rows.sum(axis=1), counts.past_bad.sum(axis=1)
    usual = (past_bad + prior * base) / (past_rows + prior)
    rate = np.clip(counts.expected[:, -1] / np.maximum(counts.num_rows, tiny), 0.1 * base, 0.98)
    observed = counts.num_bad / np.maximum(counts.num_rows, tiny)
    inside = np.where(observed > rate, counts.num_rows * _bernoulli_divergence(observed, rate), 0.0)

    outside = (past_bad_total - past_bad + prior * base) / (past_total - past_rows + prior)
    expected = counts.num_rows * usual + (counts.all_rows - counts.num_rows) * outside
    gain_alike = _poisson_gain(np.array(counts.all_bad), np.array(counts.all_rows * base))
    share, past_share = counts.num_rows / counts.all_rows, past_rows / max(past_total, tiny)
    mix = np.maximum(0.0, gain_alike - _poisson_gain(np.array(counts.all_bad), expected))
    mix = np.where((share > past_share) & (usual > base) & (expected > counts.all_rows * base), mix, 0.0)

    shift = np.clip(1 - past_share / np.maximum(share, tiny), 0.0, 1.0)
    by_share = mix > inside
    p_value, excess = _tail(counts, rate, by_share)
    score = np.where(counts.num_rows > 0, (inside + mix) * (1 + SHIFT_WEIGHT * shift), 0.0)
    return SliceScores(score, p_value, rate, excess, by_share, inside + mix)


def _bernoulli_divergence(observed: Float64, rate: Float64) -> Float64:
    with np.errstate(divide="ignore", invalid="ignore"):
        good = np.where(observed < 1, (1 - observed) * np.log((1 - observed) / (1 - rate)), 0.0)
        result: Float64 = np.where(observed > 0, observed * np.log(observed / rate), 0.0) + good
    return result


def _poisson_gain(count: Float64, expected: Float64) -> Float64:
    """The log-likelihood ratio of a mean that rose from `expected` to `count`."""
    with np.errstate(divide="ignore", invalid="ignore"):
        gain: Float64 = np.where(count > expected, count * np.log(count / expected) - count + expected, 0.0)
    return gain


def _tail(counts: SliceCounts, rate: Float64, by_share: NDArray[np.bool_]) -> tuple[Float64, Float64]:
    """The probability of as many bad rows by chance, and the bad rows beyond what is expected."""
    from scipy.special import betainc

    totals, past_bad = counts.all_past_rows, counts.past_bad.sum(axis=1)
    share_rate = (past_bad + 1.0) / totals.sum()
    expected = np.where(by_share[:, None], totals[None, :] * share_rate[:, None], counts.expected[:, :-1])
    mean = np.where(by_share, counts.all_rows * share_rate, counts.num_rows * rate)
    past_expected = counts.expected[:, :-1].sum(axis=1)
    unsure = NEW_SPREAD + past_expected / (past_expected + 1.0) / (past_bad + 1.0)
    variance = counts.row_weight * mean + mean**2 * (_spread(counts.past_bad, expected) + unsure)
    mean = np.maximum(mean, 1e-12)
    size = mean**2 / np.maximum(variance - mean, 1e-9 * mean)
    p_value: Float64 = betainc(np.maximum(counts.num_bad, 1e-9), size, mean / (size + mean))
    return np.where(counts.num_bad > 0, p_value, 1.0), counts.num_bad - mean


def _spread(bad: Float64, expected: Float64) -> Float64:
    """The squared coefficient of variation of a rate from part to part of the past, beyond that of counts."""
    if bad.shape[1] < MIN_PARTS:
        return np.full(len(bad), DEFAULT_SPREAD)
    beyond = ((bad - expected) ** 2 - expected).sum(axis=1)
    weight = (expected**2).sum(axis=1)
    observed: Float64 = np.maximum(0.0, beyond / np.maximum(weight, 1e-12))
    num_parts = bad.shape[1]
    return np.where(weight > num_parts, observed, np.maximum(observed, DEFAULT_SPREAD) * 0.5)


def bound_false_discoveries(p_values: Float64, share: float) -> float:
    """The largest probability at which at most `share` of those at or below it are expected to be false; 0 for none.

    >>> bound_false_discoveries(np.array([0.001, 0.02, 0.8]), 0.05)
    0.02
    """
    ordered = np.sort(p_values)
    passing = np.flatnonzero(ordered <= share * np.arange(1, len(ordered) + 1) / max(1, len(ordered)))
    return float(ordered[passing[-1]]) if len(passing) else 0.0
