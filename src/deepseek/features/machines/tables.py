"""Tables of window rows: what a bundle of machines reads, made from raw sensors by the definition that it holds.

definition = read_windows(bundle)                  # None: a bundle that reads its columns as they are
rows = make_rows(definition, table)                # rows.table: machine, time and features, in the table's order
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float64
from deepseek.data.table.table import ColumnType, Table
from deepseek.errors import InputError, IntegrityError
from deepseek.features.machines.definition import Sensor, WindowDefinition
from deepseek.features.machines.history import Histories, MachineColumns, read_histories
from deepseek.features.machines.windows import compute_windows, feature_names

if TYPE_CHECKING:
    from deepseek.bundle.read import Bundle

WINDOWS_FILE = "windows.json"  # in a bundle
#: Rows of a machine by which a unit is judged, and how far from the training range, in widths of that range, all of
#: them lie where it is another one: degrees Celsius as Fahrenheit, bar as pascal.
FEW_ROWS = 5
FAR_WIDTHS = 3.0
LONG_GAP_ROWS = 20


@dataclass(frozen=True, slots=True, eq=False)
class WindowRows:
    """One row for each row of a table of sensors."""

    table: Table  # the unit, the time and the features
    histories: Histories
    features: Float64  # (N, F) in the table's order
    notes: tuple[str, ...]  # what was replaced, in words

    @property
    def last_rows(self) -> NDArray[np.int64]:
        """(M,) the last row of each machine."""
        return np.array([machine.rows[-1] for machine in self.histories.machines])


def read_windows(bundle: Bundle) -> WindowDefinition | None:
    """The definition that a bundle holds; None where it holds none. IntegrityError for one that does not fit."""
    if not bundle.has(WINDOWS_FILE):
        return None
    try:
        return WindowDefinition.from_json(bundle.read(WINDOWS_FILE), WINDOWS_FILE)
    except InputError as error:
        raise IntegrityError(
            f"{bundle.path}: {WINDOWS_FILE} is no definition of windows: {error}",
            expected="the definition as its maker wrote it", fix="do not use this bundle",
        ) from error  # fmt: skip


def make_rows(definition: WindowDefinition, table: Table) -> WindowRows:
    """The window rows of raw sensors. InputError for a missing column, times that do not rise, and a sensor whose
    values are all far outside of what the training machines reported."""
    columns = MachineColumns(definition.unit, definition.time)
    histories = read_histories(table, columns, definition.sensor_names)
    if histories.is_dated != definition.is_dated:
        raise InputError(
            f"the time {definition.time!r} holds {'dates' if histories.is_dated else 'numbers'}",
            expected="dates" if definition.is_dated else "numbers, as in training", fix="convert it",
        )  # fmt: skip
    gaps: dict[tuple[str, bool], list[_Gap]] = defaultdict(list)  # by sensor, and whether it is missing throughout
    features = np.empty((table.num_rows, len(feature_names(definition))))
    for machine in histories.machines:
        for sensor, values in zip(definition.sensors, machine.values.T, strict=True):
            _check_unit(definition.unit, machine.name, sensor, values)
            if (gap := _find_gap(machine.name, values)) is not None:
                gaps[sensor.name, gap.is_all].append(gap)
        features[machine.rows] = compute_windows(definition, machine)
    notes = [_gap_note(definition.unit, name, sensor_gaps) for (name, _), sensor_gaps in gaps.items()]
    single = [machine.name for machine in histories.machines if len(machine) == 1]
    if single:
        notes.append(
            f"{len(single)} of {len(histories.machines)} machines have one row ({', '.join(single[:3])}): there is no "
            "course yet, so all windows hold that row"
        )
    names = feature_names(definition)
    unit, time = definition.unit, definition.time
    types: dict[str, ColumnType] = {unit: table.types[unit], time: table.types[time]} | dict.fromkeys(names, "number")
    columns_by_name = {unit: table.column(unit), time: table.column(time)}
    columns_by_name |= {name: np.ascontiguousarray(features[:, place]) for place, name in enumerate(names)}
    return WindowRows(Table(columns_by_name, types, table.notes), histories, features, tuple(notes))


def _check_unit(unit: str, name: str, sensor: Sensor, values: Float64) -> None:
    known = values[np.isfinite(values)]
    width = max(sensor.high - sensor.low, sensor.scale)
    far = FAR_WIDTHS * width
    if len(known) < FEW_ROWS or (known.min() <= sensor.high + far and known.max() >= sensor.low - far):
        return
    raise InputError(
        f"{sensor.name!r} of {unit} {name!r} reads about {np.median(known):g} in all its rows; the training machines "
        f"reported {sensor.low:g} to {sensor.high:g}",
        expected="the unit of measure that the model was trained on",
        fix=f"convert {sensor.name!r}, or leave this machine out",
    )


@dataclass(frozen=True, slots=True)
class _Gap:
    """Where a machine has no values of a sensor for long."""

    machine: str
    num_rows: int
    is_all: bool


def _find_gap(machine: str, values: Float64) -> _Gap | None:
    missing = ~np.isfinite(values)
    num_rows = _longest_run(missing) if missing.any() else 0
    return _Gap(machine, num_rows, bool(missing.all())) if missing.all() or num_rows >= LONG_GAP_ROWS else None


def _gap_note(unit: str, sensor: str, gaps: list[_Gap]) -> str:
    """One sentence on a sensor, however many machines have such a gap."""
    where = f"of {unit} {gaps[0].machine!r}"
    if len(gaps) > 1:
        where = f"of {len(gaps):,} machines ({', '.join(gap.machine for gap in gaps[:3])})"
    if gaps[0].is_all:
        return f"{sensor!r} {where} is missing throughout: the typical value stands for it"
    longest = max(gap.num_rows for gap in gaps)
    return f"{sensor!r} {where} is missing for {longest} rows: its last known value stands there"


def _longest_run(mask: NDArray[np.bool_]) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max())
