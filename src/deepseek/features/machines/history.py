"""Sensor rows of many machines, one history a machine, in the order of its time.

    histories = read_histories(table, MachineColumns("unit", "cycle"))
    histories.sensors        # which columns are numbers that a machine reports
    histories.machines[0]    # its name, its times, its values (n, S), which rows of the table they are

A table whose time runs backwards, or that tells a machine twice at one time, is refused with the machine named: sorted
in silence, two machines under one name would look like one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float64
from deepseek.data.table.table import Table, unknown_column_error
from deepseek.data.table.values import FLOAT32_MAX
from deepseek.errors import InputError

HOUR_MS = 3_600_000.0


@dataclass(frozen=True, slots=True)
class MachineColumns:
    """The columns that say which machine, and when."""

    unit: str
    time: str  # dates, or numbers that rise: cycles, hours, seconds


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """One machine, oldest row first."""

    name: str
    time: Float64  # (n,) rises strictly; hours since its first row where the column holds dates
    values: Float64  # (n, S) as reported, NaN where missing or more than a float32 holds
    rows: NDArray[np.int64]  # (n,) places in the table

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, slots=True, eq=False)
class Histories:
    """All machines of a table."""

    columns: MachineColumns
    sensors: tuple[str, ...]  # (S,)
    machines: tuple[History, ...]  # in the order in which they first appear
    is_dated: bool  # the time column holds dates: times are hours
    num_rows: int  # of the table

    @property
    def unit_names(self) -> tuple[str, ...]:
        return tuple(machine.name for machine in self.machines)


def read_histories(table: Table, columns: MachineColumns, sensors: Sequence[str] | None = None) -> Histories:
    """The histories of a table's machines. `sensors`: those to read; by default every column of numbers but unit and
    time. InputError for a missing column, a row without machine or time, and a time that does not rise."""
    for name in (columns.unit, columns.time, *(sensors or ())):
        if name not in table.columns:
            raise unknown_column_error(name, table.names, where="the table of sensors")
    if not table.num_rows:
        raise InputError("the table of sensors has no rows", expected="rows of machines", fix="bring some")
    chosen = tuple(sensors) if sensors is not None else _number_columns(table, columns)
    for name in chosen:
        if table.types[name] not in ("number", "boolean"):
            raise InputError(
                f"the sensor {name!r} holds {table.types[name]}", expected="numbers", fix="convert it, or --drop it"
            )
    names, codes = unit_codes(table, columns.unit)
    time, is_dated = _times(table, columns.time)
    values = np.stack([table.column(name) for name in chosen], axis=1) if chosen else np.empty((table.num_rows, 0))
    values = np.where(np.abs(values) <= FLOAT32_MAX, values, np.nan)
    order = np.argsort(codes, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(codes, minlength=len(names)))[:-1])
    machines = []
    for name, rows in zip(names, parts, strict=True):
        moments = time[rows]
        _check_rising(name, moments, rows, columns)
        machines.append(History(name, moments - moments[0] if is_dated else moments, values[rows], rows))
    return Histories(columns, chosen, tuple(machines), is_dated, table.num_rows)


def unit_codes(table: Table, column: str) -> tuple[list[str], NDArray[np.int64]]:
    """The machines by name, in the order in which they first appear, and the number of each row's machine (N,).
    InputError for a row without one."""
    missing = table.missing_mask(column)
    if missing.any():
        raise InputError(
            f"row {int(np.argmax(missing))} has no {column!r}: {int(missing.sum())} such rows",
            expected="a machine in each row", fix="fill it in, or leave these rows out",
        )  # fmt: skip
    values: Any = table.column(column)
    if values.dtype.kind == "f" and (values == np.floor(values)).all():
        values = values.astype(np.int64)
    distinct, first, codes = np.unique(values.astype(str), return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return [str(name) for name in distinct[order]], place[codes]


def _number_columns(table: Table, columns: MachineColumns) -> tuple[str, ...]:
    left_out = {columns.unit, columns.time}
    return tuple(
        name for name in table.names if name not in left_out and table.types[name] in ("number", "boolean")
    )  # fmt: skip


def _times(table: Table, column: str) -> tuple[Float64, bool]:
    """(N,) numbers, and whether they are hours of dates."""
    if table.types[column] not in ("number", "datetime"):
        raise InputError(
            f"the time {column!r} holds {table.types[column]}", expected="dates, or numbers that rise",
            fix="name another column with --time",
        )  # fmt: skip
    values, missing = table.column(column), table.missing_mask(column)
    if values.dtype.kind == "f":
        missing = missing | ~np.isfinite(values)
    if missing.any():
        raise InputError(
            f"row {int(np.argmax(missing))} has no {column!r}: {int(missing.sum())} such rows",
            expected="a time in each row", fix="fill it in, or leave these rows out",
        )  # fmt: skip
    if values.dtype.kind == "M":
        return values.astype(np.int64) / HOUR_MS, True
    return values.astype(np.float64), False


def _check_rising(name: str, time: Float64, rows: NDArray[np.int64], columns: MachineColumns) -> None:
    bad = np.flatnonzero(np.diff(time) <= 0)
    if not len(bad):
        return
    first = int(bad[0]) + 1
    what = "the same time twice" if time[first] == time[first - 1] else "a time that runs backwards"
    raise InputError(
        f"{columns.unit} {name!r} has {what} in row {int(rows[first])} ({len(bad)} such rows)",
        expected=f"{columns.time!r} that rises from row to row of a machine",
        fix="sort the rows by machine and time; where a machine was repaired, give it a new name from then on",
    )
