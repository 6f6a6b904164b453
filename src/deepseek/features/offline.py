"""Features over a whole table at once, by sorting: what the store answers event by event, to the bit.

    columns = compute_offline(definition, events)

Of each key the events are sorted by time, so that a window is a range of places in that order: its ends come from one
binary search, its sums are differences of running totals. A verdict that came late, after the delay of labels, is an
interval of time in which it counts: as many as have begun less as many as have ended. Sums are of whole numbers, hence
exact and free of order. No row sees what came after it: not of time, and not of rows of the same time that stand below.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from deepseek.errors import InputError
from deepseek.features.definition import STATE_FEATURES, TICKS_PER_SECOND, FeatureDefinition, KeyDefinition, has_labels
from deepseek.features.events import BAD_AMOUNT, BAD_TIME, EventColumns, Longs, Values

DAY_S, HOUR_S = 86_400, 3_600
SQUARE_BITS = 40  # squares of amounts are summed in two parts of 40 bits, which cannot overflow
#: Below this share of the sum of squares a variance is the rounding of its subtraction: amounts that are all the same.
LEAST_VARIANCE = 1e-12


@dataclasses.dataclass(frozen=True)
class FeatureColumns:
    """The features of N events."""

    names: tuple[str, ...]  # of F features
    values: np.ndarray[Any, np.dtype[np.float64]]  # (N, F); NaN where a feature has no value


def compute_offline(definition: FeatureDefinition, events: EventColumns) -> FeatureColumns:
    """The features of every event, row i those of event i. Events count in the order of time, of one time in the order
    given. InputError for what the store would refuse: a time or an amount that is none, an id that is there twice."""
    _check_events(events)
    order = np.argsort(events.time, kind="stable")
    ordered = events.take(order)
    features = definition.features
    values = np.empty((len(events), len(features)))
    _write_event_features(definition, ordered, values)
    _write_state_features(definition, ordered, values)
    for place, key in enumerate(definition.keys.values()):
        history = _KeyHistory(definition, key, ordered, place)
        for column, feature in enumerate(features):
            if feature.key == place and feature.kind not in STATE_FEATURES:
                values[history.order, column] = history.compute(feature.kind, feature.window)
    unsorted = np.empty_like(values)
    unsorted[order] = values
    return FeatureColumns(definition.names, unsorted)


class _KeyHistory:
    """The N events in the order of (key, time); all arrays are in that order, places count in it.

    order (N,): the place of each among the events in the order of time; time, amount, fraud (N,); stop (N,): of each
    event, the place behind it, which ends its window; first (N,): the first place of its key.
    """

    def __init__(self, definition: FeatureDefinition, key: KeyDefinition, events: EventColumns, place: int) -> None:
        self.definition = definition
        self.windows = definition.windows(key)
        self.delay = definition.ticks(definition.label_delay)
        self.times = np.unique(events.time)
        self.stride = len(self.times) + 1
        _, code = np.unique(events.keys[place], return_inverse=True)
        rank = code.astype(np.int64) * self.stride + np.searchsorted(self.times, events.time)
        self.order = np.argsort(rank, kind="stable")
        self.rank, self.code = rank[self.order], code[self.order].astype(np.int64)
        self.time, self.amount = events.time[self.order], events.amount[self.order]
        self.place = np.arange(len(events))
        self.first = np.searchsorted(self.code, self.code)
        self.totals = _running_total(self.amount)
        if has_labels(key):
            self._read_verdicts(events)

    def _read_verdicts(self, events: EventColumns) -> None:
        """known_at (N,): from when on an event counts as a fraud, at the earliest `delay` after it; verdicts that came
        when nothing could change any more are none, as for the store."""
        fraud = np.zeros(len(events), dtype=bool) if events.fraud is None else events.fraud[self.order] == 1
        self.out_at = self.time + self.delay
        self.known_at = self.out_at
        if events.known is not None:
            self.known_at = np.maximum(self.out_at, events.known[self.order])
            fraud &= events.known[self.order] < self.time + self.definition.label_horizon
        self.fraud = fraud
        self.late = np.flatnonzero(fraud & (self.known_at > self.out_at))
        self.labeled_stop = self.places_until(self.time - self.delay)
        self.label_start = self.places_until(self.time - self.delay - self.windows[-1])

    def places_until(self, until: Longs) -> Longs:
        """Of each event, the place behind the last event of its key with a time of at most `until`."""
        rank = self.code * self.stride + np.searchsorted(self.times, until, side="right")
        return np.searchsorted(self.rank, rank)

    def compute(self, kind: str, window: int) -> Values:
        """One feature of every event (N,)."""
        return np.asarray(getattr(self, f"_{kind}")(*(() if window < 0 else (self.windows[window],))))

    def _count(self, window: int) -> Values:
        return self.place + 1 - self.places_until(self.time - window)

    def _sum(self, window: int) -> Values:
        return self._window_sum(window) / self._scale()

    def _mean(self, window: int) -> Values:
        return self._window_sum(window) / (self._scale() * self._count(window))

    def _window_sum(self, window: int) -> Longs:
        return self.totals[self.place + 1] - self.totals[self.places_until(self.time - window)]

    def _amount_ratio(self, window: int) -> Values:
        start = self.places_until(self.time - window)
        number, total = (self.place - start).astype(float), (self.totals[self.place] - self.totals[start]).astype(float)
        return np.where(total > 0, self.amount * number / np.where(total > 0, total, 1.0), np.nan)

    def _amount_zscore(self, window: int) -> Values:
        start = self.places_until(self.time - window)
        number, total = self.place - start, self.totals[self.place] - self.totals[start]
        high, low = (part[self.place] - part[start] for part in map(_running_total, split_squares(self.amount)))
        high, low = high + (low >> SQUARE_BITS), low & (2**SQUARE_BITS - 1)
        squares = number * (high * 2.0**SQUARE_BITS + low)
        variance = squares - total.astype(float) * total.astype(float)
        good = (number >= 2) & (variance > LEAST_VARIANCE * squares)
        return np.where(good, (number * self.amount - total) / np.sqrt(np.where(good, variance, 1.0)), np.nan)

    def _gap(self) -> Values:
        before = self.place - 1
        good = before >= self.places_until(self.time - self.windows[-1])
        return np.where(good, self._seconds(self.time - self.time[np.maximum(before, 0)]), np.nan)

    def _known_count(self, window: int) -> Values:
        return self.labeled_stop - self.places_until(self.time - self.delay - window)

    def _fraud_count(self, window: int) -> Values:
        """Verdicts that have begun to count, less those whose event has left the window."""
        end = self.out_at + window
        counted = self.fraud & (self.known_at < end)
        return self._number_until(self.known_at, counted) - self._number_until(end, counted)

    def _fraud_share(self, window: int) -> Values:
        known = self._known_count(window)
        return np.where(known > 0, self._fraud_count(window) / np.maximum(known, 1), 0.0)

    def _frauds_known(self) -> Values:
        return self._number_until(self.known_at, self.fraud)

    def _fraud_streak(self) -> Values:
        return self.labeled_stop - self._streak_start()

    def _fraud_streak_age(self) -> Values:
        start = self._streak_start()
        good = start < self.labeled_stop
        return np.where(good, self._seconds(self.time - self.time[np.where(good, start, 0)]), np.nan)

    def _since_fraud(self) -> Values:
        on_time = np.where(self.fraud & (self.known_at == self.out_at), self.place, -1)
        last = self._last_labeled(on_time)
        for event in self.late:
            begin, end = np.searchsorted(
                self.rank, (self.code[event] * self.stride, (self.code[event] + 1) * self.stride)
            )
            rows = slice(begin + np.searchsorted(self.time[begin:end], self.known_at[event]), end)
            last[rows] = np.maximum(last[rows], event)
        good = last >= self.label_start
        return np.where(good, self._seconds(self.time - self.time[np.maximum(last, 0)]), np.nan)

    def _streak_start(self) -> Longs:
        """Of each event, the first of the frauds in a row that end its labeled events; `labeled_stop` for none."""
        genuine = self._last_labeled(np.where(self.fraud, -1, self.place))
        for event in self.late:  # genuine as far as one knew
            begin, end = np.searchsorted(
                self.rank, (self.code[event] * self.stride, (self.code[event] + 1) * self.stride)
            )
            between = np.searchsorted(self.time[begin:end], (self.out_at[event], self.known_at[event]))
            rows = slice(begin + between[0], begin + between[1])
            genuine[rows] = np.maximum(genuine[rows], event)
        return np.maximum(np.maximum(genuine + 1, self.first), self.label_start)

    def _last_labeled(self, places: Longs) -> Longs:
        """Of each event, the highest of `places` (N,; -1 for none) among the labeled events of its key, or below
        `first`."""
        highest = np.concatenate([[-1], np.maximum.accumulate(places)])
        return np.where(self.labeled_stop > self.first, highest[self.labeled_stop], -1)

    def _number_until(self, when: Longs, counted: Values) -> Longs:
        """Of each event, how many of the events of its key that are `counted` have a `when` of at most its time."""
        rank = self.code[counted] * self.stride + np.searchsorted(self.times, when[counted])
        rank.sort()
        return np.searchsorted(rank, self.rank, side="right") - np.searchsorted(rank, self.code * self.stride)

    def _scale(self) -> float:
        return float(10**self.definition.amount_decimals)

    def _seconds(self, ticks: Longs) -> Values:
        return ticks / float(TICKS_PER_SECOND[self.definition.time_unit])


def split_squares(amount: Longs) -> tuple[Longs, Longs]:
    """The squares of amounts below 2^40 as (high, low): high * 2^40 + low, low below 2^40.

    >>> high, low = split_squares(np.array([2**40 - 1]))
    >>> int(high[0]) * 2**40 + int(low[0]) == (2**40 - 1) ** 2
    True
    """
    half = SQUARE_BITS // 2
    upper, lower = amount >> half, amount & (2**half - 1)
    middle = 2 * upper * lower
    low = ((middle & (2**half - 1)) << half) + lower * lower
    return upper * upper + (middle >> half) + (low >> SQUARE_BITS), low & (2**SQUARE_BITS - 1)


def _running_total(values: Longs) -> Longs:
    """(N + 1,). Differences are right even where the total passes 2^63, for they wrap alike."""
    return np.concatenate([[0], np.cumsum(values, dtype=np.int64)])


def _write_event_features(definition: FeatureDefinition, events: EventColumns, values: Values) -> None:
    seconds = events.time // TICKS_PER_SECOND[definition.time_unit]
    for column, feature in enumerate(definition.features):
        if feature.kind == "amount":
            values[:, column] = events.amount / float(10**definition.amount_decimals)
        elif feature.kind == "hour":
            values[:, column] = seconds % DAY_S // HOUR_S
        elif feature.kind == "weekday":
            values[:, column] = (seconds // DAY_S + 3) % 7  # 1970-01-01 was a Thursday; Monday is 0


def _write_state_features(definition: FeatureDefinition, events: EventColumns, values: Values) -> None:
    if definition.hidden is None:
        return
    from deepseek.features.plan import answer_place
    from deepseek.features.states.offline import compute_states

    answers = compute_states(definition, events)
    for column, feature in enumerate(definition.features):
        if (place := answer_place(definition, feature)) >= 0:
            values[:, column] = answers[:, place]


def _check_events(events: EventColumns) -> None:
    for column, bad, what in ((events.time, BAD_TIME, "time"), (events.amount, BAD_AMOUNT, "amount")):
        rows = np.flatnonzero(column == bad)
        if len(rows):
            others = f", nor have {len(rows) - 1} more" if len(rows) > 1 else ""
            raise InputError(
                f"row {rows[0]} has no {what} that can be used{others}",
                expected="a time; an amount from 0 to 10,995,116,277.75 at two decimals", fix="leave these rows out",
            )  # fmt: skip
    ids, number = np.unique(events.id, return_counts=True)
    if len(ids) < len(events):
        raise InputError(
            f"{len(events) - len(ids)} ids are there twice, the first of them {ids[number > 1][0]}",
            expected="one event of each id", fix="leave the second one out",
        )  # fmt: skip
