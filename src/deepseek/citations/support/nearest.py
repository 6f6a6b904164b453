"""Of the clauses that may be meant, the one that says the opposite of a sentence, else the nearest one.

nearest = find_nearest("A bank may lend to related parties.", clauses, index.bm25)
nearest.clause.id, nearest.conflict
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from deepseek.citations.corpus.clause import Clause
from deepseek.citations.retrieval.bm25 import Bm25
from deepseek.citations.support.opposites import Comparison, Conflict
from deepseek.citations.support.statement import read_mode

#: A clause that speaks of this much less of a sentence than the nearest one is not asked whether it says the opposite.
MARGIN = 0.1
UNKNOWN_WEIGHT = 0.2
MAX_CLAUSE_CHARS = 20_000  # of a clause that are compared


@dataclass(frozen=True, slots=True)
class Nearest:
    """A clause, the share of what the sentence is about that it has (0..1), and what it says against the sentence."""

    clause: Clause
    covered: float
    conflict: Conflict | None


def find_nearest(sentence: str, clauses: Sequence[Clause], index: Bm25) -> Nearest | None:
    """The clause that says the opposite, else the nearest; None where no clause has a word of the sentence."""
    comparison = Comparison(sentence, term_weight(index))
    shares = [(comparison.coverage(clause.text[:MAX_CLAUSE_CHARS]), clause) for clause in clauses]
    shares = sorted((entry for entry in shares if entry[0] > 0), key=lambda entry: -entry[0])
    if not shares:
        return None
    near = [
        Nearest(clause, covered, comparison.conflict(clause.text[:MAX_CLAUSE_CHARS]))
        for covered, clause in shares
        if covered >= shares[0][0] - MARGIN
    ]
    against = [each for each in near if each.conflict is not None]
    # Where the words of the law say it (must not, 30 days) is a better place than where nothing is said of it.
    return min(against, key=lambda each: not _is_said(each.conflict), default=near[0])


def term_weight(index: Bm25) -> Callable[[str], float]:
    """How much a term says: its inverse document frequency. A Chinese term that is in no document is often no word of
    its own, but two letters of two words, and counts UNKNOWN_WEIGHT of that."""
    unknown = index.weight("")

    def weight(term: str) -> float:
        value = index.weight(term)
        return UNKNOWN_WEIGHT * value if value >= unknown and term >= "㐀" else value

    return weight


def _is_said(conflict: Conflict | None) -> bool:
    return conflict is not None and (conflict.kind != "sign" or read_mode(conflict.law) != "is")
