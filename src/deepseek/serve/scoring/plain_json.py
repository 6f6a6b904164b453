"""Bodies of plain events to columns, compiled: objects whose columns are whole numbers, and one a decimal number.

    columns = PlainColumns(("time", "amount", "id", "card", "terminal"), decimal="amount", decimals=2)
    rows = columns.read(b'[{"id": 17, "time": 1530403200, "card": 5, "terminal": 9, "amount": 12.34}]', max_rows=100)
    rows.columns[1], rows.form                # array([12.34]), "array"

Most senders write nothing else, and then no object is made for a row. What is anything else, such as a text for a key,
null, an escape, a column that stands twice, or no JSON at all, gives None: whoever reads with care says what it is. So
what is taken here has one meaning, the one that reading with care gives it. Of whole numbers those of at most 18 digits
are, and decimal numbers of at most 15, for which one division of exact numbers is correctly rounded (Clinger 1990). One
of up to 18, as sums in binary leave behind (69.85000000000001), may be off by two units in its last place: it is taken
where that cannot change what it is in smallest units.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from deepseek.features.core.compilation import compile_cached, compile_inline

MAX_DIGITS, MAX_EXACT_DIGITS = 18, 15
#: Below so many smallest units an error of two places in 2^53 is less than SURE_DISTANCE, with which a number must lie
#: off the middle between two units.
MAX_SURE_UNITS, SURE_DISTANCE = 2.0**33, 2.0**-16
MAX_COLUMNS = 62  # bits of a whole number that say which were read
RECORD, ARRAY, INSTANCES, LINES = range(4)
FORMS = ("record", "array", "instances", "lines")
ENVELOPE = b'"instances"'
NULL = np.frombuffer(b"null", np.uint8)
NOT_NUMBERS = np.array([list(word.ljust(10, b"\0")) for word in (b"NaN", b"Infinity", b"-Infinity")], np.uint8)
TAB, LINE_FEED, RETURN, SPACE, QUOTE, COMMA, MINUS, POINT, ZERO, NINE = 9, 10, 13, 32, 34, 44, 45, 46, 48, 57
COLON, OPEN_ARRAY, BACKSLASH, CLOSE_ARRAY, OPEN, CLOSE = 58, 91, 92, 93, 123, 125
FIRST_BEYOND_ASCII = 128


class PlainRows(NamedTuple):
    """N rows. `columns`: (N,) each, int64, and float64 that of the decimal number."""

    columns: tuple[np.ndarray[Any, Any], ...]
    form: Any  # "record", "array", "instances" or "lines"


class PlainColumns:
    """Reads rows of these columns. Others in a row are passed over."""

    def __init__(self, names: Sequence[str], *, decimal: str, decimals: int) -> None:
        """`decimal`: the one column that may hold a number with digits behind the point. It is rounded to `decimals` of
        them by whoever reads it."""
        encoded = [b'"%b"' % name.encode() for name in names]
        self._names = np.frombuffer(b"".join(encoded), np.uint8)
        self._ends = np.cumsum([0, *map(len, encoded)])
        self._num_columns = len(encoded)
        self._decimal, self._scale = list(names).index(decimal), 10.0**decimals
        plain = all('"' not in name and "\\" not in name and name.isprintable() for name in names)
        self._fits = plain and len(names) <= MAX_COLUMNS and "instances" not in names

    def read(self, body: bytes, max_rows: int, *, is_lines: bool = False) -> PlainRows | None:
        """The rows of a body: one row, an array of rows, {"instances": [...]}, or rows line by line. None, too, for
        what looks like more than `max_rows`: no memory is taken for them."""
        capacity = body.count(b"\n") + 1 if is_lines else body.count(b"{")
        if not self._fits or capacity > max_rows + 1:  # one for the envelope, or behind a last line feed
            return None
        whole = np.empty((self._num_columns, capacity), np.int64)
        decimal = np.empty(capacity, np.float64)
        number, form = read_rows(
            np.frombuffer(body, np.uint8), is_lines, self._names, self._ends, np.arange(self._num_columns),
            self._decimal, self._scale, whole, decimal,
        )  # fmt: skip
        if number < 1:
            return None
        columns: list[np.ndarray[Any, Any]] = [column[:number] for column in whole]
        columns[self._decimal] = decimal[:number]
        return PlainRows(tuple(columns), FORMS[form])


def null_for_nan(body: bytes) -> bytes:
    """The body with null in the place of each NaN, Infinity and -Infinity outside of texts.

    >>> null_for_nan(b'{"amount": NaN, "note": "NaN", "sum": -Infinity}')
    b'{"amount": null, "note": "NaN", "sum": null}'
    """
    number = body.count(b"NaN") + body.count(b"Infinity")
    if not number:
        return body
    out = np.empty(len(body) + number, np.uint8)
    return out[: replace_words(np.frombuffer(body, np.uint8), NOT_NUMBERS, NULL, out)].tobytes()


@compile_cached
def replace_words(data: Any, words: Any, null: Any, out: Any) -> int:
    """Bytes that were written to `out`: those of a body, with `null` for each of the words (W, 10), 0 beyond their
    ends, outside of texts."""
    place, size, is_text = 0, 0, False
    while place < len(data):
        byte, length = data[place], 0
        if is_text and byte == BACKSLASH and place + 1 < len(data):
            out[size], size, place = byte, size + 1, place + 1
            byte = data[place]
        elif byte == QUOTE:
            is_text = not is_text
        elif not is_text:
            for word in range(len(words)):
                length = 0
                while (
                    words[word, length] and place + length < len(data) and data[place + length] == words[word, length]
                ):
                    length += 1
                if not words[word, length]:
                    break
                length = 0
        if length:
            for index in range(len(null)):
                out[size] = null[index]
                size += 1
            place += length
        else:
            out[size] = byte
            size += 1
            place += 1
    return size


@compile_inline
def skip_spaces(data: Any, place: int, is_lines: bool) -> int:
    """The first place from `place` on that is no white space. A line feed is none where it ends a row."""
    while place < len(data):
        byte = data[place]
        if byte not in (SPACE, TAB, RETURN) and (byte != LINE_FEED or is_lines):
            break
        place += 1
    return place


@compile_inline
def is_digit(data: Any, place: int) -> bool:
    return place < len(data) and ZERO <= data[place] <= NINE


@compile_inline
def end_of_digits(data: Any, place: int) -> int:
    """The place behind the digits that begin at `place`."""
    while is_digit(data, place):
        place += 1
    return place


@compile_inline
def digits_value(data: Any, place: int, end: int) -> int:
    """The number that these digits, at most 18, are."""
    value = 0
    while place < end:
        value = value * 10 + int(np.int64(data[place]) - ZERO)
        place += 1
    return value


@compile_inline
def end_of_text(data: Any, place: int) -> int:
    """The place behind a text whose quote stands at `place`; -1 for one with an escape, or beyond ASCII."""
    place += 1
    while place < len(data):
        byte = data[place]
        if byte == QUOTE:
            return place + 1
        if byte == BACKSLASH or byte < SPACE or byte >= FIRST_BEYOND_ASCII:
            return -1
        place += 1
    return -1


@compile_inline
def end_of_number(data: Any, place: int) -> int:
    """The place behind a number without exponent; -1 where there is none."""
    if data[place] == MINUS:
        place += 1
    end = end_of_digits(data, place)
    if end == place or (data[place] == ZERO and end > place + 1):
        return -1
    if end < len(data) and data[end] == POINT:
        place = end + 1
        end = end_of_digits(data, place)
        if end == place:
            return -1
    return end


@compile_inline
def equals_name(data: Any, place: int, names: Any, start: int, end: int) -> bool:
    """Whether the quoted name at start..end stands at `place`."""
    if place + end - start > len(data):
        return False
    index = start
    while index < end and data[place + index - start] == names[index]:
        index += 1
    return index == end


@compile_inline
def find_name(data: Any, place: int, names: Any, ends: Any, order: Any, key: int) -> int:
    """The number of the column whose name stands at `place`, as key number `key` of its row; -1 for another. `order`:
    the columns of the keys of the row before, which most senders repeat."""
    if key < len(order):
        column = order[key]
        if equals_name(data, place, names, ends[column], ends[column + 1]):
            return int(column)
    for column in range(len(order)):
        if equals_name(data, place, names, ends[column], ends[column + 1]):
            if key < len(order):
                order[key] = column
            return column
    return -1


@compile_inline
def end_of_value(data: Any, place: int) -> int:
    """The place behind a value that nobody reads: a number or a text; -1 for others."""
    if place >= len(data):
        return -1
    if data[place] == QUOTE:
        return end_of_text(data, place)
    return end_of_number(data, place)


@compile_inline
def read_whole(data: Any, place: int, column: Any, row: int) -> int:
    """Reads a whole number into a row of a column, and gives the place behind it; -1 where there is none."""
    if place >= len(data):
        return -1
    start = place + 1 if data[place] == MINUS else place
    end = end_of_digits(data, start)
    if end == start or end - start > MAX_DIGITS or (data[start] == ZERO and end > start + 1):
        return -1
    value = digits_value(data, start, end)
    column[row] = -value if start > place else value
    return end


@compile_inline
def read_decimal(data: Any, place: int, to_units: float, column: Any, row: int) -> int:
    """The same for a number with a point or without one, which is rounded once it is multiplied by `to_units`."""
    if place >= len(data):
        return -1
    start = place + 1 if data[place] == MINUS else place
    end = end_of_number(data, place)
    if end < 0 or end - start > MAX_DIGITS + 1:
        return -1
    point = start
    while point < end and data[point] != POINT:
        point += 1
    digits, scale = digits_value(data, start, point), 1.0
    for index in range(point + 1, end):
        digits = digits * 10 + int(np.int64(data[index]) - ZERO)
        scale *= 10.0
    value, num_digits = float(digits) / scale, end - start - (1 if point < end else 0)
    if num_digits > MAX_EXACT_DIGITS:
        units = value * to_units
        is_sure = units < MAX_SURE_UNITS and abs(units - math.floor(units) - 0.5) > SURE_DISTANCE
        if num_digits > MAX_DIGITS or not is_sure:
            return -1
    column[row] = -value if start > place else value
    return end


@compile_inline
def end_of_key(data: Any, place: int, column: int, ends: Any) -> int:
    """The place behind the key of a column, or of another text; -1 where that is not plain."""
    return int(place + ends[column + 1] - ends[column]) if column >= 0 else end_of_text(data, place)


@compile_inline
def skip_colon(data: Any, place: int, is_lines: bool) -> int:
    """Where the value behind a key begins; -1 where no colon is between them."""
    place = skip_spaces(data, place, is_lines)
    return skip_spaces(data, place + 1, is_lines) if place < len(data) and data[place] == COLON else -1


@compile_inline
def read_row(
    data: Any, place: int, is_lines: bool, names: Any, ends: Any, order: Any, decimal_column: int, to_units: float,
    whole: Any, decimal: Any, row: int,
) -> int:  # fmt: skip
    """Reads the object at `place` into a row of the columns, and gives the place behind it; -1 where it is none, or
    none that is plain."""
    if place >= len(data) or data[place] != OPEN or row >= len(decimal):
        return -1
    was_read, key = 0, 0
    while True:
        place = skip_spaces(data, place + 1, is_lines)
        if place >= len(data) or data[place] != QUOTE:
            return -1
        column = find_name(data, place, names, ends, order, key)
        key += 1
        place = end_of_key(data, place, column, ends)
        place = skip_colon(data, place, is_lines) if place >= 0 else -1
        if place < 0 or (column >= 0 and was_read >> column & 1):
            return -1
        if column < 0:
            place = end_of_value(data, place)
        elif column == decimal_column:
            place = read_decimal(data, place, to_units, decimal, row)
        else:
            place = read_whole(data, place, whole[column], row)
        if place < 0:
            return -1
        was_read |= 1 << column if column >= 0 else 0
        place = skip_spaces(data, place, is_lines)
        if place >= len(data) or data[place] != COMMA:
            break
    is_whole = place < len(data) and data[place] == CLOSE and was_read == (1 << len(order)) - 1
    return place + 1 if is_whole else -1


@compile_inline
def start_of_rows(data: Any, is_lines: bool) -> tuple[int, int]:
    """(where the first row begins, the form) of a body; -1 where there is none."""
    place = skip_spaces(data, 0, False)
    if place >= len(data) or is_lines:
        return place, LINES
    if data[place] == OPEN_ARRAY:
        return skip_spaces(data, place + 1, False), ARRAY
    inside = skip_spaces(data, place + 1, False)
    if not equals_name(data, inside, ENVELOPE, 0, len(ENVELOPE)):
        return place, RECORD
    for sign in (COLON, OPEN_ARRAY):
        inside = skip_spaces(data, inside + (len(ENVELOPE) if sign == COLON else 1), False)
        if inside >= len(data) or data[inside] != sign:
            return -1, INSTANCES
    return skip_spaces(data, inside + 1, False), INSTANCES


@compile_inline
def start_of_next(data: Any, place: int, form: int) -> int:
    """Where the row behind the one that ends at `place` begins, or len(data) where none does; -1 for neither."""
    is_lines = form == LINES
    place = skip_spaces(data, place, is_lines)
    if form == RECORD or place >= len(data):
        return place if place >= len(data) and (form == RECORD or is_lines) else -1
    if is_lines:
        return skip_spaces(data, place, False) if data[place] == LINE_FEED else -1
    if data[place] == COMMA:
        place = skip_spaces(data, place + 1, False)
        return place if place < len(data) else -1
    if data[place] != CLOSE_ARRAY:
        return -1
    place = skip_spaces(data, place + 1, False)
    if form == INSTANCES:
        if place >= len(data) or data[place] != CLOSE:
            return -1
        place = skip_spaces(data, place + 1, False)
    return place if place >= len(data) else -1


@compile_cached
def read_rows(
    data: Any, is_lines: bool, names: Any, ends: Any, order: Any, decimal_column: int, to_units: float, whole: Any,
    decimal: Any,
) -> tuple[int, int]:  # fmt: skip
    """(rows, form) of a body (B,) uint8; -1 rows where it is not plain. whole (C, N) int64, decimal (N,) float64: what
    is read. names, ends: quoted names one behind the other, and where each ends. order (C,): for its own use."""
    place, form = start_of_rows(data, is_lines)
    row = 0
    while 0 <= place < len(data):
        place = read_row(data, place, is_lines, names, ends, order, decimal_column, to_units, whole, decimal, row)
        if place < 0:
            break
        row += 1
        place = start_of_next(data, place, form)
    return (row if place >= 0 else -1), form
