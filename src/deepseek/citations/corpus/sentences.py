"""Chinese and English text into sentences, each with its place: text[start:end] is the sentence, word for word.

>>> [each.text for each in split_sentences("租期不得超过二十年。超过部分无效！ Mr. Lee pays 3.5 % a year. Does he?")]
['租期不得超过二十年。', '超过部分无效！', 'Mr. Lee pays 3.5 % a year.', 'Does he?']
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from deepseek.errors import InputError, TooLargeError

MAX_CHARS = 4 * 2**20
#: What closes a sentence in Chinese, or in English before a space; quotes and brackets behind it belong to it.
_END = re.compile(r"[。！？；…]+[”’」』）)\"']*|[.!?]+[”’)\"']*(?=\s|$)|\n\s*")
_NO_END = re.compile(
    r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|St|No|Nos|Art|Arts|Sec|para|paras|cf|vs|Inc|Ltd|Co|Corp|e\.g|i\.e|etc|al|v|[A-Z])|^\W*\d+)\.$"
)
_ABBREVIATION_CHARS = 12  # looked at before a dot


@dataclass(frozen=True, slots=True)
class Sentence:
    """A piece of the text, without the spaces around it."""

    text: str
    start: int
    end: int


def split_sentences(text: str) -> list[Sentence]:
    """The sentences of a text. InputError when it is no text or has no word, TooLargeError above MAX_CHARS."""
    if not isinstance(text, str) or not any(letter.isalnum() for letter in text):
        raise InputError(
            "there is no text", expected="at least one sentence", fix="give the text that is to be checked"
        )
    if len(text) > MAX_CHARS:
        raise TooLargeError(
            f"the text has {len(text)} letters", expected=f"at most {MAX_CHARS}", fix="give it in parts"
        )
    sentences: list[Sentence] = []
    start = 0
    for match in _END.finditer(text):
        if _is_abbreviation(text, start, match):
            continue
        _append_sentence(text, start, match.end(), sentences)
        start = match.end()
    _append_sentence(text, start, len(text), sentences)
    return sentences


def _is_abbreviation(text: str, start: int, match: re.Match[str]) -> bool:
    """A dot behind an abbreviation or the number of a list."""
    if match[0] != ".":
        return False
    before = text[max(start, match.start() - _ABBREVIATION_CHARS) : match.end()]
    return _NO_END.search(before if match.start() - start > _ABBREVIATION_CHARS else before.lstrip()) is not None


def _append_sentence(text: str, start: int, end: int, sentences: list[Sentence]) -> None:
    piece = text[start:end]
    stripped = piece.strip()
    if any(letter.isalnum() for letter in stripped):
        first = start + len(piece) - len(piece.lstrip())
        sentences.append(Sentence(stripped, first, first + len(stripped)))
