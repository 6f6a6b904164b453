"""Whether rows differ from earlier ones in any way that these tests see, with one probability for all of it.

Families of tests look for different things: `level` at each column by itself (its level, spread, lean, tails, frequent
categories), `shape` at its finer bins, `relation` at each pair of columns, `structure` at what several columns obey
together, `overall` at many small moves at once, `event` at exact counts of rare things (missing, never seen, repeated,
rounded). Within a family the largest counts, for as many as were looked at; over the families the smallest probability.
Windows that are drawn from the earlier rows themselves say how small that is while nothing changes.

A change too small for one window shows in several: the last 2, 4, 8, ... windows are looked at together, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from deepseek.contracts import Float64
from deepseek.observe.drift.counts import EventCounter
from deepseek.observe.drift.scores import ColumnValues, LevelColumn, NumberColumn, RowScorer, RowScores

NUM_DRAWS = 200  # of windows of the earlier rows
MAX_DRAWN_ROWS = 500  # of such a window: the mean of more rows is nearer to normal still
TAIL_SHARE = 0.3  # of the draws, beyond which an exponential tail goes on
MIN_BIN_ROWS = 5  # of a bin among the earlier rows
EVENT_SHARE = 0.3  # of the chance of a false alarm, for events
MIN_P = 1e-12  # no smaller probability is told: so far out no tail is known
ALARM = 0.01  # a false alarm in a hundred windows


@dataclass(frozen=True, slots=True)
class Sign:
    """What differs most, of one family. `columns`: one or two; none where it is in no column alone."""

    family: str  # level, shape, relation, structure, overall, event
    p_value: float  # within its family
    columns: tuple[str, ...]
    detail: str = ""  # of an event: its kind, and its value


@dataclass(frozen=True, slots=True)
class Change:
    """`p_value`: of all families together. `signs`: the best of each family, the smallest probability first."""

    p_value: float
    num_rows: int
    signs: tuple[Sign, ...]


@dataclass(frozen=True, slots=True)
class Changes:
    """`p_value`: of all spans together; the spans with what differs in each, the shortest first."""

    p_value: float
    spans: tuple[Change, ...]

    @classmethod
    def of(cls, spans: Sequence[Change]) -> Changes:
        """Half of the chance of a false alarm is the first one's, half is shared by the others."""
        others = 2.0 * (len(spans) - 1)
        weights = [2.0, *[others] * (len(spans) - 1)] if len(spans) > 1 else [1.0]
        p_values = [each.p_value * weight for each, weight in zip(spans, weights, strict=True)]
        return cls(min(1.0, *p_values), tuple(spans))

    @property
    def is_alarm(self) -> bool:
        return self.p_value <= ALARM


@dataclass(frozen=True, slots=True)
class WindowSummary:
    """Sums over the scores of some rows: of single ones (S,), of products (Q, Q), of components and their squares
    (2R,), rows of each bin (B,); how many rows; and their columns, for what is counted."""

    single: Float64
    products: Float64
    components: Float64
    bins: Float64
    num_rows: int
    columns: tuple[ColumnValues, ...] = ()

    @classmethod
    def of(cls, scores: RowScores, num_bins: int, columns: Sequence[ColumnValues] = ()) -> WindowSummary:
        both = np.concatenate([scores.components, scores.components**2], axis=1)
        bins = np.bincount(scores.bins.ravel(), minlength=num_bins).astype(np.float64)
        return cls(
            scores.single.sum(axis=0), scores.crossed.T @ scores.crossed, both.sum(axis=0), bins, len(scores.single),
            tuple(columns),
        )  # fmt: skip

    @classmethod
    def merge(cls, parts: Sequence[WindowSummary]) -> WindowSummary:
        """Of all rows of the parts."""
        columns = []
        for same in zip(*(each.columns for each in parts), strict=True):
            values = np.concatenate([each.values for each in same])
            kind = NumberColumn if isinstance(same[0], NumberColumn) else LevelColumn
            columns.append(kind(same[0].name, values))
        return cls(
            sum((each.single for each in parts[1:]), parts[0].single),
            sum((each.products for each in parts[1:]), parts[0].products),
            sum((each.components for each in parts[1:]), parts[0].components),
            sum((each.bins for each in parts[1:]), parts[0].bins),
            sum(each.num_rows for each in parts), tuple(columns),
        )  # fmt: skip


class ChangeDetector:
    """Fitted on earlier rows, columns by name; later rows of the same columns are summarized, and measured."""

    def __init__(self, past: Sequence[ColumnValues], *, seed: int = 0) -> None:
        self._scorer, self._counter = RowScorer(past), EventCounter(past)
        scores = self._scorer.past
        self._num_bins = int(self._scorer.bin_starts[-1])
        self._fresh = scores.take(slice(1, None, 2))  # rows that the components were not fitted on
        self._past = WindowSummary.of(scores, self._num_bins)
        self._past_fresh = WindowSummary.of(self._fresh, self._num_bins)
        self._product_spread, self._component_spread = _spreads(scores, self._past)
        names = self._scorer.crossed_names
        self._pairs = np.array(
            [(i, j) for i in range(len(names)) for j in range(i) if names[i] != names[j]], dtype=np.int64
        ).reshape(-1, 2)
        self._seed = seed
        self._draws: dict[int, _Draws] = {}

    def summarize(self, now: Sequence[ColumnValues]) -> WindowSummary:
        """Rows as sums, which several windows can be merged from."""
        return WindowSummary.of(self._scorer.score(now), self._num_bins, now)

    def measure(self, now: WindowSummary) -> Change:
        """What has changed in these rows."""
        z_values = self._z_values(now, self._past, self._past_fresh, has_error=True)
        draws = self._draws_of(now.num_rows)
        surprises = _surprises(z_values, draws.overall)
        signs = [self._sign(family, surprise, z_values) for family, surprise in surprises.items()]
        event_p, events = self._counter.find_rarest(now.columns)
        signs += [
            Sign("event", p_value, (event.column,), f"{event.kind} {event.value}".strip()) for p_value, event in events
        ]
        moved = draws.p_value(max(surprises.values(), default=0.0))
        p_value = max(MIN_P, min(1.0, moved / (1 - EVENT_SHARE), event_p / EVENT_SHARE))
        return Change(p_value, now.num_rows, tuple(sorted(signs, key=lambda sign: sign.p_value)))

    def _z_values(
        self, now: WindowSummary, past: WindowSummary, past_fresh: WindowSummary, *, has_error: bool
    ) -> dict[str, Float64]:
        """Of each family its differences in standard errors. Without `has_error` the past is all that there is, and
        its means are exact: rows were drawn from it."""
        error = np.sqrt(1 / now.num_rows + has_error / past.num_rows)
        error_fresh = np.sqrt(1 / now.num_rows + has_error / past_fresh.num_rows)
        rows, columns = self._pairs.T
        products = now.products / now.num_rows - past.products / past.num_rows
        components = now.components / now.num_rows - past_fresh.components / past_fresh.num_rows
        return {
            "level": (now.single / now.num_rows - past.single / past.num_rows) / error,
            "relation": products[rows, columns] / self._product_spread[rows, columns] / error,
            "structure": components / self._component_spread / error_fresh,
            "shape": self._shape(now, past, has_error=has_error),
        }

    def _shape(self, now: WindowSummary, past: WindowSummary, *, has_error: bool) -> Float64:
        """Of each column of numbers (P,) chi-square over its bins, as the standard normal of the same probability."""
        from scipy.special import gammaincc, ndtri

        starts = self._scorer.bin_starts
        if len(starts) < 2:
            return np.zeros(0)
        is_used = self._past.bins >= MIN_BIN_ROWS
        expected = np.where(is_used, past.bins, 1.0) * now.num_rows / past.num_rows
        parts = np.where(is_used, (now.bins - expected) ** 2 / np.maximum(expected, 1e-9), 0.0)
        parts = parts / (1 + has_error * now.num_rows / past.num_rows)
        statistic = np.add.reduceat(parts, starts[:-1])
        freedom = np.maximum(1, np.add.reduceat(is_used.astype(np.float64), starts[:-1]) - 1)
        p_values = np.maximum(gammaincc(freedom / 2, statistic / 2), 1e-300)
        normal: Float64 = -ndtri(p_values / 2)
        return normal

    def _draws_of(self, num_rows: int) -> _Draws:
        """Windows of so many rows of the past, made once for each number."""
        size = min(num_rows, MAX_DRAWN_ROWS)
        if size not in self._draws:
            rng = np.random.default_rng(self._seed)
            drawn = []
            for _ in range(NUM_DRAWS):
                rows = rng.integers(0, len(self._fresh.single), size)
                window = WindowSummary.of(self._fresh.take(rows), self._num_bins)
                drawn.append(self._z_values(window, self._past_fresh, self._past_fresh, has_error=False))
            self._draws[size] = _Draws.of(drawn)
        return self._draws[size]

    def _sign(self, family: str, surprise: float, z_values: Mapping[str, Float64]) -> Sign:
        p_value = max(MIN_P, float(np.exp(-max(0.0, surprise))))
        if family == "overall":
            return Sign(family, p_value, ())
        place = int(np.argmax(np.abs(z_values[family])))
        columns: tuple[str, ...] = ()
        if family == "level":
            columns = (self._scorer.single_names[place],)
        elif family == "shape":
            columns = (self._scorer.binned_names[place],)
        elif family == "relation":
            columns = tuple(sorted(self._scorer.crossed_names[index] for index in self._pairs[place]))
        return Sign(family, p_value, columns)


@dataclass(frozen=True, slots=True)
class _Draws:
    """What windows of the past itself gave: `overall`, mean and variance of the sum of squares; `largest` (D,), rising,
    the largest surprise of each."""

    overall: tuple[float, float]
    largest: Float64

    @classmethod
    def of(cls, drawn: Sequence[Mapping[str, Float64]]) -> _Draws:
        squares = np.array([(each["level"] ** 2).sum() for each in drawn])
        overall = float(squares.mean()), float(max(squares.var(), 1e-12))
        return cls(overall, np.sort([max(_surprises(each, overall).values(), default=0.0) for each in drawn]))

    def p_value(self, surprise: float) -> float:
        """How often a window of the past has as much surprise; beyond the draws by an exponential tail."""
        start = len(self.largest) - round(TAIL_SHARE * len(self.largest))
        limit = self.largest[start - 1]
        if surprise <= limit:
            return float((self.largest >= surprise).mean())
        length = max(1.0, float((self.largest[start:] - limit).mean()))
        return float(TAIL_SHARE * np.exp(-(surprise - limit) / length))


def _spreads(scores: RowScores, sums: WindowSummary) -> tuple[Float64, Float64]:
    """Standard deviations of products (Q, Q), and of components and their squares (2R,)."""
    squares = scores.crossed**2
    products = squares.T @ squares / sums.num_rows - (sums.products / sums.num_rows) ** 2
    both = np.concatenate([scores.components, scores.components**2], axis=1)
    return np.sqrt(np.maximum(products, 1e-12)), np.maximum(both.std(axis=0), 1e-6)


def _surprises(z_values: Mapping[str, Float64], overall: tuple[float, float]) -> dict[str, float]:
    """-log of the probability of each family's largest, for as many as there are."""
    from scipy.special import gammaincc, log_ndtr

    surprises = {}
    for family, values in z_values.items():
        if len(values):
            surprises[family] = float(-np.log(2 * len(values)) - log_ndtr(-np.abs(values).max()))
    if len(z_values["level"]):
        mean, variance = overall
        tail = float(gammaincc(mean**2 / variance, (z_values["level"] ** 2).sum() * mean / variance))
        surprises["overall"] = -float(np.log(max(tail, 1e-300)))
    return surprises
