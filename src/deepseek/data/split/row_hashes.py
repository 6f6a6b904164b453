"""Rows and values as 64-bit numbers, equal where they are equal."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.data.table.table import Table


def hash_rows(table: Table, names: list[str]) -> NDArray[np.uint64]:
    """One 64-bit number for each row (N,): equal for equal rows, and by chance once in 2^64."""
    mixed = np.full(table.num_rows, 0x9E3779B97F4A7C15, np.uint64)
    for name in names:
        mixed = _mix_bits(mixed ^ value_bits(table.column(name)))
    return mixed


def value_bits(values: NDArray[Any]) -> NDArray[np.uint64]:
    """A number (N,) for each value of a column, equal exactly where the values are; missing is one value."""
    if values.dtype == object:
        cells = values.tolist()
        number_of = {value: number for number, value in enumerate(dict.fromkeys(cells))}
        return np.array([number_of[value] for value in cells], np.uint64)
    if values.dtype.kind == "M":
        return values.astype(np.int64).view(np.uint64)
    return np.where(np.isnan(values), np.nan, values + 0.0).view(np.uint64)


def _mix_bits(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer of SplitMix64 (Steele, Lea and Flood 2014): every input bit changes every output bit."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
