"""Clauses into what is judged: a clause, or each sentence of a long one, with its place in the document."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from deepseek.citations.corpus.sentences import split_sentences
from deepseek.citations.documents import Document

MIN_SPLIT_CHARS = 60  # sentences shorter than this stay with the one before
MAX_PASSAGE_CHARS = 2000


@dataclass(frozen=True, slots=True)
class Passage:
    """document.text[start:end] is its text."""

    text: str
    start: int
    end: int
    clause: int  # the index of the clause that it is from


def split_passages(document: Document) -> tuple[Passage, ...]:
    """The passages of all clauses, in their order; every letter of a clause but spaces is in one of them."""
    passages: list[Passage] = []
    for index, clause in enumerate(document.clauses):
        cuts = [0, len(clause.text)]
        if len(clause.text) > 2 * MIN_SPLIT_CHARS and any(letter.isalnum() for letter in clause.text):
            starts = [sentence.start for sentence in split_sentences(clause.text)]
            cuts = [0]
            for start in (*starts[1:], len(clause.text)):
                if start - cuts[-1] >= MIN_SPLIT_CHARS or start == len(clause.text):
                    cuts.append(start)
            if len(cuts) > 2 and cuts[-1] - cuts[-2] < MIN_SPLIT_CHARS:
                del cuts[-2]
        for start, end in pairwise(cuts):
            for begin in range(start, end, MAX_PASSAGE_CHARS):
                words = clause.text[begin : min(begin + MAX_PASSAGE_CHARS, end)]
                left = len(words) - len(words.lstrip())
                words = words.strip()
                if words:
                    place = clause.start + begin + left
                    passages.append(Passage(words, place, place + len(words), index))
    return tuple(passages)
