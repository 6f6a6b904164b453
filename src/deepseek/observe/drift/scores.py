"""Rows of a log as numbers whose means are 0 while nothing changes: by these a change is seen wherever it is.

Fitted on earlier rows. A number becomes its rank among the earlier ones, and the first four Legendre polynomials of
it (Neyman 1937: level, spread, lean, tails); a category becomes an indicator of each frequent level; a value that may
be missing an indicator of that. Products of two columns tell of their relation, whitened components of what several
columns obey together. Each number is bounded, so that a mean of some hundred rows is nearly normal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from deepseek.contracts import Float64

COMMON_SHARE = 0.02  # of a level, or of missing values, whose mean is nearly normal in some hundred rows
MAX_LEVELS = 12  # of a category, with an indicator each
NUM_BINS = 32  # of a column of numbers, in which its shape is looked at
MAX_CROSSED = 80  # scores whose products are looked at
MIN_EIGENVALUE = 1e-3  # of a component, of the mean one: below it columns repeat each other
MAX_COMPONENT = 4.0  # a component's value is cut there


@dataclass(frozen=True, slots=True)
class NumberColumn:
    """`values` (N,), NaN where missing."""

    name: str
    values: Float64

    @property
    def missing(self) -> NDArray[np.bool_]:
        return np.isnan(self.values)


@dataclass(frozen=True, slots=True)
class LevelColumn:
    """`values` (N,) of texts, None where missing."""

    name: str
    values: NDArray[np.object_]

    @property
    def missing(self) -> NDArray[np.bool_]:
        return np.array([value is None for value in self.values], bool)


ColumnValues = NumberColumn | LevelColumn


def read_columns(table: pa.Table) -> list[ColumnValues]:
    """Numbers and booleans as numbers, infinite ones as missing; all else as texts."""
    columns: list[ColumnValues] = []
    for name, column in zip(table.column_names, table.columns, strict=True):
        kind = column.type
        if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
            numbers = column.cast(pa.float64()).to_numpy().astype(np.float64)
            columns.append(NumberColumn(name, np.where(np.isfinite(numbers), numbers, np.nan)))
        elif pa.types.is_null(kind):
            columns.append(NumberColumn(name, np.full(len(column), np.nan)))
        else:
            columns.append(LevelColumn(name, pc.cast(column, pa.string()).to_numpy()))
    return columns


@dataclass(frozen=True, slots=True)
class RowScores:
    """Scores of N rows. `single` (N, S): of one column each; `crossed` (N, Q): those of which products are looked at;
    `components` (N, R): whitened, cut at MAX_COMPONENT; `bins` (N, P): of each column of numbers the number of its bin
    among the bins of all."""

    single: Float64
    crossed: Float64
    components: Float64
    bins: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64] | slice) -> RowScores:
        return RowScores(self.single[rows], self.crossed[rows], self.components[rows], self.bins[rows])


@dataclass(frozen=True)
class _ColumnBasis:
    """How a column is scored: `ordered` (N,) its earlier numbers, or `levels` that have an indicator."""

    name: str
    ordered: Float64 | None
    levels: tuple[str, ...]
    is_missing_scored: bool

    @cached_property
    def edges(self) -> Float64:
        """Between NUM_BINS bins with about as many earlier numbers each; fewer where numbers repeat."""
        if self.ordered is None:
            return np.zeros(0)
        edges: Float64 = np.unique(np.quantile(self.ordered, np.arange(1, NUM_BINS) / NUM_BINS, method="lower"))
        inner: Float64 = edges[edges < self.ordered[-1]]
        return inner

    def bin_numbers(self, column: NumberColumn) -> NDArray[np.int64]:
        """The bin of each row (N,); a missing value has one of its own, the last."""
        places = np.searchsorted(self.edges, column.values, side="left")
        return np.where(column.missing, len(self.edges) + 1, places).astype(np.int64)

    @classmethod
    def fit(cls, column: ColumnValues) -> _ColumnBasis:
        missing = column.missing
        if isinstance(column, NumberColumn):
            ordered = np.sort(column.values[~missing])
            return cls(column.name, ordered if len(ordered) else None, (), _is_common(missing))
        names, counts = np.unique(column.values[~missing].astype(str), return_counts=True)
        common = [index for index in np.argsort(-counts)[:MAX_LEVELS] if counts[index] >= COMMON_SHARE * len(missing)]
        return cls(column.name, None, tuple(names[common].tolist()), _is_common(missing))

    def score(self, column: ColumnValues) -> list[Float64]:
        """Each (N,): of a number first its rank, then the other polynomials; indicators; a missing value counts 0."""
        missing = column.missing
        if isinstance(column, LevelColumn):
            scores = [(column.values == level).astype(np.float64) for level in self.levels]
        else:
            scores = [] if self.ordered is None else _legendre(self.ordered, column.values, missing)
        return [*scores, missing.astype(np.float64)] if self.is_missing_scored else scores


def _is_common(missing: NDArray[np.bool_]) -> bool:
    return bool(COMMON_SHARE <= missing.mean() <= 1 - COMMON_SHARE) if len(missing) else False


def _legendre(ordered: Float64, values: Float64, missing: NDArray[np.bool_]) -> list[Float64]:
    """Of the place of each value among the earlier ones, the middle of its equals: polynomials 1 to 4, 0 where
    missing."""
    filled = np.where(missing, ordered[0], values)
    below = np.searchsorted(ordered, filled, side="left")
    place = (below + np.searchsorted(ordered, filled, side="right")) / len(ordered) - 1  # -1 .. 1
    polynomials = (
        place,
        (3 * place**2 - 1) / 2,
        (5 * place**3 - 3 * place) / 2,
        (35 * place**4 - 30 * place**2 + 3) / 8,
    )
    return [np.where(missing, 0.0, each) for each in polynomials]


class RowScorer:
    """Fitted on earlier rows; scores of later ones. `single_names`, `crossed_names`: the column of each score."""

    def __init__(self, columns: Sequence[ColumnValues]) -> None:
        """The earlier rows; every second one fits the components, so that the others are as new to them."""
        self._bases = [_ColumnBasis.fit(each) for each in columns]
        raw, self._names, self._is_crossed, self._is_linear = self._raw(columns)
        self._center, spread = raw.mean(axis=0), raw.std(axis=0)
        self._kept = spread > 1e-9
        self._spread = np.where(self._kept, spread, 1.0)
        crossed = np.flatnonzero(self._kept & self._is_crossed)
        linear = np.flatnonzero(self._kept & self._is_linear)
        self._linear = linear[:MAX_CROSSED]
        self._crossed = crossed if len(crossed) <= MAX_CROSSED else self._linear
        standard = (raw[::2] - self._center) / self._spread
        self._mean_linear = standard[:, self._linear].mean(axis=0)
        self._whitening = _whiten(standard[:, self._linear])
        self.single_names = tuple(self._names[index] for index in np.flatnonzero(self._kept))
        self.crossed_names = tuple(self._names[index] for index in self._crossed)
        self._binned = [each for each in self._bases if each.ordered is not None]
        sizes = [len(each.edges) + 2 for each in self._binned]
        self.bin_starts = np.cumsum([0, *sizes])  # of each column of numbers, and the number of all bins
        self.binned_names = tuple(each.name for each in self._binned)
        self.past = self.score(columns)

    def score(self, columns: Sequence[ColumnValues]) -> RowScores:
        """Rows of the same columns, in any order."""
        raw = self._raw(columns)[0]
        standard = (raw - self._center) / self._spread
        components = (standard[:, self._linear] - self._mean_linear) @ self._whitening
        by_name = {each.name: each for each in columns if isinstance(each, NumberColumn)}
        bins = np.zeros((len(raw), len(self._binned)), np.int64)
        for place, basis in enumerate(self._binned):
            bins[:, place] = self.bin_starts[place] + basis.bin_numbers(by_name[basis.name])
        return RowScores(
            standard[:, self._kept],
            standard[:, self._crossed],
            np.clip(components, -MAX_COMPONENT, MAX_COMPONENT),
            bins,
        )

    def _raw(self, columns: Sequence[ColumnValues]) -> tuple[Float64, list[str], NDArray[np.bool_], NDArray[np.bool_]]:
        """Scores (N, K) before they are standardized; the column of each; whether its products count; whether it is a
        rank or an indicator."""
        by_name: Mapping[str, ColumnValues] = {each.name: each for each in columns}
        parts: list[Float64] = []
        names: list[str] = []
        is_crossed: list[bool] = []
        is_linear: list[bool] = []
        for basis in self._bases:
            for place, values in enumerate(basis.score(by_name[basis.name])):
                is_polynomial = basis.ordered is not None and place < 4
                parts.append(values)
                names.append(basis.name)
                is_linear.append(not is_polynomial or place == 0)
                is_crossed.append(not is_polynomial or place < 2)
        raw = np.column_stack(parts) if parts else np.zeros((len(columns[0].values), 0))
        return raw, names, np.array(is_crossed, bool), np.array(is_linear, bool)


def _whiten(standard: Float64) -> Float64:
    """(Q, R): from standardized scores (N, Q) to uncorrelated ones of variance 1, without those that are constant."""
    if not standard.shape[1]:
        return np.zeros((0, 0))
    values, vectors = np.linalg.eigh(np.cov(standard, rowvar=False).reshape(standard.shape[1], standard.shape[1]))
    kept = values > MIN_EIGENVALUE * max(values.mean(), 1e-12)
    whitening: Float64 = vectors[:, kept] / np.sqrt(values[kept])
    return whitening
