"""Values of events as JSON has them, to the whole numbers of events.py: any scalar may come, of any type.

    times = read_time_values(["2018-07-01T12:00:00", 1530446400], "s")

What is no time, no amount or no key is marked as such: that event alone is refused and counted. An array holds numbers
alone: amounts float64, the others int64.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any, TypeAlias

import numpy as np

from deepseek.errors import InputError
from deepseek.features.definition import TICKS_PER_SECOND
from deepseek.features.events import BAD_TIME, Longs, code_of, read_amounts, read_times

RawValues: TypeAlias = list[Any] | np.ndarray[Any, Any]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read_time_values(values: RawValues, unit: str) -> Longs:
    """Times (N,) in ticks; BAD_TIME where there is none. Texts are as in ISO 8601, in UTC where they do not say."""
    if isinstance(values, np.ndarray):
        return read_times(values, unit)
    types = set(map(type, values))
    if types in ({int}, {float}):
        try:
            return read_times(np.array(values), unit)
        except (InputError, OverflowError):  # whole numbers beyond 64 bits
            pass
    return np.array([_read_time(value, unit) for value in values], np.int64)


def read_amount_values(values: RawValues, decimals: int) -> Longs:
    """Amounts (N,) in smallest units; BAD_AMOUNT where there is none."""
    if isinstance(values, np.ndarray):
        return read_amounts(values, decimals)
    if not set(map(type, values)) <= {int, float}:
        values = [value if type(value) in (int, float) else math.nan for value in values]
    try:
        numbers = np.array(values, np.float64)
    except OverflowError:  # a whole number beyond float64
        numbers = np.array([value if abs(value) < 2**64 else math.inf for value in values], np.float64)
    return read_amounts(numbers, decimals)


def read_code_values(values: RawValues, bad: set[int]) -> Longs:
    """Codes (N,) of keys or ids; the places of values that are none go into `bad`, and their code is 0."""
    if isinstance(values, np.ndarray):
        return values
    if set(map(type, values)) == {int}:
        try:
            return np.array(values, np.int64)
        except OverflowError:
            pass
    codes = np.zeros(len(values), np.int64)
    for place, value in enumerate(values):
        try:
            codes[place] = code_of(value, "a key")
        except InputError:
            bad.add(place)
    return codes


def _read_time(value: Any, unit: str) -> int:
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return BAD_TIME
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
        since = moment - _EPOCH
        micros = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
        return micros * TICKS_PER_SECOND[unit] // 1_000_000
    if type(value) not in (int, float) or not -(2**62) < value < 2**62:
        return BAD_TIME
    return int(value)
