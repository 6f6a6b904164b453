"""Numbers that open a paragraph, and which clause is inside of which.

    label, rest = split_label("3.2 Payment")           # Label("3.2", "decimal", 2, ...), its end in the text
    outline = Outline(); outline.enter(label)          # "3.2", and the number of its parent "3"

Styles as they are written in contracts and laws: Article 5, Section 3.2, 1., 1.1, (a), (iv), A., IV., 第二十条, 第三章,
一、, （一）, 1）. A style that is open is gone on with; another one opens a level below.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from deepseek.citations.corpus.numerals import NUMERAL_CHARS, parse_number

_NUMERAL = f"[{NUMERAL_CHARS}0-9]+"
_DIVISIONS = {"编": 0, "章": 1, "节": 2}
_CHINESE_DIVISION = re.compile(rf"(第\s?({_NUMERAL})\s?([编章节]))(?:[\s　:：]+|$)")
_CHINESE_ARTICLE = re.compile(rf"(?:\*\*)?(第\s?({_NUMERAL})\s?条(?:\s?之{_NUMERAL})?)(?:\*\*)?[\s　:：]*")
_CHINESE_COUNT = re.compile(r"(([一二三四五六七八九十百]{1,4})、)\s?")
_CHINESE_ITEM = re.compile(r"([（(]\s?([一二三四五六七八九十百]{1,4})\s?[)）])\s?")
_ENGLISH_DIVISION = re.compile(
    r"((?:PART|TITLE|CHAPTER|BOOK|Part|Title|Chapter)\s+([IVXLC]+|\d{1,3}|[A-Z]))(?:[.:\s\-–—]+|$)"
)
_ENGLISH_ARTICLE = re.compile(
    r"((?:ARTICLE|SECTION|CLAUSE|SCHEDULE|ANNEX|APPENDIX|EXHIBIT|Article|Section|Clause|Schedule|Annex|Appendix|Exhibit"
    r"|§)\s?([IVXLC]+\b|\d[\w]*(?:[.\-]\d+\w*)*|[A-Z]\b))(?:[.:)\s\-–—]+|$)"
)
_DECIMAL = re.compile(r"((\d{1,3}(?:\.\d{1,3}){1,5})[.)]?)(?:\s+|$)")
_COUNT = re.compile(r"((\d{1,3})[.)、．）])(?:\s*(?=[一-鿿])|\s+|$)")
_BRACKETED = re.compile(r"([（(]\s?(\d{1,3}|[a-zA-Z]{1,2}|[ivxlIVXL]{2,6})\s?[)）])\s*")
_LETTER = re.compile(r"(([a-zA-Z]|[ivxlIVXL]{2,6})[.)])\s+")
_ROMAN = {"i": 1, "v": 5, "x": 10, "l": 50, "c": 100, "d": 500, "m": 1000}


@dataclass(frozen=True, slots=True)
class Label:
    """A number as it is written."""

    text: str  # without the dot or the space behind it
    style: str  # how it is written: labels of a style are neighbors
    value: float
    is_absolute: bool = False  # known without the numbers above it, as Article 5 and 3.2
    parts: tuple[int, ...] = ()  # of a decimal number


def split_label(text: str, last: float | None = None) -> tuple[Label, int] | None:
    """The label that opens a text, and where the text goes on; None for a text without. `last`: the value of the
    article before, by which an article with nothing behind its number is told from one that a sentence names.

    >>> split_label("3.2 Payment")[0].text, split_label("(iv) goods")[0].value, split_label("Payment")
    ('3.2', 4.0, None)
    """
    outer = _match_division(text) or _match_article(text, last)
    if outer:
        return outer
    if match := _DECIMAL.match(text):
        parts = tuple(int(part) for part in match[2].split("."))
        return Label(match[2], "decimal", parts[-1], is_absolute=True, parts=parts), match.end()
    if match := _COUNT.match(text):
        style = "decimal" if match[1][-1] in ".．、" else "count)"
        return Label(
            match[2], style, int(match[2]), is_absolute=style == "decimal", parts=(int(match[2]),)
        ), match.end()
    if match := _CHINESE_COUNT.match(text):
        return Label(match[2], "一、", parse_number(match[2]) or 0), match.end()
    if match := _CHINESE_ITEM.match(text):
        return Label(f"（{match[2]}）", "（一）", parse_number(match[2]) or 0), match.end()
    if match := _BRACKETED.match(text):
        return _letter_label(match[2], "()", f"({match[2]})"), match.end()
    if match := _LETTER.match(text):
        return _letter_label(match[2], match[1][-1], match[2]), match.end()
    return None


def _match_division(text: str) -> tuple[Label, int] | None:
    if match := _CHINESE_DIVISION.match(text):
        label = Label("".join(match[1].split()), f"division {_DIVISIONS[match[3]]}", parse_number(match[2]) or 0, True)
        return label, match.end()
    if match := _ENGLISH_DIVISION.match(text):
        word = match[1].split()[0].lower()
        rank = {"book": 0, "title": 0, "part": 0}.get(word, 1)
        return Label(" ".join(match[1].split()), f"division {rank}", _count_of(match[2]), True), match.end()
    return None


def _match_article(text: str, last: float | None) -> tuple[Label, int] | None:
    if match := _CHINESE_ARTICLE.match(text):
        value = parse_number(match[2]) or 0
        is_spaced = match.end() == len(text) or text[match.end() - 1] in " 　\t:：" or text.startswith("**")
        if is_spaced or value == (last or 0) + 1:
            return Label("".join(match[1].split()), "article", value, True), match.end()
        return None
    if match := _ENGLISH_ARTICLE.match(text):
        rest = text[match.end() :]
        if rest[:1].islower() or rest[:1] in ",;)":
            return None  # "Section 3 of this Agreement applies": a sentence that names an article
        word = match[1].split()[0].lower() if match[1][0] != "§" else "section"
        digits = tuple(int(part) for part in re.findall(r"\d+", match[2]))
        style = "section" if word in ("section", "clause") else "article"
        return Label(" ".join(match[1].split()), style, _count_of(match[2]), True, digits), match.end()
    return None


def _letter_label(letters: str, marks: str, text: str) -> Label:
    if letters.isdigit():
        return Label(text, f"1{marks}", int(letters))
    case = "a" if letters.islower() else "A"
    lower = letters.lower()
    if len(lower) > 1 and set(lower) <= set(_ROMAN):
        return Label(text, f"{'i' if case == 'a' else 'I'}{marks}", _roman_value(lower))
    return Label(text, f"{case}{marks}", ord(lower[-1]) - 96 + 26 * (len(lower) - 1))


def _count_of(digits: str) -> float:
    if digits[0].isdigit():
        return float(re.match(r"\d+", digits)[0])  # type: ignore[index]
    return _roman_value(digits.lower()) if set(digits.lower()) <= set(_ROMAN) else ord(digits[0].lower()) - 96


def _roman_value(letters: str) -> float:
    """
    >>> _roman_value("xiv")
    14.0
    """
    values = [_ROMAN[letter] for letter in letters]
    following = [*values[1:], 0]
    return float(sum(-value if value < after else value for value, after in zip(values, following, strict=True)))


@dataclass(slots=True)
class Outline:
    """The labels that are open, outermost first."""

    _open: list[tuple[Label, str]] = field(default_factory=list)

    def enter(self, label: Label) -> tuple[str, str | None]:
        """The full number of a label, and that of the clause that it is in; it stays open until one beside or above it
        comes."""
        label = self._settle_roman(label)
        if label.style.startswith("division"):
            self._open = [each for each in self._open if each[0].style < label.style and _is_division(each[0])]
        elif label.style == "decimal":
            self._close_decimals(label)
        else:
            self._close_style(label)
        parent = next((number for each, number in reversed(self._open) if not _is_division(each)), None)
        is_alone = label.is_absolute and (len(label.parts) != 1 or label.style != "decimal" or parent is None)
        if label.style == "decimal" and len(label.parts) > 1:
            is_alone = True
        number = label.text if is_alone or parent is None else _join_numbers(parent, label.text)
        self._open.append((label, number))
        return number, parent

    @property
    def article(self) -> str | None:
        """The number that a paragraph without one belongs to: the innermost that is no item of a list."""
        inner = [(label, number) for label, number in reversed(self._open) if not _is_division(label)]
        return next((number for label, number in inner if label.is_absolute), inner[-1][1] if inner else None)

    def _settle_roman(self, label: Label) -> Label:
        """(i), (v) and (x) may be letters or numerals: a letter where the letter before it is open, else a numeral."""
        letter = label.text.strip("()")
        if label.style[0] not in "aA" or letter.lower() not in ("i", "v", "x", "l", "c"):
            return label
        for each, _ in reversed(self._open):
            if each.style == label.style and each.value == label.value - 1:
                return label
        roman = Label(
            label.text, ("i" if label.style[0] == "a" else "I") + label.style[1:], _roman_value(letter.lower())
        )
        goes_on = any(each.style == roman.style and each.value == roman.value - 1 for each, _ in self._open)
        return roman if goes_on or roman.value == 1 else label

    def _close_decimals(self, label: Label) -> None:
        """3.2 is inside of 3 and of 3.2's article, and beside 3.1."""
        while self._open and not _is_division(self._open[-1][0]):
            last = self._open[-1][0]
            if last.style == "decimal" and label.parts[: len(last.parts)] == last.parts and label.parts != last.parts:
                return
            if last.style in ("article", "section") and _holds_decimal(last, label):
                return
            if (
                len(label.parts) == 1
                and last.style not in ("decimal", "article", "section")
                and not self._is_open("decimal")
            ):
                return  # a list with 1. inside of (a)
            self._open.pop()

    def _close_style(self, label: Label) -> None:
        for index, (each, _) in enumerate(self._open):
            if each.style == label.style:
                del self._open[index:]
                return
        if label.style in ("article", "section"):
            above = ("article",) if label.style == "section" else ()
            self._open = [each for each in self._open if _is_division(each[0]) or each[0].style in above]

    def _is_open(self, style: str) -> bool:
        return any(label.style == style for label, _ in self._open)


def _holds_decimal(article: Label, label: Label) -> bool:
    """Whether 5.1 stands in Article 5, or a plain 1. in any."""
    return len(label.parts) == 1 or int(article.value) == label.parts[0]


def _is_division(label: Label) -> bool:
    return label.style.startswith("division")


def _join_numbers(parent: str, text: str) -> str:
    joint = "" if text[0] in "(（" else " "
    return f"{parent}{joint}{text}"
