"""Numbers: the value itself, one-hot levels for whole numbers of few values, and whether it is missing."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from deepseek.contracts import Float32, Float64
from deepseek.data.features.modality import (
    ColumnEncoder,
    ColumnProfile,
    EncodedFeature,
    FeatureValues,
    ReplacedRows,
    ReplacementReason,
)
from deepseek.data.features.unreadable import find_unreadable, parse_or_missing
from deepseek.data.table.number_formats import NumberFormat
from deepseek.data.table.table import is_integral
from deepseek.data.table.values import FLOAT32_MAX, Values, parse_number, parse_numbers

MAX_CATEGORY_VALUES = 10  # distinct whole numbers of an integer category, at most
MIN_ROWS_PER_VALUE = 20  # rows for each of them, on average
#: Text that is all numbers is a numeric column from so many distinct ones on; below, it is a category such as "1", "2".
MIN_TEXT_NUMBERS = 25


@dataclass(frozen=True)
class NumberEncoder:
    """A missing or infinite number, or one too large for float32, becomes the training median."""

    median: float
    offset: float = 0.0  # subtracted first, where float32 would otherwise merge neighboring values
    levels: tuple[float, ...] = ()  # of an integer category, the most frequent first
    seen_missing: bool = False  # in training; then "is missing" is a feature, else a missing value is flagged
    whole: bool = False
    format: NumberFormat | None = None  # how texts say the number; None takes those alone that parse_number() reads

    dtype: ClassVar[str] = "float64"
    expected: ClassVar[str] = "a number, or null where it is missing"

    @property
    def parts(self) -> tuple[EncodedFeature, ...]:
        onehots = (EncodedFeature(f" = {level:g}", "onehot") for level in self.levels)
        missing = (EncodedFeature(" is missing", "missing"),) if self.seen_missing else ()
        return (EncodedFeature("", "numeric"), *onehots, *missing)

    def encode(self, values: Values, out: Float32) -> ReplacedRows:
        parsed = self._without_missing_numbers(parse_numbers(values, self._parse))
        unusable = ~(np.abs(parsed - self.offset) <= FLOAT32_MAX)
        known = np.where(unusable, self.median, parsed)
        out[:, 0] = (known - self.offset) + 0.0  # + 0.0 makes one zero of two
        for index, level in enumerate(self.levels, 1):
            out[:, index] = known == level
        if self.seen_missing:
            out[:, -1] = unusable
            unusable = unusable & ~np.isnan(parsed)
        unreadable = find_unreadable(values, np.isnan(parsed), self.format)
        if unreadable:
            unusable[unreadable] = False
        imputed = np.flatnonzero(unusable).tolist() if unusable.any() else ()
        return ReplacedRows(imputed=imputed, unreadable=unreadable)

    def quick(self) -> Callable[[Any], FeatureValues | None]:
        offset, largest, missing_numbers = self.offset, FLOAT32_MAX, self.missing_numbers
        rest = (0.0,) * (len(self.parts) - 1)
        usual: dict[Any, FeatureValues] = {level: self._cells(level, 0.0) for level in self.levels}
        if self.seen_missing:
            usual[None] = self._cells(self.median, 1.0)

        def number(value: Any) -> FeatureValues | None:
            if (type(value) is not float and type(value) is not int) or value in missing_numbers:
                return None
            centered = value - offset
            return (centered + 0.0, *rest) if -largest <= centered <= largest else None

        return (lambda value: usual.get(value) or number(value)) if usual else number

    def careful(self, value: Any) -> tuple[FeatureValues, ReplacementReason | None]:
        parsed = self._parse(value)
        if abs(parsed - self.offset) <= FLOAT32_MAX:
            return self._cells(parsed, 0.0), None
        if find_unreadable([value], np.isnan([parsed]), self.format):
            return self._cells(self.median, 1.0), "unreadable"
        flagged = not self.seen_missing or not math.isnan(parsed)
        return self._cells(self.median, 1.0), "imputed" if flagged else None

    def example(self) -> Any:
        return int(self.median) if self.whole else self.median

    @property
    def missing_numbers(self) -> frozenset[float]:
        """Numbers that count as missing in this column."""
        return frozenset() if self.format is None else self.format.missing_numbers

    def _without_missing_numbers(self, parsed: Float64) -> Float64:
        if not self.missing_numbers:
            return parsed
        return np.where(np.isin(parsed, list(self.missing_numbers)), np.nan, parsed)

    def _parse(self, value: Any) -> float:
        return parse_or_missing(value, parse_number, math.nan) if self.format is None else self.format.parse(value)

    def _cells(self, value: float, missing: float) -> FeatureValues:
        onehots = (float(value == level) for level in self.levels)
        return ((value - self.offset) + 0.0, *onehots, *((missing,) if self.seen_missing else ()))


class Numerics:
    """Claims numeric and integer_category columns."""

    name: ClassVar[str] = "number"
    kinds: ClassVar[tuple[str, ...]] = ("numeric", "integer_category")
    coder: ClassVar[type] = NumberEncoder

    def claims(self, profile: ColumnProfile) -> str | None:
        if profile.type == "text":
            many = len(profile.counts) >= MIN_TEXT_NUMBERS
            return "numeric" if many and all(_is_number(text) for text in profile.counts) else None
        if profile.type not in ("number", "boolean"):
            return None
        num_values = len(profile.counts)
        few = 3 <= num_values <= MAX_CATEGORY_VALUES and num_values * MIN_ROWS_PER_VALUE <= len(profile.present)
        return "integer_category" if few and is_integral(profile.present) else "numeric"

    def fit(self, profile: ColumnProfile, kind: str) -> ColumnEncoder:
        parsed = parse_numbers(profile.values)
        known = np.sort(parsed[np.abs(parsed) <= FLOAT32_MAX])
        # The lower median is a value that was there: a whole number stays whole
        median = float(known[(len(known) - 1) // 2]) if len(known) else 0.0
        levels: tuple[float, ...] = ()
        if kind == "integer_category":
            distinct, counts = np.unique(known, return_counts=True)
            levels = tuple(distinct[np.argsort(-counts, kind="stable")][:MAX_CATEGORY_VALUES].tolist())
        return NumberEncoder(
            median=median,
            offset=median if _is_merged_by_float32(known) else 0.0,
            levels=levels,
            seen_missing=bool(np.isnan(parsed).any()),
            whole=is_integral(known),
            format=profile.format if isinstance(profile.format, NumberFormat) else None,
        )


def _is_merged_by_float32(known: np.ndarray[Any, np.dtype[np.float64]]) -> bool:
    """Whether different values are equal as float32, as times in seconds or coordinates in meters may be."""
    if not len(known):
        return False
    num_kept = len(np.unique(known.astype(np.float32)))
    centered = len(np.unique((known - known[(len(known) - 1) // 2]).astype(np.float32)))
    return num_kept < 0.99 * centered


def _is_number(text: str) -> bool:
    try:
        parse_number(text)
    except ValueError:
        return False
    return not (text.lstrip("+-")[:1] == "0" and text.lstrip("+-")[1:2].isdigit())
