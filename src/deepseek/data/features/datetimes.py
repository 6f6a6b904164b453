"""Dates and times: days since the first of training, hour, day of the week, month, and whether it is missing.

The same integer arithmetic serves one row (Python ints) and a column (int64 arrays), so both give the same features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

import numpy as np

from deepseek.contracts import Float32
from deepseek.data.features.modality import (
    ColumnEncoder,
    ColumnProfile,
    EncodedFeature,
    FeatureValues,
    ReplacedRows,
    ReplacementReason,
)
from deepseek.data.features.unreadable import find_unreadable, parse_or_missing
from deepseek.data.table.date_formats import DateFormat
from deepseek.data.table.values import (
    DAY_MS,
    NAT_MS,
    Values,
    are_timestamps,
    epoch_ms,
    format_timestamp,
    parse_timestamp,
    parse_timestamps,
)

YEAR_DAYS = 365
_NUM_SAMPLED_VALUES = 50


@dataclass(frozen=True)
class DatetimeEncoder:
    """A missing moment becomes the training median."""

    start_ms: int  # the first moment of training
    median_ms: int
    used: tuple[str, ...]  # of "days", "hour", "weekday", "month": those that varied
    seen_missing: bool = False
    format: DateFormat | None = None  # how texts say the date; None takes those alone that parse_timestamp() reads

    def __post_init__(self) -> None:
        if not set(self.used) <= {"days", *CALENDAR_FEATURES} or max(abs(self.start_ms), abs(self.median_ms)) > 2**60:
            raise ValueError(f"no dates: {self}")

    dtype: ClassVar[str] = "datetime64[ms]"
    expected: ClassVar[str] = "a date such as 2026-01-31 or 2026-01-31T12:00:00, or null where it is missing"

    @property
    def parts(self) -> tuple[EncodedFeature, ...]:
        dates = (EncodedFeature(f" {name}", "datetime") for name in self.used)
        return (*dates, *((EncodedFeature(" is missing", "missing"),) if self.seen_missing else ()))

    def encode(self, values: Values, out: Float32) -> ReplacedRows:
        timestamps = parse_timestamps(values, self._parse)
        missing = timestamps == NAT_MS
        known_ms = np.where(missing, self.median_ms, timestamps)
        for index, name in enumerate(self.used):
            out[:, index] = _calendar_feature(name, known_ms, self.start_ms)
        if self.seen_missing:
            out[:, -1] = missing
        unreadable = find_unreadable(values, missing, self.format)
        if unreadable:
            missing[unreadable] = False
        imputed = () if self.seen_missing or not missing.any() else np.flatnonzero(missing).tolist()
        return ReplacedRows(imputed, unreadable=unreadable)

    def quick(self) -> Callable[[Any], FeatureValues | None]:
        def moment(value: Any) -> FeatureValues | None:
            if type(value) is not str or not value.isascii():
                return None
            try:
                timestamp = datetime.fromisoformat(value)
            except ValueError:
                return None
            return self._cells(epoch_ms(timestamp), 0.0) if timestamp.tzinfo is None else None

        return moment

    def careful(self, value: Any) -> tuple[FeatureValues, ReplacementReason | None]:
        timestamp_ms = self._parse(value)
        if timestamp_ms is not None:
            return self._cells(timestamp_ms, 0.0), None
        if find_unreadable([value], np.array([True]), self.format):
            return self._cells(self.median_ms, 1.0), "unreadable"
        return self._cells(self.median_ms, 1.0), None if self.seen_missing else "imputed"

    def example(self) -> Any:
        return format_timestamp(self.median_ms)

    def _parse(self, value: Any) -> int | None:
        return parse_or_missing(value, parse_timestamp, None) if self.format is None else self.format.parse(value)

    def _cells(self, moment_ms: int, missing: float) -> FeatureValues:
        dates = (_calendar_feature(name, moment_ms, self.start_ms) for name in self.used)
        return (*dates, missing) if self.seen_missing else tuple(dates)


def _calendar_feature(name: str, moment: Any, start_ms: int) -> Any:
    """The feature `name` of one moment (int) or of many (int64, (N,)), in milliseconds since 1970."""
    return (moment - start_ms) / DAY_MS if name == "days" else CALENDAR_FEATURES[name](moment)


def _hour(moment: Any) -> Any:
    return (moment % DAY_MS) / 3_600_000


def _weekday(moment: Any) -> Any:
    return (moment // DAY_MS + 3) % 7 * 1.0  # 1970-01-01 was a Thursday; Monday is 0


def _month(moment: Any) -> Any:
    """The month, 1 to 12, by whole numbers alone: in a year that starts in March the leap day is the last."""
    day = moment // DAY_MS + 719_468  # since 0000-03-01
    of_era = day % 146_097  # 400 years
    year = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    return ((5 * of_year + 2) // 153 + 2) % 12 + 1.0


CALENDAR_FEATURES: dict[str, Callable[[Any], Any]] = {"hour": _hour, "weekday": _weekday, "month": _month}


class Datetimes:
    """Claims datetime columns: of that type, or text that is all dates."""

    name: ClassVar[str] = "datetime"
    kinds: ClassVar[tuple[str, ...]] = ("datetime",)
    coder: ClassVar[type] = DatetimeEncoder

    def claims(self, profile: ColumnProfile) -> str | None:
        if profile.type == "datetime":
            return "datetime"
        if profile.type != "text":
            return None
        distinct = list(profile.counts)
        return "datetime" if are_timestamps(distinct[:_NUM_SAMPLED_VALUES]) and are_timestamps(distinct) else None

    def fit(self, profile: ColumnProfile, kind: str) -> ColumnEncoder:
        timestamps = parse_timestamps(profile.values)
        known = np.sort(timestamps[timestamps != NAT_MS])
        if not len(known):
            known = np.zeros(1, np.int64)
        start, end = int(known[0]), int(known[-1])
        used = [
            name for name in ("days", *CALENDAR_FEATURES) if len(np.unique(_calendar_feature(name, known, start))) > 1
        ]
        if end - start < YEAR_DAYS * DAY_MS and "month" in used:
            used.remove("month")  # within a year it says no more than the days, and says it wrongly of the next year
        return DatetimeEncoder(
            start, int(known[(len(known) - 1) // 2]), tuple(used), bool((timestamps == NAT_MS).any()),
            profile.format if isinstance(profile.format, DateFormat) else None,
        )  # fmt: skip
