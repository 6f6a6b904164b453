"""Cells and rows that lie far from all others: a slip of the decimal point, a sensor that says 9999, two rows in one.

A cell. How far a side of a column goes on is told by itself: the quantiles at .8 and .95 say how its tail grows with
the logarithm of the rows that are seen, x = a (-log(1 - p))^b, which holds of normal, exponential and lognormal columns
alike and is not moved by a few wrong cells. A cell beyond SLACK times where one of CHANCE columns of so many rows would
have its last is a finding.

A row whose cells are each ordinary may stand alone, too. Its local outlier factor (Breunig et al. 2000) says how many
times as far its neighbors are as theirs: LEAST_FACTOR times and more, and farther than those of all but 1 % of the
rows, is a finding. (How its tail goes on tells nothing: it is heavy where there is no outlier.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float64
from deepseek.data.table.table import Table
from deepseek.extras import need

LOW_SHARE, HIGH_SHARE = 0.80, 0.95  # of a side's cells, that tell how its tail grows
CHANCE = 1e-3  # that the last cell of a clean column is called an outlier
SLACK = 1.5
LEAST_VALUES = 20  # different ones on a side; of fewer nobody can say how it goes on
MOST_SHARE = 0.02  # of a column's cells: more are another group and no slips
NUM_NEIGHBORS = 20
LEAST_FACTOR, FAR_SHARE = 4.0, 0.99
JITTER = 1e-3  # of the spread of a column
LEAST_ROWS, MOST_ROWS = 200, 50_000  # that neighbors are looked for among


@dataclass(frozen=True, slots=True)
class Outlier:
    """A cell of a column, or a row where `column` is ""."""

    row: int  # from 0
    column: str
    score: float  # 0..1: 1 - limit / distance; of a row 1 - 1 / its factor
    evidence: str


def find_outliers(table: Table, kinds: Mapping[str, str]) -> list[Outlier]:
    """Far cells of columns of numbers, then far rows among the others."""
    columns = {name: _numbers(table, name) for name, kind in kinds.items() if kind == "numeric"}
    outliers = [each for name, values in columns.items() for each in far_cells(name, values)]
    done = {each.row for each in outliers}
    return outliers + [each for each in far_rows(columns) if each.row not in done]


def far_cells(name: str, values: Float64) -> list[Outlier]:
    """Of a column (N,), NaN where there is no value."""
    there = values[np.isfinite(values)]
    if not len(there):
        return []
    middle = float(np.median(there))
    outliers = []
    for sign in (-1.0, 1.0):
        distance = sign * (values - middle)
        limit = tail_limit(distance[distance > 0], len(there))
        far = np.flatnonzero(distance > limit)
        if not 0 < len(far) <= max(1, MOST_SHARE * len(there)):
            continue
        edge = np.nanmax(np.where(distance > limit, np.nan, sign * values)) * sign
        word = "largest" if sign > 0 else "least"
        outliers += [
            Outlier(
                row, name, float(1 - limit / distance[row]),
                f"{name} is {values[row]:,.6g}; the {word} of the other rows is {edge:,.6g}, the middle {middle:,.6g}",
            )
            for row in far.tolist()
        ]  # fmt: skip
    return sorted(outliers, key=lambda each: each.row)


def far_rows(columns: Mapping[str, Float64]) -> list[Outlier]:
    """Rows that are far from their neighbors, by two columns or more; none of too few rows or too many."""
    if len(columns) < 2:
        return []
    matrix = np.stack([_bend(values) for values in columns.values()], axis=1)
    whole = np.flatnonzero(np.isfinite(matrix).all(axis=1))
    if not LEAST_ROWS <= len(whole) <= MOST_ROWS:
        return []
    neighbors = need("sklearn.neighbors", extra="tabular")
    draw = np.random.default_rng(0)
    points = matrix[whole] + draw.normal(0, JITTER, (len(whole), matrix.shape[1]))  # copies would divide by zero
    model = neighbors.LocalOutlierFactor(NUM_NEIGHBORS).fit(points)
    factor = -model.negative_outlier_factor_
    distances, near_rows = model.kneighbors()
    far = np.flatnonzero((factor >= LEAST_FACTOR) & (distances[:, -1] > np.quantile(distances[:, -1], FAR_SHARE)))
    names, nearest = list(columns), near_rows[far, 0]
    outliers = []
    for place, near in zip(far.tolist(), nearest.tolist(), strict=True):
        most = int(np.abs(points[place] - points[near]).argmax())
        outliers.append(
            Outlier(
                int(whole[place]), "", float(1 - 1 / factor[place]),
                f"its neighbors are {factor[place]:.1f} times as far as theirs; it differs from row "
                f"{int(whole[near]) + 1}, the nearest, most by {names[most]}",
            )
        )  # fmt: skip
    return outliers


def tail_limit(distances: Float64, num_rows: int) -> float:
    """How far a clean column of `num_rows` goes on, by the distances of one side from the middle; inf where too few of
    them differ to say it."""
    if len(np.unique(distances)) < LEAST_VALUES:
        return np.inf
    low, high = np.quantile(distances, (LOW_SHARE, HIGH_SHARE))
    if not 0 < low < high:
        return np.inf
    times = -np.log1p(-np.array([LOW_SHARE, HIGH_SHARE]))
    power = np.log(high / low) / np.log(times[1] / times[0])
    last = np.log(max(num_rows, 2) / CHANCE)
    return float(SLACK * high * (last / times[1]) ** power)


def _numbers(table: Table, name: str) -> Float64:
    """A column as numbers, NaN where it has none."""
    missing: NDArray[np.bool_] = table.missing_mask(name)
    values = np.full(table.num_rows, np.nan)
    cells = table.column(name)
    rows = np.flatnonzero(~missing)
    values[rows] = [_number(cells[row]) for row in rows.tolist()]
    return values


def _number(cell: object) -> float:
    try:
        return float(cell)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return np.nan


def _bend(values: Float64) -> Float64:
    """Centered, divided by its spread and bent, so that a long tail does not decide alone; zeros for a constant."""
    there = values[np.isfinite(values)]
    if not len(there):
        return np.zeros(len(values))
    low, middle, high = np.quantile(there, (0.25, 0.5, 0.75))
    spread = high - low or there.std() or 1.0
    return np.where(np.isfinite(values), np.arcsinh((values - middle) / spread), 0.0)
