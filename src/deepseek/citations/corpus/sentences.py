"""Chinese and English text into sentences, each with its place: text[start:end] is the sentence, word for word.

>>> [each.text for each in split_sentences("租期不得超过二十年。超过部分无效！ Mr. Lee pays 3.5 % a year. Does he?")]
['租期不得超过二十年。', '超过部分无效！', 'Mr. Lee pays 3.5 % a year.', 'Does he?']

A title is no sentence, and is left out where the text has one:

>>> [each.text for each in split_sentences("# Loans to Related Parties\\n\\n第一章 总则\\nA bank lends.\\n")]
['A bank lends.']
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
#: A line of its own without an end: what marks it as a title. A rule is none, however it is written.
_STRUCTURE = re.compile(
    r"第[零一二三四五六七八九十百\d]+[编章节](?:\s|　|$)|(?:Article|Section|Clause)\s+\d[\w.]*[.:]?$"
    r"|(?:Part|Chapter|Title|Annex|Appendix|Schedule)\s+[IVXLCA-Z\d]+\b"
)
_NUMBERED = re.compile(
    r"(?:\d+(?:\.\d+)*[.)]?|[IVXLC]+[.)]|[A-Z][.)]|[一二三四五六七八九十]+、|[（(][一二三四五六七八九十\d]+[）)])\s*"
)
_CHINESE_TITLE = re.compile(
    r"(?:关于)?[一-鿿《》（）()\s]{2,30}(?:通知|办法|条例|合同|协议|协议书|方案|报告|说明|规定|制度|总则|附则|意见书|备忘录)"
)
_ENDS = tuple("。！？；…!?;.,，、：:")
_RULE = re.compile(
    r"\b(?:shall|must|may|can|cannot|will|is|are|was|were|has|have|does|do|not|no)\b|不|应|可以|须|禁止|有权|为|是|\d",
    re.IGNORECASE,
)
_SMALL_WORDS = frozenset(
    ("a", "an", "and", "as", "at", "by", "for", "from", "in", "into", "of", "on", "or", "per", "the", "to", "under",
     "with")
)  # fmt: skip
MARK_CHARS = 24  # beside a line in which its marks (#, **) and the line's end stand
MAX_TITLE_WORDS, MAX_TITLE_CHARS, MAX_NUMBERED_CHARS = 12, 80, 12


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
    without_titles = [sentence for sentence in sentences if not _is_title(text, sentence)]
    return without_titles or sentences


def _is_title(text: str, sentence: Sentence) -> bool:
    """Whether a sentence is a line of its own that is written as a title: marked or numbered, in capitals or in title
    case, and without a word that makes it a rule."""
    before = text[max(0, sentence.start - MARK_CHARS) : sentence.start].rstrip(" \t　#*")
    behind = text[sentence.end : sentence.end + MARK_CHARS].lstrip(" \t　#*")
    words = sentence.text.strip("#* 　")
    if (before and before[-1] != "\n") or (behind and behind[0] != "\n") or len(words) > MAX_TITLE_CHARS:
        return False
    if behind.lstrip()[:1].islower():  # a line that goes on
        return False
    if (structure := _STRUCTURE.match(words)) and not _RULE.search(words, structure.end()):
        return True
    numbered = _NUMBERED.match(words)
    bare = words[numbered.end() :] if numbered else words
    if words[-1:] in _ENDS or _RULE.search(bare):
        return False
    if sentence.text[0] == "#" or sentence.text[:2] == sentence.text[-2:] == "**":
        return True
    if not bare.isascii():
        short = words[1:2] == "、" or words[2:3] == "、"  # 一、总体要求
        return _CHINESE_TITLE.fullmatch(bare) is not None or (short and len(bare) <= MAX_NUMBERED_CHARS)
    plain = [word for word in bare.split() if word.casefold() not in _SMALL_WORDS]
    in_capitals = bool(plain) and all(not word[0].isalpha() or word[0].isupper() for word in plain)
    return in_capitals and len(bare.split()) <= MAX_TITLE_WORDS


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
