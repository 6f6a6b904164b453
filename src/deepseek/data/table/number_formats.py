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

from deepseek.data.table.values import MAX_DIGITS, MAX_EXACT_INTEGER, parse_number
from deepseek.data.table.words.missing_words import FormatSearch, is_missing_word, split_missing
from deepseek.data.table.words.units import (
    CURRENCY,
    DOUBTFUL_SCALES,
    UNIT,
    is_known_unit,
    may_be_unit,
    relative_units,
    split_scale,
)
from deepseek.look.words import Text
from deepseek.null_words import NULL_WORDS

MIN_NUMBERS = 3  # different ones, from which a column of texts is read as numbers
MIN_LEADING_ZEROS_SHARE = 0.01  # of the texts; from there on they are codes, such as 007
NUM_SAMPLED = 300  # different texts that are tried before all are
MIN_SAMPLED_SHARE = 0.6  # of them that must be numbers
MIN_CODE_DIGITS = 7  # of texts with blanks between their digits and all equally long: telephone numbers, not amounts
#: Minus signs, blanks and apostrophes as typographers write them; digits and marks of East Asian and Arabic writing.
_PLAIN_MARKS = str.maketrans(
    {"\u2212": "-", "\u2013": "-", "\u00a0": " ", "\u202f": " ", "\u2009": " ", "\u3000": " ", "\u2019": "'"}
    | {"\u066b": ".", "\u066c": ",", "\u066a": "%"}
    | {chr(0xFF01 + place): chr(0x21 + place) for place in range(94)}
    | {chr(first + digit): str(digit) for first in (0x0660, 0x06F0, 0x0966) for digit in range(10)}
)  # fmt: skip
#: The decimal mark and the mark between thousands, the most usual first: where several fit, the first is taken.
_MARKS = ((".", ""), (".", ","), (",", ""), (",", "."), (".", " "), (".", "'"), (",", " "))
_PLAIN_NUMBER = re.compile(r"[-+]?[0-9]+(?:\.[0-9]+)?")
_CLOCK = re.compile(
    r"(?P<hour>[0-9]{1,3}):(?P<minute>[0-5][0-9])(?::(?P<second>[0-5][0-9](?:\.[0-9]{1,9})?))? ?(?P<half>[ap]\.?m\.?)?",
    re.IGNORECASE,
)
_DURATION = re.compile(
    r"(?:(?P<day>[0-9]{1,4}) ?d(?:ays?)? ?)?(?:(?P<hour>[0-9]{1,3}) ?(?:h|hrs?|hours?|小时)\.? ?)"
    r"(?:(?P<minute>[0-9]{1,2}) ?(?:m|mins?|minutes?|分钟?)?\.? ?)?"
    r"(?:(?P<second>[0-9]{1,2}) ?(?:s|secs?|seconds?|秒)\.?)?",
    re.IGNORECASE,
)
NOON = 12
_NAMES = {
    ",": Text("commas", "逗号"),
    ".": Text("points", "点"),
    " ": Text("blanks", "空格"),
    "'": Text("apostrophes", "撇号"),
}


@dataclass(frozen=True)
class NumberFormat:
    """How a column's texts say numbers. `prefix` and `unit` stand beside a number in its texts, or are left out."""

    decimal: str = "."
    thousands: str = ""  # between groups of three digits: one of , . ' and a blank
    prefix: str = ""
    unit: str = ""
    has_scales: bool = False  # 2.6k is 2600
    is_clock: bool = False  # 10:30 is 10.5 hours; other forms are none then
    other_units: tuple[str, ...] = ()  # that measure the same, as g beside kg,
    unit_factors: tuple[float, ...] = ()  # and how many of `unit` each of them is
    is_tolerant: bool = False  # training had texts that say nothing: later ones count as missing, and are flagged
    missing: tuple[str, ...] = ()  # texts of the training column that count as missing, beside NULL_WORDS

    def __post_init__(self) -> None:
        if (self.decimal, self.thousands) not in _MARKS:
            raise ValueError(f"no format of numbers: {self}")
        if len(self.other_units) != len(self.unit_factors):
            raise ValueError(f"no factor for each unit: {self}")

    def parse(self, value: Any) -> float:
        """The number in a text, NaN for a missing one; any other value as parse_number() reads it. ValueError for a
        text of another form, which a tolerant column has as NaN.

        >>> NumberFormat(thousands=",", prefix="$").parse("($1,499.50)")
        -1499.5
        """
        if not isinstance(value, str):
            number = parse_number(value)
            return math.nan if number in self.missing_numbers else number
        text = value.strip()
        if self.knows_as_missing(text) or is_missing_word(text):
            return math.nan
        try:
            return parse_clock(text) if self.is_clock else self._parse_number(text)
        except ValueError:
            if self.is_tolerant:
                return math.nan
            raise

    def knows_as_missing(self, text: str) -> bool:
        """Whether a text is one that stood for "not known" in training."""
        return text in NULL_WORDS or text in self.missing

    def _parse_number(self, text: str) -> float:
        cell = split_cell(text, self.decimal, self.thousands)
        if cell is None or not self.fits(cell):
            raise ValueError(text[:MAX_DIGITS])
        if self.has_scales:
            return cell.number * split_scale(cell.unit)[0]
        return cell.number * self._factors.get(cell.unit, 1.0)

    def fits(self, cell: NumberCell) -> bool:
        """Whether a number has beside it what this format knows."""
        unit = split_scale(cell.unit)[1] if self.has_scales else cell.unit
        return cell.prefix in ("", self.prefix) and (not unit or unit == self.unit or unit in self._factors)

    @cached_property
    def _factors(self) -> dict[str, float]:
        return dict(zip(self.other_units, self.unit_factors, strict=True))

    @cached_property
    def missing_numbers(self) -> frozenset[float]:
        """Numbers that count as missing, such as 999: words of `missing` that are numbers to every reader."""
        return frozenset(float(word) for word in self.missing if _PLAIN_NUMBER.fullmatch(word))

    def describe(self) -> Text:
        """Its parts in words."""
        marks = [mark for mark in (self.prefix, self.unit) if mark]
        parts = [Text(f"{mark!r} beside the number", f"数字旁有 {mark!r}") for mark in marks]
        if self.thousands:
            mark = _NAMES[self.thousands]
            parts.append(Text(f"{mark.en} between thousands", f"千位以{mark.zh}分隔"))
        if self.decimal == ",":
            parts.append(Text("decimal commas", "小数点为逗号"))
        if self.other_units:
            units = ", ".join(map(repr, self.other_units))
            parts.append(Text(f"{units} turned into {self.unit!r}", f"{units} 折算为 {self.unit!r}"))
        if self.has_scales:
            parts.append(Text("k, M and the like as factors", "k、M、万等作为倍数"))
        if self.is_clock:
            parts.append(Text("hours of times and durations", "时刻与时长以小时计"))
        if not parts:
            return Text("plain numbers beside words", "数字与文字混杂")
        return Text(", ".join(part.en for part in parts), "，".join(part.zh for part in parts))


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
        r"(?:(?:[~\u2248\u00b1\u7ea6]|ca\.|circa|approx\.|about|etwa) ?)?"
        rf"(?P<open>\()?(?P<sign>[-+])? ?(?P<prefix>{CURRENCY})? ?(?P<within>\()?(?P<inner>[-+])?"
        rf"(?P<number>{number})(?:[.,]-(?![0-9]))?(?P<blank> ?)(?P<unit>{UNIT})?(?P<behind>-)?(?P<close>\))?"
    )


def split_cell(text: str, decimal: str = ".", thousands: str = "") -> NumberCell | None:
    """The number in a text and what stands beside it; None where the text is of another form.

    >>> split_cell("-33.5 kg")
    NumberCell(number=-33.5, prefix='', unit='kg')
    """
    match = _pattern(decimal, thousands).fullmatch(text.translate(_PLAIN_MARKS)) if len(text) <= MAX_DIGITS else None
    if match is None or ((match["open"] or match["within"]) is None) != (match["close"] is None):
        return None
    unit = match["unit"] or ""
    if unit and not may_be_unit(unit, is_glued=not match["blank"]):
        return None
    signs = [sign for sign in match.group("open", "within", "sign", "inner", "behind") if sign]
    if len(signs) > 1:
        return None
    digits = match["number"].replace(thousands, "") if thousands else match["number"]
    number = float(digits.replace(decimal, "."))
    return NumberCell(-number if signs and signs[0] != "+" else number, match["prefix"] or "", unit)


def parse_clock(text: str) -> float:
    """Hours of a time of the day, or of a duration. ValueError for a text of another form.

    >>> parse_clock("10:30"), parse_clock("2:45 PM"), parse_clock("36:00:36"), parse_clock("1h 45m")
    (10.5, 14.75, 36.01, 1.75)
    """
    duration = _DURATION.fullmatch(text)
    if duration is not None:
        days, hours, minutes, seconds = (int(duration[name] or 0) for name in ("day", "hour", "minute", "second"))
        return 24 * days + hours + minutes / 60 + seconds / 3600
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
    sample = list(texts)[:NUM_SAMPLED]
    if sum(map(_is_clock, sample)) < MIN_SAMPLED_SHARE * len(sample):
        return FormatSearch(None, {}, sum(texts.values()))
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
    prefix = prefixes.most_common(1)[0][0] if prefixes else ""
    completed = _with_units(replace(tried, prefix=prefix), units)
    numbers = {text: cell for text, cell in cells.items() if cell is not None and completed.fits(cell)}
    if len({cell.number for cell in numbers.values()}) < min_numbers:
        return None
    odd = {text: count for text, count in texts.items() if text not in numbers}
    return FormatSearch(completed, odd, sum(texts.values()), len(numbers))


def _with_units(tried: NumberFormat, units: Counter[str]) -> NumberFormat:
    """The format with the units that its column has, rows of each: what multiplies, or one unit and those that measure
    the same."""
    if not units:
        return tried
    rests = {split_scale(unit)[1] for unit in units}
    scales = {unit for unit in units if split_scale(unit)[0] != 1.0}
    if scales and len(rests) == 1 and (tried.prefix or not scales <= DOUBTFUL_SCALES):
        return replace(tried, has_scales=True, unit=rests.pop())
    usual = units.most_common(1)[0][0]
    factors = relative_units(usual, sorted(unit for unit in units if unit != usual))
    return replace(tried, unit=usual, other_units=tuple(factors), unit_factors=tuple(factors.values()))


def mixed_units(counts: Mapping[str, int]) -> dict[str, int]:
    """Rows of each unit, the most frequent first, of a column whose texts all say numbers with known units that do not
    measure the same; empty where that is not so."""
    units: Counter[str] = Counter()
    for text, count in split_missing(counts, ())[1].items():
        cell = split_cell(text) or split_cell(text, ".", ",") or split_cell(text, ",", ".")
        beside = "" if cell is None else cell.unit or cell.prefix
        if not is_known_unit(beside):
            return {}
        units[beside] += count
    return dict(units.most_common()) if len(units) > 1 else {}


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
