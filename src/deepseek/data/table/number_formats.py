"""How the texts of a column say numbers: $1,499.00, 33 kg, (1,234), 12 %, 2.6k, 10:30. Found on training rows.

    search = find_number_format({"$1,499.00": 1, "$12.50": 2, "$3": 1, "?": 1})
    search.format                        # NumberFormat(thousands=",", prefix="$", missing=("?",))
    search.format.parse("$2,000")        # 2000.0

A text that the format does not fit is a ValueError, never a guess: what a request sends is read as training was.
"""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from deepseek.data.table.missing_words import FormatSearch, split_missing
from deepseek.data.table.values import MAX_DIGITS, MAX_EXACT_INTEGER, parse_number
from deepseek.null_words import NULL_WORDS

MIN_NUMBERS = 3  # different ones, from which a column of texts is read as numbers
MIN_LEADING_ZEROS_SHARE = 0.01  # of the texts; from there on they are codes, such as 007
NUM_SAMPLED = 300  # different texts that are tried before all are
MIN_SAMPLED_SHARE = 0.6  # of them that must be numbers
MIN_CODE_DIGITS = 7  # of texts with blanks between their digits and all equally long: telephone numbers, not amounts
SCALES = {"k": 1e3, "K": 1e3, "M": 1e6, "mn": 1e6, "B": 1e9, "bn": 1e9, "万": 1e4, "亿": 1e8}

_CURRENCY = r"(?:US|HK|CA|AU|NT|C|A)?\$|[€£¥￥₹₩₽₺]|USD|EUR|GBP|JPY|CNY|RMB|CHF|HKD|INR|KRW|Rs\.?"
_UNIT = rf"[%‰]|°[CF]?|{_CURRENCY}|[^\W\d_]{{1,12}}[²³]?(?:/[^\W\d_]{{1,8}}[²³]?)?"
#: Minus signs, blanks and apostrophes as typographers write them.
_PLAIN_MARKS = str.maketrans({"\u2212": "-", "\u2013": "-", "\u00a0": " ", "\u202f": " ", "\u2009": " ", "\u2019": "'"})
#: The decimal mark and the mark between thousands, the most usual first: where several fit, the first is taken.
_MARKS = ((".", ""), (".", ","), (",", ""), (",", "."), (".", " "), (".", "'"), (",", " "))
_PLAIN_NUMBER = re.compile(r"[-+]?[0-9]+(?:\.[0-9]+)?")
_CLOCK = re.compile(
    r"(?P<hour>[0-9]{1,3}):(?P<minute>[0-5][0-9])(?::(?P<second>[0-5][0-9](?:\.[0-9]{1,9})?))? ?(?P<half>[ap]\.?m\.?)?",
    re.IGNORECASE,
)
NOON = 12
_NAMES = {",": "commas", ".": "points", " ": "blanks", "'": "apostrophes"}


@dataclass(frozen=True)
class NumberFormat:
    """How a column's texts say numbers. `prefix` and `unit` stand beside a number in its texts, or are left out."""

    decimal: str = "."
    thousands: str = ""  # between groups of three digits: one of , . ' and a blank
    prefix: str = ""
    unit: str = ""
    has_scales: bool = False  # 2.6k is 2600
    is_clock: bool = False  # 10:30 is 10.5 hours; other forms are none then
    missing: tuple[str, ...] = ()  # texts of the training column that count as missing, beside NULL_WORDS

    def __post_init__(self) -> None:
        if (self.decimal, self.thousands) not in _MARKS:
            raise ValueError(f"no format of numbers: {self}")

    def parse(self, value: Any) -> float:
        """The number in a text, NaN for a missing one; any other value as parse_number() reads it. ValueError for a
        text of another form.

        >>> NumberFormat(thousands=",", prefix="$").parse("($1,499.50)")
        -1499.5
        """
        if not isinstance(value, str):
            number = parse_number(value)
            return math.nan if number in self.missing_numbers else number
        text = value.strip()
        if text in NULL_WORDS or text in self.missing:
            return math.nan
        if self.is_clock:
            return parse_clock(text)
        cell = split_cell(text, self.decimal, self.thousands)
        if cell is None or not self.fits(cell):
            raise ValueError(value[:MAX_DIGITS])
        return cell.number * SCALES[cell.unit] if self.has_scales and cell.unit else cell.number

    def fits(self, cell: NumberCell) -> bool:
        """Whether a number has beside it what this format knows."""
        units = SCALES if self.has_scales else (self.unit,)
        return cell.prefix in ("", self.prefix) and (not cell.unit or cell.unit in units)

    @cached_property
    def missing_numbers(self) -> frozenset[float]:
        """Numbers that count as missing, such as 999: words of `missing` that are numbers to every reader."""
        return frozenset(float(word) for word in self.missing if _PLAIN_NUMBER.fullmatch(word))

    def describe(self) -> str:
        """Its parts in words."""
        parts = [f"{_NAMES[self.thousands]} between thousands"] if self.thousands else []
        parts += ["decimal commas"] if self.decimal == "," else []
        parts += [f"{mark!r} beside the number" for mark in (self.prefix, self.unit) if mark]
        parts += ["k, M and the like as factors"] if self.has_scales else []
        return ", ".join(parts)


@dataclass(frozen=True)
class NumberCell:
    """The parts of a text that says a number."""

    number: float
    prefix: str
    unit: str


@functools.cache
def _pattern(decimal: str, thousands: str) -> re.Pattern[str]:
    point, mark = re.escape(decimal), re.escape(thousands)
    groups = (
        rf"[0-9]{{1,3}}(?:{mark}[0-9]{{3}})+|[0-9]{{1,2}}(?:{mark}[0-9]{{2}})+{mark}[0-9]{{3}}"  # 12,34,567 in India
    )
    whole = rf"{groups}|[0-9]+" if thousands else "[0-9]+"
    number = rf"(?:(?:{whole})(?:{point}[0-9]+)?|{point}[0-9]+)(?:[eE][-+]?[0-9]{{1,3}})?"
    return re.compile(
        rf"(?P<open>\()?(?P<sign>[-+])? ?(?P<prefix>{_CURRENCY})? ?(?P<inner>[-+])?(?P<number>{number}) ?"
        rf"(?P<unit>{_UNIT})?(?P<behind>-)?(?P<close>\))?"
    )


def split_cell(text: str, decimal: str = ".", thousands: str = "") -> NumberCell | None:
    """The number in a text and what stands beside it; None where the text is of another form.

    >>> split_cell("-33.5 kg")
    NumberCell(number=-33.5, prefix='', unit='kg')
    """
    match = _pattern(decimal, thousands).fullmatch(text.translate(_PLAIN_MARKS)) if len(text) <= MAX_DIGITS else None
    if match is None or (match["open"] is None) != (match["close"] is None):
        return None
    signs = [sign for sign in match.group("open", "sign", "inner", "behind") if sign]
    if len(signs) > 1:
        return None
    digits = match["number"].replace(thousands, "") if thousands else match["number"]
    number = float(digits.replace(decimal, "."))
    return NumberCell(-number if signs and signs[0] != "+" else number, match["prefix"] or "", match["unit"] or "")


def parse_clock(text: str) -> float:
    """Hours of a time of the day, or of a duration. ValueError for a text of another form.

    >>> parse_clock("10:30"), parse_clock("2:45 PM"), parse_clock("36:00:36")
    (10.5, 14.75, 36.01)
    """
    match = _CLOCK.fullmatch(text)
    if match is None:
        raise ValueError(text[:MAX_DIGITS])
    hour, half = int(match["hour"]), (match["half"] or "").lower()
    if half:
        if not 1 <= hour <= NOON:
            raise ValueError(text)
        hour = hour % NOON + (NOON if half.startswith("p") else 0)
    return hour + int(match["minute"]) / 60 + float(match["second"] or 0) / 3600


def find_clock_format(counts: Mapping[str, int], missing_words: Iterable[str] = ()) -> FormatSearch[NumberFormat]:
    """Whether a column's texts (rows of each, by text) are times of the day. `missing_words`: as in
    find_number_format()."""
    missing, texts = split_missing(counts, missing_words)
    odd = {text: count for text, count in texts.items() if not _is_clock(text)}
    num_clocks = len(texts) - len(odd)
    form = NumberFormat(missing=missing, is_clock=True) if num_clocks >= max(MIN_NUMBERS, len(odd)) else None
    return FormatSearch(form, odd, sum(texts.values()), num_clocks)


def _is_clock(text: str) -> bool:
    try:
        parse_clock(text)
    except ValueError:
        return False
    return True


def find_number_format(
    counts: Mapping[str, int], missing_words: Iterable[str] = (), min_numbers: int = MIN_NUMBERS
) -> FormatSearch[NumberFormat]:
    """How a column's texts (rows of each, by text) say numbers. `missing_words`: what the user says means missing;
    `min_numbers`: different ones without which there is no format."""
    missing, texts = split_missing(counts, missing_words)
    searches = [
        search for decimal, thousands in _MARKS
        if (search := _try_format(texts, NumberFormat(decimal, thousands, missing=missing), min_numbers)) is not None
    ]  # fmt: skip
    if not searches or _are_codes(texts):
        return FormatSearch(None, {}, sum(texts.values()))
    best = min(searches, key=lambda search: search.num_odd)  # the first of equal ones
    others = [each.format for each in searches if each.num_odd == best.num_odd and each.format is not None]
    both_fit = best.format is not None and any(each.decimal != best.format.decimal for each in others)
    return replace(best, doubt="its commas could be decimal commas, too" if both_fit and "," in "".join(texts) else "")


def _try_format(texts: Mapping[str, int], tried: NumberFormat, min_numbers: int) -> FormatSearch[NumberFormat] | None:
    """The format with what stands beside most numbers; None where too many texts are of another form."""
    sample = list(texts)[:NUM_SAMPLED]
    num_numbers = sum(split_cell(text, tried.decimal, tried.thousands) is not None for text in sample)
    if num_numbers < MIN_SAMPLED_SHARE * len(sample):
        return None
    cells = {text: split_cell(text, tried.decimal, tried.thousands) for text in texts}
    prefixes: Counter[str] = Counter()
    units: Counter[str] = Counter()
    for text, cell in cells.items():
        if cell is not None:
            prefixes[cell.prefix] += texts[text]
            units[cell.unit] += texts[text]
    del prefixes[""], units[""]
    has_scales = bool(units) and set(units) <= set(SCALES)
    usual = [counter.most_common(1)[0][0] if counter else "" for counter in (prefixes, units)]
    completed = replace(tried, prefix=usual[0], unit="" if has_scales else usual[1], has_scales=has_scales)
    numbers = {text: cell for text, cell in cells.items() if cell is not None and completed.fits(cell)}
    if len({cell.number for cell in numbers.values()}) < min_numbers:
        return None
    odd = {text: count for text, count in texts.items() if text not in numbers}
    return FormatSearch(completed, odd, sum(texts.values()), len(numbers))


def _are_codes(texts: Mapping[str, int]) -> bool:
    """Whether the digits of the texts name something: 007, numbers of more digits than are exact, of a telephone."""
    zeros = sum(re.match(r"[-+]?0[0-9]", text) is not None for text in texts)
    digits = [sum(letter.isdigit() for letter in text) for text in texts]
    if zeros >= MIN_LEADING_ZEROS_SHARE * len(texts) or any(
        num >= 16 and re.fullmatch(r"[-+]?[0-9]+", text) and abs(float(text)) >= MAX_EXACT_INTEGER
        for text, num in zip(texts, digits, strict=True)
    ):
        return True
    spaced = all(" " in text.strip() and re.fullmatch(r"[-+0-9 ]+", text) for text in texts)
    return spaced and min(digits) == max(digits) >= MIN_CODE_DIGITS
