"""Whether a statement repeats whole sentences of a clause, word for word.

>>> clause = "A lender may not deduct interest in advance. If it does, the loan is what was paid out."
>>> is_verbatim("A lender may not deduct interest in advance.", clause), is_verbatim("the loan is what was", clause)
(True, False)

Spaces, punctuation, width and case are passed over. A statement that leaves out the beginning or the end of a sentence
is not verbatim: what it leaves out may be the condition, or the word not.
"""

from __future__ import annotations

from functools import lru_cache

from deepseek.citations.support.quote import comparable_chars

_STOPS = frozenset("。！？；.!?;：:\n")


CACHED_CLAUSES = 16_384  # every sentence of a draft is looked for in the same ones


@lru_cache(maxsize=CACHED_CLAUSES)
def _comparable(clause: str) -> tuple[str, list[int]]:
    return comparable_chars(clause)


def is_verbatim(statement: str, clause: str) -> bool:
    """Whether a clause has the statement as whole sentences or parts between semicolons."""
    wanted, _ = comparable_chars(statement)
    letters, places = _comparable(clause)
    start = letters.find(wanted) if wanted else -1
    while start >= 0:
        last = start + len(wanted)
        opens = start == 0 or _has_stop(clause, places[start - 1] + 1, places[start])
        closes = last == len(letters) or _has_stop(clause, places[last - 1] + 1, places[last])
        if opens and closes:
            return True
        start = letters.find(wanted, start + 1)
    return False


def _has_stop(clause: str, start: int, end: int) -> bool:
    """Whether a sentence ends between two letters."""
    between = clause[start:end]
    return bool(_STOPS & set(between)) and between not in (".", ":")
