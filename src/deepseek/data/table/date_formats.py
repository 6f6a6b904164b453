"""How the texts of a column say dates: 14.05.2022, 5/14/22 2:30 PM, 14-May-2022, Feb 1 2000, 2022年5月14日.

    search = find_date_format({"14/05/2022": 1, "02/06/2022": 1, "03/07/2022": 1})
    search.format                        # DateFormat(day_first=True)
    search.format.parse("03/04/2020")    # milliseconds since 1970 of 2020-04-03

Which of two numbers is the day is decided by the whole training column, and kept: a row alone could not tell.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from deepseek.data.table.missing_words import FormatSearch, split_missing
from deepseek.data.table.values import epoch_ms, parse_timestamp
from deepseek.null_words import NULL_WORDS

MIN_DATES = 3  # different ones, from which a column of texts is read as dates
NUM_SAMPLED = 300  # different texts that are tried before all are
MIN_SAMPLED_SHARE = 0.6  # of them that must be dates
MAX_DATE_LETTERS = 60
CENTURY_PIVOT = 69  # 68 is 2068 and 69 is 1969, as the C library has it

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = (
    r"(?P<name>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
)
_YEAR, _DAY = r"(?P<year>[0-9]{4}|[0-9]{2})", r"(?P<day>[0-9]{1,2})"
_WEEKDAY = r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*,? )?"
_SECONDS = r"(?::(?P<second>[0-9]{2})(?:\.(?P<fraction>[0-9]{1,9}))?)?"
_HALF = r" ?(?P<half>[ap]\.?m\.?)?"
_CLOCK = rf"(?P<hour>[0-9]{{1,2}})(?::(?P<minute>[0-9]{{2}}){_SECONDS})?{_HALF}"
_CHINESE_CLOCK = r"(?: ?(?P<hour>[0-9]{1,2})[时点:](?:(?P<minute>[0-9]{1,2})分?(?::?(?P<second>[0-9]{1,2})秒?)?)?)?"
_LATER = rf"(?:(?:,? |T){_CLOCK})?"
#: Two numbers before the year: which of them is the day, the text does not say.
_NUMERIC = re.compile(
    rf"(?P<first>[0-9]{{1,2}})(?P<mark>[./-])(?P<second_number>[0-9]{{1,2}})(?P=mark){_YEAR}{_LATER}", re.IGNORECASE
)
#: Other forms, whose parts have names.
_FORMS = tuple(
    re.compile(form, re.IGNORECASE)
    for form in (
        rf"{_WEEKDAY}{_DAY}(?:st|nd|rd|th)?[ .-]? ?{_MONTH},?[ -]?{_YEAR}{_LATER}",
        rf"{_WEEKDAY}{_MONTH}[ -]?{_DAY}(?:st|nd|rd|th)?,?[ -]{_YEAR}{_LATER}",
        rf"(?P<year>[0-9]{{4}})[ -]{_MONTH}[ -]{_DAY}{_LATER}",
        rf"(?P<year>[0-9]{{4}}) ?年 ?(?P<month>[0-9]{{1,2}}) ?月(?: ?{_DAY} ?[日号])?{_CHINESE_CLOCK}",
        r"(?P<year>[0-9]{4})[-/.](?P<month>[0-9]{1,2})",
        r"(?P<month>[0-9]{1,2})[/.](?P<year>[0-9]{4})",
        rf"{_MONTH}[ -](?P<year>[0-9]{{4}})",
    )
)


@dataclass(frozen=True)
class DateFormat:
    """How a column's texts say dates."""

    day_first: bool = False  # 03/04/2020 is the third of April
    missing: tuple[str, ...] = ()  # texts of the training column that count as missing, beside NULL_WORDS

    def parse(self, value: Any) -> int | None:
        """Milliseconds since 1970 of a text, None for a missing one; any other value as parse_timestamp() reads it.
        ValueError for a text of another form, a time alone among them.

        >>> DateFormat().parse("Jan 2, 1970"), DateFormat(day_first=True).parse("02.01.1970")
        (86400000, 86400000)
        """
        if not isinstance(value, str):
            return parse_timestamp(value)
        text = value.strip()
        if text in NULL_WORDS or text in self.missing:
            return None
        try:
            return parse_timestamp(text)
        except ValueError:
            return epoch_ms(_parse_written(text, self.day_first))


def find_date_format(
    counts: Mapping[str, int], missing_words: Iterable[str] = (), min_dates: int = MIN_DATES
) -> FormatSearch[DateFormat]:
    """How a column's texts (rows of each, by text) say dates. `missing_words`: what the user says means missing;
    `min_dates`: different ones without which there is no format."""
    missing, texts = split_missing(counts, missing_words)
    nothing: FormatSearch[DateFormat] = FormatSearch(None, {}, sum(texts.values()))
    sample = list(texts)[:NUM_SAMPLED]
    if sum(_reads(text, False) or _reads(text, True) for text in sample) < MIN_SAMPLED_SHARE * len(sample):
        return nothing
    dates = {day_first: {text for text in texts if _reads(text, day_first)} for day_first in (False, True)}
    num_odd = {day_first: sum(texts[text] for text in texts if text not in dates[day_first]) for day_first in dates}
    day_first = num_odd[True] < num_odd[False]
    doubt = ""
    if num_odd[True] == num_odd[False] and any(_NUMERIC.fullmatch(text) for text in texts):
        day_first = not any("/" in text for text in texts)
        first = "day" if day_first else "month"
        doubt = f"nothing in it tells the day from the month: the {first} is taken to come first"
    if len(dates[day_first]) < min_dates:
        return nothing
    odd = {text: count for text, count in texts.items() if text not in dates[day_first]}
    return FormatSearch(DateFormat(day_first, missing), odd, sum(texts.values()), len(dates[day_first]), doubt)


def _reads(text: str, day_first: bool) -> bool:
    try:
        DateFormat(day_first).parse(text)
    except (ValueError, OverflowError):
        return False
    return True


def _parse_written(text: str, day_first: bool) -> dt.datetime:
    """ValueError for a text of no form, and for a day or a time that does not exist."""
    if len(text) > MAX_DATE_LETTERS:
        raise ValueError(text[:MAX_DATE_LETTERS])
    match = _NUMERIC.fullmatch(text)
    if match is not None:
        first, other = int(match["first"]), int(match["second_number"])
        day, month = (first, other) if day_first else (other, first)
    else:
        match = next(filter(None, (form.fullmatch(text) for form in _FORMS)), None)
        if match is None:
            raise ValueError(text)
        parts = match.groupdict()
        day = int(parts.get("day") or 1)
        month = _MONTHS.index(parts["name"][:3].lower()) + 1 if parts.get("name") else int(parts.get("month") or 1)
    parts = match.groupdict()
    year = int(parts["year"] or 0)
    if len(parts["year"] or "") == 2:
        year += 2000 if year < CENTURY_PIVOT else 1900
    return dt.datetime(year, month, day, *_clock(parts))


def _clock(parts: Mapping[str, str | None]) -> tuple[int, int, int, int]:
    """Hour of 24, minute, second and microsecond. ValueError for 13 PM."""
    hour, half = int(parts.get("hour") or 0), (parts.get("half") or "").lower()
    if half:
        if not 1 <= hour <= 12:
            raise ValueError(f"{hour} {half}")
        hour = hour % 12 + (12 if half.startswith("p") else 0)
    fraction = int((parts.get("fraction") or "0").ljust(9, "0")[:6])
    return hour, int(parts.get("minute") or 0), int(parts.get("second") or 0), fraction
