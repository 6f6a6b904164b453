"""Numbers that say dates: 20220514, seconds since 1970, days of a spreadsheet.

    find_number_dates(np.array([20220514.0, 20220601.0, ...]))     # "yyyymmdd"; "" for other numbers
    parse_number_date(20220514, "yyyymmdd")                        # milliseconds since 1970

Without a user's word only whole dates of eight or fourteen digits are found: other numbers have other meanings.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

NumberDates = Literal["yyyymmdd", "yyyymmddhhmmss", "epoch seconds", "epoch milliseconds", "years", "spreadsheet days"]

MIN_NUMBER_DATES = 20  # different ones, from which numbers are taken for dates without a user's word
MIN_YEAR, MAX_YEAR = 1900, 2100
_EPOCH = dt.datetime(1970, 1, 1)
_SPREADSHEET_START = dt.datetime(1899, 12, 30)  # day 0: 1900 had a 29th of February there
_DAY_DIGITS = 1_000_000  # hours, minutes and seconds
#: The numbers that each kind has, of the years MIN_YEAR to MAX_YEAR or about today.
_RANGES: dict[NumberDates, tuple[float, float]] = {
    "yyyymmdd": (19_000_101, 21_001_231), "yyyymmddhhmmss": (19_000_101_000_000, 21_001_231_235_959),
    "years": (MIN_YEAR, MAX_YEAR), "spreadsheet days": (10_000, 75_000), "epoch seconds": (1e8, 4.2e9),
    "epoch milliseconds": (1e11, 4.2e12),
}  # fmt: skip


def find_number_dates(values: NDArray[np.float64], *, is_wanted: bool = False) -> NumberDates | Literal[""]:
    """What the numbers of a column (N,) say, where all that are there are dates of one kind; `is_wanted`: the user says
    that they are dates.

    >>> find_number_dates(np.array([20220514.0, 20220601, np.nan]), is_wanted=True), find_number_dates(np.arange(99.0))
    ('yyyymmdd', '')
    """
    known = np.unique(values[~np.isnan(values)])
    if not len(known) or (len(known) < MIN_NUMBER_DATES and not is_wanted):
        return ""
    for kind, (low, high) in _RANGES.items():
        is_sure = kind in ("yyyymmdd", "yyyymmddhhmmss")
        if (is_sure or is_wanted) and low <= known[0] and known[-1] <= high and _are_dates(known, kind):
            return kind
    return ""


def _are_dates(known: NDArray[np.float64], kind: NumberDates) -> bool:
    try:
        for value in known.tolist():
            parse_number_date(value, kind)
    except (ValueError, OverflowError):
        return False
    return True


def parse_number_date(value: float, kind: Any) -> int:
    """Milliseconds since 1970. ValueError for a number that is no date of this kind.

    >>> parse_number_date(19700102, "yyyymmdd"), parse_number_date(86400, "epoch seconds")
    (86400000, 86400000)
    """
    if kind == "epoch seconds":
        return round(value * 1_000)
    if kind == "epoch milliseconds":
        return round(value)
    if kind == "spreadsheet days":
        return _to_ms(_SPREADSHEET_START + dt.timedelta(days=value))
    if value != int(value):
        raise ValueError(value)
    whole = int(value)
    if kind == "years":
        return _to_ms(dt.datetime(whole, 1, 1))
    day, clock = (whole, 0) if kind == "yyyymmdd" else divmod(whole, _DAY_DIGITS)
    date = dt.datetime(day // 10_000, day // 100 % 100, day % 100)
    if not MIN_YEAR <= date.year <= MAX_YEAR:
        raise ValueError(value)
    return _to_ms(dt.datetime.combine(date, dt.time(clock // 10_000, clock // 100 % 100, clock % 100)))


def _to_ms(moment: dt.datetime) -> int:
    return round((moment - _EPOCH) / dt.timedelta(milliseconds=1))
