"""Tables of raw events: read by a definition, given features, and the definition that a bundle of such a model holds.

definition = read_definition(bundle)                     # None: of a model that reads its columns as they are
table = add_features(definition, table, history)         # each row as of its own moment; verdicts once they are out
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from deepseek.data.table.table import ColumnType, Table, concat, is_integral, unknown_column_error
from deepseek.errors import InputError, IntegrityError
from deepseek.features.definition import FeatureDefinition
from deepseek.features.events import EventColumns
from deepseek.features.offline import compute_offline

if TYPE_CHECKING:
    from deepseek.bundle.read import Bundle

DEFINITION_FILE = "features.toml"  # in a bundle


def read_definition(bundle: Bundle) -> FeatureDefinition | None:
    """The definition that a bundle holds; None where it holds none. IntegrityError for one that does not fit."""
    if not bundle.has(DEFINITION_FILE):
        return None
    try:
        return FeatureDefinition.from_toml(bundle.read(DEFINITION_FILE).decode())
    except (InputError, UnicodeDecodeError) as error:
        raise IntegrityError(
            f"{bundle.path}: {DEFINITION_FILE} is no definition of features: {error}",
            expected="the definition as its maker wrote it", fix="do not use this bundle",
        ) from error  # fmt: skip


def raw_columns(definition: FeatureDefinition) -> tuple[str, ...]:
    """The columns that every event has: time, amount and the keys."""
    return (definition.columns.time, definition.columns.amount, *(key.column for key in definition.keys.values()))


def read_events(definition: FeatureDefinition, table: Table) -> EventColumns:
    """The N rows of a table as events. A verdict that is missing counts as none. InputError for a column or a key that
    is missing."""
    columns: dict[str, Any] = {}
    for name in raw_columns(definition):
        columns[name] = table.column(name)
    names = definition.columns
    for key in (*(key.column for key in definition.keys.values()), names.id):
        if key in table.columns:
            columns[key] = _as_codes(table, key)
    if names.label in table.columns:
        verdicts = table.column(names.label)
        columns[names.label] = np.nan_to_num(verdicts) if verdicts.dtype.kind == "f" else verdicts
    return EventColumns.from_columns(definition, columns)


def add_features(definition: FeatureDefinition, table: Table, history: Sequence[Table] = ()) -> Table:
    """The N rows of `table` with a column for each feature, in their order, and without the columns that events are
    read from, the time excepted. Rows of `history` happened, too, and are not in the answer. InputError for what cannot
    be an event, and for a column that has the name of a feature."""
    taken = [name for name in definition.names if name in table.columns and name not in raw_columns(definition)]
    if taken:
        raise InputError(
            f"the table has a column {taken[0]!r}, which is the name of a feature",
            expected="raw events", fix=f"rename {taken[0]!r}, or leave it out",
        )  # fmt: skip
    names = _event_columns(definition, [table, *history])
    parts = [_select(part, names) for part in (*history, table)]
    called = [f"the history {number}" for number in range(1, len(history) + 1)]
    events = read_events(definition, concat(parts, [*called, "the table"]))
    values = compute_offline(definition, events).values[-table.num_rows :]
    columns = {name: np.ascontiguousarray(values[:, place]) for place, name in enumerate(definition.names)}
    types: dict[str, ColumnType] = dict.fromkeys(columns, "number")
    left_out = {*raw_columns(definition), definition.columns.id} - {definition.columns.time}
    rest = [name for name in table.names if name not in left_out and name not in columns]
    return Table(
        {name: table.columns[name] for name in rest} | columns,
        {name: table.types[name] for name in rest} | types,
        table.notes,
    )


def _event_columns(definition: FeatureDefinition, tables: Sequence[Table]) -> dict[str, ColumnType]:
    """The columns to read, with their types where some table has them. InputError for one that a table lacks."""
    names = definition.columns
    for table in tables:
        for name in raw_columns(definition):
            if name not in table.columns:
                raise unknown_column_error(name, table.names, where="the table of events", fix=f"add {name!r}")
    has_ids = [names.id in table.columns for table in tables]
    if any(has_ids) and not all(has_ids):
        raise InputError(
            f"some of the tables have ids ({names.id!r}), others have none",
            expected="ids in all, or in none", fix=f"add {names.id!r}, or leave it out",
        )  # fmt: skip
    optional = [name for name in (names.id, names.label) if any(name in table.columns for table in tables)]
    types: dict[str, ColumnType] = {}
    for name in (*raw_columns(definition), *optional):
        types[name] = next(table.types[name] for table in tables if name in table.columns)
    return types


def _select(table: Table, types: dict[str, ColumnType]) -> Table:
    """The columns of `types`; the verdicts of a table that has none are missing."""
    nothing = np.full(table.num_rows, np.nan)
    columns = {name: table.columns.get(name, nothing) for name in types}
    return Table(columns, {name: table.types.get(name, types[name]) for name in types})


def _as_codes(table: Table, name: str) -> Any:
    """Whole numbers as such, which a table holds as floats; texts as they are."""
    values = table.column(name)
    if values.dtype.kind == "O":
        bad = next((row for row, value in enumerate(values.tolist()) if not isinstance(value, (str, bytes, int))), None)
        if bad is not None:
            raise _no_key_error(bad, name)
    if values.dtype.kind != "f":
        return values
    missing = np.isnan(values)
    if missing.any() or not is_integral(values):
        row = int(np.flatnonzero(missing)[0]) if missing.any() else int(np.flatnonzero(values % 1 != 0)[0])
        raise _no_key_error(row, name)
    return values.astype(np.int64)


def _no_key_error(row: int, name: str) -> InputError:
    return InputError(
        f"row {row} has no {name!r} that is a key", expected="a whole number or a text", fix="leave the row out"
    )
