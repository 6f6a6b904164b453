"""The serving path: records by column name to features, without pandas or Arrow. One row takes microseconds.

    values = the record's values, in the columns' order (one C call)
    for each column: quick(value) -> its features, or careful(value) for what is unusual
    many rows: each column at once, by the coders that training uses; a matrix of numbers in one go

A record has every column; None stands for a value that is missing. A name that training did not have is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Batch, Flag, Float32, Record
from deepseek.data.features.modality import ColumnEncoder, FeatureValues
from deepseek.data.features.numerics import NumberEncoder
from deepseek.data.table.columns import ColumnarRows
from deepseek.data.table.values import FLOAT32_MAX, BadValueError, Values, to_list
from deepseek.errors import InputError
from deepseek.plugins import did_you_mean_column

#: From here on a column at a time is faster: 30 numbers cost 5 us a row, or 200 us and then 0.6 us a row.
MIN_COLUMNWISE_ROWS = 64
#: From here on a matrix is faster where all columns are numbers: 30 of them cost 20 us and then 1 us a row.
MIN_MATRIX_ROWS = 6
_NUMBER_TYPES = frozenset([float, int])
_VALUE_ERRORS = (ValueError, TypeError, OverflowError)


@dataclass(frozen=True, slots=True, eq=False)
class NumberPlan:
    """How P columns that are numbers and nothing else become F features: encode_matrix() in numbers, for who computes
    it elsewhere."""

    names: tuple[str, ...]
    num_features: int
    offsets: NDArray[np.float64]  # (P,) what is subtracted
    medians: NDArray[np.float64]  # (P,) what stands for a number that is missing or too large
    places: NDArray[np.int64]  # (P,) the feature of each number
    gap_places: NDArray[np.int64]  # (P,) the feature that says that it is missing; -1 where there is none


class RowEncoder:
    """Compiled once from the fitted columns. `ignored`: names that a record may hold and that are not read."""

    def __init__(self, coders: Mapping[str, ColumnEncoder], ignored: Iterable[str]) -> None:
        self.names = tuple(coders)
        self._coders = tuple(coders.values())
        self._known = frozenset(self.names) | frozenset(ignored)
        sizes = [len(coder.parts) for coder in self._coders]
        self._num_features = sum(sizes)
        self._starts = np.cumsum([0, *sizes])  # (P + 1,) where the features of each column begin
        # Of each column: what to subtract, what stands for a missing number, and whether that is all there is to do.
        numeric = [coder if isinstance(coder, NumberEncoder) else None for coder in self._coders]
        self._offsets = np.array([coder.offset if coder else 0.0 for coder in numeric])
        self._medians = np.array([coder.median if coder else 0.0 for coder in numeric])
        plain = [coder is not None and not coder.levels and not coder.missing_numbers for coder in numeric]
        self._plain = np.array(plain, bool)
        self._all_plain = bool(self._plain.all())
        self._has_gaps = np.array([bool(coder and coder.seen_missing) for coder in numeric]) & self._plain
        self._gap_columns = np.flatnonzero(self._has_gaps)
        self._gap_places = self._starts[1:][self._has_gaps] - 1  # their last feature says where they are missing
        get = itemgetter(*self.names)
        self._get: Callable[[Record], tuple[Any, ...]] = get if len(self.names) > 1 else lambda record: (get(record),)
        self._fast_encoders = tuple((coder.quick(), index) for index, coder in enumerate(self._coders))

    @property
    def number_plan(self) -> NumberPlan | None:
        """None where a column is more than a number."""
        if not self._all_plain:
            return None
        gap_places = np.where(self._has_gaps, self._starts[1:] - 1, -1)
        return NumberPlan(
            self.names, self._num_features, self._offsets, self._medians, self._starts[:-1].astype(np.int64), gap_places
        )

    def encode(self, records: Sequence[Record]) -> Batch:
        """Features (N, F) of N records. InputError names the row and the column that does not fit."""
        if type(records) is ColumnarRows:  # isinstance would go through an abstract base class
            return self._encode_columnar(records)
        rows = [self._values(record, row) for row, record in enumerate(records)]
        if (
            len(rows) >= MIN_MATRIX_ROWS
            and self._all_plain
            and set(map(type, chain.from_iterable(rows))) <= _NUMBER_TYPES
        ):
            with suppress(OverflowError):  # a whole number beyond float64
                return self.encode_matrix(np.array(rows, np.float64))
        if len(rows) < MIN_COLUMNWISE_ROWS:
            return self._encode_rows(rows, len(rows))
        return self.encode_columns(list(zip(*rows, strict=True)), len(rows))

    def encode_columns(self, columns: Sequence[Values], num_rows: int, first_row: int = 0) -> Batch:
        """Features (N, F) from one sequence of N values for each column, in the columns' order. `first_row`: what
        errors call the first of them."""
        features = np.empty((num_rows, self._num_features), np.float32)
        flags: list[Flag] = []
        for index, values in zip(range(len(self.names)), columns, strict=True):
            flags += self._encode(index, values, features, first_row)
        return Batch(features, tuple(flags))

    def encode_matrix(self, matrix: NDArray[Any]) -> Batch:
        """Features (N, F) of numbers or booleans (N, P), columns in their order, NaN where one is missing: the same
        bits as encode_columns() gives."""
        values = matrix.astype(np.float64, copy=False)
        centered = values - self._offsets
        fits = np.abs(centered) <= FLOAT32_MAX
        features = np.zeros((len(values), self._num_features), np.float32)
        flags: list[Flag] = []
        others = ~self._plain  # columns that are not done with at once
        if not fits.all():
            centered = np.where(fits, centered, self._medians - self._offsets)
            features[:, self._gap_places] = ~fits[:, self._gap_columns]
            imputed = ~fits & ~(self._has_gaps & np.isnan(values))
            others = others | imputed.any(axis=0)
        features[:, self._starts[:-1]] = centered + 0.0
        for index in np.flatnonzero(others).tolist():
            if self._plain[index]:
                name = self.names[index]
                flags += [Flag(row, name, "imputed") for row in np.flatnonzero(imputed[:, index]).tolist()]
            else:
                flags += self._encode(index, values[:, index], features)
        return Batch(features, tuple(flags))

    def _encode_columnar(self, columns: ColumnarRows) -> Batch:
        if columns.names != self.names:
            if len(set(columns.names)) < len(columns.names) or not self._known.issuperset(columns.names):
                raise self._wrong_names_error(columns.names)
            try:
                columns = columns.select(self.names)
            except KeyError as error:
                raise self._wrong_names_error(columns.names) from error
        few = len(columns) < MIN_COLUMNWISE_ROWS
        if isinstance(columns.values, np.ndarray):
            if not few or self._all_plain:
                return self.encode_matrix(columns.values)
            return self._encode_rows(columns.values.tolist(), len(columns))
        if few:
            return self._encode_rows(zip(*map(to_list, columns.values), strict=True), len(columns))
        return self.encode_columns(columns.values, len(columns))

    def _encode_rows(self, rows: Iterable[Sequence[Any]], num_rows: int) -> Batch:
        features_flat: list[float] = []
        flags: list[Flag] = []
        for row, values in enumerate(rows):
            for value, (quick, index) in zip(values, self._fast_encoders, strict=True):
                try:
                    features = quick(value)
                except (TypeError, OverflowError):  # cannot be looked up, or a whole number beyond float64
                    features = None
                features_flat += self._encode_unusual(value, index, row, flags) if features is None else features
        return Batch(np.array(features_flat, np.float32).reshape(num_rows, self._num_features), tuple(flags))

    def _values(self, record: Record, row: int) -> tuple[Any, ...]:
        """The record's values in the columns' order. InputError for a column that is missing or not known."""
        try:
            values = self._get(record)
        except (KeyError, TypeError, IndexError) as error:
            raise self._bad_record_error(record, row) from error
        if len(record) != len(self.names) and not self._known.issuperset(record):
            raise self._bad_record_error(record, row)
        return values

    def _bad_record_error(self, record: Any, row: int) -> InputError:
        if not isinstance(record, Mapping):
            return InputError(
                f"row {row} is {type(record).__name__}",
                expected="an object of values by column name",
                fix="give each row as such an object",
            )
        return self._wrong_names_error(list(record), f"row {row} has")

    def _wrong_names_error(self, names: Sequence[Any], who_has: str = "there is") -> InputError:
        """The error for column names of which one is missing, unknown or repeated."""
        unknown = [name for name in names if name not in self._known]
        missing = [name for name in self.names if name not in names]
        shown = ", ".join(self.names[:20]) + (f" and {len(self.names) - 20} more" if len(self.names) > 20 else "")
        if missing:
            hint = did_you_mean_column(missing[0], map(str, unknown))
            more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
            return InputError(
                f"{who_has} no column {missing[0]!r}{more}.{hint}",
                expected=f"columns {shown}",
                fix=f"give {missing[0]!r}; null stands for a value that is not known",
            )
        if unknown:
            return InputError(
                f"{who_has} a column {str(unknown[0])[:100]!r} that the model does not know."
                f"{did_you_mean_column(str(unknown[0])[:100], self.names)}",
                expected=f"columns {shown}",
                fix="leave it out",
            )
        twice = next(name for name in names if list(names).count(name) > 1)
        return InputError(f"the column {twice[:100]!r} stands twice", expected="each once", fix="keep one of them")

    def _encode(self, index: int, values: Values, features: Float32, first_row: int = 0) -> list[Flag]:
        """Write the features of column number `index`; returns a flag for each value that was replaced."""
        name, coder = self.names[index], self._coders[index]
        try:
            replaced = coder.encode(values, features[:, self._starts[index] : self._starts[index + 1]])
        except BadValueError as error:
            raise _bad_value_error(name, coder, first_row + error.row, error.value) from error
        flags = [Flag(row, name, "imputed") for row in replaced.imputed]
        flags += [Flag(row, name, "unseen") for row in replaced.unseen]
        flags += [Flag(row, name, "unreadable") for row in replaced.unreadable]
        return flags + [Flag(row, name, "truncated") for row in replaced.truncated]

    def _encode_unusual(self, value: Any, index: int, row: int, flags: list[Flag]) -> FeatureValues:
        name, coder = self.names[index], self._coders[index]
        try:
            features, reason = coder.careful(value)
        except _VALUE_ERRORS as error:
            raise _bad_value_error(name, coder, row, value) from error
        if reason is not None:
            flags.append(Flag(row, name, reason))
        return features


def _bad_value_error(name: str, coder: ColumnEncoder, row: int, value: Any) -> InputError:
    return InputError(
        f"row {row}, column {name!r}: {repr(value)[:80]} does not fit",
        expected=coder.expected,
        fix=f"give {name!r} such a value",
    )
