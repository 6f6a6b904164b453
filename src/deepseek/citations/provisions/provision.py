"""What one part of a rule lays down, as places in its text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["obligation", "prohibition", "permission", "deadline", "threshold", "penalty"]
KINDS: tuple[Kind, ...] = ("obligation", "prohibition", "permission", "deadline", "threshold", "penalty")
#: Kinds that have a subject and a condition.
DUTIES: tuple[Kind, ...] = ("obligation", "prohibition", "permission")


@dataclass(frozen=True, slots=True)
class Span:
    """text[start:end]"""

    start: int
    end: int

    def of(self, text: str) -> str:
        """Its words."""
        return text[self.start : self.end]


@dataclass(frozen=True, slots=True)
class Provision:
    """One thing that a text lays down."""

    kind: Kind
    clause: Span  # the part of the text that says so, with its list where it opens one
    cue: Span  # the words that decide, or that the model looked at
    subject: Span | None = None  # None where the text names none
    condition: tuple[Span, ...] = ()  # what must be so, and exceptions
    decided_by: Literal["words", "model"] = "words"
    score: float = 1.0  # the model's, 0..1; 1 where words decide
