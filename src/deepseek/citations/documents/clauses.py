"""Paragraphs into a document of clauses: numbers, headings, what is inside of what.

    build_document(paragraphs, source="contract.docx")

A heading is what the format marks as one, or a short line in capitals or title case without a stop; the clause behind
a numbered heading takes its number. Lines of a table of contents are no clauses.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deepseek.citations.documents.document import Clause, Document, Paragraph
from deepseek.citations.documents.numbering import Label, Outline, split_label

MAX_HEADING_CHARS, MAX_HEADING_WORDS, MAX_CHINESE_HEADING = 90, 12, 24
MAX_RUN_IN_WORDS = 9
MAX_LABELLED_WORDS = 5  # behind a number, without a stop, whatever the case of its words
_RUN_IN = re.compile(r"([A-Z][^.:;\n]{2,70}?)(?:[.:]|\s[–—-])\s+(?=[A-Z\"“‘(])")
_CHINESE_RUN_IN = re.compile(r"【([^】]{1,24})】")
_CONTENTS_LINE = re.compile(r"(?:\.{4,}|…{2,}|(?:\. ){4,}|_{4,})\s*\d+$")
_SMALL_WORDS = frozenset(
    [
        "a",
        "an",
        "and",
        "as",
        "at",
        "by",
        "for",
        "from",
        "in",
        "into",
        "of",
        "on",
        "or",
        "per",
        "the",
        "to",
        "under",
        "with",
    ]
)
_STOPS = tuple(".;:,!?。；：，！？、")
_HEADING_STYLES = ("decimal", "article", "section", "I", "A", "一、", "division")


def build_document(paragraphs: Sequence[Paragraph], *, source: str, notes: Sequence[str] = ()) -> Document:
    """The document of some paragraphs. Empty ones are left out; a document may have no clause. `notes`: what was not
    read."""
    builder = _Builder()
    for paragraph in paragraphs:
        builder.add(paragraph)
    title = builder.title or Path(source).stem
    return Document(title, builder.text, builder.close(), source, tuple(notes))


@dataclass(slots=True)
class _Builder:
    """What is known above the next paragraph."""

    title: str = ""
    _lines: list[str] = field(default_factory=list)
    _length: int = 0
    _clauses: list[Clause] = field(default_factory=list)
    _outline: Outline = field(default_factory=Outline)
    _headings: dict[str, str] = field(default_factory=dict)  # by number
    _parents: dict[str, str | None] = field(default_factory=dict)
    _section: str = ""  # the last heading without a number, or of a division
    _waiting: tuple[str, str | None] | None = None  # number and parent of a heading whose clause has not come
    _last_article: float | None = None
    _headings_alone: list[tuple[str, Paragraph, int, int]] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "\n".join(self._lines)

    def add(self, paragraph: Paragraph) -> None:
        words = " ".join(f"{paragraph.label} {paragraph.text}".split())
        if not any(letter.isalnum() for letter in words):
            return
        start = self._length + bool(self._lines)
        self._lines.append(words)
        self._length = start + len(words)
        if _CONTENTS_LINE.search(words):
            return
        split = None if paragraph.is_row else split_label(words, self._last_article)
        label, begin = split if split else (None, 0)
        rest = words[begin:].strip("*").strip()
        if label is not None and label.style == "article":
            self._last_article = label.value
        if not paragraph.is_row and is_heading(paragraph, label, rest):
            self._add_heading(paragraph, label, rest, start)
            return
        number, parent, heading = self._place(label, rest)
        offset = start + words.index(rest, begin)
        self._clauses.append(
            Clause(number, heading, rest, paragraph.page, offset, offset + len(rest), parent, paragraph.box)
        )
        self._waiting = None

    def _add_heading(self, paragraph: Paragraph, label: Label | None, rest: str, start: int) -> None:
        words = rest or (label.text if label else "")
        if not self.title and not label:
            self.title = words
        elif label is None:
            self._section = words
            if paragraph.level is not None:
                self._outline = Outline()
            self._waiting = None
        else:
            number, parent = self._outline.enter(label)
            self._parents[number] = parent
            if label.style.startswith("division"):
                self._section = f"{label.text} {rest}".strip()
                self._waiting = None
            else:
                self._headings[number] = words if rest else self._headings.get(parent or "", self._section)
                self._waiting = (number, parent)
        end = start + len(self._lines[-1])
        self._headings_alone.append((words, paragraph, end - len(words), end))

    def _place(self, label: Label | None, rest: str) -> tuple[str, str | None, str]:
        """Number, parent and heading of a clause."""
        if label is None:
            number, parent = self._waiting or ("", self._outline.article)
            return number, parent, self._heading_of(number or parent)
        number, parent = self._outline.enter(label)
        self._parents[number] = parent
        opening = run_in_heading(rest)
        if opening and label.style.split()[0] in _HEADING_STYLES:
            self._headings[number] = opening
        else:
            self._headings.pop(number, None)
        return number, parent, self._heading_of(number)

    def _heading_of(self, number: str | None) -> str:
        for _ in range(12):  # levels
            if number is None:
                break
            if number in self._headings:
                return self._headings[number]
            number = self._parents.get(number)
        return self._section

    def close(self) -> tuple[Clause, ...]:
        """The clauses; where there are headings alone, these."""
        if self._clauses or not self._headings_alone:
            return tuple(self._clauses)
        return tuple(
            Clause("", "", words, paragraph.page, start, end, None, paragraph.box)
            for words, paragraph, start, end in self._headings_alone
        )


def is_heading(paragraph: Paragraph, label: Label | None, rest: str) -> bool:
    """Whether a paragraph, without its label, is a heading."""
    if paragraph.level is not None:
        return True
    if label is not None and (not rest or label.style.startswith("division")):
        return True
    if label is not None and not label.style.startswith(_HEADING_STYLES):
        return False
    if rest.endswith(_STOPS) or len(rest) > MAX_HEADING_CHARS:
        return False
    if any("一" <= letter <= "鿿" for letter in rest):
        is_short = len(rest) <= MAX_CHINESE_HEADING and not any(stop in rest for stop in "，。；：、")
        return is_short and (label is not None or rest.endswith(("合同", "协议", "办法", "条例", "规定", "通知", "法")))
    if label is not None and rest[:1].isupper() and len(rest.split()) <= MAX_LABELLED_WORDS:
        return True
    return _is_title_case(rest) and len(rest.split()) <= MAX_HEADING_WORDS


def run_in_heading(text: str) -> str:
    """The heading that opens a clause on its own line; "" for none.

    >>> run_in_heading("Term and Termination. This Agreement ends."), run_in_heading("The parties agree. They sign.")
    ('Term and Termination', '')
    """
    if match := _CHINESE_RUN_IN.match(text):
        return match[1]
    match = _RUN_IN.match(text)
    if match and len(match[1].split()) <= MAX_RUN_IN_WORDS and _is_title_case(match[1]):
        return match[1].strip()
    return ""


def _is_title_case(text: str) -> bool:
    words: list[str] = re.findall(r"[^\W\d_][\w'’]*", text)
    large = [word for word in words if word.lower() not in _SMALL_WORDS]
    return bool(large) and words[0][0].isupper() and all(word[0].isupper() for word in large)
