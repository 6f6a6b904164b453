"""Rows of a table as they come to the scorer: in the order of time, as JSON, each with what is known of it later.

rows = read_rows(table, definition, names, history=[earlier], injections=[...])
rows.encode(0, 100)                     # what the scorer gets of the first hundred
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from deepseek.data.table.table import Table, concat, unknown_column_error
from deepseek.errors import InputError
from deepseek.features import FeatureDefinition
from deepseek.features.definition import TICKS_PER_SECOND
from deepseek.features.events import BAD_TIME, Longs
from deepseek.features.tables import read_events
from deepseek.serve.replay.injection import Injection

HISTORY, OWN = -2, -1  # of `origin`: a row of the history, and of the table itself
VERDICT_TYPES = ("number", "boolean")


@dataclass(frozen=True, slots=True, eq=False)
class ReplayRows:
    """N rows in the order of time."""

    definition: FeatureDefinition
    table: Table  # N rows: the columns that the scorer reads, the time excepted
    time: Longs  # (N,) ticks of the definition
    verdict: np.ndarray[Any, np.dtype[np.float64]]  # (N,) 1 fraud, 0 genuine, NaN where there is none
    origin: Longs  # (N,) HISTORY, OWN, or the place in `injections` of what planted it
    injections: tuple[Injection, ...]
    has_verdicts: bool  # whether the table has a column of verdicts

    def __len__(self) -> int:
        return len(self.time)

    @property
    def ticks_per_second(self) -> int:
        return TICKS_PER_SECOND[self.definition.time_unit]

    @property
    def num_history(self) -> int:
        """Rows before the first that is not of the history: nobody waits for them."""
        return int(np.argmax(self.origin != HISTORY))

    def time_ms(self, rows: Longs) -> Longs:
        """Milliseconds since 1970 of some rows."""
        return self.time[rows] * 1_000 // self.ticks_per_second

    def encode(self, start: int, stop: int) -> list[bytes]:
        """The rows from `start` to `stop` as messages."""
        records = self.table.take(np.arange(start, stop)).records()
        name = self.definition.columns.time
        ticks = self.time[start:stop].tolist()
        return [msgspec.json.encode({**record, name: tick}) for record, tick in zip(records, ticks, strict=True)]

    def encode_verdicts(self, rows: Longs) -> list[bytes]:
        """The verdicts on some rows as messages."""
        names = self.definition.columns
        ids = self.table.take(rows)
        known = Table({names.id: ids.column(names.id)}, {names.id: ids.types[names.id]}).records()
        verdicts = self.verdict[rows].astype(int).tolist()
        return [
            msgspec.json.encode({**record, names.label: verdict})
            for record, verdict in zip(known, verdicts, strict=True)
        ]

    def value(self, row: int, name: str) -> object:
        """One cell as a person reads it."""
        return self.table.take(np.array([row])).records()[0][name]


def read_rows(
    table: Table,
    definition: FeatureDefinition,
    names: Sequence[str],
    *,
    history: Sequence[Table] = (),
    injections: Sequence[Injection] = (),
) -> ReplayRows:
    """The rows of `table`, of what is planted into it and of what came before. `names`: the columns that the scorer
    reads. InputError for a column that is missing, and for a row without a time or a key."""
    label = definition.columns.label
    wanted = [name for name in names if name in table.columns or name in _required_columns(definition)]
    parts = [table, *(injection.rows for injection in injections), *history]
    called = ["the table", *(f"the planted {injection.kind}" for injection in injections)]
    called += [f"the history {number}" for number in range(1, len(history) + 1)]
    for part, name in zip(parts, called, strict=True):
        _check_columns(part, wanted, label, name)
    joined = concat([_select(part, wanted) for part in parts], called)
    has_verdicts = label in table.columns
    verdict = np.concatenate([_verdicts(part, label) for part in parts])
    origins = [OWN, *range(len(injections)), *([HISTORY] * len(history))]
    origin = np.repeat(np.array(origins, np.int64), [part.num_rows for part in parts])
    verdict[origin >= 0] = 1.0
    time = read_events(definition, joined).time
    if (time == BAD_TIME).any():
        row = int(np.argmax(time == BAD_TIME))
        raise InputError(
            f"{int((time == BAD_TIME).sum())} rows have no time, the first of them is row {row}",
            expected="a time in each row: they are played in its order", fix="leave these rows out",
        )  # fmt: skip
    order = np.argsort(time, kind="stable")
    return ReplayRows(
        definition, joined.drop([definition.columns.time]).take(order), time[order], verdict[order], origin[order],
        tuple(injections), has_verdicts,
    )  # fmt: skip


def _required_columns(definition: FeatureDefinition) -> tuple[str, ...]:
    names = definition.columns
    return (names.time, names.amount, names.id, *(key.column for key in definition.keys.values()))


def _check_columns(table: Table, wanted: Sequence[str], label: str, called: str) -> None:
    """InputError for a column that a table lacks, and for verdicts that are none."""
    for name in wanted:
        if name not in table.columns:
            raise unknown_column_error(name, table.names, where=called, fix=f"add {name!r}")
    if label not in table.columns:
        return
    verdicts = table.column(label)
    if table.types[label] not in VERDICT_TYPES or not np.isin(verdicts[~np.isnan(verdicts)], (0, 1)).all():
        raise InputError(
            f"the column {label!r} of {called} holds more than verdicts",
            expected="0 (genuine), 1 (fraud), or missing", fix="convert it, or leave it out",
        )  # fmt: skip


def _select(table: Table, names: Sequence[str]) -> Table:
    return Table({name: table.columns[name] for name in names}, {name: table.types[name] for name in names})


def _verdicts(table: Table, label: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    return table.columns[label].copy() if label in table.columns else np.full(table.num_rows, np.nan)
