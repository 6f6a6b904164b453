"""Answers that the keeper of the FAQ has added: they hold from the next question on, before the model is asked.

>>> added = Additions((AddedAnswer(1, "Yes, on Sundays.", ("Are you open on Sunday?",)),))
>>> added.find("are you open on sunday").answer
'Yes, on Sundays.'
>>> added.find("What is the rate?") is None
True
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from deepseek.contracts import Float32
from deepseek.dialogue.likeness import embed
from deepseek.dialogue.phrases import plain_words

#: Cosine of likeness.py from which on a question is the same as an added one, and from which on it is offered.
SAME, NEAR = 0.85, 0.5


@dataclass(frozen=True, slots=True)
class AddedAnswer:
    """An answer with the questions that it answers; with an intent it takes the place of that intent's answer, too."""

    id: int
    answer: str
    questions: tuple[str, ...]
    intent: str = ""
    author: str = ""
    time_s: float = 0.0

    @property
    def title(self) -> str:
        return self.questions[0] if self.questions else self.intent


class Additions:
    """The added answers that hold now; later ones go before earlier ones."""

    def __init__(self, answers: Sequence[AddedAnswer] = ()) -> None:
        self._answers = tuple(sorted(answers, key=lambda added: -added.id))
        self._examples = [(question, added) for added in self._answers for question in added.questions]

    def __len__(self) -> int:
        return len(self._answers)

    @cached_property
    def by_intent(self) -> Mapping[str, str]:
        """The answers that replace those of the model."""
        return {added.intent: added.answer for added in reversed(self._answers) if added.intent}

    @cached_property
    def _exact(self) -> Mapping[str, AddedAnswer]:
        return {plain_words(question): added for question, added in reversed(self._examples)}

    @cached_property
    def _vectors(self) -> Float32:
        return embed([question for question, _ in self._examples])

    def by_id(self, number: int) -> AddedAnswer | None:
        return next((added for added in self._answers if added.id == number), None)

    def find(self, question: str) -> AddedAnswer | None:
        """The added answer to a question that is the same in its words, or None."""
        added = self._exact.get(plain_words(question))
        if added is not None or not self._examples:
            return added
        near = self.near(question, SAME)
        return near[0] if near else None

    def near(self, question: str, least: float = NEAR) -> list[AddedAnswer]:
        """The added answers to questions that are alike, the most alike first, each once."""
        if not self._examples:
            return []
        likeness = self._vectors @ embed([question])[0]
        places = [int(place) for place in (-likeness).argsort(kind="stable") if likeness[place] >= least]
        return list({self._examples[place][1].id: self._examples[place][1] for place in places}.values())
