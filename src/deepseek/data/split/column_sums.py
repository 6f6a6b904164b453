"""A number that two columns add up to, or are the difference or the mean of: parts of the answer, known only with it.

    find_sum(columns, target)      # SumOfColumns("casual", "registered", sign=1, r2=1.0), or None

Least squares on two columns (their correlations give R2 of every pair at once), and both weights are equal but for the
sign: any two good predictors would not have that. Where one column alone tells as much, it is no pair.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from deepseek.contracts import Float64

MIN_R2 = 0.999
MAX_WEIGHT_GAP = 0.01  # of the larger weight, between the two
MIN_ROWS = 20
MAX_COLUMNS = 400  # of numbers that are tried
MAX_ROWS = 4_000
MIN_PRESENT = 0.5  # of the rows that a column is tried on
SCREENING_R2 = 0.6  # from which a pair is looked at: gaps that are filled by the mean take from it
MAX_TRIED = 20  # pairs that are looked at on the rows that have both


@dataclass(frozen=True, slots=True)
class SumOfColumns:
    """Two columns that tell a number together."""

    left: str
    right: str
    sign: int  # 1: their sum, or a multiple of it; -1: their difference
    r2: float
    num_rows: int


def find_sum(columns: Mapping[str, Float64], target: Float64) -> SumOfColumns | None:
    """The pair of columns (N,) each whose sum or difference is the target (N,), NaN where one is missing; None without
    one."""
    known = np.isfinite(target)
    rows = np.flatnonzero(known)
    rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), MAX_ROWS)).astype(np.int64)] if len(rows) else rows
    names = [
        name for name, values in columns.items()
        if len(rows) and np.isfinite(values[rows]).mean() >= MIN_PRESENT and np.nanstd(_finite(values[rows])) > 0
    ][:MAX_COLUMNS]  # fmt: skip
    if len(rows) < MIN_ROWS or len(names) < 2 or np.ptp(target[rows]) == 0:
        return None
    matrix = np.stack([_with_means(columns[name][rows]) for name in names])
    for left, right in _likely_pairs(matrix, target[rows]):
        fit = _fit_pair(columns[names[left]][rows], columns[names[right]][rows], target[rows])
        if fit is not None:
            sign, r2, num_rows = fit
            return SumOfColumns(names[left], names[right], sign, r2, num_rows)
    return None


def _finite(values: Float64) -> Float64:
    return np.where(np.isfinite(values), values, np.nan)


def _with_means(values: Float64) -> Float64:
    finite = _finite(values)
    return np.where(np.isnan(finite), np.nanmean(finite), finite)


def _likely_pairs(matrix: Float64, target: Float64) -> list[tuple[int, int]]:
    """The pairs of columns (P, N) with the largest R2 of a plane through the target (N,), from their correlations."""
    with np.errstate(all="ignore"):
        correlations: Float64 = np.asarray(np.corrcoef(np.vstack([matrix, target])))
        own, between = correlations[:-1, -1], correlations[:-1, :-1]
        r2 = own[:, None] ** 2 + own[None, :] ** 2 - 2 * own[:, None] * own[None, :] * between
        r2 = np.triu(r2 / (1 - between**2), 1)
    r2 = np.where(np.isfinite(r2) & (between**2 < 1 - 1e-9), r2, 0.0)
    order = np.argsort(-r2, axis=None)[:MAX_TRIED]
    pairs = np.stack(np.unravel_index(order, r2.shape), axis=1)
    return [(int(left), int(right)) for left, right in pairs if r2[left, right] >= SCREENING_R2]


def _fit_pair(left: Float64, right: Float64, target: Float64) -> tuple[int, float, int] | None:
    """The sign between two columns, R2 and the rows that have both, where their weights are equal but for it."""
    both = np.isfinite(left) & np.isfinite(right)
    if both.sum() < MIN_ROWS:
        return None
    left, right, target = left[both], right[both], target[both]
    design = np.stack([left, right, np.ones(len(left))], axis=1)
    weights, *_ = np.linalg.lstsq(design, target, rcond=None)
    total = float(((target - target.mean()) ** 2).sum())
    if total == 0 or not np.isfinite(weights).all():
        return None
    r2 = 1 - float(((target - design @ weights) ** 2).sum()) / total
    first, second = abs(weights[0]), abs(weights[1])
    if r2 < MIN_R2 or abs(first - second) > MAX_WEIGHT_GAP * max(first, second):
        return None
    return int(np.sign(weights[0] * weights[1])), r2, int(both.sum())
