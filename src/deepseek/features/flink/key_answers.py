"""The answer of one key to its part of an event: windows by ../key_history.py, hidden states by the store's filters.

answers = KeyAnswers(definition)
answer = answers.take(place, history, part)                # of a card, or of a key without hidden states
answer = answers.take(place, history, part, message)       # of a terminal, with what the card has said
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from deepseek.extras import need
from deepseek.features.definition import FeatureDefinition
from deepseek.features.flink.messages import Kind
from deepseek.features.flink.parts import CardMessage, Part
from deepseek.features.key_history import KeyHistory, KeyRules
from deepseek.features.plan import answer_place, make_plan


class KeyAnswer(NamedTuple):
    """What a key says of one event."""

    event: int
    features: list[float]  # of this key, in their order
    message: CardMessage | None  # of a card, for the event's terminal


class KeyAnswers:
    """What every key of a definition does with the parts of messages. ExtraError where hidden states need numba, and
    it is not there."""

    def __init__(self, definition: FeatureDefinition) -> None:
        self.rules = KeyRules.all_of(definition)
        self.hidden = make_plan(definition).hidden
        self._columns = [
            [(feature, answer_place(definition, feature)) for feature in rules.features] for rules in self.rules
        ]
        self._answer_event: Any = None
        if self.hidden.is_on:
            need("numba", extra="flink")
            from deepseek.features.core.hidden import answer_event

            self._answer_event = answer_event

    def has_states(self, place: int) -> bool:
        """Whether the state of a key is followed, so that notes on its events are kept."""
        return bool(self.hidden.is_on) and place in (self.hidden.card, self.hidden.terminal)

    def take(self, place: int, history: KeyHistory, part: Part, message: CardMessage | None = None) -> KeyAnswer | None:
        """Counts a part in its key's history. The answer to an event, None to a verdict."""
        if part.kind == Kind.VERDICT:
            history.label(part.id, part.time, fraud=bool(part.fraud))
            return None
        note, for_terminal = 0, None
        if self.has_states(place):
            self._follow(place, history, part, message)
            note = message.note if message is not None else int(self.hidden.notes[0])
            if place == self.hidden.card:
                for_terminal = CardMessage(part.event, float(self.hidden.answers[2]), int(self.hidden.notes[1]))
        features = [
            float(self.hidden.answers[column]) if column >= 0 else history.compute(feature, part.time, part.amount)
            for feature, column in self._columns[place]
        ]
        history.keep(part.time, part.amount, part.id, note)
        history.forget()
        return KeyAnswer(part.event, features, for_terminal)

    def _follow(self, place: int, history: KeyHistory, part: Part, message: CardMessage | None) -> None:
        """Fills the tables' answers and notes."""
        events = np.empty((len(history.times), 3), np.int64)
        events[:, 0], events[:, 1], events[:, 2] = history.times, history.frauds, history.notes
        if message is not None:
            self.hidden.answers[2] = message.fraud_odds
        self._answer_event(self.hidden, events, place == self.hidden.card, part.time, part.amount)
