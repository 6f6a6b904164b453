"""Categories: one code for the trees and the embeddings, one-hot levels for the rest, and whether it is missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float32
from deepseek.data.features.modality import (
    ColumnEncoder,
    ColumnProfile,
    EncodedFeature,
    FeatureValues,
    ReplacedRows,
    ReplacementReason,
)
from deepseek.data.features.ngrams import count_words
from deepseek.data.table.values import BadValueError, Values, level_name, map_distinct, to_list

MAX_LEVELS = 255  # with a code of their own
MAX_ONEHOTS = 24
#: A level is known from so many training rows on. A rarer one teaches nothing, and may name a person.
MIN_LEVEL_ROWS = 5
SMALL_TABLE_ROWS = 1_000  # rows below which 2 are enough
MIN_ROWS_PER_LEVEL = 2  # rows for each level, on average, of text that is a category
MIN_FREE_TEXT_WORDS = 3  # text of so many words that seldom repeats is free text, not a category


@dataclass(frozen=True)
class CategoryEncoder:
    """Levels are numbered from 1, the most frequent first; 0 is missing, unseen or rare. The code of a level is its
    number, or its rank by the target (level_order.py)."""

    levels: tuple[str, ...]
    num_onehots: int  # for the first levels; with two levels, only for the second
    seen_missing: bool = False
    example_level: str = ""
    ranks: tuple[int, ...] = ()  # of each level from 1; empty where its code is its number

    dtype: ClassVar[str] = "str"
    expected: ClassVar[str] = "text or a number, or null where it is missing"

    def __post_init__(self) -> None:
        if self.ranks and sorted(self.ranks) != list(range(1, len(self.levels) + 1)):
            raise ValueError(f"{len(self.ranks)} ranks are not an order of {len(self.levels)} levels")

    @property
    def parts(self) -> tuple[EncodedFeature, ...]:
        onehots = (EncodedFeature(f" = {level}", "onehot") for level in self._hot)
        missing = (EncodedFeature(" is missing", "missing"),) if self.seen_missing else ()
        return (EncodedFeature("", "code", len(self.levels) + 1), *onehots, *missing)

    def encode(self, values: Values, out: Float32) -> ReplacedRows:
        numbers, missing, unseen = self._numbers(values)
        out[:, 0] = self._codes[numbers]
        first = self.levels.index(self._hot[0]) + 1 if self._hot else 0
        for index in range(len(self._hot)):
            out[:, 1 + index] = numbers == first + index
        if self.seen_missing:
            out[:, -1] = 0.0
            out[missing, -1] = 1.0
        return ReplacedRows(() if self.seen_missing else missing, unseen)

    def quick(self) -> Callable[[Any], FeatureValues | None]:
        return {level: self._cells(number, 0.0) for level, number in self._number_of.items()}.get

    def careful(self, value: Any) -> tuple[FeatureValues, ReplacementReason | None]:
        number = self._number(value)
        if number is None:
            return self._cells(0, 1.0), None if self.seen_missing else "imputed"
        return self._cells(number, 0.0), None if number else "unseen"

    def numbers_of(self, codes: NDArray[Any]) -> NDArray[np.int64]:
        """The numbers of the levels (N,) of these codes (N,)."""
        return np.argsort(self._codes)[np.asarray(codes, np.int64)]

    def example(self) -> Any:
        return self.example_level or None

    @cached_property
    def _hot(self) -> tuple[str, ...]:
        return self.levels[1:2] if len(self.levels) == 2 else self.levels[: self.num_onehots]

    @cached_property
    def _number_of(self) -> dict[str, int]:
        return {level: number for number, level in enumerate(self.levels, 1)}

    @cached_property
    def _known_numbers(self) -> dict[str, int]:
        """The same, and -1 for whatever is no level: read without a line of Python for each of a column's values."""
        return _OrMinusOne(self._number_of)

    @cached_property
    def _codes(self) -> NDArray[np.int64]:
        """The code of each number (L + 1,), of 0 as well."""
        return np.array([0, *(self.ranks or range(1, len(self.levels) + 1))])

    def _number(self, value: Any) -> int | None:
        """0 for a level that is not known, None for a missing value. What a file holds as 1.0 or true is
        read back as a number or a boolean where a whole column is so: their other spellings are tried."""
        level = level_name(value)
        if level is None:
            return None
        spellings = [level]
        if isinstance(value, (bool, float)):
            spellings += [level.lower(), level.upper(), repr(value)]
        return next((self._number_of[spelling] for spelling in spellings if spelling in self._number_of), 0)

    def _cells(self, number: int, missing: float) -> FeatureValues:
        level = self.levels[number - 1] if number else None
        onehots = (float(level == hot) for hot in self._hot)
        return (float(self._codes[number]), *onehots, *((missing,) if self.seen_missing else ()))

    def _numbers(self, values: Values) -> tuple[NDArray[np.int64], list[int], list[int]]:
        """Numbers of levels (N,), the rows whose value is missing, and the rows whose level is unknown."""
        values = to_list(values)
        try:
            numbers = np.fromiter(map(self._known_numbers.__getitem__, values), np.int64, len(values))
        except TypeError:  # a list or an object cannot be looked up: name its row
            numbers = np.full(len(values), -1)
        odd_rows = np.flatnonzero(numbers < 0).tolist()
        missing, unseen = [], []
        try:
            odd_numbers = map_distinct([values[row] for row in odd_rows], self._number)
        except BadValueError as error:
            raise BadValueError(odd_rows[error.row], error.value) from error
        for row, number in zip(odd_rows, odd_numbers, strict=True):
            numbers[row] = number or 0
            if number is None:
                missing.append(row)
            elif number == 0:
                unseen.append(row)
        return numbers, missing, unseen


class _OrMinusOne(dict[str, int]):
    """-1 for a key that is not there."""

    def __missing__(self, key: str) -> int:
        return -1


class Categories:
    """Claims category columns: text that repeats."""

    name: ClassVar[str] = "category"
    kinds: ClassVar[tuple[str, ...]] = ("category",)
    coder: ClassVar[type] = CategoryEncoder

    def claims(self, profile: ColumnProfile) -> str | None:
        if profile.type != "text":
            return None
        distinct = list(profile.counts)
        repeats = len(distinct) * MIN_ROWS_PER_LEVEL <= len(profile.present)
        words = sorted(count_words(text) for text in distinct)[len(distinct) // 2]
        return "category" if repeats or words < MIN_FREE_TEXT_WORDS else None

    def fit(self, profile: ColumnProfile, kind: str) -> ColumnEncoder:
        least = MIN_LEVEL_ROWS if profile.num_rows >= SMALL_TABLE_ROWS else 2
        counts = profile.level_counts()
        levels = tuple(level for level, count in counts.items() if count >= least)[:MAX_LEVELS]
        return CategoryEncoder(
            levels, min(len(levels), MAX_ONEHOTS), bool(profile.missing.any()), levels[0] if levels else ""
        )
