"""The store in plain Python: every feature as its definition says it, from all events of its key, each time anew.

Tests hold the compiled store to it, late events and late verdicts included. It forgets nothing and is slow.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from deepseek.features.definition import TICKS_PER_SECOND, Feature, FeatureDefinition
from deepseek.features.events import BAD_TIME, EventColumns, Longs
from deepseek.features.offline import LEAST_VARIANCE
from deepseek.features.plan import make_plan
from deepseek.features.status import Bytes, Scores, Status


@dataclasses.dataclass
class _Event:
    time: int  # ticks
    amount: int  # smallest units
    fraud: bool = False


@dataclasses.dataclass
class _Known:
    """What is remembered of an id."""

    event: _Event
    arrival: int  # the latest time of an event when this one had come
    answer: list[float]


class ReferenceStore:
    """What FeatureStore does, to the bit."""

    def __init__(self, definition: FeatureDefinition) -> None:
        self.definition = definition
        self.plan = make_plan(definition)
        self.windows = [definition.windows(key) for key in definition.keys.values()]
        self.histories: dict[tuple[int, int], list[_Event]] = {}
        self.known: dict[int, _Known] = {}
        self.watermark: int | None = None

    def score(self, events: EventColumns) -> Scores:
        """See FeatureStore.score."""
        names = self.definition.names
        features = np.full((len(events), len(names)), math.nan)
        status = np.zeros(len(events), np.int8)
        for row in range(len(events)):
            keys = tuple(int(column[row]) for column in events.keys)
            event = _Event(int(events.time[row]), int(events.amount[row]))
            status[row] = self._check(event, int(events.id[row]))
            if status[row] == Status.DUPLICATE:
                features[row] = self.known[int(events.id[row])].answer
            elif status[row] == Status.ACCEPTED:
                features[row] = self._accept(event, keys, int(events.id[row]))
        return Scores(names, features, status)

    def label(self, ids: Longs, fraud: Longs, time: int | None = None) -> Bytes:
        """See FeatureStore.label."""
        status = np.zeros(len(ids), np.int8)
        now = max(-(2**63) if when is None else when for when in (time, self.watermark))
        for row, identity in enumerate(ids.tolist()):
            known = self._find(identity)
            if known is None:
                status[row] = Status.UNKNOWN_ID
            elif known.event.time + self.plan.label_horizon <= now:
                status[row] = Status.LABEL_LATE
            else:
                known.event.fraud = bool(fraud[row])
        return status

    def _check(self, event: _Event, identity: int) -> Status:
        known = self._find(identity)
        if known is not None and self.watermark is not None:
            is_kept = known.arrival > self.watermark - self.plan.duplicates
            return Status.DUPLICATE if is_kept else Status.DUPLICATE_OLD
        if event.time == BAD_TIME:
            return Status.BAD_TIME
        if event.amount < 0:
            return Status.BAD_AMOUNT
        if self.watermark is not None:
            if event.time < self.watermark - self.plan.lateness:
                return Status.LATE
            if event.time > self.watermark + self.plan.ahead:
                return Status.AHEAD
        return Status.ACCEPTED

    def _find(self, identity: int) -> _Known | None:
        known = self.known.get(identity)
        if known is None or self.watermark is None or known.arrival <= self.watermark - self.plan.id_retention:
            return None
        return known

    def _accept(self, event: _Event, keys: tuple[int, ...], identity: int) -> list[float]:
        answer = [self._compute(feature, event, keys) for feature in self.definition.features]
        for key in enumerate(keys):
            history = self.histories.setdefault(key, [])
            history.append(event)
            history.sort(key=lambda one: one.time)  # stable: of one time in the order of arrival
        self.watermark = event.time if self.watermark is None else max(event.time, self.watermark)
        self.known[identity] = _Known(event, self.watermark, answer)
        return answer

    def _compute(self, feature: Feature, event: _Event, keys: tuple[int, ...]) -> float:
        seconds, scale = event.time // self.plan.ticks_per_second, float(self.plan.scale)
        if feature.kind == "amount":
            return event.amount / scale
        if feature.kind == "hour":
            return float(seconds % 86_400 // 3_600)
        if feature.kind == "weekday":
            return float((seconds // 86_400 + 3) % 7)
        windows = self.windows[feature.key]
        history = [one for one in self.histories.get((feature.key, keys[feature.key]), []) if one.time <= event.time]
        labeled = [one for one in history if one.time <= event.time - self.plan.delay]
        if feature.kind == "frauds_known":
            return float(sum(one.fraud for one in labeled))
        window = windows[feature.window]  # -1, no window, is the longest
        past = [one for one in history if one.time > event.time - window]
        labeled = [one for one in labeled if one.time > event.time - self.plan.delay - window]
        if feature.kind in ("count", "sum", "mean", "amount_ratio", "amount_zscore"):
            return _amount_feature(feature.kind, event.amount, [one.amount for one in past], scale)
        if feature.kind == "gap":
            return self._seconds_since(past[-1:], event)
        return self._label_feature(feature.kind, event, labeled)

    def _label_feature(self, kind: str, event: _Event, labeled: list[_Event]) -> float:
        frauds = [one for one in labeled if one.fraud]
        streak: list[_Event] = []
        for one in reversed(labeled):
            if not one.fraud:
                break
            streak.insert(0, one)
        if kind == "since_fraud":
            return self._seconds_since(frauds[-1:], event)
        if kind == "fraud_streak_age":
            return self._seconds_since(streak[:1], event)
        share = len(frauds) / len(labeled) if labeled else 0.0
        numbers = {"known_count": len(labeled), "fraud_count": len(frauds), "fraud_streak": len(streak)}
        return share if kind == "fraud_share" else float(numbers[kind])

    def _seconds_since(self, earlier: list[_Event], event: _Event) -> float:
        ticks_per_second = float(TICKS_PER_SECOND[self.definition.time_unit])
        return (event.time - earlier[0].time) / ticks_per_second if earlier else math.nan


def _amount_feature(kind: str, amount: int, past: list[int], scale: float) -> float:
    total, number = sum(past), len(past)
    if kind == "count":
        return float(number + 1)
    if kind == "sum":
        return (total + amount) / scale
    if kind == "mean":
        return (total + amount) / (scale * (number + 1))
    if kind == "amount_ratio":
        return float(amount) * number / total if total > 0 else math.nan
    high, low = divmod(sum(one * one for one in past), 2**40)
    squares = number * (high * 2.0**40 + low)
    variance = squares - float(total) * float(total)
    if number < 2 or variance <= LEAST_VARIANCE * squares:
        return math.nan
    return (number * amount - total) / math.sqrt(variance)
