"""Amounts in Chinese and English text: value, unit, and whether they are the most or the least.

>>> [(each.value, each.unit, each.side) for each in read_amounts("at most thirty-five days, or twice the price")]
[(35.0, 'day', '-'), (2.0, 'times', '')]
>>> [(each.value, each.unit, each.side) for each in read_amounts("三年以上徒刑，不得超过百分之二十")]
[(3.0, '年', '+'), (20.0, '%', '-')]

A number that only names something (Article 40, item (2), 第三条) is no amount, nor is a lone "one" or 一 without a
unit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from deepseek.citations.corpus.numerals import NUMERAL_CHARS, parse_number

Side = Literal["", "+", "-"]

_CHINESE = re.compile(
    rf"(第)?(百分之)?([{NUMERAL_CHARS}]+|\d[\d,]*(?:\.\d+)?)\s*(个月|%|[倍年月日天周岁元人次小时个]?)(?:以(上|下))?"
)
_CHINESE_UNITS = {"天": "日", "周": "岁", "小": "时", "个月": "月"}
_LONE_UNITS = ("个", "人", "次", "日", "天")
_MOST_ZH = re.compile(r"(?:不得?(?:超过|多于|高于|晚于)|不满|未满|最[长多高迟]|至多|上限)[^，。；、]{0,8}$")
_LEAST_ZH = re.compile(r"(?:不得?(?:低于|少于|早于)|至少|最[短少低]|下限)[^，。；、]{0,8}$")
_ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_WORDS = {word: float(value) for value, word in enumerate(_ONES)}
_WORDS |= {word: 10.0 * value for value, word in enumerate(_TENS, 2)}
_WORDS |= {f"{ten}-{one}": _WORDS[ten] + value for ten in _TENS for value, one in enumerate(_ONES[1:10], 1)}
_SCALES = {"hundred": 100.0, "thousand": 1_000.0, "million": 1e6, "billion": 1e9}
_FRACTIONS = {"half": 50.0, "a third": 100 / 3, "two thirds": 200 / 3, "a quarter": 25.0, "three quarters": 75.0}
_MULTIPLES = {"once": 1.0, "twice": 2.0, "double": 2.0, "thrice": 3.0, "triple": 3.0}
_UNITS = {"%": "%", "percent": "%", "per cent": "%", "people": "person", "copies": "copy", "witnesses": "witness"}
_UNITS |= {name: name for name in ("yuan", "person", "copy", "witness")}
_UNITS |= {
    name + end: {"time": "times"}.get(name, name)
    for name in ("hour", "day", "week", "month", "year", "time", "dollar", "euro", "member", "page")
    for end in ("", "s")
}


def _one_of(words: Iterable[str]) -> str:
    return "|".join(map(re.escape, sorted(words, key=len, reverse=True)))


_ENGLISH = re.compile(
    rf"""(?P<name>\b(?:article|section|clause|paragraph|chapter|item|no\.)\s+|\()?
    (?:\b(?P<fraction>{_one_of(_FRACTIONS)})\b
    |\b(?P<number>\d[\d,]*(?:\.\d+)?|{_one_of(_WORDS)})(?:[ -](?P<scale>{_one_of(_SCALES)}))?(?![\w.]*\d)
     (?:\s?\([^()]{{1,12}}\))?[\s-]*  # thirty (30) days
     (?:(?:calendar|business|working|full)\s)?(?P<unit>(?:{_one_of(_UNITS)})(?!\w))?
    |\b(?P<multiple>{_one_of(_MULTIPLES)})\b)""",
    re.IGNORECASE | re.VERBOSE,
)
_MOST = re.compile(
    r"""(?:at\ (?:the\ )?most|up\ to|limited\ to|less\ than|fewer\ than|below|under|maximum(?:\ of)?|may\ reach|within
    |no\ (?:more|later|longer|higher|greater)\ than
    |not\ (?:be\ )?(?:more|later|longer|higher|greater|exceed|older)(?:\ than)?
    |(?:must|shall|may|can|do|does)\ not\ exceed)\s(?:\w+\ ){0,2}$""",
    re.IGNORECASE | re.VERBOSE,
)
_LEAST = re.compile(
    r"""(?:at\ (?:the\ )?least|more\ than|longer\ than|above|over|exceeds?|minimum(?:\ of)?
    |no\ (?:less|fewer|lower|earlier|younger)\ than|not\ (?:be\ )?(?:less|fewer|lower|earlier|younger|shorter)\ than)
    \s(?:\w+\ ){0,2}$""",
    re.IGNORECASE | re.VERBOSE,
)
_LEAST_BEHIND = re.compile(r"\s*(?:or|and) (?:more|longer|above|older|over)\b|\s*at (?:the )?least\b", re.IGNORECASE)
_MOST_BEHIND = re.compile(
    r"\s*(?:or|and) (?:less|fewer|shorter|below|under)\b|[^,.;]{0,40} at (?:the )?most\b", re.IGNORECASE
)
_BEFORE_CHARS = 48  # in which the word for a limit stands
_LONE_ZH = ("一", "两", "千", "百", "十", "万", "亿", "零")


@dataclass(frozen=True, slots=True)
class Amount:
    """text[start:end]; `unit` is "" where none follows, `side` + for the least, - for the most."""

    value: float
    unit: str
    side: Side
    start: int
    end: int

    def words(self, text: str) -> str:
        """How it is written."""
        return text[self.start : self.end].strip()


def read_amounts(text: str) -> list[Amount]:
    """The amounts of a text, in their order; 一个 and 一次 are among them."""
    return sorted((*_read_chinese(text), *_read_english(text)), key=lambda amount: amount.start)


def find_amounts(text: str) -> frozenset[tuple[float, str, str]]:
    """(value, unit, side) of each amount; 三年 and 3 年 are one.

    >>> sorted(find_amounts("within 30 days, or three years"))
    [(3.0, 'year', ''), (30.0, 'day', '-')]
    """
    return frozenset(
        (amount.value, amount.unit.replace("个", ""), amount.side)
        for amount in read_amounts(text)
        if not (amount.value == 1 and amount.unit in _LONE_UNITS and "一" in amount.words(text))  # mostly no amount
    )


def _read_chinese(text: str) -> Iterator[Amount]:
    for match in _CHINESE.finditer(text):
        ordinal, share, digits, unit, side = match.groups()
        if digits[0].isascii() and not (unit or share or side):
            continue  # read as English
        is_item = text[max(0, match.start() - 1) : match.start()] in ("（", "(") and text[
            match.end() : match.end() + 1
        ] in ("）", ")")
        if ordinal or (is_item and not unit) or (not unit and not share and digits in _LONE_ZH):
            continue
        kind = "%" if share or unit == "%" else _CHINESE_UNITS.get(unit, unit)
        where = text[max(0, match.start() - 16) : match.start()]
        bound: Side = "+" if side == "上" or _LEAST_ZH.search(where) else "-" if side or _MOST_ZH.search(where) else ""
        yield Amount(parse_number(digits), kind, bound, match.start(), match.end())


def _read_english(text: str) -> Iterator[Amount]:
    for match in _ENGLISH.finditer(text):
        number, unit = match["number"], (match["unit"] or "").casefold()
        if match["name"] or (number and number.casefold() == "one" and not unit):
            continue
        if number and number[0].isdigit() and _READ_AS_CHINESE.match(text, match.end("number")):
            continue
        value, kind = _value_and_unit(match, unit)
        before, behind = text[max(0, match.start() - _BEFORE_CHARS) : match.start()], text[match.end() :]
        side: Side = ""
        if _LEAST_BEHIND.match(behind) or (_LEAST.search(before) and not _MOST.search(before)):
            side = "+"
        elif _MOST.search(before) or _MOST_BEHIND.match(behind):
            side = "-"
        yield Amount(value, kind, side, match.start(), match.end())


#: What stands behind a number in digits that was read as Chinese.
_READ_AS_CHINESE = re.compile(r"\s*(?:个月|[倍年月日天周岁元人次小时个%])")


def _value_and_unit(match: re.Match[str], unit: str) -> tuple[float, str]:
    if match["multiple"]:
        return _MULTIPLES[match["multiple"].casefold()], "times"
    if match["fraction"]:
        return _FRACTIONS[match["fraction"].casefold()], "%"
    number = match["number"].casefold().replace(",", "")
    value = float(number) if number[0].isdigit() else _WORDS[number]
    value *= _SCALES[match["scale"].casefold()] if match["scale"] else 1.0
    return value, _UNITS.get(unit, "")
