"""Dates as people write them, one text at a time: parse_written("14 mai 2022", "day"), with or without a time.

A text is cut into a date and a time, either of which may come first, and a time zone; the date is then matched with
each form. Which of two numbers is the day, or the year, the caller says: a text alone could not.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Literal

from deepseek.data.table.words.months import NAME_PATTERN, month_number

DateOrder = Literal["month", "day", "year"]  # what comes first in 03/04/05

MAX_DATE_LETTERS = 60
CENTURY_PIVOT = 69  # 68 is 2068 and 69 is 1969, as the C library has it
NOON = 12
_YEAR, _DAY = r"(?P<year>[0-9]{4}|[0-9]{2})", r"(?P<day>[0-9]{1,2})"
#: Three numbers of at most two digits, or a year of four behind: what each says, the text does not tell.
_NUMERIC = re.compile(
    r"(?P<first>[0-9]{1,2})(?P<mark>\. ?|[/-])(?P<second_number>[0-9]{1,2})(?P=mark)(?P<third>[0-9]{4}|[0-9]{2})\.?"
)
#: Other forms, whose parts have names.
_FORMS = tuple(
    re.compile(form, re.IGNORECASE)
    for form in (
        (
            rf"{_DAY}(?:st|nd|rd|th|er|º|\.)?(?: de(?= )| of(?= ))?[ ./-]{{0,2}}{NAME_PATTERN},?(?: del?)?"
            rf"[ ./-]?{_YEAR}(?: ?[гр]\.?)?"
        ),
        rf"{NAME_PATTERN}[ -]?{_DAY}(?:st|nd|rd|th)?,?[ -](?P<year>[0-9]{{4}})",
        rf"{NAME_PATTERN} {_DAY}, ?'?(?P<year>[0-9]{{2}})",
        rf"(?P<year>[0-9]{{4}})[ ./-]{NAME_PATTERN}[ ./-]{_DAY}",
        rf"(?P<year>[0-9]{{4}}) ?[年년] ?(?P<month>[0-9]{{1,2}}) ?[月월](?: ?{_DAY} ?[日号號일])?",
        rf"(?P<year>[0-9]{{4}})(?P<mark>\. ?|[/-])(?P<month>[0-9]{{1,2}})(?P=mark){_DAY}\.?",
        r"(?P<year>[0-9]{4})[-/.](?P<month>[0-9]{1,2})",
        r"(?P<month>[0-9]{1,2})[/.](?P<year>[0-9]{4})",
        rf"{NAME_PATTERN}(?: de(?= )| of(?= ))?,?[ /.-](?P<year>[0-9]{{4}})",
        rf"{NAME_PATTERN}[ '/-]'?(?P<year>[0-9]{{2}})",
        rf"(?P<year>[0-9]{{4}})[ /.-]{NAME_PATTERN}",
    )
)
_TIME = (
    r"(?P<half_before>上午|下午|오전|오후)? ?"
    r"(?:(?<=[午전후])|(?<=[午전후] )|(?=[0-9]{1,2} ?(?:[:.h时時点點시]|[ap]\.? ?m)))"
    r"(?P<hour>[0-9]{1,2})"
    r"(?: ?(?:[:h時时點点시]|(?<=[0-9])\.(?=[0-9]{2}\b)) ?(?:(?P<minute>[0-9]{1,2}) ?[分분]?)?"
    r"(?::? ?(?P<second>[0-9]{1,2})(?:\.(?P<fraction>[0-9]{1,9}))? ?[秒초]?)?)?"
    r" ?(?P<half>[ap]\.? ?m\.?)?(?: ?Uhr|(?<=[0-9]) ?hrs?\.?|(?<=[0-9])h)?"
)
_ZONE = r"(?: ?(?P<zone>Z|UTC|GMT|[+-][0-9]{2}:?[0-9]{2})(?: ?\([A-Z]{2,5}\))?)?"
_WEEKDAY = re.compile(
    r"(?:(?:(?:mon|tue|wed|thu|fri|sat|sun|die|mit|don|sam|son|lun|mar|mer|jeu|ven|dim|mi[eé]|jue|vie|s[aá]b|dom|gio|seg|ter|"
    r"qua|qui|sex|maa|din|woe|vri|zat|zon|пон|вто|сре|чет|пят|суб|вос)[^\W\d_]{0,10}|mo|di|mi|do|fr|sa|so|пн|вт|ср|чт|пт|сб|вс)"
    r"\.?,? |(?:星期|周|週)[一二三四五六日天],? ?)(?=[^ ])",
    re.IGNORECASE,
)
_DATE_THEN_TIME = re.compile(
    rf"(?P<date>.{{5,30}}?)(?: ?[(（][^\W\d_]{{1,3}}[)）])?"
    r"(?:(?:,? (?:at |um |à |a las |alle |ore |klo? ?\.? )?|T|:|,? ?(?=上午|下午|오전|오후)|(?<=[日号號일]) ?)"
    rf"{_TIME}{_ZONE})?",
    re.IGNORECASE,
)
_TIME_THEN_DATE = re.compile(rf"(?=[0-9]{{1,2}}:){_TIME}{_ZONE},? (?P<date>.{{5,30}})", re.IGNORECASE)
_OF_C = re.compile(  # Sat Jan 08 22:41:00 2022, by ctime() of C
    rf"[A-Za-z]{{3}} {NAME_PATTERN} +{_DAY} (?P<clock>[0-9:]{{8}})(?: [A-Z]{{3,4}})? (?P<year>[0-9]{{4}})"
)
Parts = Mapping[str, str | None]


def numeric_parts(text: str) -> tuple[str, str, str] | None:
    """The three numbers of a date that begins with one of at most two digits; None for other texts.

    >>> numeric_parts("03/04/2020 10:30"), numeric_parts("14 May 2022")
    (('03', '04', '2020'), None)
    """
    match = _NUMERIC.match(text)
    return None if match is None else (match["first"], match["second_number"], match["third"])


def parse_written(text: str, order: DateOrder) -> dt.datetime:
    """The moment, in UTC where a zone is named. ValueError for a text of no form, and for a day or a time that does not
    exist.

    >>> parse_written("14 mai 2022", "day"), parse_written("22:41 08.01.2022", "day")
    (datetime.datetime(2022, 5, 14, 0, 0), datetime.datetime(2022, 1, 8, 22, 41))
    """
    if len(text) > MAX_DATE_LETTERS or not any(letter.isdigit() for letter in text):
        raise ValueError(text[:MAX_DATE_LETTERS])
    of_c = _OF_C.fullmatch(text)
    if of_c is not None:
        text = f"{of_c['day']} {of_c['name']} {of_c['year']} {of_c['clock']}"
    moment = _parse_moment(text, order)
    if moment is None and (weekday := _WEEKDAY.match(text)) is not None:
        moment = _parse_moment(text[weekday.end() :], order)
    if moment is None:
        raise ValueError(text)
    return moment


def _parse_moment(text: str, order: DateOrder) -> dt.datetime | None:
    """None for a text of no form; ValueError for a moment that does not exist."""
    date = _parse_date(text, order)
    if date is not None:
        return dt.datetime.combine(date, dt.time())
    for form in (_DATE_THEN_TIME, _TIME_THEN_DATE):
        match = form.fullmatch(text)
        date = None if match is None else _parse_date(match["date"].strip(), order)
        if match is not None and date is not None:
            return dt.datetime.combine(date, _parse_time(match.groupdict())) - _zone_offset(match["zone"])
    return None


def _parse_date(text: str, order: DateOrder) -> dt.date | None:
    """None for a text of no form; ValueError for a day that does not exist."""
    match = _NUMERIC.fullmatch(text)
    if match is not None:
        return _parse_numeric(match, order)
    for form in _FORMS:
        match = form.fullmatch(text)
        if match is None:
            continue
        parts = match.groupdict()
        month = month_number(parts["name"]) if parts.get("name") else int(parts["month"])
        if month is not None:
            return dt.date(_full_year(parts["year"]), month, int(parts.get("day") or 1))
    return None


def _parse_numeric(match: re.Match[str], order: DateOrder) -> dt.date:
    first, second, third = match["first"], match["second_number"], match["third"]
    if order == "year" and len(third) == 2:
        if len(first) != 2:
            raise ValueError(match[0])
        return dt.date(_full_year(first), int(second), int(third))
    day, month = (first, second) if order == "day" else (second, first)
    if order == "year":
        raise ValueError(match[0])
    return dt.date(_full_year(third), int(month), int(day))


def _full_year(digits: str) -> int:
    year = int(digits)
    return year if len(digits) == 4 else year + (2000 if year < CENTURY_PIVOT else 1900)


def _parse_time(parts: Parts) -> dt.time:
    """ValueError for 13 PM."""
    hour, half = int(parts["hour"] or 0), (parts["half"] or "").lower()
    half = half or ("p" if parts["half_before"] in ("下午", "오후") else "a" if parts["half_before"] else "")
    if half:
        if not (1 <= hour <= NOON or (parts["half_before"] and hour == 0)):
            raise ValueError(f"{hour} {half}")
        hour = hour % NOON + (NOON if half.startswith("p") else 0)
    fraction = int((parts["fraction"] or "0").ljust(9, "0")[:6])
    return dt.time(hour, int(parts["minute"] or 0), int(parts["second"] or 0), fraction)


def _zone_offset(zone: str | None) -> dt.timedelta:
    if not zone or zone[0] not in "+-":
        return dt.timedelta(0)
    digits = zone[1:].replace(":", "")
    offset = dt.timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return offset if zone[0] == "+" else -offset
