"""Quotes that can be checked by eye: a part of a clause, word for word, and how much of a sentence it says.

>>> clause = "租赁期限不得超过二十年。超过二十年的，超过部分无效。"
>>> quote = find_quote("租赁期限 不得超过二十年", clause)
>>> clause[quote.start : quote.end], quote.share
('租赁期限不得超过二十年。', 1.0)

Spaces, punctuation, width and case of letters are passed over when sentence and clause are compared; the quote itself
is always clause[start:end].
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

import numpy as np

from deepseek.citations.retrieval.bm25 import extract_terms

MAX_SENTENCE_CHARS = 2_000  # of a sentence that are compared; what is longer is no quote
MAX_CLAUSE_CHARS = 20_000  # of a clause that are quoted from: the longest paragraph of zh-law has under 1,000
#: A neighbouring part that says this share of the sentence's terms anew stands in the quote, too.
MIN_NEW_SHARE = 0.15
_PART = re.compile(r"[^。！？；\n.!?;]*[。！？；.!?;\n]*")


@dataclass(frozen=True, slots=True)
class Quote:
    """clause[start:end]; `share` of the letters of the sentence stand there in one piece, 0..1."""

    start: int
    end: int
    share: float


def comparable_chars(text: str) -> tuple[str, list[int]]:
    """What is compared, and the index of each of its letters in `text`."""
    chars, positions = [], []
    for index, letter in enumerate(text):
        for plain in unicodedata.normalize("NFKC", letter).casefold():
            if plain.isalnum():
                chars.append(plain)
                positions.append(index)
    return "".join(chars), positions


def find_quote(sentence: str, clause: str) -> Quote:
    """The part of a clause that says most of a sentence (parts end at 。；.;): where both share a long piece, the parts
    in which it stands, else the one with the most common terms; and its neighbours that say more of the sentence."""
    clause = clause[:MAX_CLAUSE_CHARS]
    wanted, _ = comparable_chars(sentence[:MAX_SENTENCE_CHARS])
    clause_chars, positions = comparable_chars(clause)
    if not wanted or not clause_chars:
        return Quote(0, len(clause), 0.0)
    run_start, size = longest_common_run(wanted, clause_chars)
    share = size / len(wanted) if len(sentence) <= MAX_SENTENCE_CHARS else 0.0
    parts = [match.span() for match in _PART.finditer(clause) if match[0].strip()]
    sentence_terms = set(extract_terms(sentence))
    has = [sentence_terms & set(extract_terms(clause[start:end])) for start, end in parts]
    if share >= 0.5:
        start, end = positions[run_start], positions[run_start + size - 1]
        inside = [number for number, part in enumerate(parts) if part[0] <= end and part[1] > start]
        first, last = inside[0], inside[-1]
    else:
        first = last = max(range(len(parts)), key=lambda number: len(has[number]))
    seen = set().union(*has[first : last + 1])
    least = MIN_NEW_SHARE * len(sentence_terms)
    while last + 1 < len(parts) and len(has[last + 1] - seen) >= least:
        last += 1
        seen |= has[last]
    while first and len(has[first - 1] - seen) >= least:
        first -= 1
        seen |= has[first]
    return Quote(*_trim_span(clause, parts[first][0], parts[last][1]), share)


def prepend_opening(clause: str, quote: Quote) -> str:
    """What is quoted, behind the line that opens the list in which it stands.

    >>> prepend_opening("无效：\\n（一）欺诈；\\n（二）胁迫。", Quote(11, 18, 1.0))
    '无效：\\n（二）胁迫。'
    """
    words = clause[quote.start : quote.end]
    opening, _, items = clause[:MAX_CLAUSE_CHARS].partition("\n")
    return f"{opening}\n{words}" if items and quote.start > len(opening) else words


def longest_common_run(first: str, second: str) -> tuple[int, int]:
    """The longest run of letters that both texts have: (its start in `second`, its length).

    >>> longest_common_run("abcde", "xbcdy")
    (1, 3)
    """
    start = second.find(first)
    if start >= 0:
        return start, len(first)
    codes = np.array([ord(letter) for letter in second])
    runs = np.zeros(len(second) + 1, np.int32)
    best = end = 0
    for letter in first:
        longer = np.zeros_like(runs)
        longer[1:] = (runs[:-1] + 1) * (codes == ord(letter))
        runs = longer
        longest = int(runs.argmax())
        if runs[longest] > best:
            best, end = int(runs[longest]), longest
    return end - best, best


def _trim_span(clause: str, start: int, end: int) -> tuple[int, int]:
    piece = clause[start:end]
    return start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())
