"""The store in plain Python: every feature as its definition says it, from all events of its key (key_history.py), each
time anew.

Tests hold the compiled store to it, late events and late verdicts included. It forgets nothing and is slow.
"""

from __future__ import annotations

import dataclasses
import math
from bisect import bisect_right

import numpy as np

from deepseek.features.definition import FeatureDefinition
from deepseek.features.events import EventColumns, Longs
from deepseek.features.key_history import KeyHistory, KeyRules, check_values, compute_event_feature
from deepseek.features.plan import answer_place, make_plan
from deepseek.features.status import Bytes, Scores, Status


@dataclasses.dataclass
class _Known:
    """What is remembered of an id."""

    time: int
    keys: tuple[int, ...]
    arrival: int  # the latest time of an event when this one had come
    answer: list[float]


class ReferenceStore:
    """What FeatureStore does, to the bit."""

    def __init__(self, definition: FeatureDefinition) -> None:
        self.definition = definition
        self.plan = make_plan(definition)
        self.rules = KeyRules.all_of(definition)
        self.histories: dict[tuple[int, int], KeyHistory] = {}
        self.known: dict[int, _Known] = {}
        self.watermark: int | None = None

    def score(self, events: EventColumns) -> Scores:
        """See FeatureStore.score."""
        names = self.definition.names
        features = np.full((len(events), len(names)), math.nan)
        status = np.zeros(len(events), np.int8)
        for row in range(len(events)):
            keys = tuple(int(column[row]) for column in events.keys)
            time, amount, identity = int(events.time[row]), int(events.amount[row]), int(events.id[row])
            status[row] = self._check(time, amount, identity)
            if status[row] == Status.DUPLICATE:
                features[row] = self.known[identity].answer
            elif status[row] == Status.ACCEPTED:
                features[row] = self._accept(time, amount, keys, identity)
        return Scores(names, features, status)

    def label(self, ids: Longs, fraud: Longs, time: int | None = None) -> Bytes:
        """See FeatureStore.label."""
        status = np.zeros(len(ids), np.int8)
        now = max(-(2**63) if when is None else when for when in (time, self.watermark))
        for row, identity in enumerate(ids.tolist()):
            known = self._find(identity)
            if known is None:
                status[row] = Status.UNKNOWN_ID
            elif known.time + self.plan.label_horizon <= now:
                status[row] = Status.LABEL_LATE
            else:
                for key in enumerate(known.keys):
                    self.histories[key].label(identity, known.time, fraud=bool(fraud[row]))
        return status

    def _check(self, time: int, amount: int, identity: int) -> Status:
        known = self._find(identity)
        if known is not None and self.watermark is not None:
            is_kept = known.arrival > self.watermark - self.plan.duplicates
            return Status.DUPLICATE if is_kept else Status.DUPLICATE_OLD
        return check_values(self.plan, time, amount, self.watermark)

    def _find(self, identity: int) -> _Known | None:
        known = self.known.get(identity)
        if known is None or self.watermark is None or known.arrival <= self.watermark - self.plan.id_retention:
            return None
        return known

    def _accept(self, time: int, amount: int, keys: tuple[int, ...], identity: int) -> list[float]:
        answer = []
        if self.definition.hidden is not None:
            self._follow_states(time, amount, keys)
        for feature in self.definition.features:
            if (place := answer_place(self.definition, feature)) >= 0:
                answer.append(float(self.plan.hidden.answers[place]))
            elif feature.key < 0:
                answer.append(compute_event_feature(self.plan, feature.kind, time, amount))
            else:
                answer.append(self._history((feature.key, keys[feature.key])).compute(feature, time, amount))
        for key in enumerate(keys):
            note = int(self.plan.hidden.notes[int(key[0] == self.plan.hidden.terminal)])
            self._history(key).keep(time, amount, identity, note)
        self.watermark = time if self.watermark is None else max(time, self.watermark)
        self.known[identity] = _Known(time, keys, self.watermark, answer)
        return answer

    def _follow_states(self, time: int, amount: int, keys: tuple[int, ...]) -> None:
        """Fills the answers and notes of the plan's tables, by the functions that the store compiles."""
        from deepseek.features.hidden.filters import answer_card, answer_terminal

        hidden = self.plan.hidden
        for key in (hidden.card, hidden.terminal):
            history = self._history((key, keys[key]))
            arena = [
                (when, fraud, note)
                for when, fraud, note in zip(history.times, history.frauds, history.notes, strict=True)
            ]
            events = np.array(arena, np.int64).reshape(-1, 3)
            stop = bisect_right(history.times, time)
            labeled = bisect_right(history.times, time - hidden.delay)
            first = bisect_right(history.times, time - hidden.delay - hidden.window)
            if key == hidden.card:
                answer_card(hidden, events, first, stop, labeled, time, amount)
            else:
                answer_terminal(hidden, events, first, labeled, time)

    def _history(self, key: tuple[int, int]) -> KeyHistory:
        if key not in self.histories:
            self.histories[key] = KeyHistory(self.rules[key[0]])
        return self.histories[key]
