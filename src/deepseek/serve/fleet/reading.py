"""Messages of machines to columns: sensor rows as JSON, blocks of vibration, and resets of alarms.

    {"unit": "M01", "hour": 12, "vibration": 2.1, "temperature": null}     # the columns of the bundle; null: no value
    {"unit": "M01", "reset": true}                                         # a person has looked at its alarm
    {"unit": "M01", "reset": "machine"}                                    # it was repaired, or its clock was wrong
    a block of features/machines/blocks.py                                 # its samples become the row's sensors

A message at fault is refused alone, in words.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

import numpy as np

from deepseek.contracts import Float64
from deepseek.data.table.values import FLOAT32_MAX
from deepseek.errors import DeepseekError, InputError
from deepseek.features.machines.blocks import Block, decode_block, is_block
from deepseek.features.machines.definition import WindowDefinition
from deepseek.features.machines.history import HOUR_MS
from deepseek.features.machines.vibration import compute_vibration, vibration_names
from deepseek.serve.scoring.reading import RawRows, RowReader

RESET = "reset"
#: What begins anew: the alarm alone, or all that is known of the machine.
Reset: TypeAlias = Literal["alarm", "machine"]
MAX_NAME = 200  # letters of a machine's name
LARGEST = int(sys.float_info.max)  # whole numbers of JSON have no end
END_S = 253_402_300_800  # the year 10000, beyond which no date can be written
NUM_THREADS = 2  # that compute vibration: what a small machine has
JSON = b"application/json"


@dataclass(eq=False)
class Readings:
    """N messages as they were read."""

    values: Float64  # (N, S) NaN where missing
    times: Float64  # (N,) NaN where there is none
    units: list[str]  # (N,) "" where there is none
    shown_times: list[Any]  # (N,) as they came, to be sent back
    resets: dict[int, Reset] = field(default_factory=dict)  # what of a machine begins anew, by place
    errors: dict[int, DeepseekError] = field(default_factory=dict)  # by place

    @classmethod
    def empty(cls, number: int, num_sensors: int) -> Readings:
        """N places to be filled."""
        return cls(np.full((number, num_sensors), np.nan), np.full(number, np.nan), [""] * number, [None] * number)

    def __len__(self) -> int:
        return len(self.units)


class FleetReader:
    """Reads messages for one definition."""

    def __init__(self, definition: WindowDefinition) -> None:
        self.definition = definition
        self.rows = RowReader((definition.unit,), (definition.time, RESET, *definition.sensor_names))
        self._place_of = {name: place for place, name in enumerate(definition.sensor_names)}
        self._pool = ThreadPoolExecutor(NUM_THREADS, "vibration")

    def close(self) -> None:
        """Lets the threads go."""
        self._pool.shutdown()

    def read(self, bodies: Sequence[bytes]) -> Readings:
        """Each body is one message."""
        readings = Readings.empty(len(bodies), len(self.definition.sensors))
        blocks = [place for place, body in enumerate(bodies) if is_block(body)]
        self._read_blocks(bodies, blocks, readings)
        known = set(blocks)
        rows = [place for place in range(len(bodies)) if place not in known]
        for places, raw in self._read_records(bodies, rows, readings):
            self._fill(raw, places, readings)
        return readings

    def read_rows(self, raw: RawRows) -> Readings:
        """Rows that came together."""
        readings = Readings.empty(len(raw), len(self.definition.sensors))
        self._fill(raw, list(range(len(raw))), readings)
        return readings

    def _read_records(
        self, bodies: Sequence[bytes], places: list[int], readings: Readings
    ) -> Iterator[tuple[list[int], RawRows]]:
        """The records at some places, together; those at fault are noted, half by half."""
        if not places:
            return
        try:
            yield places, self.rows.read_records([bodies[place] for place in places])
        except DeepseekError:
            if len(places) == 1:
                readings.errors[places[0]] = self._explain_fault(bodies[places[0]])
                return
            middle = len(places) // 2
            yield from self._read_records(bodies, places[:middle], readings)
            yield from self._read_records(bodies, places[middle:], readings)

    def _explain_fault(self, body: bytes) -> DeepseekError:
        try:
            self.rows.read(body, JSON, 1)
        except DeepseekError as error:
            return error
        return InputError("a message holds more than one row", expected="one object", fix="send one a message")

    def _fill(self, raw: RawRows, places: list[int], readings: Readings) -> None:
        """Rows as columns into their places."""
        units, times, resets, *sensors = raw.columns
        for place, unit, time, reset in zip(places, units, times, resets, strict=True):
            try:
                readings.units[place] = self._unit_name(unit)
                if (what := self._read_reset(reset)) is not None:
                    readings.resets[place] = what
                else:
                    readings.times[place] = self._read_time(time)
                    readings.shown_times[place] = time.item() if isinstance(time, np.generic) else time
            except InputError as error:
                readings.errors[place] = error
        for column, values in enumerate(sensors):
            if isinstance(values, np.ndarray):
                readings.values[places, column] = values
                continue
            for place, value in zip(places, values, strict=True):
                if type(value) in (float, bool) or (type(value) is int and abs(value) <= LARGEST):
                    readings.values[place, column] = value
                elif value is not None and place not in readings.errors:
                    readings.errors[place] = InputError(
                        f"the sensor {self.definition.sensor_names[column]!r} is {str(value)[:40]!r}",
                        expected="a number that a double holds, or null where there is none", fix="send numbers",
                    )  # fmt: skip
        readings.values[~(np.abs(readings.values) <= FLOAT32_MAX)] = np.nan  # no sensor says so; its square has no end

    def _unit_name(self, unit: Any) -> str:
        """As a table of the recipe names it: whole numbers without a point."""
        if isinstance(unit, np.generic):
            unit = unit.item()
        if isinstance(unit, float) and unit.is_integer():
            unit = int(unit)
        name = str(unit) if type(unit) in (str, int) else ""
        if not name or len(name) > MAX_NAME or "\0" in name:
            raise InputError(
                f"{self.definition.unit!r} is {str(unit)[:40]!r}", expected=f"a name of 1 to {MAX_NAME} letters",
                fix="send the machine's name with each row",
            )  # fmt: skip
        return name

    def _read_reset(self, reset: Any) -> Reset | None:
        """None for a row. InputError for what is neither."""
        if reset is None or reset is False:
            return None
        if reset is True or reset == "alarm":
            return "alarm"
        if reset == "machine":
            return "machine"
        raise InputError(
            f"{RESET!r} is {str(reset)[:40]!r}", expected='true for the alarm, "machine" for all that is known of it',
            fix="leave it out of rows",
        )  # fmt: skip

    def _read_time(self, time: Any) -> float:
        """In the definition's unit: hours since 1970 of dates, else the number. InputError for any other."""
        if self.definition.is_dated and isinstance(time, str):
            try:
                moment = datetime.fromisoformat(time)
            except ValueError:
                pass
            else:
                return 1e3 * moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() / HOUR_MS
        elif not self.definition.is_dated and _is_number(time) and abs(time) < 2**63:  # neither NaN nor infinite is
            return float(time)
        raise InputError(
            f"the time {self.definition.time!r} is {str(time)[:40]!r}",
            expected="a date as in ISO 8601" if self.definition.is_dated else "a number that rises, as in training",
            fix="send the time with each row",
        )

    def _read_blocks(self, bodies: Sequence[bytes], places: list[int], readings: Readings) -> None:
        """Blocks into their places; those of one form are computed together."""
        forms: dict[Any, list[tuple[int, Block]]] = defaultdict(list)
        for place in places:
            try:
                block = decode_block(bodies[place])
                readings.units[place] = self._unit_name(block.unit)
                readings.times[place] = self._block_time(block.time)
                readings.shown_times[place] = self.show_time(readings.times[place])
            except InputError as error:
                readings.errors[place] = error
                continue
            forms[block.form].append((place, block))
        for (axes, rate_hz, _), group in forms.items():
            try:
                self._compute_blocks(axes, rate_hz, group, readings)
            except InputError as error:  # of their form, which all of them have
                readings.errors |= {place: error for place, _ in group}

    def _block_time(self, time: float) -> float:
        """In the definition's unit; a block counts seconds since 1970 where times are dates."""
        if 0 <= time < END_S if self.definition.is_dated else abs(time) < 2**63:
            return time / 3_600 if self.definition.is_dated else time
        raise InputError(
            f"a block has the time {time:g}",
            expected="seconds since 1970" if self.definition.is_dated else "a number that rises, as in training",
            fix="check the sender's clock",
        )

    def _compute_blocks(
        self, axes: tuple[str, ...], rate_hz: float, group: list[tuple[int, Block]], readings: Readings
    ) -> None:
        names = vibration_names(axes, rate_hz)
        columns = [(place, self._place_of[name]) for place, name in enumerate(names) if name in self._place_of]
        if not columns:
            raise InputError(
                f"a block has the axes {', '.join(axes)} at {rate_hz:g} Hz, and the model reads "
                f"{', '.join(self.definition.sensor_names[:4])}",
                expected=f"axes whose features the model reads, such as {names[0]}",
                fix="name the axes as the training table did",
            )  # fmt: skip
        features = compute_vibration(
            [block.samples for _, block in group], rate_hz, [block.scale for _, block in group], self._pool, NUM_THREADS
        )
        rows = np.array([place for place, _ in group])
        computed, sensors = (np.array(part) for part in zip(*columns, strict=True))
        readings.values[rows[:, None], sensors] = features[:, computed]

    def show_time(self, time: float) -> Any:
        """A time as rows of the definition say it."""
        if self.definition.is_dated:
            return datetime.fromtimestamp(time * HOUR_MS / 1e3, UTC).isoformat()
        return int(time) if float(time).is_integer() else float(time)


def _is_number(value: Any) -> bool:
    return type(value) is not bool and isinstance(value, (int, float, np.number))
