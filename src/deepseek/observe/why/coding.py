"""Columns of a log -> small whole numbers, so that what is counted costs little however long a value is.

A text has a code for each of its frequent values, one for values that the past did not know, one for the rare rest. A
number has a code for each range between quantiles of the past, with the ends of the past as edges, and one for each
text that stands where a number should. A text of many values is looked at by its length. A missing value has a code of
its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

MAX_VALUES = 40  # of a text that have a code of their own
MAX_DISTINCT = 1_000  # a text of more values in the past is looked at by its length alone
MAX_COUNTED_NUMBERS = 12  # a number of so few values is a name
PAST_SHARES = (0.0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
EARLY_SHARE = 0.7  # of the past, that says which values are known
NUM_SECONDS = 60
NUMBERS_SHARE = 0.5  # of the past's values that are numbers, from which a column of texts is one of numbers
MIN_LENGTHS = 10  # texts of fewer different lengths are codes of something
LENGTH_PREFIX = "length of "

Codes = NDArray[np.uint8]
FieldKind = Literal["category", "number", "length", "second"]


@dataclass(frozen=True, slots=True)
class CodedField:
    """A column as codes (N,). Category: `values` has a name for each code. Otherwise code i is the range from edges[i
    - 1] to before edges[i], without an end at the first and at the last, then `missing`, then `texts` (the last one is
    any other). `missing`: the code of no value; -1: all have one."""

    name: str
    kind: FieldKind
    codes: Codes
    values: tuple[str, ...] = ()
    edges: tuple[float, ...] = ()
    missing: int = -1
    other: int = -1  # the code of rare values
    unseen: tuple[int, ...] = ()  # codes of values that the past did not know
    is_whole: bool = False  # whether its numbers are whole
    texts: tuple[str, ...] = ()  # that stand where a number should

    @property
    def num_codes(self) -> int:
        return (len(self.values) or len(self.edges) + 1) + (self.missing >= 0 and not self.values) + len(self.texts)


def code_columns(table: pa.Table, is_past: NDArray[np.bool_], time_s: NDArray[np.float64]) -> list[CodedField]:
    """The fields of a table that can explain anything, of N rows; those that are the same for all rows are left out."""
    early_s = np.quantile(time_s[is_past], EARLY_SHARE)
    is_early = is_past & (time_s <= early_s)
    fields: list[CodedField] = []
    for name in table.column_names:
        fields += _code_column(name, table[name].combine_chunks(), is_past, is_early)
    fields.append(_code_seconds(time_s))
    return [field for field in fields if field.codes.min() != field.codes.max()]


def _code_column(
    name: str, values: pa.Array, is_past: NDArray[np.bool_], is_early: NDArray[np.bool_]
) -> list[CodedField]:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = values.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        numbers = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
        distinct = np.unique(numbers[np.isfinite(numbers)])
        if len(distinct) > MAX_COUNTED_NUMBERS:
            return [_code_numbers(name, "number", numbers, is_past)]
        values = pc.if_else(pc.is_finite(values.cast(pa.float64())), values, None)
    elif not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_boolean(kind)):
        return []
    texts = values.cast(pa.string()) if not pa.types.is_string(values.type) else values
    encoded = texts.dictionary_encode()
    names = encoded.dictionary.to_pylist()
    indices = encoded.indices.fill_null(len(names)).to_numpy(zero_copy_only=False)
    num_distinct = len(np.unique(indices[is_past]))
    fields = []
    if num_distinct <= min(MAX_DISTINCT, max(2, int(is_past.sum()) // 20)):
        fields.append(_code_category(name, names, indices, is_past, is_early))
    elif (mixed := _code_mixed(name, names, indices, is_past)) is not None:
        return [mixed]
    if num_distinct <= MAX_VALUES:
        return fields
    lengths = pc.utf8_length(texts).cast(pa.float64()).to_numpy(zero_copy_only=False)
    distinct = np.unique(lengths[np.isfinite(lengths)])
    if len(distinct) > MIN_LENGTHS:
        fields.append(_code_numbers(LENGTH_PREFIX + name, "length", lengths, is_past))
    return fields


def _code_mixed(
    name: str, names: Sequence[str], indices: NDArray[Any], is_past: NDArray[np.bool_]
) -> CodedField | None:
    """A column of texts most of which are numbers, as Parquet holds one in which a single text came: ranges of the
    numbers, and the texts. None where most are no numbers."""
    values = np.array([*(_to_number(each) for each in names), np.nan])  # the last one is the missing value
    is_number = np.isfinite(values)
    past = indices[is_past & (indices < len(names))]
    if not len(past) or is_number[past].mean() < NUMBERS_SHARE:
        return None
    field = _code_numbers(name, "number", values[indices], is_past)
    is_text = ~is_number[indices] & (indices < len(names))
    if not is_text.any():
        return field
    counts = np.bincount(indices[is_text], minlength=len(names))
    frequent = [index for index in np.argsort(-counts, kind="stable").tolist() if counts[index] > 1][:MAX_VALUES]
    code_of = np.full(len(names) + 1, field.missing + 1 + len(frequent), np.uint8)
    code_of[frequent] = field.missing + 1 + np.arange(len(frequent))
    field.codes[is_text] = code_of[indices[is_text]]
    return replace(field, texts=(*(names[index] for index in frequent), ""))


def _to_number(text: str) -> float:
    """NaN for what is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _code_category(
    name: str, names: Sequence[str], indices: NDArray[Any], is_past: NDArray[np.bool_], is_early: NDArray[np.bool_]
) -> CodedField:
    """Codes: the frequent values of the past and of the window, then the unknown, the rare, the missing."""
    num_names = len(names) + 1  # the last one is the missing value
    past, now, early = (np.bincount(indices[rows], minlength=num_names) for rows in (is_past, ~is_past, is_early))
    order = np.argsort(-np.maximum(past / max(1, past.sum()), now / max(1, now.sum())), kind="stable")
    frequent = [index for index in order.tolist() if index < len(names) and past[index] + now[index] > 0][:MAX_VALUES]
    unknown_code, other_code, missing_code = len(frequent), len(frequent) + 1, len(frequent) + 2
    code_of = np.where(early > 0, other_code, unknown_code).astype(np.uint8)
    code_of[frequent] = np.arange(len(frequent), dtype=np.uint8)
    code_of[-1] = missing_code
    values = (*(names[index] for index in frequent), "", "", "")
    unseen = tuple(code for code, index in enumerate(frequent) if early[index] == 0)
    return CodedField(
        name, "category", code_of[indices], values, missing=missing_code, other=other_code,
        unseen=(*unseen, unknown_code),
    )  # fmt: skip


def _code_numbers(name: str, kind: FieldKind, numbers: NDArray[np.float64], is_past: NDArray[np.bool_]) -> CodedField:
    known = numbers[is_past & np.isfinite(numbers)]
    if not len(known):
        known = numbers[np.isfinite(numbers)]
    edges = np.unique(np.quantile(known, PAST_SHARES))
    edges[-1] = np.nextafter(edges[-1], np.inf)  # the last range of the past holds its largest number
    codes = np.searchsorted(edges, numbers, side="right").astype(np.uint8)
    missing = len(edges) + 1
    codes[~np.isfinite(numbers)] = missing
    is_whole = bool(np.equal(np.mod(known, 1), 0).all())
    return CodedField(name, kind, codes, edges=tuple(edges.tolist()), missing=missing, is_whole=is_whole)


def _code_seconds(time_s: NDArray[np.float64]) -> CodedField:
    """The second of the minute, for what comes at the same one each time."""
    edges = tuple(float(second) for second in range(5, NUM_SECONDS, 5))
    codes = np.searchsorted(np.array(edges), np.mod(time_s, NUM_SECONDS), side="right").astype(np.uint8)
    return CodedField("second of the minute", "second", codes, edges=edges, is_whole=True)
