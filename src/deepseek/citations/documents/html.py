"""HTML into paragraphs: what a browser would show as a block, with the numbers of lists and the rows of tables."""

from __future__ import annotations

from typing import Any

from deepseek.citations.documents.document import Paragraph
from deepseek.errors import InputError, TooLargeError
from deepseek.extras import need

_BLOCKS = frozenset(
    ("address", "article", "aside", "blockquote", "body", "br", "center", "dd", "details", "div", "dl", "dt",
     "figcaption", "figure", "footer", "form", "header", "hr", "html", "li", "main", "ol", "p", "pre", "section",
     "summary", "table", "tbody", "tfoot", "thead", "tr", "ul")
)  # fmt: skip
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_UNSEEN = frozenset(
    ("script", "style", "noscript", "template", "head", "nav", "svg", "iframe", "button", "select", "input", "object")
)
_CELLS = ("td", "th")
MAX_LETTERS = 16 * 2**20  # of a page: its tree takes ten times as much
MAX_DEPTH = 200  # of elements; what lies deeper is read as plain text


def paragraphs_of(text: str, name: str) -> list[Paragraph]:
    """The paragraphs of a page. InputError for one without an element, TooLargeError above MAX_LETTERS."""
    if len(text) > MAX_LETTERS:
        raise TooLargeError(
            f"{name} has {len(text)} letters", expected=f"at most {MAX_LETTERS}", fix="save it as text, or in parts"
        )
    html = need("lxml.html", extra="documents")
    parser = html.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True, no_network=True)
    try:
        root = html.document_fromstring(text.encode("utf-8"), parser=parser)
    except (ValueError, need("lxml.etree", extra="documents").ParserError) as error:
        raise InputError(
            f"{name} has no words", expected="a page with at least one clause", fix="look whether it is empty"
        ) from error
    walk = _Walk()
    walk.visit(root, 0)
    walk.close()
    return walk.paragraphs


class _Walk:
    """Text in the order of the page, cut at blocks."""

    def __init__(self) -> None:
        self.paragraphs: list[Paragraph] = []
        self._words: list[str] = []
        self._label = ""
        self._level: int | None = None

    def visit(self, element: Any, depth: int) -> None:
        tag = element.tag if isinstance(element.tag, str) else ""
        if tag in _UNSEEN or _is_hidden(element):
            return
        if depth > MAX_DEPTH:
            self._words.append(" ".join(element.itertext()))
            return
        if tag == "tr":
            self.close()
            cells = [" ".join(" ".join(cell.itertext()).split()) for cell in element if cell.tag in _CELLS]
            if any(cells) and len(cells) > 1:
                self.paragraphs.append(Paragraph(" | ".join(cells), is_row=True))
                return
        is_block = tag in _BLOCKS or tag in _HEADINGS
        if is_block:
            self.close()
        self._level = _HEADINGS.get(tag, self._level)
        if tag == "li":
            self._label = _list_label(element)
        self._words.append(element.text or "")
        for child in element:
            self.visit(child, depth + 1)
            self._words.append(child.tail or "")
        if is_block:
            self.close()
            self._level = None if tag in _HEADINGS else self._level

    def close(self) -> None:
        """End the paragraph that is open."""
        words = " ".join("".join(self._words).split())
        self._words.clear()
        if words:
            self.paragraphs.append(Paragraph(words, label=self._label, level=self._level))
            self._label = ""


def _is_hidden(element: Any) -> bool:
    style = (element.get("style") or "").replace(" ", "").lower()
    return element.get("hidden") is not None or "display:none" in style or "visibility:hidden" in style


def _list_label(item: Any) -> str:
    """The number that a browser shows in front of an item of a numbered list."""
    parent = item.getparent()
    if parent is None or parent.tag != "ol":
        return ""
    start = parent.get("start", "1")
    value = int(start) if start.lstrip("-").isdigit() and len(start) < 8 else 1
    value += sum(1 for sibling in item.itersiblings("li", preceding=True))
    return format_count(value, {"a": "lowerLetter", "A": "upperLetter", "i": "lowerRoman", "I": "upperRoman"}.get(
        parent.get("type", "1"), "decimal"
    )) + "."  # fmt: skip


def format_count(value: int, style: str) -> str:
    """A number as lists write it; `style` by the names of Word.

    >>> [format_count(4, style) for style in ("decimal", "lowerLetter", "upperRoman", "chineseCounting")]
    ['4', 'd', 'IV', '四']
    """
    if style in ("lowerLetter", "upperLetter") and value > 0:
        letter = chr(97 + (value - 1) % 26) * (1 + (value - 1) // 26 if value <= 26 * 4 else 1)
        return letter if style == "lowerLetter" else letter.upper()
    if style in ("lowerRoman", "upperRoman") and 0 < value < 4000:
        numeral, rest = "", value
        for step, letters in ((1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"),
                              (40, "xl"), (10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i")):  # fmt: skip
            numeral, rest = numeral + letters * (rest // step), rest % step
        return numeral if style == "lowerRoman" else numeral.upper()
    if style.startswith(("chinese", "ideograph", "japaneseCounting", "taiwaneseCounting")) and 0 < value < 10000:
        from deepseek.citations.corpus.numerals import to_chinese

        return to_chinese(value)
    if style == "decimalZero":
        return f"{value:02}"
    return str(value)
