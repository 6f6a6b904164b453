"""Events as columns of whole numbers: money in its smallest unit, time in ticks, keys and ids as 64-bit codes.

events = EventColumns.from_columns(definition, {"TX_DATETIME": ..., "CUSTOMER_ID": ..., ...})
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from deepseek.errors import InputError
from deepseek.features.definition import FeatureDefinition

Longs: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
Values: TypeAlias = np.ndarray[Any, np.dtype[Any]]
#: An amount lies below this, in smallest units: sums over 4 million events of a key, and of squares, stay exact.
MAX_AMOUNT = 2**40 - 1
#: What stands for an amount that is none: negative, NaN, too large.
BAD_AMOUNT = -1
#: A time lies between these many ticks around 1970, so that adding windows cannot overflow.
MAX_TIME = 2**62
#: What stands for a time that is none.
BAD_TIME = -(2**63)


@dataclasses.dataclass(frozen=True)
class EventColumns:
    """N events. Every array is int64 (N,)."""

    time: Longs  # ticks of the definition's time_unit since 1970
    amount: Longs  # smallest units, 0..MAX_AMOUNT; BAD_AMOUNT where it is none
    keys: tuple[Longs, ...]  # codes, in the order of the definition's keys
    id: Longs  # codes
    fraud: Longs | None = None  # 1 where the verdict is fraud, 0 where it is genuine or there is none
    known: Longs | None = None  # when the verdict came, in ticks; None: in time, before the delay of labels was over

    def __post_init__(self) -> None:
        number = len(self.time)
        for column in self.arrays():
            if column.dtype != np.int64 or column.shape != (number,):
                raise InputError(
                    f"a column of events is {column.dtype} {column.shape}", expected=f"int64 ({number},), as time",
                    fix="make events by EventColumns.from_columns",
                )  # fmt: skip

    def __len__(self) -> int:
        return len(self.time)

    def arrays(self) -> tuple[Longs, ...]:
        """Every column that there is."""
        optional = [column for column in (self.fraud, self.known) if column is not None]
        return (self.time, self.amount, *self.keys, self.id, *optional)

    def take(self, rows: slice | Values) -> EventColumns:
        """The events at these places."""
        return EventColumns(
            self.time[rows], self.amount[rows], tuple(key[rows] for key in self.keys), self.id[rows],
            None if self.fraud is None else self.fraud[rows], None if self.known is None else self.known[rows],
        )  # fmt: skip

    @classmethod
    def from_columns(cls, definition: FeatureDefinition, columns: Mapping[str, Values]) -> EventColumns:
        """Events of raw columns by the definition's names for them. Without a column of ids an event's place is its id.

        Times: datetime64, or whole numbers in the definition's unit. Amounts: numbers in the unit with
        `amount_decimals` digits behind the point; others are rounded. Keys and ids: whole numbers, or texts.
        """
        names = definition.columns
        time = read_times(_column(columns, names.time), definition.time_unit)
        number = len(time)
        return cls(
            time,
            read_amounts(_column(columns, names.amount), definition.amount_decimals),
            tuple(read_codes(_column(columns, key.column), key.column) for key in definition.keys.values()),
            read_codes(columns[names.id], names.id) if names.id in columns else np.arange(number, dtype=np.int64),
            _read_verdicts(columns[names.label], names.label) if names.label in columns else None,
        )


def read_times(values: Values, unit: str) -> Longs:
    """Times as ticks; BAD_TIME where there is none."""
    values = np.asarray(values)
    if values.dtype.kind == "M":
        ticks = values.astype(f"datetime64[{unit}]").astype(np.int64)
    elif values.dtype.kind in "iu":
        ticks = values.astype(np.int64)
    elif values.dtype.kind == "f":
        good = np.abs(values) < MAX_TIME  # not for NaN
        ticks = np.where(good, values, 0.0).astype(np.int64)
        ticks[~good] = BAD_TIME
    else:
        raise InputError(
            f"times are {values.dtype}", expected=f"datetime64, or whole numbers in {unit}", fix="convert the column"
        )
    return np.where((ticks > -MAX_TIME) & (ticks < MAX_TIME), ticks, BAD_TIME)


def read_amounts(values: Values, decimals: int) -> Longs:
    """Amounts in smallest units; BAD_AMOUNT where one is negative, NaN or above MAX_AMOUNT.

    >>> read_amounts(np.array([12.34, -1.0, np.nan, 1e18]), 2).tolist()
    [1234, -1, -1, -1]
    """
    values = np.asarray(values)
    scale = 10**decimals
    if values.dtype.kind in "iu":
        good = (values >= 0) & (values <= MAX_AMOUNT // scale)
        units = np.where(good, values, 0).astype(np.int64) * scale
        return np.where(good, units, BAD_AMOUNT).astype(np.int64)
    if values.dtype.kind != "f":
        raise InputError(f"amounts are {values.dtype}", expected="numbers", fix="convert the column")
    with np.errstate(invalid="ignore", over="ignore"):
        units = np.rint(values.astype(np.float64) * scale)
        good = (values >= 0) & (units <= MAX_AMOUNT)
    return np.where(good, units, BAD_AMOUNT).astype(np.int64)


def read_codes(values: Values, name: str) -> Longs:
    """Keys or ids as 64-bit codes: a whole number is its own, a text has the first 8 bytes of its BLAKE2b."""
    values = np.asarray(values)
    if values.dtype.kind in "iu" and values.dtype != np.uint64:
        return np.ascontiguousarray(values, dtype=np.int64)
    if values.dtype.kind == "u":
        return np.ascontiguousarray(values).view(np.int64)
    if values.dtype.kind in "OUS":
        return np.fromiter((code_of(value, name) for value in values.tolist()), np.int64, len(values))
    raise InputError(
        f"the column {name!r} is {values.dtype}", expected="whole numbers or texts", fix="convert the column"
    )


def code_of(value: object, name: str) -> int:
    """The code of one key or id.

    >>> code_of(17, "card"), code_of("4f3a", "card")
    (17, 6029653451393162349)
    """
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool) and -(2**63) <= value < 2**63:
        return int(value)
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return int.from_bytes(hashlib.blake2b(value, digest_size=8).digest(), "little", signed=True)
    raise InputError(
        f"{str(value)[:40]!r} in {name!r} is no key", expected="a whole number or a text", fix="leave the row out"
    )


def _read_verdicts(values: Values, name: str) -> Longs:
    values = np.asarray(values)
    if values.dtype.kind not in "biuf" or not np.isin(values, (0, 1)).all():
        raise InputError(f"the labels in {name!r} are no verdicts", expected="0 and 1", fix="convert the column")
    return values.astype(np.int64)


def _column(columns: Mapping[str, Values], name: str) -> Values:
    if name not in columns:
        raise InputError(
            f"the column {name!r} is missing", expected=f"of {', '.join(map(str, columns))}", fix=f"add {name!r}"
        )
    return columns[name]
