"""Which columns belong together: one rises and falls with another, or is a sum or a product of several.

    find_groups(rows, kinds)        (("radius", "perimeter", "area"), ("total", "first", "second"))

A row in which only one column of such a group has changed may be one that cannot be. Measured on rows, so what is no
function of others in these rows is not seen, and what is one by chance in a few rows is not asked: MIN_ROWS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import combinations

import numpy as np

from deepseek.contracts import Float64, Record
from deepseek.explain.tabular.neighbors import ColumnKind

MIN_ROWS = 30
MIN_DISTINCT = 10  # values of a column, below which ranks say little
MIN_RANK_CORRELATION = 0.99  # of two columns, by size, from which one is taken for a function of the other
MIN_R2 = 1 - 1e-6  # of a column by others, from which it is taken for their sum, or in logarithms for their product
ROWS_PER_COLUMN = 3  # rows that a sum or product of so many columns is judged on, for each
_RIDGE = 1e-10  # so that copies of a column leave an inverse
_MIN_SHARE = 1e-3  # of a sum, from which a column is a part of it


def find_groups(rows: Sequence[Record], kinds: Mapping[str, ColumnKind]) -> tuple[tuple[str, ...], ...]:
    """Groups of two columns or more, each in one group at most, in the order of `kinds`; () where nothing depends on
    anything, and where there are fewer than MIN_ROWS rows.

    >>> rows = [{"side": k, "area": k * k, "color": "red"} for k in range(1, 41)]
    >>> find_groups(rows, {"side": "number", "area": "number", "color": "category"})
    (('side', 'area'),)
    """
    columns = {name: _to_numbers(rows, name) for name, kind in kinds.items() if kind == "number"}
    known = {name: values for name, values in columns.items() if _varies(values)}
    if len(rows) < MIN_ROWS or len(known) < 2:
        return ()
    group_of = {name: frozenset([name]) for name in known}
    for tied in [*_find_pairs(known), *_find_sums(known)]:
        joined = frozenset(name for each in tied for name in group_of[each])
        group_of.update(dict.fromkeys(joined, joined))
    groups = dict.fromkeys(group for group in group_of.values() if len(group) > 1)
    return tuple(tuple(name for name in kinds if name in group) for group in groups)


def _to_numbers(rows: Sequence[Record], name: str) -> Float64:
    """A column (N,) as numbers; NaN for what is missing and for text that is no number ("n/a")."""
    values = np.full(len(rows), np.nan)
    for place, row in enumerate(rows):
        value = row.get(name)
        if value is not None:
            with suppress(ValueError):
                values[place] = float(value)
    return values


def _varies(values: Float64) -> bool:
    return len(np.unique(values[np.isfinite(values)])) >= MIN_DISTINCT


def _find_pairs(columns: Mapping[str, Float64]) -> list[tuple[str, ...]]:
    """Pairs of columns of which one rises or falls with the other."""
    names = list(columns)
    pairs: list[tuple[str, ...]] = []
    whole = np.stack([columns[name] for name in names])
    if np.isfinite(whole).all():  # the usual case: all correlations at once
        correlations = np.abs(np.corrcoef(np.stack([_rank(values) for values in whole])))
        tied = np.argwhere(np.triu(correlations >= MIN_RANK_CORRELATION, 1)).tolist()
        pairs += [(names[first], names[second]) for first, second in tied]
        return pairs
    for first, second in combinations(names, 2):
        both = np.isfinite(columns[first]) & np.isfinite(columns[second])
        some = [columns[name][both] for name in (first, second)]
        if both.sum() < MIN_ROWS or not all(map(_varies, some)):
            continue
        if abs(np.corrcoef(_rank(some[0]), _rank(some[1]))[0, 1]) >= MIN_RANK_CORRELATION:
            pairs.append((first, second))
    return pairs


def _rank(values: Float64) -> Float64:
    """Ranks (N,), where equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    middles: Float64 = np.cumsum(counts) - (counts - 1) / 2
    return middles[inverse]


def _find_sums(columns: Mapping[str, Float64]) -> list[tuple[str, ...]]:
    """Columns that are a weighted sum of others, or a product of powers of others, together with these."""
    names = list(columns)
    whole = np.stack([columns[name] for name in names], axis=1)
    whole = whole[np.isfinite(whole).all(axis=1)]
    positive = np.all(whole > 0, axis=0)
    sums = _find_linear(names, whole)
    some = [name for name, each in zip(names, positive.tolist(), strict=True) if each]
    return sums + (_find_linear(some, np.log(whole[:, positive])) if len(some) > 2 else [])


def _find_linear(names: Sequence[str], values: Float64) -> list[tuple[str, ...]]:
    """Each column of `values` (N, P) that is exact by a few others, with these."""
    num_rows, num_columns = values.shape
    if num_rows < max(MIN_ROWS, ROWS_PER_COLUMN * num_columns):
        return []
    spread = values.std(axis=0)
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = (values - values.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    if not np.isfinite(scaled).all():
        return []
    # 1 / (1 - R²) of every column by all others stands on the diagonal of the inverse of their correlations
    correlations = scaled.T @ scaled / num_rows + _RIDGE * np.eye(num_columns)
    exact = np.flatnonzero(np.diag(np.linalg.inv(correlations)) >= 0.5 / (1 - MIN_R2))
    ties = []
    for place in exact.tolist():
        others = np.delete(np.arange(num_columns), place)
        parts = _parts_of(scaled[:, others], scaled[:, place])
        if parts is not None:
            ties.append((names[place], *(names[others[part]] for part in parts)))
    return ties


def _parts_of(others: Float64, values: Float64) -> list[int] | None:
    """The columns of `others` (N, P) whose weighted sum `values` (N,) is; None where it is none. A column that is a
    function of itself under another name is left to _find_pairs()."""
    weights = _solve(others, values)
    if _residual_share(others, values, weights) > 1 - MIN_R2:
        return None
    parts = np.flatnonzero(np.abs(weights) >= _MIN_SHARE)
    some = others[:, parts]
    if not len(parts) or _residual_share(some, values, _solve(some, values)) > 1 - MIN_R2:
        return None
    return [int(part) for part in parts]


def _solve(others: Float64, values: Float64) -> Float64:
    """Weights (P,) of the columns of `others` (N, P), by least squares."""
    return np.asarray(np.linalg.lstsq(others, values, rcond=None)[0], np.float64)


def _residual_share(others: Float64, values: Float64, weights: Float64) -> float:
    """1 - R² of `values` (N,), whose variance is 1, by the weighted sum of `others` (N, P)."""
    return float(np.square(values - others @ weights).mean())
