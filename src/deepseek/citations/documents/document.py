"""A document as clauses, and the paragraphs that a reader of files gives before they are clauses."""

from __future__ import annotations

from dataclasses import dataclass

#: Left, top, right, bottom in points (1/72 inch) from the upper left corner of a page.
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a page."""

    text: str
    page: int  # from 1
    box: Box
    cells: tuple[str, ...] = ()  # where wide gaps part it


@dataclass(frozen=True, slots=True)
class Paragraph:
    """What stands together in a file."""

    text: str
    page: int | None = None  # from 1, where the file has pages
    box: Box | None = None
    label: str = ""  # a number that the format counts and that is not in the text, as 3.2 or (a)
    level: int | None = None  # of a heading that the format marks, from 1
    is_row: bool = False  # a row of a table, its cells joined by " | "


@dataclass(frozen=True, slots=True)
class Clause:
    """One paragraph or item, word for word: document.text[start:end] is its text."""

    number: str  # with those above it where it has none of its own: 3.2(a), Article 5, 第二十条（一）; "" for none
    heading: str  # the nearest above it, or the one that opens its line; "" for none
    text: str  # without its number
    page: int | None  # from 1; None where the file has no pages
    start: int  # characters in Document.text
    end: int
    parent: str | None  # the number of the clause that it belongs to
    box: Box | None = None  # where it stands on its page


@dataclass(frozen=True, slots=True)
class Document:
    """A file that was read."""

    title: str  # its first heading, else the file's name
    text: str  # all paragraphs, one a line
    clauses: tuple[Clause, ...]  # in their order
    source: str  # the file's name
    notes: tuple[str, ...] = ()  # what was not read, in words: pages that are pictures
