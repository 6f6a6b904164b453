"""The serving path: records by column name to features, without pandas or Arrow. One row takes microseconds.

    values = the record's values, in the columns' order (one C call)
    for each column: quick(value) -> its features, or careful(value) for what is unusual
    many rows: each column at once, by the coders that training uses

A record has every column; None stands for a value that is missing. A name that training did not have is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np

from deepseek.contracts import Batch, Flag, Float32, Record
from deepseek.data.modality import Cells, Coder
from deepseek.data.values import BadValueError, Values
from deepseek.errors import InputError
from deepseek.plugins import did_you_mean

#: From here on a column at a time is faster: 30 numbers cost 5 us a row, or 200 us and then 0.6 us a row.
MANY_ROWS = 64
_UNFIT = (ValueError, TypeError, OverflowError)


class RowEncoder:
    """Compiled once from the fitted columns. `ignored`: names that a record may hold and that are not read."""

    def __init__(self, coders: Mapping[str, Coder], ignored: Iterable[str]) -> None:
        self.names = tuple(coders)
        self._coders = tuple(coders.values())
        self._known = frozenset(self.names) | frozenset(ignored)
        self._num_features = sum(len(coder.parts) for coder in self._coders)
        get = itemgetter(*self.names)
        self._get: Callable[[Record], tuple[Any, ...]] = get if len(self.names) > 1 else lambda record: (get(record),)
        self._quick = tuple((coder.quick(), place) for place, coder in enumerate(self._coders))

    def encode(self, records: Sequence[Record]) -> Batch:
        """Features (N, F) of N records. InputError names the row and the column that does not fit."""
        if len(records) < MANY_ROWS:
            return self._by_row(records)
        rows = [self._values(record, row) for row, record in enumerate(records)]
        return self.encode_columns(list(zip(*rows, strict=True)), len(records))

    def encode_columns(self, columns: Sequence[Values], num_rows: int) -> Batch:
        """Features (N, F) from one sequence of N values for each column, in the columns' order."""
        features = np.empty((num_rows, self._num_features), np.float32)
        flags: list[Flag] = []
        start = 0
        for name, coder, values in zip(self.names, self._coders, columns, strict=True):
            end = start + len(coder.parts)
            flags += _encode(name, coder, values, features[:, start:end])
            start = end
        return Batch(features, tuple(flags))

    def _by_row(self, records: Sequence[Record]) -> Batch:
        cells: list[float] = []
        flags: list[Flag] = []
        for row, record in enumerate(records):
            values = self._values(record, row)
            for value, (quick, place) in zip(values, self._quick, strict=True):
                try:
                    found = quick(value)
                except (TypeError, OverflowError):  # cannot be looked up, or a whole number beyond float64
                    found = None
                cells += self._careful(value, place, row, flags) if found is None else found
        features = np.array(cells, np.float32).reshape(len(records), self._num_features)
        return Batch(features, tuple(flags))

    def _values(self, record: Record, row: int) -> tuple[Any, ...]:
        """The record's values in the columns' order. InputError for a column that is missing or not known."""
        try:
            values = self._get(record)
        except (KeyError, TypeError, IndexError) as error:
            raise self._unfit(record, row) from error
        if len(record) != len(self.names) and not self._known.issuperset(record):
            raise self._unfit(record, row)
        return values

    def _unfit(self, record: Any, row: int) -> InputError:
        if not isinstance(record, Mapping):
            return InputError(
                f"row {row} is {type(record).__name__}",
                expected="an object of values by column name",
                fix="give each row as such an object",
            )
        unknown = [name for name in record if name not in self._known]
        missing = [name for name in self.names if name not in record]
        listed = ", ".join(self.names[:20]) + (f" and {len(self.names) - 20} more" if len(self.names) > 20 else "")
        if missing:
            hint = did_you_mean(missing[0], map(str, unknown))
            more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
            return InputError(
                f"row {row} has no column {missing[0]!r}{more}.{hint}",
                expected=f"columns {listed}",
                fix=f"give {missing[0]!r}; null stands for a value that is not known",
            )
        return InputError(
            f"row {row} has a column {str(unknown[0])[:100]!r} that the model does not know."
            f"{did_you_mean(str(unknown[0])[:100], self.names)}",
            expected=f"columns {listed}",
            fix="leave it out",
        )

    def _careful(self, value: Any, place: int, row: int, flags: list[Flag]) -> Cells:
        name, coder = self.names[place], self._coders[place]
        try:
            cells, what = coder.careful(value)
        except _UNFIT as error:
            raise _bad_value(name, coder, row, value) from error
        if what is not None:
            flags.append(Flag(row, name, what))
        return cells


def _encode(name: str, coder: Coder, values: Values, out: Float32) -> list[Flag]:
    try:
        marks = coder.encode(values, out)
    except BadValueError as error:
        raise _bad_value(name, coder, error.row, error.value) from error
    flags = [Flag(row, name, "imputed") for row in marks.imputed]
    return flags + [Flag(row, name, "unseen") for row in marks.unseen]


def _bad_value(name: str, coder: Coder, row: int, value: Any) -> InputError:
    return InputError(
        f"row {row}, column {name!r}: {repr(value)[:80]} does not fit",
        expected=coder.expected,
        fix=f"give {name!r} such a value",
    )
