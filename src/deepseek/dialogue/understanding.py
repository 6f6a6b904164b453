"""What a model understands of one question, and what a model is that does: the contract of engines and conversations.

Two judges stand behind it. The first says how likely the question is one that the assistant knows at all (`in_scope`),
the second how likely each intent is the right one (`ScoredIntent.probability`); both are calibrated, so that a
threshold keeps the precision that it was chosen for.

>>> first = ScoredIntent("card_arrival", 0.97)
>>> Understanding("Where is my card?", (first,), 0.99, "answer", ("Where is my card?",)).best.name
'card_arrival'
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

#: answer alone, ask which one of at most three is meant, or hand the question over to a person.
Decision = Literal["answer", "ask", "hand_over"]


@dataclass(frozen=True, slots=True)
class ScoredIntent:
    """One intent, and how likely it is the right one."""

    name: str
    probability: float  # 0..1, calibrated: that this intent is what the question asks


@dataclass(frozen=True, slots=True)
class Understanding:
    """What a question was understood as."""

    question: str  # as it was asked
    intents: tuple[ScoredIntent, ...]  # the best first, at most 3; none for a question without a word
    in_scope: float  # 0..1, calibrated: that the assistant has any intent for the question
    decision: Decision
    parts: tuple[str, ...]  # the question cut where it holds several intents, else the question alone

    @property
    def best(self) -> ScoredIntent | None:
        """The likeliest intent, or None for a question without a word."""
        return self.intents[0] if self.intents else None


class Understands(Protocol):
    """A model that understands questions: what engines give, and conversations ask."""

    @property
    def intents(self) -> tuple[str, ...]:
        """Names of all intents, in the order of the bundle."""
        ...

    @property
    def answers(self) -> Mapping[str, str]:
        """Answer by intent; an intent without an answer of its own is missing."""
        ...

    def understand(self, questions: Sequence[str]) -> list[Understanding]:
        """One understanding for each question, in order. InputError for what is no text or too long."""
        ...
