"""Dates in English by dateparser, in Chinese by a grammar of days over numerals that cn2an reads.

>>> from datetime import datetime
>>> [each.value for each in read_chinese_dates("下周五", datetime(2026, 11, 29))]
['2026-12-04']

dateparser's own Chinese takes 12月3日下午 for another day, so its answers to Chinese are not used. A match that is one
word with another meaning ("may", "second") is no date.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Iterator
from datetime import MAXYEAR, MINYEAR, date, datetime, timedelta

from deepseek.dialogue.slots.numerals import to_digits
from deepseek.dialogue.slots.values import DateOrder, SlotValue, Tense
from deepseek.extras import need

#: Words that dateparser takes for a date and that mean something else when they stand alone.
NO_DATES = frozenset(
    (
        "may", "march", "mar", "sun", "sat", "mon", "wed", "second", "sec", "minute", "hour", "now", "today's", "a",
        "an", "in", "on", "at", "to", "of",
    )
)  # fmt: skip
_LONG_NUMBER = re.compile(r"(?<![\d/.-])\d{5,}(?![\d/.-])")  # of an order, and no part of a date
_ISO = re.compile(r"(?<!\d)(\d{4})-(\d{1,2})-(\d{1,2})(?!\d)")
_HAS_DAY = re.compile(
    r"\d|today|tomorrow|yesterday|day|week|fortnight|mon|tue|wed|thu|fri|sat|sun|year|month", re.IGNORECASE
)
_WEEKDAY = re.compile(r"((?:下|上)*|这|本)个?(?:周|星期|礼拜)([1-7一二三四五六日天])")
_YEAR_MONTH_DAY = re.compile(r"(?:(\d{4}|\d{2})年|([今明去])年)?(\d{1,2})月(\d{1,2})(?:日|号)?")
_DAY_OF_MONTH = re.compile(r"(?:([下上]+|这|本)个?月|(?<![\d月]))(\d{1,2})[日号](?!\d|楼|线|店|门|机)")
_WORDS = {
    "大前天": -3, "前天": -2, "昨天": -1, "今天": 0, "明天": 1, "后天": 2, "大后天": 3, "今日": 0, "明日": 1,
    "昨日": -1,
}  # fmt: skip
_WORD = re.compile("|".join(sorted(_WORDS, key=len, reverse=True)))
_RELATIVE = re.compile(r"([\d一二两三四五六七八九十半]+)(?:个)?(天|日|周|星期|礼拜|月|年)(?:之|以)?(前|后)")
_DAYS_OF = {"天": 1, "日": 1, "周": 7, "星期": 7, "礼拜": 7}
_WEEKDAYS = {"一": 0, "二": 1, "三": 2, "四": 3, "五": 4, "六": 5, "日": 6, "天": 6}


def read_english_dates(
    text: str, now: datetime, *, order: DateOrder = "DMY", prefer: Tense = "future"
) -> list[SlotValue]:
    """The dates of an English sentence, in its order. `order`: how 03/04/2026 is read; `prefer`: which "Friday" is."""
    search = need("dateparser.search", extra="dialogue")
    settings = {
        "RELATIVE_BASE": now, "PREFER_DATES_FROM": prefer, "DATE_ORDER": order, "PREFER_DAY_OF_MONTH": "first",
    }  # fmt: skip
    spans, place = list(_iso_dates(text)), 0
    text = _LONG_NUMBER.sub(lambda match: "#" * len(match[0]), text)
    for words, moment in search.search_dates(text, languages=["en"], settings=settings) or []:
        start = text.find(words, place)
        if start < 0 or not _names_a_day(words):
            continue
        place = start + len(words)
        if not any(span.start < place and start < span.end for span in spans):
            spans.append(SlotValue(start, place, moment.date().isoformat()))
    return sorted(spans, key=lambda span: span.start)


def _names_a_day(words: str) -> bool:
    bare = words.strip().lower()
    return bare not in NO_DATES and not bare.replace(" ", "").isdigit() and bool(_HAS_DAY.search(bare))


def read_chinese_dates(text: str, now: datetime, *, prefer: Tense = "future") -> list[SlotValue]:
    """The dates of a Chinese sentence, in its order. Places are those of the sentence with its numerals as digits."""
    plain = to_digits(text)
    today, spans = now.date(), list[SlotValue]()
    for span in (*_iso_dates(plain), *_grammar(plain, today, prefer)):
        if not any(span.start < other.end and other.start < span.end for other in spans):
            spans.append(span)
    return sorted(spans, key=lambda span: span.start)


def _grammar(text: str, today: date, prefer: Tense) -> Iterator[SlotValue]:
    for match in _YEAR_MONTH_DAY.finditer(text):
        yield from _span(match, _month_day(match, today, prefer))
    for match in _RELATIVE.finditer(text):
        yield from _span(match, _relative(match, today))
    for match in _WORD.finditer(text):
        yield from _span(match, today + timedelta(_WORDS[match[0]]))
    for match in _WEEKDAY.finditer(text):
        yield from _span(match, _weekday(match, today, prefer))
    for match in _DAY_OF_MONTH.finditer(text):
        yield from _span(match, _day_of_month(match, today, prefer))


def _span(match: re.Match[str], day: date | None) -> Iterator[SlotValue]:
    if day is not None:
        yield SlotValue(match.start(), match.end(), day.isoformat())


def _iso_dates(text: str) -> Iterator[SlotValue]:
    for match in _ISO.finditer(text):
        yield from _span(match, _day(int(match[1]), int(match[2]), int(match[3])))


def _month_day(match: re.Match[str], today: date, prefer: Tense) -> date | None:
    month, number = int(match[3]), int(match[4])
    if match[1]:
        return _day(int(match[1]) + (2000 if len(match[1]) == 2 else 0), month, number)
    if match[2]:
        return _day(today.year + {"今": 0, "明": 1, "去": -1}[match[2]], month, number)
    day = _day(today.year, month, number)
    if day is not None and prefer == "future" and day < today:
        return _day(today.year + 1, month, number)
    if day is not None and prefer == "past" and day > today:
        return _day(today.year - 1, month, number)
    return day


def _relative(match: re.Match[str], today: date) -> date | None:
    if match[1] == "半":
        return None  # half a year, half a day: no day is meant
    count = int(match[1]) if match[1].isdigit() else int(to_digits(match[1].replace("两", "二")) or 0)
    count = min(count, 10_000) * (1 if match[3] == "后" else -1)
    if match[2] in _DAYS_OF:
        return today + timedelta(count * _DAYS_OF[match[2]])
    return _months_later(today, count * (12 if match[2] == "年" else 1))


def _weekday(match: re.Match[str], today: date, prefer: Tense) -> date:
    number = int(match[2]) % 8 - 1 if match[2].isdigit() else _WEEKDAYS[match[2]]
    weeks = match[1].count("下") - match[1].count("上")
    day = today - timedelta(today.weekday()) + timedelta(number + 7 * weeks)
    if match[1] == "" and prefer == "future" and day < today:
        return day + timedelta(7)
    if match[1] == "" and prefer == "past" and day > today:
        return day - timedelta(7)
    return day


def _day_of_month(match: re.Match[str], today: date, prefer: Tense) -> date | None:
    months = (match[1] or "").count("下") - (match[1] or "").count("上")
    first = _months_later(today.replace(day=1), months)
    day = None if first is None else _day(first.year, first.month, int(match[2]))
    if day is None or match[1]:
        return day
    later = 1 if prefer == "future" and day < today else -1 if prefer == "past" and day > today else 0
    first = _months_later(today.replace(day=1), later)
    return None if first is None else _day(first.year, first.month, int(match[2]))


def _months_later(day: date, count: int) -> date | None:
    """The same day some months later, or the last one of that month."""
    year, month = divmod(day.year * 12 + day.month - 1 + count, 12)
    if not MINYEAR <= year <= MAXYEAR:
        return None
    return _day(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def _day(year: int, month: int, number: int) -> date | None:
    try:
        return date(year, month, number)
    except ValueError:
        return None
