"""What the windows of a machine are, as data: sensors with their spread, lengths, blocks, health index.

    definition = fit_definition(histories, targets)        # on training machines alone
    WindowDefinition.from_json(definition.to_json())       # the same

The health index is one number a row: sensors in spreads, weighted by a ridge regression of the capped life that
remained. Fourteen noisy sensors become one that is less so, and its windows are features like those of a sensor.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from deepseek.bundle.fields import parse_json_object, parse_value
from deepseek.contracts import Float64
from deepseek.errors import InputError
from deepseek.features.machines.history import Histories

FORMAT = 1
HEALTH = "health"  # the name of the index, beside those of sensors
LENGTHS = (5, 10, 20, 40)  # rows of a window
BASELINE_ROWS = 15  # of a machine's own baseline
#: Rows of each block of a course, the latest block first: fine where it matters, 97 rows in 16 steps.
BLOCKS = (2,) * 6 + (5,) * 5 + (12,) * 5
RIDGE = 10.0
MIN_RELATION = 0.2  # of a sensor with remaining life, from which on its course is told
MIN_ROWS = 2  # of a machine: one row has no course


@dataclass(frozen=True, slots=True)
class Sensor:
    """One sensor, as the training machines had it."""

    name: str
    centre: float
    scale: float  # standard deviation, in the sensor's own unit
    low: float  # smallest and largest value
    high: float
    health: float  # its weight in the index
    relation: float = 1.0  # its correlation with the capped remaining life, -1 to 1
    longest_run: int = 0  # rows in a row with one number, at most; 0: not known


@dataclass(frozen=True)  # without slots: what follows from the fields is computed once
class WindowDefinition:
    """All that a window row depends on."""

    unit: str
    time: str
    target: str  # name of the column of remaining life
    cap: float  # remaining life is told up to here, in units of time
    sensors: tuple[Sensor, ...]
    is_dated: bool = False  # the time column holds dates, times are hours
    lengths: tuple[int, ...] = LENGTHS
    baseline_rows: int = BASELINE_ROWS
    blocks: tuple[int, ...] = BLOCKS
    format: int = FORMAT

    @classmethod
    def from_json(cls, data: bytes, file: str) -> WindowDefinition:
        """The inverse of to_json(). InputError names what does not fit."""
        definition: WindowDefinition = parse_value(cls, parse_json_object(data, file), file)
        sizes = (*definition.lengths, *definition.blocks, definition.baseline_rows)
        if definition.format != FORMAT or not definition.sensors or min(sizes, default=0) < 1 or definition.cap <= 0:
            raise InputError(
                f"{file} has format {definition.format}, {len(definition.sensors)} sensors, windows of {sizes} rows",
                expected=f"format {FORMAT}, a sensor, windows of at least one row", fix="make the bundle again",
            )  # fmt: skip
        return definition

    def to_json(self) -> bytes:
        """One text for one definition."""
        return (json.dumps(asdict(self), indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()

    @cached_property
    def sensor_names(self) -> tuple[str, ...]:
        return tuple(sensor.name for sensor in self.sensors)

    @cached_property
    def course_signals(self) -> tuple[str, ...]:
        """What the course is told of: the sensors that go with remaining life, all of them where none does, and the
        health index. A net would take noise of the others for a course."""
        related = tuple(sensor.name for sensor in self.sensors if abs(sensor.relation) >= MIN_RELATION)
        return (*(related or self.sensor_names), HEALTH)

    @cached_property
    def course_places(self) -> NDArray[np.int64]:
        """(C,) where the signals of the course are among all."""
        return np.array([self.signals.index(signal) for signal in self.course_signals])

    @cached_property
    def signals(self) -> tuple[str, ...]:
        """The sensors, then the health index: what windows are taken of."""
        return (*self.sensor_names, HEALTH)

    @cached_property
    def _spreads(self) -> tuple[Float64, Float64, Float64]:
        """(S,) each: centre, spread and weight in the index."""
        centre, scale, health = (
            np.array([getattr(sensor, field) for sensor in self.sensors]) for field in ("centre", "scale", "health")
        )
        return centre, scale, health

    def scale(self, values: Float64) -> Float64:
        """Sensor values (n, S) as signals (n, S + 1), in spreads; a missing value counts as usual in the index."""
        centre, scale, weight = self._spreads
        scaled = (values - centre) / scale
        # One sensor after the other: a product of matrices rounds by how many rows there are.
        health = np.cumsum(np.where(np.isnan(scaled), 0.0, scaled) * weight, axis=1)[:, -1]
        return np.column_stack([scaled, health])


def fit_definition(histories: Histories, targets: Sequence[Float64], *, target: str, cap: float) -> WindowDefinition:
    """The definition for these training machines. `targets`: (n,) remaining life at each row of each machine, NaN where
    it is not known. InputError where no sensor ever changes."""
    values = np.concatenate([machine.values for machine in histories.machines])
    with np.errstate(all="ignore"):
        known = np.isfinite(values)
        counts = known.sum(axis=0)
        centre = np.where(known, values, 0).sum(axis=0) / np.maximum(counts, 1)
        spread = np.sqrt((np.where(known, values - centre, 0) ** 2).sum(axis=0) / np.maximum(counts, 1))
    low, high = _ranges(values)
    moves = (counts > 1) & (spread > 1e-9 * np.maximum(1, np.abs(centre)))
    if not moves.any():
        raise InputError(
            "no sensor changes: all columns of numbers are constant or missing",
            expected="at least one sensor that moves", fix="bring the columns that the machine reports",
        )  # fmt: skip
    places = np.flatnonzero(moves)
    scaled = np.nan_to_num((values[:, places] - centre[places]) / spread[places])
    health, relation = _health_weights(scaled, np.concatenate(list(targets)), cap)
    longest = np.max([_longest_runs(machine.values) for machine in histories.machines], axis=0)
    sensors = tuple(
        Sensor(
            histories.sensors[place], float(centre[place]), float(spread[place]), float(low[place]), float(high[place]),
            float(weight), float(related), int(longest[place]),
        )
        for place, weight, related in zip(places, health, relation, strict=True)
    )  # fmt: skip
    return WindowDefinition(
        histories.columns.unit, histories.columns.time, target, cap, sensors, is_dated=histories.is_dated
    )


def _longest_runs(values: Float64) -> NDArray[np.int64]:
    """(S,) rows of one number in a row, at most, in values (n, S)."""
    is_new = np.ones(values.shape, np.bool_)
    is_new[1:] = values[1:] != values[:-1]
    place = np.arange(len(values))[:, None]
    first = np.maximum.accumulate(np.where(is_new, place, 0), axis=0)
    return np.asarray((place - first).max(axis=0) + 1)


def left_out(histories: Histories, definition: WindowDefinition) -> tuple[str, ...]:
    """The columns of numbers that never change, which the definition does not read."""
    return tuple(name for name in histories.sensors if name not in definition.sensor_names)


def _ranges(values: Float64) -> tuple[Float64, Float64]:
    empty = ~np.isfinite(values).any(axis=0)
    filled = np.where(empty, 0.0, values)
    return np.nanmin(filled, axis=0), np.nanmax(filled, axis=0)


def _health_weights(scaled: Float64, target: Float64, cap: float) -> tuple[Float64, Float64]:
    """(S,) of length 1: ridge regression of the capped remaining life on sensors in spreads (N, S); and (S,) how each
    goes with it alone."""
    known = np.isfinite(target)
    rows, life = scaled[known], np.minimum(target[known], cap)
    deviation = (life - life.mean()) / (life.std() or 1.0)
    gram = rows.T @ rows + RIDGE * np.eye(rows.shape[1])
    weights = np.linalg.solve(gram, rows.T @ deviation)
    spread = np.sqrt((rows**2).mean(axis=0)) * np.sqrt((deviation**2).mean())
    relation = (rows * deviation[:, None]).mean(axis=0) / np.where(spread > 0, spread, 1.0)
    return np.asarray(weights / (np.linalg.norm(weights) or 1.0)), np.asarray(relation)
