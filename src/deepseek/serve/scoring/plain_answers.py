"""Answers to events with whole numbers as ids, as JSON, compiled: one object a line.

    template = AnswerTemplate(("genuine", "fraud"), ("accepted", "duplicate", "late"))
    template.rows(ids, status, chances, is_alert)      # [b'{"id":17,"status":"accepted","chance":0.25,...}', ...]

A chance is written as `%.9g` writes it, digit for digit: a float32 between 1e-9 and 1 is a whole number of 24 bits over
a power of two, so its nine digits come of one product of whole numbers, rounded half to even. Others give None.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from deepseek.features.core.compilation import compile_cached, compile_inline

#: Bytes that a row needs at most besides its constant parts: an id, a chance, a line feed.
MAX_VALUE_BYTES = 20 + 16 + 1
NUM_DIGITS, FIRST_NUMBER_OF_TEN = 9, 10**9
LEAST_CHANCE, LEAST_EXPONENT = 1e-9, -9
LEAST_FIXED_EXPONENT = -4  # below it "%g" writes an exponent
MANTISSA_BITS = 24
ZERO, POINT, MINUS, LETTER_E, LINE_FEED = 48, 46, 45, 101, 10
LAST_ANSWERED = 1  # of the statuses: accepted, or a duplicate


class AnswerTemplate:
    """The parts of an answer that do not change."""

    def __init__(self, labels: tuple[str, str], status_names: Sequence[str]) -> None:
        start = b'{"id":'
        middles = [b',"status":"%b"%b' % (name.encode(), b',"chance":' if status <= LAST_ANSWERED else b"}")
                   for status, name in enumerate(status_names)]  # fmt: skip
        tails = [b',"decision":%b}' % msgspec.json.encode(label) for label in labels]
        parts = [start, *middles, *tails]
        self._text = np.frombuffer(b"".join(parts), np.uint8)
        self._ends = np.cumsum([0, *map(len, parts)])
        self._num_statuses = len(middles)
        self._row_bytes = MAX_VALUE_BYTES + len(start) + max(map(len, middles)) + max(map(len, tails))

    def rows(self, ids: Any, status: Any, chances: Any, is_alert: Any) -> list[bytes] | None:
        """One object for each of N events: ids int64, status int8, chances float32, is_alert bool. None where a chance
        is none that is written here."""
        out = np.empty(len(ids) * self._row_bytes, np.uint8)
        size = write_rows(ids, status, chances, is_alert, self._text, self._ends, self._num_statuses, out)
        return None if size < 0 else out[: size - 1].tobytes().split(b"\n")


@compile_inline
def copy_text(text: Any, start: int, end: int, out: Any, place: int) -> int:
    """The place behind a part of a text that was copied to `place`."""
    for index in range(start, end):
        out[place + index - start] = text[index]
    return place + end - start


@compile_inline
def write_whole(value: int, out: Any, place: int) -> int:
    """The place behind a whole number that was written to `place`."""
    rest = np.uint64(value)
    if value < 0:
        out[place] = MINUS
        place += 1
        rest = np.uint64(0) - rest
    end, ten = place + 1, np.uint64(10)
    power = rest // ten
    while power > 0:
        power //= ten
        end += 1
    for index in range(end - 1, place - 1, -1):
        out[index] = ZERO + rest % ten
        rest //= ten
    return end


@compile_inline
def nine_digits(chance: float, exponent: int) -> int:
    """chance * 10 ** (8 - exponent), rounded half to even: `chance` is a float32 of at least LEAST_CHANCE, below 1."""
    mantissa, power = math.frexp(chance)
    product = np.uint64(mantissa * 2.0**MANTISSA_BITS)
    places = NUM_DIGITS - 1 - exponent
    for _ in range(places):
        product *= np.uint64(5)
    shift = np.uint64(MANTISSA_BITS - power - places)  # 10 ** n is 5 ** n * 2 ** n
    digits, rest = product >> shift, product & ((np.uint64(1) << shift) - np.uint64(1))
    half = np.uint64(1) << (shift - np.uint64(1))
    if rest > half or (rest == half and digits & np.uint64(1)):
        digits += np.uint64(1)
    return int(digits)


@compile_inline
def write_chance(chance: float, out: Any, place: int) -> int:
    """The place behind a chance; -1 for one that is not written here."""
    if chance in (0.0, 1.0):
        out[place] = ZERO + int(chance)
        return place + 1
    if not LEAST_CHANCE <= chance < 1.0:
        return -1
    exponent, least = -1, 0.1
    while chance < least:
        exponent -= 1
        least /= 10.0
    if exponent < LEAST_EXPONENT:
        return -1
    digits = nine_digits(chance, exponent)
    if digits == FIRST_NUMBER_OF_TEN:
        digits //= 10
        exponent += 1
    count = NUM_DIGITS
    while digits % 10 == 0:
        digits //= 10
        count -= 1
    if exponent == 0:  # rounded up to 1
        out[place] = ZERO + 1
        return place + 1
    if exponent >= LEAST_FIXED_EXPONENT:
        out[place], out[place + 1] = ZERO, POINT
        place += 2
        for _ in range(-1 - exponent):
            out[place] = ZERO
            place += 1
        return write_whole(digits, out, place)
    end = write_whole(digits, out, place)
    if count > 1:
        for index in range(end, place + 1, -1):
            out[index] = out[index - 1]
        out[place + 1] = POINT
        end += 1
    out[end], out[end + 1], out[end + 2], out[end + 3] = LETTER_E, MINUS, ZERO, ZERO - exponent
    return end + 4


@compile_cached
def write_rows(
    ids: Any, status: Any, chances: Any, is_alert: Any, text: Any, ends: Any, num_statuses: int, out: Any
) -> int:
    """Bytes that were written to `out`, a line for each event; -1 where a chance is not written here."""
    place = 0
    for row in range(len(ids)):
        place = copy_text(text, ends[0], ends[1], out, place)
        place = write_whole(ids[row], out, place)
        middle = 1 + status[row]
        place = copy_text(text, ends[middle], ends[middle + 1], out, place)
        if status[row] <= LAST_ANSWERED:
            place = write_chance(float(chances[row]), out, place)
            if place < 0:
                return -1
            tail = 1 + num_statuses + (1 if is_alert[row] else 0)
            place = copy_text(text, ends[tail], ends[tail + 1], out, place)
        out[place] = LINE_FEED
        place += 1
    return place
