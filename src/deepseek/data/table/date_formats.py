"""How the texts of a column say dates: 14.05.2022, 5/14/22 2:30 PM, 14-May-2022, 14 mai 2022, 2022年5月14日, 20220514.

    search = find_date_format({"14/05/2022": 1, "02/06/2022": 1, "03/07/2022": 1})
    search.format                        # DateFormat(day_first=True)
    search.format.parse("03/04/2020")    # milliseconds since 1970 of 2020-04-03

Which of two numbers is the day is decided by the whole training column, and kept: a row alone could not tell.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

from deepseek.data.table.date_numbers import parse_number_date
from deepseek.data.table.values import epoch_ms, parse_timestamp, to_python
from deepseek.data.table.words.missing_words import FormatSearch, is_missing_word, split_missing
from deepseek.data.table.written_dates import DateOrder, numeric_parts, parse_written
from deepseek.look.words import Text
from deepseek.null_words import NULL_WORDS

MIN_DATES = 3  # different ones, from which a column of texts is read as dates
NUM_SAMPLED = 300  # different texts that are tried before all are
MIN_SAMPLED_SHARE = 0.6  # of them that must be dates
MIN_IN_ORDER = 0.95  # of the steps from row to row that go one way, from which an order is that of time
MIN_ORDERED_DATES = 10
NUM_ORDERED_TEXTS = 5_000  # that the orders are tried on first

_PART_OF_YEAR = re.compile(r"[0-9]{4}[-/. ][1-4]")  # 2020-1: terms and quarters, where no other number comes behind
_ORDERS: tuple[DateOrder, ...] = ("month", "day", "year")  # what may come first; the most usual first


@dataclass(frozen=True)
class DateFormat:
    """How a column's texts say dates."""

    day_first: bool = False  # 03/04/2020 is the third of April
    missing: tuple[str, ...] = ()  # texts of the training column that count as missing, beside NULL_WORDS
    year_first: bool = False  # 22-04-03 is the third of April 2022
    numbers: Literal[
        "", "yyyymmdd", "yyyymmddhhmmss", "epoch seconds", "epoch milliseconds", "years", "spreadsheet days"
    ] = ""  # what numbers, and texts of digits alone, say
    is_tolerant: bool = False  # training had texts that say nothing: later ones count as missing, and are flagged

    def __post_init__(self) -> None:
        if self.day_first and self.year_first:
            raise ValueError(f"two orders: {self}")

    @property
    def order(self) -> DateOrder:
        """What comes first in 03/04/05."""
        return "year" if self.year_first else "day" if self.day_first else "month"

    def parse(self, value: Any) -> int | None:
        """Milliseconds since 1970 of a text, None for a missing one; any other value as parse_timestamp() reads it.
        ValueError for a text of another form, a time alone among them, which a tolerant column has as None.

        >>> DateFormat().parse("Jan 2, 1970"), DateFormat(day_first=True).parse("02.01.1970")
        (86400000, 86400000)
        """
        if not isinstance(value, str):
            return self._parse_number(value) if self.numbers else parse_timestamp(value)
        text = value.strip()
        if self.knows_as_missing(text) or is_missing_word(text):
            return None
        try:
            return self._parse_text(text)
        except (ValueError, OverflowError):
            if self.is_tolerant:
                return None
            raise

    def knows_as_missing(self, text: str) -> bool:
        """Whether a text is one that stood for "not known" in training."""
        return text in NULL_WORDS or text in self.missing

    def describe(self) -> Text:
        """Its parts in words."""
        if self.numbers:
            return Text(self.numbers, self.numbers)
        zh = {"day": "日", "month": "月", "year": "年"}[self.order]
        return Text(f"the {self.order} first, where a date is three numbers", f"日期为三个数字时，{zh}在前")

    def _parse_number(self, value: Any) -> int | None:
        value = to_python(value)
        if value is None or isinstance(value, bool) or not isinstance(value, (int, float)):
            return parse_timestamp(value)
        if math.isnan(value) or (self.missing and f"{value:.0f}" in self.missing):
            return None
        return parse_number_date(value, self.numbers)

    def _parse_text(self, text: str) -> int | None:
        if self.numbers and text.isdigit() and text.isascii():
            return parse_number_date(float(text), self.numbers)
        try:
            return parse_timestamp(text)
        except ValueError:
            return epoch_ms(parse_written(text, self.order))


def find_date_format(
    counts: Mapping[str, int], missing_words: Iterable[str] = (), min_dates: int = MIN_DATES
) -> FormatSearch[DateFormat]:
    """How a column's texts (rows of each, by text, in the order of the rows) say dates. `missing_words`: what the user
    says means missing; `min_dates`: different ones without which there is no format."""
    missing, texts = split_missing(counts, missing_words)
    nothing: FormatSearch[DateFormat] = FormatSearch(None, {}, sum(texts.values()))
    sample = list(texts)[:NUM_SAMPLED]
    if all(_PART_OF_YEAR.fullmatch(text) for text in sample):
        return nothing
    if sum(any(_reads(text, order) for order in _ORDERS) for text in sample) < MIN_SAMPLED_SHARE * len(sample):
        return nothing
    numeric = [text for text in texts if numeric_parts(text) is not None]
    likely = _likely_orders(numeric) if numeric else _ORDERS[:1]
    dates = {order: {text for text in texts if _reads(text, order)} for order in likely}
    num_odd = {order: sum(texts[text] for text in texts if text not in dates[order]) for order in likely}
    tied = [order for order in likely if num_odd[order] == min(num_odd.values())]
    order, doubt = _choose_order(numeric, tied) if len(tied) > 1 else (tied[0], "")
    if len(dates[order]) < min_dates:
        return nothing
    odd = {text: count for text, count in texts.items() if text not in dates[order]}
    form = replace(_format_of(order), missing=missing)
    return FormatSearch(form, odd, sum(texts.values()), len(dates[order]), doubt)


def _likely_orders(texts: list[str]) -> list[DateOrder]:
    """The orders in which most of a sample of dates of three numbers can be read: all texts are read in these alone."""
    sample = texts[:: len(texts) // NUM_ORDERED_TEXTS + 1]
    num_read = {order: sum(_reads(text, order) for text in sample) for order in _ORDERS}
    return [order for order in _ORDERS if num_read[order] == max(num_read.values())]


def _format_of(order: DateOrder) -> DateFormat:
    return DateFormat(day_first=order == "day", year_first=order == "year")


def _choose_order(texts: list[str], orders: list[DateOrder]) -> tuple[DateOrder, str]:
    """Which of the orders that all fit a person would take, and what to say of it. `texts`: dates of three numbers, in
    the order of their rows. The year is not first where no day would vary more than the year; then the order by which
    rows follow each other in time; then the number that is the same in all is the day, as of months; then habit."""
    first, second, third = (len(set(values)) for values in zip(*filter(None, map(numeric_parts, texts)), strict=True))
    doubt = "nothing in it tells the {} from the {}: the {} is taken to come first"
    if "year" in orders:
        if third > first:
            return "year", doubt.format("year", "day", "year") if third < 2 * first else ""
        orders = [order for order in orders if order != "year"]
        if len(orders) == 1:
            return orders[0], doubt.format("year", "day", "day") if first < 2 * third else ""
    in_time = [order for order in orders if _is_in_order(texts, order)]
    if len(in_time) == 1:
        return in_time[0], ""
    if (first == 1) != (second == 1) and len(texts) >= MIN_DATES:
        return ("day", "") if first == 1 else ("month", "")
    order: DateOrder = "month" if any("/" in text for text in texts) else "day"
    return order, doubt.format("day", "month", order)


def _is_in_order(texts: list[str], order: DateOrder) -> bool:
    """Whether the dates rise, or fall, from row to row."""
    if len(texts) < MIN_ORDERED_DATES:
        return False
    moments = [_format_of(order).parse(text) or 0 for text in texts if _reads(text, order)]
    rises = sum(later > earlier for earlier, later in pairwise(moments))
    return max(rises, len(moments) - 1 - rises) >= MIN_IN_ORDER * (len(moments) - 1)


def _reads(text: str, order: DateOrder) -> bool:
    try:
        _format_of(order).parse(text)
    except (ValueError, OverflowError):
        return False
    return True
