"""An axis of time: values are milliseconds since 1970 in UTC, ticks stand where a calendar turns.

>>> days = DateScale(0.0, 10 * 86_400_000.0, 0, 700)
>>> days.labels(days.ticks(3))
['1970-01-01', '1970-01-05', '1970-01-09']
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from deepseek.look.svg import Scale, tick_step

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
_MONTH, _YEAR = 30.436875 * DAY, 365.2425 * DAY  # on average
_FIXED_STEPS_MS = [
    *(num * SECOND for num in (1, 2, 5, 10, 15, 30)),
    *(num * MINUTE for num in (1, 2, 5, 10, 15, 30)),
    *(num * HOUR for num in (1, 2, 3, 6, 12)),
    *(num * DAY for num in (1, 2, 4, 7, 14)),
]
_MONTH_STEPS = (1, 2, 3, 6)
_EPOCH = datetime(1970, 1, 1)
_MILLISECOND = timedelta(milliseconds=1)
_MIN_DATE_MS, _MAX_DATE_MS = (float((end - _EPOCH) // _MILLISECOND) for end in (datetime.min, datetime.max))


@dataclass(frozen=True, slots=True)
class DateScale(Scale):
    """A scale from moments to pixels. A moment beyond the years 1 to 9999 gets no tick."""

    def ticks(self, num_wanted: int) -> list[float]:
        """Whole seconds, minutes, hours, days, months or years inside the range, about `num_wanted` of them."""
        low, high = max(self.low, _MIN_DATE_MS), min(self.high, _MAX_DATE_MS)
        ticks: list[float] = []
        for num in (num_wanted, 2 * num_wanted, 4 * num_wanted) if low < high else ():
            ticks = _calendar_ticks(low, high, (self.high - self.low) / max(1, num))
            if len(ticks) >= min(3, num_wanted):  # one or two tell little of the scale
                break
        return ticks

    def labels(self, ticks: Sequence[float]) -> list[str]:
        """As much of each date as tells the ticks apart: a year, a month, a day, or the time too."""
        moments = [_EPOCH + tick * _MILLISECOND for tick in ticks]
        length = 19  # of 1970-01-31 12:00:00
        if all(moment.second == 0 for moment in moments):
            length = 16
        if all(tick % DAY == 0 for tick in ticks):
            length = 10
            if len(ticks) > 1 and all(moment.day == 1 for moment in moments):
                length = 4 if all(moment.month == 1 for moment in moments) else 7
        return [moment.isoformat(" ", "seconds")[:length] for moment in moments]


def _calendar_ticks(low: float, high: float, rough: float) -> list[float]:
    """Where the calendar turns between `low` and `high`, by the next unit at or above `rough` milliseconds."""
    index = bisect.bisect_left(_FIXED_STEPS_MS, rough)
    if index < len(_FIXED_STEPS_MS):
        step = _FIXED_STEPS_MS[index]
        first = -(-low // step)
        return [(first + index) * step for index in range(int(high // step - first) + 1)]
    months = next((num for num in _MONTH_STEPS if num * _MONTH >= rough), 0) or 12 * round(tick_step(rough / _YEAR))
    start, ticks = _EPOCH + low * _MILLISECOND, []
    month = -(-(12 * start.year + start.month - 1) // months) * months  # counted from year 0
    while month // 12 <= datetime.max.year and (tick := _month_start_ms(month)) <= high:
        ticks += [tick] if tick >= low else []
        month += months
    return ticks


def _month_start_ms(month: int) -> float:
    return float((datetime(month // 12, month % 12 + 1, 1) - _EPOCH) // _MILLISECOND)
