"""Text and Markdown files into paragraphs: lines that were broken at a width are joined again.

>>> [paragraph.text for paragraph in paragraphs_of("1. One line\\n2. Another\\n\\nA third.")]
['1. One line', '2. Another', 'A third.']
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from deepseek.citations.documents.document import Paragraph
from deepseek.citations.documents.numbering import split_label

#: A line this much shorter than the widest ones ends what it says, with a mark or without.
SHORT_LINE, FULL_LINE = 0.6, 0.85
MAX_WRAPPED_CHARS = 130  # lines of a text that is broken at a width
MIN_UNENDED_SHARE = 0.3  # of such a text's lines end within a sentence
_ENDS = tuple('.;:!?。；：！？"”')
_HEADING = re.compile(r"(#{1,6})\s+(.*)")
_FENCE = re.compile(r"[-=*_]{3,}$")
_TABLE_ROW = re.compile(r"\|(.+)\|$")


def paragraphs_of(text: str) -> list[Paragraph]:
    """The paragraphs of a text, without lines that only draw a rule."""
    lines = [" ".join(line.split()) for line in text.splitlines()]
    width, is_wrapped = line_width(lines)
    paragraphs: list[Paragraph] = []
    waiting: list[str] = []

    def close() -> None:
        if waiting:
            paragraphs.append(Paragraph(join_lines(waiting)))
            waiting.clear()

    for line in lines:
        if not any(letter.isalnum() for letter in line):
            close()
        elif match := _HEADING.match(line):
            close()
            paragraphs.append(Paragraph(match[2].strip("# "), level=len(match[1])))
        elif match := _TABLE_ROW.match(line):
            close()
            if not _FENCE.match(match[1].replace("|", "").replace(" ", "").replace(":", "") or "---"):
                paragraphs.append(Paragraph(" | ".join(cell.strip() for cell in match[1].split("|")), is_row=True))
        else:
            if waiting and starts_paragraph(waiting[-1], line, width, is_wrapped=is_wrapped):
                close()
            waiting.append(line)
    close()
    return paragraphs


def line_width(lines: Sequence[str]) -> tuple[int, bool]:
    """The width of the wider lines in letters, and whether the text was broken at it."""
    lengths = sorted(len(line) for line in lines if line)
    if not lengths:
        return 0, False
    width = lengths[int(0.9 * (len(lengths) - 1))]
    unended = sum(not line.endswith(_ENDS) for line in lines if len(line) >= SHORT_LINE * width)
    full = sum(len(line) >= SHORT_LINE * width for line in lines if line)
    return width, width <= MAX_WRAPPED_CHARS and unended >= MIN_UNENDED_SHARE * full


def starts_paragraph(before: str, line: str, width: int, *, is_wrapped: bool) -> bool:
    """Whether a line behind another begins something new."""
    is_ended = before.endswith(_ENDS)
    label = split_label(line)
    if label is not None:
        rest = line[label[1] :]
        return is_ended or len(before) < SHORT_LINE * width or not (rest[:1].islower() and label[0].style == "decimal")
    if len(before) < SHORT_LINE * width:
        return not (is_wrapped and line[:1].islower())
    return is_ended and (not is_wrapped or len(before) < FULL_LINE * width)


def join_lines(lines: Sequence[str]) -> str:
    """Lines as one text: without a space between Chinese letters, without the hyphen of a broken word.

    >>> join_lines(["a broken", "line"]), join_lines(["中文", "断行"]), join_lines(["confi-", "dential"])
    ('a broken line', '中文断行', 'confidential')
    """
    joined = ""
    for line in lines:
        if joined.endswith("-") and joined[-2:-1].islower() and line[:1].islower():
            joined = joined[:-1] + line
        elif joined and (ord(joined[-1]) < 0x2E80 or (line and ord(line[0]) < 0x2E80)):
            joined += " " + line
        else:
            joined += line
    return joined
