"""The window that is asked about, and the past that it is held against."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime

from deepseek.errors import InputError
from deepseek.observe.reading.ndjson import quote_text
from deepseek.observe.reading.tables import Logs

MIN_ROWS = 30  # of a window and of its past: with fewer nothing can be said
UNITS_S = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3_600.0, "d": 86_400.0}
MAX_PAST_WINDOWS = 144  # the past is at most as many windows long: a day for ten minutes


@dataclass(frozen=True, slots=True)
class WindowChoice:
    since_s: float = 600.0  # the length of the window
    until_s: float | None = None  # its end, since 1970; None: the last row, or now where the log goes on beyond it
    past_s: float | None = None  # the length of the past; None: all there is, up to MAX_PAST_WINDOWS windows
    now_s: float = math.inf  # rows that are later are of a clock that is ahead, and are left out


@dataclass(frozen=True, slots=True)
class Window:
    """From `start_s` to before `end_s`, since 1970; its past begins at `past_start_s` and ends where it begins."""

    past_start_s: float
    start_s: float
    end_s: float
    num_rows: int = 0
    num_past: int = 0

    @property
    def sql(self) -> str:
        return f"(time >= {self.start_s!r} AND time <= {self.end_s!r})"

    @property
    def past_sql(self) -> str:
        return f"(time >= {self.past_start_s!r} AND time < {self.start_s!r})"


def parse_duration(text: str) -> float:
    """Seconds of a text with its unit.

    >>> parse_duration("10m"), parse_duration("1.5h")
    (600.0, 5400.0)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|m|min|h|d)\s*", text)
    if match is None or not float(match[1]):
        raise InputError(f"{text!r} is no span of time", expected="a number with s, m, h or d", fix="for example 10m")
    return float(match[1]) * UNITS_S[match[2]]


def parse_moment(logs: Logs, text: str) -> float:
    """Seconds since 1970 of a moment in ISO form; UTC where it names no zone."""
    seconds = logs.query(f"SELECT epoch_us(TRY_CAST({quote_text(text)} AS TIMESTAMPTZ)) / 1e6")[0][0]
    if seconds is None:
        raise InputError(f"{text!r} is no moment", expected="a date and time", fix="for example 2026-05-01T14:00:00Z")
    return float(seconds)


def moment_text(epoch_s: float) -> str:
    """A moment as a person reads it, in UTC.

    >>> moment_text(0.0)
    '1970-01-01 00:00:00 UTC'
    """
    return f"{datetime.fromtimestamp(epoch_s, UTC):%Y-%m-%d %H:%M:%S} UTC"


def choose_window(logs: Logs, choice: WindowChoice) -> Window:
    """The window and its past in these rows. InputError where one of them has too few rows."""
    last_s = logs.query(f"SELECT max(time) FROM rows WHERE time <= {min(choice.now_s, 1e15)!r}")[0][0]
    end_s = choice.until_s if choice.until_s is not None else last_s
    if end_s is None:
        raise InputError(
            "every row of the log lies in the future", expected="rows of the past", fix="set the clock, or give --until"
        )
    start_s = end_s - choice.since_s
    past_s = choice.past_s if choice.past_s is not None else MAX_PAST_WINDOWS * choice.since_s
    window = Window(start_s - past_s, start_s, end_s)
    num_rows, num_past, first_s = logs.query(
        f"SELECT count(*) FILTER ({window.sql}), count(*) FILTER ({window.past_sql}), "
        f"min(time) FILTER ({window.past_sql}) FROM rows"
    )[0]
    if num_rows < MIN_ROWS or num_past < MIN_ROWS:
        where, count, fix = (
            ("in the window", num_rows, "give a longer --since, or another --until")
            if num_rows < MIN_ROWS
            else ("before the window", num_past, "give a shorter --since, or more of the log")
        )
        raise InputError(
            f"the log has {count} rows {where}, which begins at {moment_text(start_s)}",
            expected=f"at least {MIN_ROWS} rows in the window, and as many before it to hold it against", fix=fix,
        )  # fmt: skip
    return Window(max(window.past_start_s, first_s), start_s, end_s, num_rows, num_past)
