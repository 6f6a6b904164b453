"""Scanned pages into lines by rapidocr, one page after the other; the pictures are made by PDFium."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from deepseek.citations.documents.document import Line
from deepseek.errors import InputError
from deepseek.extras import is_installed, need

MAX_SCANNED_PAGES = 100
DOTS_PER_INCH, MAX_PIXELS = 200, 12_000_000
MIN_CONFIDENCE = 0.5


def can_read_pictures() -> bool:
    """Whether rapidocr is installed."""
    return is_installed("rapidocr")


def read_pictures(document: Any, pictures: Sequence[int], name: str) -> dict[int, list[Line]]:
    """Lines of the pages (indices) of a document of pypdfium2 that are pictures. InputError without rapidocr, and for
    pictures without words."""
    if not can_read_pictures():
        raise InputError(
            f"{name} is scanned: its pages are pictures without letters",
            expected="a PDF with text, or the extra 'scan', which reads pictures",
            fix="pip install rapidocr, or give the document as it was written",
        )
    if len(pictures) > MAX_SCANNED_PAGES:
        raise InputError(
            f"{name} has {len(pictures)} scanned pages", expected=f"at most {MAX_SCANNED_PAGES}", fix="give it in parts"
        )
    reader = need("rapidocr", extra="scan").RapidOCR()
    pages = {index: _read_page(reader, document[index], index + 1) for index in pictures}
    if not any(pages.values()):
        raise InputError(
            f"{name} is scanned, and no words are seen on its pages", expected="pages with words", fix="scan it again"
        )
    return pages


def _read_page(reader: Any, page: Any, number: int) -> list[Line]:
    width, height = page.get_size()
    scale = min(DOTS_PER_INCH / 72, math.sqrt(MAX_PIXELS / max(width * height, 1.0)))
    picture = page.render(scale=scale).to_numpy()
    page.close()
    result = reader(picture)
    if result is None or getattr(result, "boxes", None) is None:
        return []
    lines = []
    for corners, text, confidence in zip(result.boxes, result.txts, result.scores, strict=True):
        if confidence >= MIN_CONFIDENCE and text.strip():
            left, top = (float(min(corner[axis] for corner in corners)) / scale for axis in (0, 1))
            right, bottom = (float(max(corner[axis] for corner in corners)) / scale for axis in (0, 1))
            lines.append(Line(text.strip(), number, (left, top, right, bottom)))
    return sorted(lines, key=lambda line: (round(line.box[1] / 6), line.box[0]))
