"""PDF into paragraphs by PDFium: lines with their place, without what stands at the head and foot of every page.

A page without letters is a scan: it is read by rapidocr where that is installed (scan.py), and refused otherwise.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median
from typing import Any

from deepseek.citations.documents.document import Box, Line, Paragraph
from deepseek.citations.documents.plain import join_lines, line_width, starts_paragraph
from deepseek.errors import InputError, MalformedError, TooLargeError
from deepseek.extras import need

MAX_PAGES = 1000
MAX_PAGE_CHARS = 200_000
MIN_REPEATS = 3  # pages on which a line at the edge is a head or a foot, and at least half of them
NUM_EDGE_LINES = 2
MAX_NAMED_PAGES = 20
#: A gap between lines that ends a paragraph, in usual distances; one between words that parts cells, in line heights.
PARAGRAPH_GAP, CELL_GAP = 1.45, 1.8
_PAGE_NUMBER = re.compile(
    r"\W*(?:page|第)?\s*[\dIVXLivxl]{1,5}\s*(?:页)?(?:\s*(?:of|/|共)\s*\d+\s*页?)?\W*$", re.IGNORECASE
)
_SENTENCE_ENDS = tuple(".;:!?。；：！？")
_PASSWORD = 4  # FPDF_ERR_PASSWORD


def paragraphs_of(data: bytes, name: str) -> tuple[list[Paragraph], list[str]]:
    """The paragraphs of a PDF, and which of its pages could not be read. InputError for an encrypted or scanned one,
    MalformedError for a broken one, TooLargeError above MAX_PAGES."""
    pdfium = need("pypdfium2", extra="documents")
    try:
        document = pdfium.PdfDocument(data)
    except pdfium.PdfiumError as error:
        if getattr(error, "err_code", None) == _PASSWORD or "password" in str(error).lower():
            raise InputError(
                f"{name} is encrypted", expected="a PDF that opens without a password", fix="save it without a password"
            ) from error
        raise MalformedError(
            f"{name} cannot be read: {str(error)[:100]}", expected="a PDF that is whole", fix="print it to a new PDF"
        ) from error
    try:
        num_pages = len(document)
        if num_pages > MAX_PAGES:
            raise TooLargeError(
                f"{name} has {num_pages} pages", expected=f"at most {MAX_PAGES}", fix="give it in parts"
            )
        pages = [_page_lines(document, index, name, pdfium) for index in range(num_pages)]
        pictures = [index for index, lines in enumerate(pages) if not lines and _has_picture(document, index, pdfium)]
        notes = _read_pictures(document, pages, pictures, name)
    finally:
        document.close()
    return join_pages(pages), notes


def _has_picture(document: Any, index: int, pdfium: Any) -> bool:
    page = document[index]
    try:
        return next(iter(page.get_objects(filter=(pdfium.raw.FPDF_PAGEOBJ_IMAGE,), max_depth=3)), None) is not None
    finally:
        page.close()


def _read_pictures(document: Any, pages: list[list[Line]], pictures: Sequence[int], name: str) -> list[str]:
    """Put the lines of pages that are pictures into `pages`; what was not read, in words. A document of nothing else
    is refused where nobody can read it."""
    from deepseek.citations.documents.scan import can_read_pictures, read_pictures

    if not pictures:
        return []
    if not any(pages) or can_read_pictures():
        for index, lines in read_pictures(document, pictures, name).items():
            pages[index] = lines
        return []
    shown = ", ".join(str(index + 1) for index in pictures[:MAX_NAMED_PAGES])
    more = f" and {len(pictures) - MAX_NAMED_PAGES} more" if len(pictures) > MAX_NAMED_PAGES else ""
    return [f"pages that are pictures were not read: {shown}{more}; the extra 'scan' (rapidocr) reads them"]


def join_pages(pages: Sequence[Sequence[Line]]) -> list[Paragraph]:
    """Lines of pages as paragraphs."""
    lines = [line for page in _without_edges(pages) for line in page]
    width, is_wrapped = line_width([line.text for line in lines])
    pitch = _usual_pitch(lines)
    paragraphs: list[Paragraph] = []
    waiting: list[Line] = []

    def close() -> None:
        if waiting:
            first = waiting[0]
            box = _around([line.box for line in waiting if line.page == first.page])
            paragraphs.append(Paragraph(join_lines([line.text for line in waiting]), first.page, box))
            waiting.clear()

    for index, line in enumerate(lines):
        if line.cells and _is_row(lines, index):
            close()
            paragraphs.append(Paragraph(" | ".join(line.cells), line.page, line.box, is_row=True))
            continue
        if waiting:
            before = waiting[-1]
            is_apart = before.page == line.page and line.box[1] - before.box[1] > PARAGRAPH_GAP * pitch
            if is_apart or starts_paragraph(before.text, line.text, width, is_wrapped=is_wrapped):
                close()
        waiting.append(line)
    close()
    return paragraphs


def _page_lines(document: Any, index: int, name: str, pdfium: Any) -> list[Line]:
    try:
        page = document[index]
    except pdfium.PdfiumError as error:
        raise MalformedError(
            f"page {index + 1} of {name} cannot be read", expected="a PDF that is whole", fix="print it to a new PDF"
        ) from error
    try:
        text_page = page.get_textpage()
        try:
            if text_page.count_chars() > MAX_PAGE_CHARS:
                raise TooLargeError(
                    f"page {index + 1} of {name} has {text_page.count_chars()} letters",
                    expected=f"at most {MAX_PAGE_CHARS}", fix="print it to a new PDF",
                )  # fmt: skip
            return list(_lines(text_page, index + 1, page.get_height()))
        finally:
            text_page.close()
    finally:
        page.close()


def _lines(text_page: Any, page: int, height: float) -> Iterator[Line]:
    """Lines as PDFium parts them, with their boxes from the upper left corner."""
    text = text_page.get_text_range()
    has_places = len(text) == text_page.count_chars()
    for match in re.finditer(r"[^\r\n]+", text):
        words = [
            (
                word[0].replace("\ufffe", "-").replace("\u00ad", "-"),
                match.start() + word.start(),
                match.start() + word.end(),
            )
            for word in re.finditer(r"\S+", match[0])
        ]
        if not words:
            continue
        boxes = [_word_box(text_page, start, end, height) for _, start, end in words] if has_places else []
        cells: list[list[str]] = [[]]
        for place, (word, _, _) in enumerate(words):
            if place and boxes and boxes[place][0] - boxes[place - 1][2] > CELL_GAP * _line_height(boxes[place]):
                cells.append([])
            cells[-1].append(word)
        box = _around(boxes) if boxes else (0.0, 0.0, 0.0, 0.0)
        parted = tuple(" ".join(cell) for cell in cells) if len(cells) > 1 else ()
        yield Line(" ".join(word for word, _, _ in words), page, box, parted)


def _word_box(text_page: Any, start: int, end: int, height: float) -> Box:
    left, bottom, _, top = text_page.get_charbox(start, loose=True)
    _, last_bottom, right, last_top = text_page.get_charbox(end - 1, loose=True)
    return left, height - max(top, last_top), right, height - min(bottom, last_bottom)


def _line_height(box: Box) -> float:
    return max(box[3] - box[1], 1.0)


def _around(boxes: Sequence[Box]) -> Box:
    return (
        min(box[0] for box in boxes), min(box[1] for box in boxes),
        max(box[2] for box in boxes), max(box[3] for box in boxes),
    )  # fmt: skip


def _usual_pitch(lines: Sequence[Line]) -> float:
    steps = [
        after.box[1] - line.box[1]
        for line, after in pairwise(lines)
        if line.page == after.page and after.box[1] > line.box[1]
    ]
    return median(steps) if steps else 12.0


def _is_row(lines: Sequence[Line], index: int) -> bool:
    """Whether a line with gaps has a neighbor with gaps of which a cell begins at the same place: a table, and not a
    line that was stretched."""
    neighbors = [lines[place] for place in (index - 1, index + 1) if 0 <= place < len(lines)]
    return any(len(line.cells) == len(lines[index].cells) and line.page == lines[index].page for line in neighbors)


def _without_edges(pages: Sequence[Sequence[Line]]) -> list[list[Line]]:
    """Pages without their numbers and without lines that stand at the head or foot of at least half of them."""
    counts: Counter[str] = Counter()
    for page in pages:
        counts.update({_edge_key(line.text) for line in (*page[:NUM_EDGE_LINES], *page[-NUM_EDGE_LINES:])})
    repeated = {key for key, count in counts.items() if count >= max(MIN_REPEATS, len(pages) / 2)}
    kept = []
    for page in pages:
        edges = {*range(NUM_EDGE_LINES), *range(len(page) - NUM_EDGE_LINES, len(page))}
        outer = {0, len(page) - 1}
        kept.append(
            [
                line
                for place, line in enumerate(page)
                if not (place in edges and _edge_key(line.text) in repeated)
                and not (place in outer and len(page) > 1 and _PAGE_NUMBER.match(line.text))
            ]
        )
    return kept


def _edge_key(text: str) -> str:
    """What is the same in a head or foot of all pages: all but its numbers. A sentence is compared with them."""
    return text if text.endswith(_SENTENCE_ENDS) else re.sub(r"\d+", "#", text)
