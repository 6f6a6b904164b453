"""What is kept of one key, a card or a terminal, and every feature of it as its definition says: in plain Python.

    history = KeyHistory(KeyRules.all_of(definition)[0])   # of the definition's first key
    parts = [history.compute(feature, time, amount) for feature in history.rules.features]
    history.keep(time, amount, identity)                   # after it was answered
    history.label(identity, time, fraud=True)              # a verdict, days later

The twin of the store (reference.py) and the job on Apache Flink (flink/) are both made of it.
"""

from __future__ import annotations

import dataclasses
import math
from bisect import bisect_right

from deepseek.features.definition import TICKS_PER_SECOND, Feature, FeatureDefinition
from deepseek.features.offline import LEAST_VARIANCE, SQUARE_BITS
from deepseek.features.plan import Plan
from deepseek.features.status import Status


def check_values(plan: Plan, time: int, amount: int, clock: int | None) -> Status:
    """Whether an event can be accepted, as far as its own values say. `clock`: the latest time of those that were."""
    if time == -(2**63):  # BAD_TIME
        return Status.BAD_TIME
    if amount < 0:
        return Status.BAD_AMOUNT
    if clock is not None and time < clock - plan.lateness:
        return Status.LATE
    return Status.AHEAD if clock is not None and time > clock + plan.ahead else Status.ACCEPTED


def compute_event_feature(plan: Plan, kind: str, time: int, amount: int) -> float:
    """A feature of the event alone."""
    seconds = time // plan.ticks_per_second
    if kind == "amount":
        return amount / float(plan.scale)
    return float(seconds % 86_400 // 3_600) if kind == "hour" else float((seconds // 86_400 + 3) % 7)


@dataclasses.dataclass(frozen=True)
class KeyRules:
    """What a definition says of one key; durations in ticks."""

    features: tuple[Feature, ...]
    windows: tuple[int, ...]
    delay: int  # of labels
    retention: int  # how long an event is kept behind the latest
    scale: float  # smallest units in the unit of amounts
    ticks_per_second: float

    @classmethod
    def all_of(cls, definition: FeatureDefinition) -> tuple[KeyRules, ...]:
        """Of every key, in their order."""
        return tuple(
            cls(
                tuple(feature for feature in definition.features if feature.key == place),
                definition.windows(key),
                definition.ticks(definition.label_delay),
                definition.retention(key),
                float(10**definition.amount_decimals),
                float(TICKS_PER_SECOND[definition.time_unit]),
            )
            for place, key in enumerate(definition.keys.values())
        )


class KeyHistory:
    """The N events of one key in the order of time, of one time in the order of arrival: lists of length N."""

    def __init__(self, rules: KeyRules) -> None:
        self.rules = rules
        self.times: list[int] = []  # ticks
        self.amounts: list[int] = []  # smallest units
        self.frauds: list[int] = []  # 1 where the verdict is fraud
        self.ids: list[int] = []  # codes
        self.notes: list[int] = []  # of hidden states; 0 where the definition has none
        self.forgotten_frauds = 0  # known frauds among the events that were dropped

    def compute(self, feature: Feature, time: int, amount: int) -> float:
        """One feature of an event of this key, from the events before it."""
        stop = bisect_right(self.times, time)
        labeled_stop = bisect_right(self.times, time - self.rules.delay)
        if feature.kind == "frauds_known":
            return float(self.forgotten_frauds + sum(self.frauds[:labeled_stop]))
        window = self.rules.windows[feature.window]  # -1, no window, is the longest
        if feature.kind in ("count", "sum", "mean", "amount_ratio", "amount_zscore"):
            start = bisect_right(self.times, time - window)
            return _amount_feature(feature.kind, amount, self.amounts[start:stop], self.rules.scale)
        if feature.kind == "gap":
            return self._seconds_since(stop - 1, time) if bisect_right(self.times, time - window) < stop else math.nan
        labeled_start = bisect_right(self.times, time - self.rules.delay - window)
        return self._label_feature(feature.kind, time, labeled_start, labeled_stop)

    def keep(self, time: int, amount: int, identity: int, note: int = 0) -> None:
        """Counts an event from now on."""
        place = bisect_right(self.times, time)
        values = (time, amount, 0, identity, note)
        for column, value in zip(self._columns(), values, strict=True):
            column.insert(place, value)

    def label(self, identity: int, time: int, *, fraud: bool) -> None:
        """A verdict on the event with this id and time; none where it was dropped."""
        for place in range(bisect_right(self.times, time) - 1, -1, -1):
            if self.times[place] < time:
                return
            if self.ids[place] == identity:
                self.frauds[place] = int(fraud)
                return

    def forget(self) -> None:
        """Drops the events that are too old for any answer, those to late events included."""
        self._drop(bisect_right(self.times, self.times[-1] - self.rules.retention) if self.times else 0)

    def forget_all(self) -> None:
        """Drops every event."""
        self._drop(len(self.times))

    def _drop(self, number: int) -> None:
        """Drops the first events. Of their frauds the number is kept."""
        self.forgotten_frauds += sum(self.frauds[:number])
        for column in self._columns():
            del column[:number]

    def _columns(self) -> tuple[list[int], ...]:
        return self.times, self.amounts, self.frauds, self.ids, self.notes

    def _label_feature(self, kind: str, time: int, start: int, stop: int) -> float:
        """Over the events at start..stop, whose verdicts are known."""
        frauds = self.frauds[start:stop]
        streak = next((place for place, fraud in enumerate(reversed(frauds)) if not fraud), len(frauds))
        if kind == "since_fraud":
            return self._seconds_since(start + _last_place(frauds), time) if any(frauds) else math.nan
        if kind == "fraud_streak_age":
            return self._seconds_since(stop - streak, time) if streak else math.nan
        share = sum(frauds) / len(frauds) if frauds else 0.0
        numbers = {"known_count": len(frauds), "fraud_count": sum(frauds), "fraud_streak": streak}
        return share if kind == "fraud_share" else float(numbers[kind])

    def _seconds_since(self, place: int, time: int) -> float:
        return (time - self.times[place]) / self.rules.ticks_per_second


def _last_place(frauds: list[int]) -> int:
    return len(frauds) - 1 - frauds[::-1].index(1)


def _amount_feature(kind: str, amount: int, past: list[int], scale: float) -> float:
    number = len(past)
    if kind == "count":
        return float(number + 1)
    total = sum(past)
    if kind == "sum":
        return (total + amount) / scale
    if kind == "mean":
        return (total + amount) / (scale * (number + 1))
    if kind == "amount_ratio":
        return float(amount) * number / total if total > 0 else math.nan
    high, low = divmod(sum(one * one for one in past), 2**SQUARE_BITS)
    squares = number * (high * 2.0**SQUARE_BITS + low)
    variance = squares - float(total) * float(total)
    if number < 2 or variance <= LEAST_VARIANCE * squares:
        return math.nan
    return (number * amount - total) / math.sqrt(variance)
