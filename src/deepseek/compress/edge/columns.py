"""A bundle's raw columns as numbers, as a device sends them, and the C code that turns them into features.

numeric            the number            NAN where it is missing
category           its code, 1 to L      0 for a level that training did not see; model_code() finds it by name
boolean            0 or 1
datetime           milliseconds since 1970, UTC
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from deepseek.compress.edge import ctext
from deepseek.contracts import Float64
from deepseek.data.features.booleans import BooleanEncoder
from deepseek.data.features.categories import CategoryEncoder
from deepseek.data.features.datetimes import CALENDAR_FEATURES, DatetimeEncoder
from deepseek.data.features.modality import ColumnEncoder
from deepseek.data.features.numerics import NumberEncoder
from deepseek.data.features.prepare import Preprocessor
from deepseek.data.table.values import Values, parse_boolean, parse_numbers, parse_timestamps

ARITHMETIC_CODERS = (NumberEncoder, CategoryEncoder, BooleanEncoder, DatetimeEncoder)


def is_arithmetic(preprocessor: Preprocessor) -> bool:
    """Whether every column is of a kind that C code on the device can prepare."""
    return all(
        isinstance(column.coder, ARITHMETIC_CODERS) and not getattr(column.coder, "missing_numbers", ())
        for column in preprocessor.columns
    )


def as_numbers(preprocessor: Preprocessor, values: Mapping[str, Values]) -> Float64:
    """Raw values by column as numbers (N, P), in the preprocessor's order of columns."""
    return np.stack([_column_numbers(column.coder, values[column.name]) for column in preprocessor.columns], axis=1)


def _column_numbers(coder: ColumnEncoder, values: Values) -> Float64:
    if isinstance(coder, NumberEncoder):
        return parse_numbers(values)
    if isinstance(coder, BooleanEncoder):
        return parse_numbers(values, parse_boolean)
    if isinstance(coder, DatetimeEncoder):
        timestamps = parse_timestamps(values)
        return np.where(np.isnat(timestamps.astype("datetime64[ms]")), np.nan, timestamps.astype(np.float64))
    features = np.zeros((len(values), len(coder.parts)), np.float32)
    marks = coder.encode(values, features)
    codes = features[:, 0]
    numbers = (coder.numbers_of(codes) if isinstance(coder, CategoryEncoder) else codes).astype(np.float64)
    numbers[list(marks.imputed)] = np.nan
    if coder.parts[-1].kind == "missing":
        numbers[features[:, -1] == 1] = np.nan
    return numbers


def columns_c(preprocessor: Preprocessor) -> str:
    """C code of the columns: their tables, names and levels, and prepare(inputs, features)."""
    coders = [column.coder for column in preprocessor.columns]
    parts = [ctext.string_array("model_input_names", [column.name for column in preprocessor.columns], public=True)]
    for index, coder in enumerate(coders):
        if isinstance(coder, NumberEncoder) and coder.levels:
            parts.append(ctext.array_definition(f"values_{index}", np.array(coder.levels, np.float64)))
        if isinstance(coder, CategoryEncoder) and coder.levels:
            parts.append(ctext.string_array(f"levels_{index}", coder.levels))
            if coder.ranks:
                parts.append(ctext.array_definition(f"ranks_{index}", np.array(coder.ranks, np.int16)))
    rows = ",\n".join(f"    {{{', '.join(_column_struct(coder, index))}}}" for index, coder in enumerate(coders))
    parts.append(f"static const struct column columns[] = {{\n{rows}\n}};\n")
    parts.append(_level_table(coders))
    parts.append(ctext.read_source("codes.c"))
    parts.append(
        "static void prepare(const model_number *input, float *features)\n{\n    int i;\n"
        "    for (i = 0; i < MODEL_NUM_INPUTS; i++)\n"
        "        features = column_features(columns + i, input[i], features);\n}\n\n"
    )
    return ctext.read_source("prepare.c") + "".join(parts)


def _column_struct(coder: ColumnEncoder, index: int) -> list[str]:
    """Initializers of the members of `struct column` for one column."""
    kind, missing = "NUMBER", int(coder.parts[-1].kind == "missing") if coder.parts else 0
    fallback = offset = 0.0
    num_levels = first_hot = used = 0
    hot = sum(part.kind == "onehot" for part in coder.parts)
    values = ranks = "0"
    if isinstance(coder, NumberEncoder):
        fallback, offset = coder.median, coder.offset
        values = f"values_{index}" if hot else "0"
    elif isinstance(coder, CategoryEncoder):
        kind, num_levels = "CATEGORY", len(coder.levels)
        first_hot = 2 if num_levels == 2 else 1
        ranks = f"ranks_{index}" if coder.ranks else "0"
    elif isinstance(coder, BooleanEncoder):
        kind, fallback = "BOOLEAN", coder.mode
    elif isinstance(coder, DatetimeEncoder):
        kind, fallback, offset = "MOMENT", float(coder.median_ms), float(coder.start_ms)
        used = sum(1 << bit for bit, name in enumerate(("days", *CALENDAR_FEATURES)) if name in coder.used)
    counts = [str(x) for x in (num_levels, first_hot, hot)]
    return [
        kind,
        str(missing),
        ctext.double_literal(fallback),
        ctext.double_literal(offset),
        *counts,
        values,
        ranks,
        f"{used}u",
    ]


def _level_table(coders: Sequence[Any]) -> str:
    rows = [
        f"    {{levels_{index}, {len(coder.levels)}}}"
        if isinstance(coder, CategoryEncoder) and coder.levels
        else "    {0, 0}"
        for index, coder in enumerate(coders)
    ]
    head = "static const struct {\n    const char *const *names;\n    int count;\n} input_levels[] = {\n"
    return head + ",\n".join(rows) + "\n};\n\n"
