"""Texts among numbers and dates of later rows: a word for "not known" is a missing value, and in a column where
training had texts that say nothing, other such texts count as missing as well. Those are flagged, so that they can be
counted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from deepseek.data.table.table import ColumnFormat
from deepseek.data.table.values import Values
from deepseek.data.table.words.missing_words import is_missing_word

Value = TypeVar("Value")


def parse_or_missing(value: Any, parse: Callable[[Any], Value], missing: Value) -> Value:
    """parse(value), or `missing` for a word that says "not known". ValueError for any other text that does not fit.

    >>> parse_or_missing("unknown", float, -1.0), parse_or_missing("5", float, -1.0)
    (-1.0, 5.0)
    """
    try:
        return parse(value)
    except ValueError:
        if isinstance(value, str) and is_missing_word(value.strip()):
            return missing
        raise


def find_unreadable(values: Values, missing: NDArray[np.bool_], form: ColumnFormat | None) -> list[int]:
    """The rows of `missing` (N,) whose value (N,) is a text that says neither a value nor "not known"."""
    is_typed = isinstance(values, np.ndarray) and values.dtype.kind != "O"
    if form is None or not form.is_tolerant or is_typed or not missing.any():
        return []
    return [row for row in np.flatnonzero(missing).tolist() if _says_nothing(values[row], form)]


def _says_nothing(value: Any, form: ColumnFormat) -> bool:
    if not isinstance(value, str):
        return False
    text = value.strip()
    return not form.knows_as_missing(text) and not is_missing_word(text)
