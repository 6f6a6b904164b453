"""Columns of X as a finished model reads them -> the preprocessing of its bundle.

    columns = read_columns(X, model)
    columns.preprocessor                 # raw rows -> features (N, F) float32
    columns.entries                      # where in the features each column stands, for the graph

A number is two features that sum to it (data/features/wide_numbers.py); a text is the number of its level, and what is
missing or was never seen has none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from deepseek.data import Preprocessor, Table
from deepseek.data.features.categories import CategoryEncoder
from deepseek.data.features.prepare import Column
from deepseek.data.features.wide_numbers import WideNumberEncoder
from deepseek.errors import InputError
from deepseek.integrations.sklearn.steps import known_levels


@dataclass(frozen=True, slots=True)
class ColumnEntry:
    """One column: its first feature; of a text its levels, and the feature that says that it is missing."""

    name: str
    feature: int
    levels: tuple[str, ...] = ()
    missing_feature: int = -1

    @property
    def is_text(self) -> bool:
        return self.missing_feature >= 0


@dataclass(frozen=True, slots=True)
class ModelColumns:
    """The columns that a model reads, in their order."""

    entries: tuple[ColumnEntry, ...]
    preprocessor: Preprocessor
    kinds: dict[str, str]  # by column, for the data card


def read_columns(table: Table, model: Any, target: str) -> ModelColumns:
    """Columns of the rows `table`. InputError for a column of dates, and for one named as the target."""
    if target in table.columns:
        raise InputError(
            f"the target is called {target!r}, which is a column of X", expected="a name of its own",
            fix='add target="NAME"',
        )  # fmt: skip
    levels = known_levels(model, table.names)
    columns, entries, feature = [], [], 0
    for name in table.names:
        column = _make_column(table, name, levels.get(name, set()))
        end = feature + len(column.coder.parts)
        text = column.coder if isinstance(column.coder, CategoryEncoder) else None
        entries.append(ColumnEntry(name, feature) if text is None else ColumnEntry(name, feature, text.levels, end - 1))
        columns.append(column)
        feature = end
    kinds = {column.name: "category" if column.kind == "category" else "numeric" for column in columns}
    return ModelColumns(tuple(entries), Preprocessor(tuple(columns), ignored=(target,)), kinds)


def _make_column(table: Table, name: str, known: set[str]) -> Column:
    kind, values = table.types[name], table.columns[name]
    if kind == "datetime":
        raise InputError(
            f"column {name!r} holds dates", expected="numbers and texts",
            fix="turn it into numbers before the Pipeline, such as days until a date",
        )  # fmt: skip
    if kind == "text":
        present = [value for value in values.tolist() if value is not None]
        levels = tuple(sorted({*present, *known}))
        return Column(name, "category", "category", CategoryEncoder(levels, 0, True, _most_frequent(present)))
    present = values[np.isfinite(values)]
    usual = float(np.sort(present)[(len(present) - 1) // 2]) if len(present) else 0.0
    return Column(name, "number_wide", "wide", WideNumberEncoder(usual))


def _most_frequent(values: list[str]) -> str:
    return max(sorted(set(values)), key=values.count) if values else ""
