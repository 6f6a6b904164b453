"""Does a clause say what a sentence says? Any object with `name`, `threshold` and `scores` is a scorer.

    scorer = TermScorer(index.bm25)
    scorer.scores("利息不得预先从本金里扣除。", clauses)        # (N,), 0..1; a citation from scorer.threshold on

TermScorer needs no model: the share of the sentence's terms that the quoted part of the clause has, each weighted by
the square of its inverse document frequency; 0 where something speaks against it (contradictions.py). Its threshold
was chosen
on the validation sentences of benchmarks/citations.py. It errs by what it does not know: other words for the same
thing, and conditions that a sentence leaves out. For a checklist of fixed sentences, train one: checklist.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from deepseek.citations.corpus.clause import Clause
from deepseek.citations.corpus.numerals import NUMERAL_CHARS
from deepseek.citations.retrieval.bm25 import Bm25, extract_terms
from deepseek.citations.support.contradictions import agrees
from deepseek.citations.support.nearest import MAX_CLAUSE_CHARS, term_weight
from deepseek.citations.support.opposites import Comparison
from deepseek.citations.support.quote import find_quote, prepend_opening
from deepseek.contracts import Float64

#: A reference to a law or an article says nothing about what stands there.
_REFERENCE = re.compile(
    rf"(?:根据|依据|依照|按照)?(?:《[^》]{{1,60}}》)?第[{NUMERAL_CHARS}\d]+条(?:之[{NUMERAL_CHARS}]+)?(?:第[{NUMERAL_CHARS}\d]+款)?(?:的?规定)?[，,：:]?"
    r"|(?:根据|依据|依照|按照)《[^》]{1,60}》(?:的?规定)?[，,：:]?"
    r"|(?:Under|Pursuant to|According to)?\s*\b(?:Article|Section|Clause|§)\s?\d[\w.\-]*"
    r"(?: of the [A-Z]\w*(?: [A-Z]\w*)*)?,?\s*"
)


class Scorer(Protocol):
    """Judges pairs of one sentence and clauses."""

    @property
    def name(self) -> str:
        """The name that stands in the report."""
        ...

    @property
    def threshold(self) -> float:
        """The least score of a clause that supports a sentence."""
        ...

    def scores(self, sentence: str, clauses: Sequence[Clause]) -> Float64:
        """Scores (N,), 0..1: how surely each clause supports the sentence."""
        ...


class TermScorer:
    """The scorer that cite() takes where none is given."""

    name = "terms"
    threshold = 0.65

    def __init__(self, index: Bm25) -> None:
        self._index = index

    def scores(self, sentence: str, clauses: Sequence[Clause]) -> Float64:
        """(N,) from 0 to 1 for N clauses: how much of what the sentence says, by the weight of its terms, each has."""
        stripped = strip_references(sentence)
        weights = {term: self._index.weight(term) ** 2 for term in set(extract_terms(stripped))}
        total = sum(weights.values())
        comparison = Comparison(stripped, term_weight(self._index))
        scores = np.zeros(len(clauses))
        for row, clause in enumerate(clauses if total else ()):
            if self._share(weights, clause.text) < self.threshold * total:
                continue  # less than all of it is no more
            quoted = prepend_opening(clause.text, find_quote(stripped, clause.text))
            covered = self._share(weights, quoted) / total
            holds = covered >= self.threshold and agrees(stripped, quoted)
            scores[row] = covered if holds and comparison.conflict(clause.text[:MAX_CLAUSE_CHARS]) is None else 0.0
        return scores

    @staticmethod
    def _share(weights: Mapping[str, float], text: str) -> float:
        terms = set(extract_terms(text))
        return sum(weight for term, weight in weights.items() if term in terms)


def strip_references(sentence: str) -> str:
    """The sentence without its references.

    >>> strip_references("根据《民法典》第六百七十条第一款的规定，利息不得预先扣除。")
    '利息不得预先扣除。'
    >>> strip_references("Under Article 5, fees are due.")
    'fees are due.'
    """
    rest = _REFERENCE.sub("", sentence)
    return rest if any(letter.isalnum() for letter in rest) else sentence
