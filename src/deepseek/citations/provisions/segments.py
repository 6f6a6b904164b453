"""A text into segments that each lay down one thing, and a Chinese segment into its pieces between commas.

>>> [text[each.start : each.end] for text in ["A pays; B may wait. C must not."] for each in split_segments(text)]
['A pays;', 'B may wait.', 'C must not.']
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from deepseek.citations.provisions.provision import Span

_ENDS = re.compile(r"[。！？；;]+[”’」』）)]*|[.!?]+[”’)\"']*(?=\s|$)|\n")
_ABBREVIATION = re.compile(
    r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|St|No|Nos|Art|Arts|Sec|para|paras|cf|vs|Inc|Ltd|Co|Corp|e\.g|i\.e|etc|al|v|U\.S"
    r"|[A-Z])|^\W*[\dIVXivx]{1,6}(?:\.\d+)*)\.$"
)
_ABBREVIATION_CHARS = 14
_ITEM = re.compile(
    r"\s*(?:[（(]\s?(?:[一二三四五六七八九十百]{1,4}|\d{1,3}|[a-zA-Z]{1,5})\s?[)）]|\d{1,2}[.、)](?!\d)\s?|[-*•]\s)"
)
_QUOTED = re.compile(r"《[^》\n]{0,80}》|“[^”\n]{0,80}”|（[^）\n]{0,120}）|\([^)\n]{0,200}\)")
MASK = "\u25a1"


@dataclass(frozen=True, slots=True)
class Segment:
    """text[start:end], without the spaces around it."""

    start: int
    end: int
    line: int  # counted from 0
    is_item: bool  # of a list
    head: int | None = None  # the number of the segment that opens the list which it is in
    opens_list: bool = False


def mask_quotes(text: str) -> str:
    """The text with what is quoted or in brackets replaced, letter by letter: names of laws hold no rule."""
    return _QUOTED.sub(lambda match: match[0][0] + MASK * (len(match[0]) - 2) + match[0][-1], text)


def split_segments(text: str) -> list[Segment]:
    """The segments of a text in their order: parts that end at a stop, a semicolon or a line; items of a list are each
    one, with the number of the segment that opens the list."""
    masked = mask_quotes(text)
    segments: list[Segment] = []
    start, line = 0, 0
    head: int | None = None
    in_item = False

    def add(end: int) -> None:
        nonlocal head, in_item
        begin = start
        while begin < end and text[begin].isspace():
            begin += 1
        stop = end
        while stop > begin and text[stop - 1].isspace():
            stop -= 1
        if not any(letter.isalnum() for letter in text[begin:stop]):
            return
        opens_line = not segments or segments[-1].line != line
        is_item = bool(opens_line and _ITEM.match(text[begin:stop]))
        if opens_line:
            in_item = is_item
        if opens_line and not is_item and head is not None:
            head = None
        opens_list = text[begin:stop].endswith(("：", ":"))
        segments.append(Segment(begin, stop, line, in_item, head if in_item else None, opens_list))
        if opens_list and not in_item:
            head = len(segments) - 1

    for match in _ENDS.finditer(masked):
        if match[0][0] == "." and _is_abbreviation(masked, start, match.end()):
            continue
        add(match.end())
        line += match[0].count("\n")
        start = match.end()
    add(len(text))
    return segments


def _is_abbreviation(text: str, start: int, end: int) -> bool:
    before = text[max(start, end - _ABBREVIATION_CHARS) : end]
    return _ABBREVIATION.search(before.lstrip() if end - start <= _ABBREVIATION_CHARS else before) is not None


def split_pieces(masked: str, start: int, end: int) -> list[Span]:
    """What stands between the commas of text[start:end]."""
    pieces, begin = [], start
    for match in re.finditer(r"[，：:,。；;]", masked[start:end]):
        place = start + match.start()
        if place > begin:
            pieces.append(Span(begin, place))
        begin = place + 1
    if begin < end:
        pieces.append(Span(begin, end))
    return pieces
