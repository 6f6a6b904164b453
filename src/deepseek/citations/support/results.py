"""What cite() found, as objects and as one JSON object.

report.to_dict()      {"sentences": [{"text", "start", "end", "status", "citations": [...], ...}], "corpus", ...}
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Literal

from deepseek.citations.support.opposites import Conflict
from deepseek.contracts import JsonObject

#: misattributed: clauses support it, but none of the articles that it names itself. contradicted: none supports it, and
#: one that speaks of the same thing says the opposite.
Status = Literal["supported", "misattributed", "unsupported", "contradicted"]
STATUSES: tuple[Status, ...] = ("supported", "misattributed", "unsupported", "contradicted")


@dataclass(frozen=True, slots=True)
class Citation:
    """One clause that supports a sentence; as `nearest` of a sentence, one that does not."""

    id: str
    law: str
    article: str
    paragraph: int
    version: str
    quote: str  # word for word: clause.text[quote_start:quote_end]
    quote_start: int
    quote_end: int
    #: Whether the sentence repeats the clause, says it in other words, is nearest to it, or says its opposite.
    kind: Literal["quote", "entailed", "nearest", "opposite"]
    score: float  # the scorer's, 0..1; of what does not support it the share of the sentence that the clause speaks of
    cause: float | None = None  # how much the logit of the sentence rises with this clause; None: not asked

    @property
    def caused(self) -> bool | None:
        """Whether the clause made the sentence likelier; None where no generator was asked."""
        return None if self.cause is None else self.cause > 0


@dataclass(frozen=True, slots=True)
class Reference:
    """An article that the sentence itself names."""

    text: str
    law: str  # "" when the sentence names none
    article: str
    ids: tuple[str, ...]  # of its clauses; empty when there is no such article


@dataclass(frozen=True, slots=True)
class CitedSentence:
    """A sentence, text[start:end], and what supports it."""

    text: str
    start: int
    end: int
    status: Status
    citations: tuple[Citation, ...]
    references: tuple[Reference, ...]
    reason: str = ""  # why it is unsupported, or what is wrong with a reference
    fit: float | None = None  # how well the linear model of causes predicts the generator, -1..1
    reason_zh: str = ""  # the reason in Chinese
    nearest: Citation | None = None  # where none supports it: the clause that says the opposite, or the nearest one
    conflict: Conflict | None = None  # of a contradicted sentence: the words that speak against each other


@dataclass(frozen=True, slots=True)
class CorpusFacts:
    """What a corpus was when it was cited from."""

    num_clauses: int
    num_articles: int
    digest: str
    skipped: tuple[str, ...]  # files without an article, by name

    def to_dict(self) -> JsonObject:
        return asdict(self) | {"skipped": list(self.skipped)}


@dataclass(frozen=True, slots=True)
class CitedText:
    """The whole answer."""

    sentences: tuple[CitedSentence, ...]
    corpus: CorpusFacts
    scorer: str
    retrieval: tuple[str, ...]
    problem: str = ""  # why causes are missing: the generator failed
    num_calls: int = 0  # of the generator
    threshold: float | None = None  # the scorer's: a clause with less is not cited

    def count(self, status: Status) -> int:
        """How many sentences have this status."""
        return sum(sentence.status == status for sentence in self.sentences)

    @property
    def is_partial(self) -> bool:
        """Whether something that was asked for is missing."""
        return bool(self.problem)

    @property
    def unsupported(self) -> tuple[CitedSentence, ...]:
        """What a person has to look at: no clause supports it, or another one than it names."""
        return tuple(sentence for sentence in self.sentences if sentence.status != "supported")

    def to_dict(self) -> JsonObject:
        """The JSON object; a number that is not finite is null."""
        sentences = [
            {
                **asdict(sentence),
                "fit": _finite_or_none(sentence.fit),
                "citations": [{**asdict(citation), "caused": citation.caused} for citation in sentence.citations],
                "nearest": None if sentence.nearest is None else {**asdict(sentence.nearest), "caused": None},
            }
            for sentence in self.sentences
        ]
        return {
            "num_sentences": len(self.sentences),
            **{f"num_{status}": self.count(status) for status in STATUSES},
            "partial": self.is_partial,
            "sentences": sentences,
            "corpus": self.corpus.to_dict(),
            "scorer": self.scorer,
            "retrieval": self.retrieval,
            "problem": self.problem,
            "num_calls": self.num_calls,
            "threshold": self.threshold,
        }


def _finite_or_none(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
