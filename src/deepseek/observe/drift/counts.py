"""Rare events of a column that a mean does not show: values missing, never seen, beyond the known ends, repeated, or
rounded. Each is a count now against a count then, with an exact probability.

Of k rows now among n and K rows then among N, with the same chance in both, k of the k + K are binomial with
n / (n + N): exact for rare events, on the safe side for frequent ones. A value that was chosen among many because it is
so frequent pays for those alone that could have been as surprising: with few rows now and then no value can (Tarone
1990, A modified Bonferroni method for discrete data).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepseek.contracts import Float64
from deepseek.observe.drift.scores import ColumnValues, LevelColumn

MAX_LISTED = 3
MIN_TAIL_ROWS = 200  # of a column, to say how its tail goes on
MAX_EXPONENT = 10.0  # of a tail: no column's ends are taken for a wall
GRID_POWERS = tuple(range(-3, 5))  # of 10: whether a value is a whole multiple


@dataclass(frozen=True, slots=True)
class Event:
    """What is counted: a word (missing, beyond, level, value, rounded), its column, its value where it has one."""

    kind: str
    column: str
    value: str = ""


@dataclass(frozen=True, slots=True)
class _Group:
    """Events of one kind in one column: their values (E), rows now and then (E,). `totals`: rows of every value now and
    then together, rising, where the events were chosen from many; None: from each other."""

    kind: str
    column: str
    values: Sequence[str]
    now: NDArray[np.int64]
    then: NDArray[np.int64]
    totals: NDArray[np.int64] | None = None
    tail_p: float = 1.0  # of the events' values, where these say more than their number

    def find_rarest(self, num_now: int, num_then: int) -> tuple[float, Event]:
        """The smallest probability, for as many events as it was chosen from, and its event."""
        share = num_now / (num_now + num_then)
        p_values = _binomial_p(self.now.astype(np.float64), self.then.astype(np.float64), share)
        num_choices = np.full(len(p_values), float(len(p_values)))
        if self.totals is not None:
            fewest = np.log(np.maximum(p_values, 1e-300) / 2) / np.log(max(share, 1 - share))
            num_choices = np.maximum(1.0, len(self.totals) - np.searchsorted(self.totals, np.floor(fewest)))
        p_values = np.minimum(1.0, p_values * num_choices)
        if self.tail_p < 1:
            p_values = np.minimum(1.0, 2 * np.minimum(p_values, self.tail_p))
        place = int(np.argmin(p_values))
        return float(p_values[place]), Event(self.kind, self.column, self.values[place])


class EventCounter:
    """Counts of events among earlier rows, to hold later ones against."""

    def __init__(self, past: Sequence[ColumnValues]) -> None:
        self._past = {each.name: _PastColumn.of(each) for each in past}
        self._num_past = max((each.num_rows for each in self._past.values()), default=0)

    def find_rarest(self, now: Sequence[ColumnValues]) -> tuple[float, list[tuple[float, Event]]]:
        """The probability that any event is so far off by chance; and the MAX_LISTED that are the furthest off, one of
        each column, with their own."""
        groups = [group for column in now for group in self._past[column.name].count(column)]
        if not groups:
            return 1.0, []
        num_now = len(now[0].values)
        rarest = [each.find_rarest(num_now, self._num_past) for each in groups]
        ranked = [(min(1.0, 2 * p_value * len(groups)), event) for p_value, event in rarest]
        never_p, never = self._find_never_seen(groups, num_now)
        ranked.append((min(1.0, 2 * never_p), never))
        ranked.sort(key=lambda pair: pair[0])
        best = {event.column: (p_value, event) for p_value, event in reversed(ranked)}
        return ranked[0][0], sorted(best.values(), key=lambda pair: pair[0])[:MAX_LISTED]

    def _find_never_seen(self, groups: Sequence[_Group], num_now: int) -> tuple[float, Event]:
        """All columns together: missing values where none was missing, and levels that are new. One count, which need
        not pay for the number of columns."""
        new = [
            each
            for each in groups
            if each.kind == "unseen" or (each.kind == "missing" and not self._past[each.column].num_missing)
        ]
        if not new:
            return 1.0, Event("missing", "")
        now, then = np.array([each.now[0] for each in new]), np.array([each.then[0] for each in new])
        share = num_now / (num_now + self._num_past)
        p_value = float(_binomial_p(np.array([float(now.sum())]), np.array([float(then.sum())]), share)[0])
        most = new[int(np.argmax(now))]
        return p_value, Event(most.kind, most.column)


def _binomial_p(now: Float64, then: Float64, share: float) -> Float64:
    """Two-sided: twice the smaller tail."""
    from scipy.special import betainc

    many = np.where(now > 0, betainc(np.maximum(now, 1e-12), then + 1, share), 1.0)
    few = np.where(then > 0, betainc(np.maximum(then, 1e-12), now + 1, 1 - share), 1.0)
    result: Float64 = np.minimum(1.0, 2 * np.minimum(many, few))
    return result


@dataclass(frozen=True, slots=True)
class _PastColumn:
    name: str
    num_rows: int
    num_missing: int
    ordered: Float64  # known numbers, rising
    levels: dict[str, int]
    on_grid: tuple[int, ...]  # rows whose value is a whole multiple of each power

    @classmethod
    def of(cls, column: ColumnValues) -> _PastColumn:
        num_missing = int(column.missing.sum())
        if isinstance(column, LevelColumn):
            return cls(column.name, len(column.values), num_missing, np.zeros(0), _count_texts(column.values), ())
        known = column.values[~column.missing]
        grid = tuple(int(_is_multiple(known, power).sum()) for power in GRID_POWERS)
        return cls(column.name, len(column.values), num_missing, np.sort(known), {}, grid)

    def count(self, column: ColumnValues) -> list[_Group]:
        """Its events with their rows now and then. What was never seen then is counted as each row was to the others:
        a value beyond the ends twice, a level that the past has once."""
        num_missing = int(column.missing.sum())
        rarest = [self._group("missing", [""], [num_missing], [self.num_missing])]
        if isinstance(column, LevelColumn):
            return rarest + self._count_levels(column)
        known = column.values[~column.missing]
        if not len(self.ordered) or not len(known):
            return rarest
        beyond = (known < self.ordered[0]) | (known > self.ordered[-1])
        tail_p = self._tail_p(known[beyond], len(column.values)) if beyond.any() else 1.0
        rarest.append(_Group("beyond", self.name, [""], np.array([beyond.sum()]), np.array([2]), tail_p=tail_p))
        values, counts = np.unique(known, return_counts=True)
        then = np.searchsorted(self.ordered, values, "right") - np.searchsorted(self.ordered, values)
        totals = np.sort(np.unique(np.concatenate([self.ordered, known]), return_counts=True)[1])
        names = [f"{value:.6g}" for value in values.tolist()]
        rarest.append(self._group("value", names, counts, then, totals))
        rounded = [int(_is_multiple(known, power).sum()) for power in GRID_POWERS]
        names = [f"{10.0**power:g}" for power in GRID_POWERS]
        rarest.append(self._group("rounded", names, rounded, self.on_grid))
        return rarest

    def _tail_p(self, values: Float64, num_rows: int) -> float:
        """The probability that any of so many rows is as far out as the furthest of these: the tail of the earlier
        ones' distances from their middle goes on as a power (Hill 1975), its exponent at the lower end of what they
        leave open."""
        if len(self.ordered) < MIN_TAIL_ROWS:
            return 1.0
        middle = self.ordered[len(self.ordered) // 2]
        distances = np.sort(np.abs(self.ordered - middle))[-max(10, len(self.ordered) // 50) :]
        if distances[0] <= 0:
            return 1.0
        mean_log = float(np.log(distances / distances[0]).mean())
        exponent = (1 - 2 / np.sqrt(len(distances))) / max(mean_log, 1 / MAX_EXPONENT)
        ratio = float(np.abs(values - middle).max() / distances[0])
        return float(min(1.0, num_rows * len(distances) / len(self.ordered) * ratio**-exponent))

    def _count_levels(self, column: LevelColumn) -> list[_Group]:
        now = _count_texts(column.values)
        once = sum(count == 1 for count in self.levels.values())
        unseen = sum(count for name, count in now.items() if name not in self.levels)
        rarest = [self._group("unseen", [""], [unseen], [once])]
        if names := [*self.levels, *(name for name in now if name not in self.levels)]:
            counts, then = [now.get(name, 0) for name in names], [self.levels.get(name, 0) for name in names]
            rarest.append(self._group("level", names, counts, then, np.sort(np.array(counts) + np.array(then))))
        return rarest

    def _group(
        self, kind: str, values: Sequence[str], now: ArrayLike, then: ArrayLike, totals: NDArray[np.int64] | None = None
    ) -> _Group:
        return _Group(kind, self.name, values, np.asarray(now), np.asarray(then), totals)


def _count_texts(levels: NDArray[np.object_]) -> dict[str, int]:
    """Rows of each level; missing ones are left out."""
    known = np.array([value for value in levels if value is not None], dtype=str)
    names, counts = np.unique(known, return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))


def _is_multiple(values: Float64, power: int) -> NDArray[np.bool_]:
    scaled = values / 10.0**power
    result: NDArray[np.bool_] = np.abs(scaled - np.round(scaled)) < 1e-9 * np.maximum(1.0, np.abs(scaled))
    return result
