"""One rule for each kind of value, wherever it comes from: a CSV cell, a frame's object, a JSON value of a request.

    parse_number("3.5")            3.5         missing is NaN
    parse_boolean("yes")           1.0         missing is NaN
    parse_timestamp("2018-04-01")     milliseconds since 1970, missing is None
    level_name(7.0)                "7"         missing is None

Each raises ValueError for a value of another kind. parse_numbers(), parse_timestamps() and level_names() do the same to
a whole column.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float64
from deepseek.null_words import NULL_WORDS

Values = NDArray[Any] | Sequence[Any]  # one column: float64, object or datetime64[ms]; or plain Python values
Result = TypeVar("Result")

TRUE_WORDS = frozenset({"true", "yes", "y", "t", "on", "1", "是", "有", "真", "对"})
FALSE_WORDS = frozenset({"false", "no", "n", "f", "off", "0", "否", "无", "假", "错"})
MAX_DIGITS = 1_100  # of a number; float() copies a text that is none into its error, however long it is
FLOAT32_MAX = float(np.finfo(np.float32).max)  # features are float32; a number beyond it counts as missing
MAX_EXACT_INTEGER = 2.0**53  # whole numbers beyond it are not exact as float64
DAY_MS = 86_400_000

NAT_MS = int(np.datetime64("NaT").astype(np.int64))  # stands for a missing timestamp
_EPOCH = dt.datetime(1970, 1, 1)
_MILLISECOND = dt.timedelta(milliseconds=1)
_DATE = re.compile(
    r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?:[ T](\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?)?", re.ASCII
)
_MIN_TIMESTAMP_MS = -62_135_596_800_000  # year 1
_MAX_TIMESTAMP_MS = 253_402_300_799_999  # year 9999


class BadValueError(ValueError):
    """A value of a column that cannot be read. `row` counts from 0."""

    def __init__(self, row: int, value: Any) -> None:
        super().__init__(row, value)
        self.row, self.value = row, value


def is_missing(value: Any) -> bool:
    """None, NaN, NaT and the words for "no value".

    >>> [is_missing(value) for value in (None, float("nan"), " NA ", "none", 0)]
    [True, True, True, False, False]
    """
    if isinstance(value, str):
        return value.strip() in NULL_WORDS
    if isinstance(value, Decimal):
        return value.is_nan()
    return value is None or (isinstance(value, (float, np.generic)) and bool(value != value))  # noqa: PLR0124 - NaN, NaT


def to_python(value: Any) -> Any:
    """A numpy scalar as Python's own; a missing value as None."""
    value = value.item() if isinstance(value, np.generic) and not isinstance(value, np.datetime64) else value
    if type(value).__name__ in ("NaTType", "NAType"):  # pandas' own, met in records made from a frame
        return None
    return None if is_missing(value) else value


def parse_number(value: Any) -> float:
    """
    >>> parse_number(" 3.5 "), parse_number(True), parse_number("1e400")
    (3.5, 1.0, inf)
    """
    value = to_python(value)
    if value is None:
        return math.nan
    if isinstance(value, str):
        # float() also reads 1_000 and digits of other scripts, which no CSV reader takes for a number
        if "_" in value or not value.isascii() or len(value) > MAX_DIGITS:
            raise ValueError(value[:MAX_DIGITS])
        return float(value)
    if isinstance(value, (int, float, Decimal)):
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    raise ValueError(value)


def parse_boolean(value: Any) -> float:
    """1.0, 0.0 or NaN. Any other number is handed back as it is.

    >>> parse_boolean("Yes"), parse_boolean(False), parse_boolean("0"), parse_boolean(2)
    (1.0, 0.0, 0.0, 2.0)
    """
    if isinstance(value, str):
        word = value.strip().lower()
        if word in TRUE_WORDS:
            return 1.0
        if word in FALSE_WORDS:
            return 0.0
    return parse_number(value)


def parse_timestamp(value: Any) -> int | None:
    """Milliseconds since 1970 in UTC. A time without a zone is taken as it stands.

    >>> parse_timestamp("1970-01-02"), parse_timestamp("1970/1/2 0:01"), parse_timestamp("1970-01-01T01:00:00+01:00")
    (86400000, 86460000, 0)
    """
    value = to_python(value)
    if value is None:
        return None
    if isinstance(value, str):
        value = _parse_datetime(value.strip())
    if isinstance(value, np.datetime64):
        return int(value.astype("M8[ms]").astype(np.int64))
    if isinstance(value, dt.datetime):
        zone = value.utcoffset()
        return epoch_ms(value.replace(tzinfo=None) - zone if zone is not None else value.replace(tzinfo=None))
    if isinstance(value, dt.date):
        return (value.toordinal() - 719_163) * DAY_MS
    raise ValueError(value)


def are_timestamps(cells: Iterable[Any]) -> bool:
    """Whether parse_timestamp() reads every cell."""
    try:
        for cell in cells:
            parse_timestamp(cell)
    except (ValueError, OverflowError):
        return False
    return True


def epoch_ms(moment: dt.datetime) -> int:
    """Milliseconds since 1970 of a moment without a zone."""
    return (moment - _EPOCH) // _MILLISECOND


def _parse_datetime(text: str) -> dt.datetime:
    """ISO 8601, or year, month and day between dashes, slashes or points (2018/4/1 9:30)."""
    if not text.isascii():
        raise ValueError(text)
    try:
        return dt.datetime.fromisoformat(text)
    except ValueError:
        match = _DATE.fullmatch(text)
        if match is None:
            raise
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    fraction = int((match[7] or "0").ljust(9, "0")[:6])
    return dt.datetime(year, month, day, hour, minute, second, fraction)


def level_name(value: Any) -> str | None:
    """A level's name. Whole numbers are written without a point, so that 7, 7.0 and "7" are one level.

    >>> level_name(7.0), level_name(" Paris "), level_name("NA"), level_name(True)
    ('7', 'Paris', None, 'True')
    """
    value = to_python(value)
    if value is None:
        return None
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < MAX_EXACT_INTEGER else repr(value)
    if isinstance(value, (bool, int, Decimal)):
        return str(value)
    if isinstance(value, (dt.date, np.datetime64)):
        return format_timestamp(parse_timestamp(value) or 0)
    raise ValueError(value)


def format_timestamp(moment_ms: int) -> str:
    """
    >>> format_timestamp(86_400_000), format_timestamp(1_500)
    ('1970-01-02', '1970-01-01T00:00:01.500')
    """
    if not _MIN_TIMESTAMP_MS <= moment_ms <= _MAX_TIMESTAMP_MS:
        return str(np.datetime64(moment_ms, "ms"))
    moment = _EPOCH + moment_ms * _MILLISECOND
    if moment_ms % DAY_MS == 0:
        return moment.date().isoformat()
    return moment.isoformat(timespec="milliseconds" if moment_ms % 1000 else "seconds")


def parse_numbers(values: Values, convert: Callable[[Any], float] = parse_number) -> Float64:
    """A column as float64 (N,), missing as NaN. BadValueError for the first value that does not fit."""
    if isinstance(values, np.ndarray):
        if values.dtype.kind in "fiub":
            return values.astype(np.float64, copy=False)
        values = to_list(values)
    if set(map(type, values)) <= {float, int, bool, type(None)}:
        try:
            return np.array(values, np.float64)
        except OverflowError:  # a whole number that float64 cannot hold: one by one
            pass
    return np.array(map_distinct(values, convert), np.float64)


def parse_timestamps(values: Values, convert: Callable[[Any], int | None] = parse_timestamp) -> NDArray[np.int64]:
    """A column as milliseconds since 1970 (N,), missing as the number of NaT. BadValueError as in parse_numbers()."""
    if isinstance(values, np.ndarray):
        if values.dtype.kind == "M":
            return values.astype("M8[ms]").astype(np.int64)
        values = to_list(values)
    return np.array(
        [NAT_MS if timestamp is None else timestamp for timestamp in map_distinct(values, convert)], np.int64
    )


def level_names(values: Values) -> list[str | None]:
    """A column as names of levels. BadValueError as in parse_numbers()."""
    return map_distinct(to_list(values), level_name)


def to_list(values: Values) -> Sequence[Any]:
    """Python values; moments stay numpy's, for tolist() would make them bare integers."""
    if not isinstance(values, np.ndarray):
        return values
    return list(values) if values.dtype.kind == "M" else list(values.tolist())


def map_distinct(values: Sequence[Any], convert: Callable[[Any], Result]) -> list[Result]:
    """one(value) for every value; values that repeat are read once."""
    result_of: dict[tuple[type, Any], Result] = {}
    results: list[Result] = []
    for row, value in enumerate(values):
        try:
            key = (type(value), value)
            if key not in result_of:
                result_of[key] = convert(value)
            results.append(result_of[key])
        except (ValueError, TypeError, OverflowError) as error:  # TypeError: a list or an object cannot be a key
            raise BadValueError(row, value) from error
    return results
