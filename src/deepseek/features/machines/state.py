"""What is kept of each of M machines while their rows come: as many numbers for a machine of years as for one of days.

    state = FleetState(definition, rule)
    update = state.advance(slots, times, values)      # N rows in their order; update.moments gives their features
    state.keep_answers(slots, times, lives)           # what was told of them: the curves of the fleet's page

A row changes its own machine alone, and by its own values: the features are those of compute_windows() to the bit, and
alarms those of find_alarm(), however rows of machines come mixed.

Beside them it is told whether a sensor can be believed. A sensor is silent after SILENT_ROWS rows without a value,
stuck when one number came more often in a row than it ever did in training, and in another unit when FEW_ROWS values in
a row lay far outside of what the training machines reported. A machine is silent when the fleet sent so many rows that
SILENT_GAPS of its own were due; where times are dates, so much time must have passed as well. A fleet that is silent as
a whole is not silent machine by machine: then nothing comes at all, which who watches the stream sees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float64
from deepseek.extras import is_installed
from deepseek.features.machines.definition import WindowDefinition
from deepseek.features.machines.tables import FAR_WIDTHS, FEW_ROWS
from deepseek.features.machines.tracker import AlarmTracker
from deepseek.features.machines.warning import WarningRule
from deepseek.features.machines.windows import Moments, count_recent_rows

SILENT_ROWS = 5
STUCK_ROWS, STUCK_TIMES = 20, 3  # rows of one number at least, and times the longest such run in training
SILENT_GAPS = 10.0
GAP_SHARE = 0.2  # of the latest gap in the usual one
MIN_GAP_ROWS = 3  # of a machine before it can be silent
CURVE_POINTS = 64  # of a machine's curve; when it is full every second one goes
FIRST_CAPACITY = 64
Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class FleetUpdate:
    """N rows, as the state saw them."""

    moments: Moments  # (N, ...) each right behind its row
    silent: NDArray[np.bool_]  # (N, S) sensors without a value for a while
    stuck: NDArray[np.bool_]  # (N, S) with one number for too long
    far: NDArray[np.bool_]  # (N, S) far outside of training
    is_faulty: NDArray[np.bool_]  # (N,) whether one of the three is so of a sensor
    has_alarm: NDArray[np.bool_]  # (N,) latched
    is_active: NDArray[np.bool_]  # (N,) and above its level now
    was_silent: NDArray[np.bool_]  # (N,) the first row of a machine that had been silent
    newly_silent: Places  # slots of machines that are silent since these rows


class FleetState:
    """The machines by slot, which is their number in the order in which they first came."""

    def __init__(self, definition: WindowDefinition, rule: WarningRule | None) -> None:
        self.definition = definition
        self.reach = count_recent_rows(definition)
        self.tracker = AlarmTracker(definition, rule)
        self.names: list[str] = []
        self.slot_of: dict[str, int] = {}
        num_sensors = len(definition.sensors)
        self._forms = _machine_arrays(num_sensors, self.reach) | self.tracker.arrays()
        self.arrays: dict[str, NDArray[Any]] = {
            name: np.full((FIRST_CAPACITY, *shape), empty, kind) for name, (shape, kind, empty) in self._forms.items()
        }
        self.clock = 0.0  # rows that a machine which was never silent has sent
        self.latest_time = -np.inf
        self._num_forgotten = 0  # rows of machines that began anew
        sensors = definition.sensors
        width = np.array([max(sensor.high - sensor.low, sensor.scale) for sensor in sensors])
        self._far_low = np.array([sensor.low for sensor in sensors]) - FAR_WIDTHS * width
        self._far_high = np.array([sensor.high for sensor in sensors]) + FAR_WIDTHS * width
        longest = np.array([sensor.longest_run for sensor in sensors])
        self._stuck_rows = np.where(longest > 0, np.maximum(STUCK_ROWS, STUCK_TIMES * longest), np.iinfo(np.int32).max)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def num_rows(self) -> int:
        """That were taken, ever."""
        return self._num_forgotten + int(self.arrays["age"][: len(self)].sum())

    def add(self, names: Sequence[str]) -> None:
        """Machines that come for the first time."""
        for name in names:
            self.slot_of[name] = len(self.names)
            self.names.append(name)
        capacity = len(self.arrays["age"])
        if len(self.names) <= capacity:
            return
        capacity = max(2 * capacity, len(self.names))
        for name, (shape, kind, empty) in self._forms.items():
            grown = np.full((capacity, *shape), empty, kind)
            grown[: len(self.arrays[name])] = self.arrays[name]
            self.arrays[name] = grown

    def advance(self, slots: Places, times: Float64, values: Float64) -> FleetUpdate:
        """Takes N rows, whose times rise machine by machine: values (N, S) in the sensors' own units, NaN where
        missing."""
        rounds = list(_rounds(slots))
        updates = [self._advance_round(slots[rows], times[rows], values[rows]) for rows in rounds]
        newly_silent = self._find_silent()
        if len(rounds) == 1:
            joined = updates[0]
        else:
            order = np.argsort(np.concatenate(rounds), kind="stable")
            joined = _join(updates, order)
        return replace(joined, newly_silent=newly_silent)

    def keep_answers(self, slots: Places, times: Float64, lives: Float64) -> None:
        """What N rows were told: remaining life, and its interval (N, 3)."""
        for rows in _rounds(slots):
            self._keep_round(slots[rows], times[rows], lives[rows])

    def restart(self, slots: Places) -> None:
        """Machines of which nothing is known any more but their names."""
        self._num_forgotten += int(self.arrays["age"][slots].sum())
        for name, (_, _, empty) in self._forms.items():
            self.arrays[name][slots] = empty

    def curve(self, slot: int) -> Float64:
        """(n, 4) of one machine: time, remaining life, low, high; its last answer last."""
        arrays, size = self.arrays, int(self.arrays["curve_size"][slot])
        points = arrays["curve"][slot, :size]
        last = arrays["last_answer"][slot]
        is_told = np.isfinite(last[0]) and (not size or points[-1, 0] < last[0])
        return np.concatenate([points, last[None]]) if is_told else points

    def sensor_states(self, slot: int) -> dict[str, str]:
        """The sensors of a machine that cannot be believed, and why."""
        return self.name_states(*(flags[0] for flags in self._judge_sensors(np.array([slot]))))

    def name_states(
        self, silent: NDArray[np.bool_], stuck: NDArray[np.bool_], far: NDArray[np.bool_]
    ) -> dict[str, str]:
        """The same of flags (S,)."""
        states: dict[str, str] = {}
        for word, flags in (("another unit", far), ("stuck", stuck), ("silent", silent)):
            states |= {self.definition.sensor_names[at]: word for at in np.flatnonzero(flags).tolist()}
        return states

    def export(self) -> dict[str, NDArray[Any]]:
        """What a snapshot holds: arrays of the M machines there are, and numbers of the fleet."""
        number = len(self.names)
        text = "\0".join(self.names).encode()
        return {name: array[:number].copy() for name, array in self.arrays.items()} | {
            "fleet.names": np.frombuffer(text, np.uint8).copy(),
            "fleet.clock": np.array([self.clock, self.latest_time]),
            "fleet.forgotten": np.array([self._num_forgotten]),
        }  # fmt: skip

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """The inverse of export(), into a state without machines."""
        text = arrays["fleet.names"].tobytes().decode()
        self.add(text.split("\0") if text else [])
        self.clock, self.latest_time = (float(value) for value in arrays["fleet.clock"])
        if "fleet.forgotten" in arrays:  # snapshots of before have none
            self._num_forgotten = int(arrays["fleet.forgotten"][0])
        for name, array in self.arrays.items():
            array[: len(self.names)] = arrays[name]

    def _advance_round(self, slots: Places, times: Float64, values: Float64) -> FleetUpdate:
        """N rows of N machines."""
        arrays, definition = self.arrays, self.definition
        age = arrays["age"][slots]
        signals = definition.scale(values)
        is_finite = np.isfinite(signals)
        filled = np.where(is_finite, signals, 0.0)
        arrays["recent"][slots, age % self.reach] = signals
        known = np.where(is_finite, signals, arrays["known"][slots])
        arrays["known"][slots] = known
        in_baseline = (age < definition.baseline_rows)[:, None]
        arrays["first_sum"][slots] += np.where(in_baseline, filled, 0.0)
        arrays["first_count"][slots] += is_finite & in_baseline
        arrays["total_sum"][slots] += filled
        arrays["total_count"][slots] += is_finite
        arrays["age"][slots] = age + 1
        recent = _recent_reader()(arrays["recent"], slots, age)
        moments = Moments(
            recent, known, arrays["first_sum"][slots], arrays["first_count"][slots], arrays["total_sum"][slots],
            arrays["total_count"][slots], (age + 1).astype(np.float64),
        )  # fmt: skip
        silent, stuck, far = self._check_sensors(slots, values)
        carried = np.where(np.isfinite(values), values, arrays["raw"][slots])
        arrays["raw"][slots] = carried
        has_alarm, is_active = self.tracker.advance(arrays, slots, age, times, carried)
        was_silent = self._keep_time(slots, times, age)
        is_faulty = np.asarray((silent | stuck | far).any(axis=1))
        nobody = np.empty(0, np.int64)
        return FleetUpdate(moments, silent, stuck, far, is_faulty, has_alarm, is_active, was_silent, nobody)

    def _check_sensors(self, slots: Places, values: Float64) -> tuple[NDArray[np.bool_], ...]:
        """(N, S) each: silent, stuck, far. Before the row's values are kept."""
        arrays = self.arrays
        is_missing = ~np.isfinite(values)
        with np.errstate(invalid="ignore"):
            is_same = values == arrays["raw"][slots]
            is_far = (values < self._far_low) | (values > self._far_high)
        missing = np.where(is_missing, arrays["missing_run"][slots] + 1, 0)
        same = np.where(is_missing, arrays["same_run"][slots], np.where(is_same, arrays["same_run"][slots] + 1, 1))
        far = np.where(is_missing, arrays["far_run"][slots], np.where(is_far, arrays["far_run"][slots] + 1, 0))
        arrays["missing_run"][slots], arrays["same_run"][slots], arrays["far_run"][slots] = missing, same, far
        return self._judge_sensors(slots)

    def _judge_sensors(self, slots: Places) -> tuple[NDArray[np.bool_], ...]:
        """(N, S) each: silent, stuck, far, as of the last row."""
        arrays = self.arrays
        return (
            arrays["missing_run"][slots] >= SILENT_ROWS, arrays["same_run"][slots] > self._stuck_rows,
            arrays["far_run"][slots] >= FEW_ROWS,
        )  # fmt: skip

    def _keep_time(self, slots: Places, times: Float64, age: Places) -> NDArray[np.bool_]:
        """Advance the clocks. (N,) which machines had been silent."""
        arrays, number = self.arrays, len(self.names)
        was_silent = arrays["is_silent"][slots]
        num_heard = max(1, number - int(arrays["is_silent"][:number].sum()))
        clock = self.clock + np.arange(1, len(slots) + 1) / num_heard
        for name, now in (("clock", clock), ("time", times)):
            gap, usual = now - arrays[f"last_{name}"][slots], arrays[f"{name}_gap"][slots]
            is_first = age == 0
            mixed = np.where(np.isnan(usual), gap, (1 - GAP_SHARE) * usual + GAP_SHARE * gap)
            arrays[f"{name}_gap"][slots] = np.where(is_first | was_silent, usual, mixed)
            arrays[f"last_{name}"][slots] = now
        arrays["first_time"][slots] = np.where(age == 0, times, arrays["first_time"][slots])
        arrays["is_silent"][slots] = False
        self.clock, self.latest_time = float(clock[-1]), max(self.latest_time, float(times.max()))
        return was_silent

    def _find_silent(self) -> Places:
        """Slots of machines that are silent from now on."""
        number = len(self.names)
        part = {name: self.arrays[name][:number] for name in ("age", "is_silent", "last_clock", "clock_gap")}
        with np.errstate(invalid="ignore"):
            is_due = self.clock - part["last_clock"] > SILENT_GAPS * np.maximum(part["clock_gap"], 1.0)
            if self.definition.is_dated:
                waited = self.latest_time - self.arrays["last_time"][:number]
                is_due &= waited > SILENT_GAPS * self.arrays["time_gap"][:number]
        places = np.flatnonzero(is_due & ~part["is_silent"] & (part["age"] >= MIN_GAP_ROWS))
        self.arrays["is_silent"][places] = True
        return places

    def _keep_round(self, slots: Places, times: Float64, lives: Float64) -> None:
        arrays = self.arrays
        points = np.column_stack([times, lives])
        arrays["last_answer"][slots] = points
        stride = arrays["curve_stride"][slots]
        due = arrays["curve_skipped"][slots] + 1 >= stride
        arrays["curve_skipped"][slots] = np.where(due, 0, arrays["curve_skipped"][slots] + 1)
        slots, points = slots[due], points[due]
        for slot in slots[arrays["curve_size"][slots] == CURVE_POINTS].tolist():
            half = CURVE_POINTS // 2
            arrays["curve"][slot, :half] = arrays["curve"][slot, ::2]
            arrays["curve_size"][slot] = half
            arrays["curve_stride"][slot] *= 2
        arrays["curve"][slots, arrays["curve_size"][slots]] = points
        arrays["curve_size"][slots] += 1


@lru_cache(1)
def _recent_reader() -> Callable[[Float64, Places, Places], Float64]:
    """Rings (M, R, V) to the last R rows (N, R, V), the latest first, of N machines after their row of an age: compiled
    where numba is there."""
    if not is_installed("numba"):
        return _read_recent
    from deepseek.features.machines.compiled import fill_recent

    def read(ring: Float64, slots: Places, age: Places) -> Float64:
        recent = np.empty((len(slots), *ring.shape[1:]))
        fill_recent(ring, slots, age, recent)
        return recent

    return read


def _read_recent(ring: Float64, slots: Places, age: Places) -> Float64:
    reach = ring.shape[1]
    return np.asarray(ring[slots[:, None], (age[:, None] - np.arange(reach)) % reach])


def _machine_arrays(num_sensors: int, reach: int) -> dict[str, tuple[tuple[int, ...], Any, Any]]:
    """Of each array its shape for one machine, its kind, and what stands there before the first row."""
    num_signals = num_sensors + 1
    numbers: dict[str, tuple[tuple[int, ...], Any, Any]] = dict.fromkeys(
        ("first_time", "last_time", "time_gap", "last_clock", "clock_gap"), ((), np.float64, np.nan)
    )
    numbers |= dict.fromkeys(
        ("first_sum", "first_count", "total_sum", "total_count"), ((num_signals,), np.float64, 0.0)
    )
    numbers |= dict.fromkeys(("missing_run", "same_run", "far_run"), ((num_sensors,), np.int32, 0))
    return numbers | {
        "age": ((), np.int64, 0), "is_silent": ((), np.bool_, False),
        "recent": ((reach, num_signals), np.float64, np.nan), "known": ((num_signals,), np.float64, np.nan),
        "raw": ((num_sensors,), np.float64, np.nan), "last_answer": ((4,), np.float64, np.nan),
        "curve": ((CURVE_POINTS, 4), np.float64, np.nan), "curve_size": ((), np.int64, 0),
        "curve_stride": ((), np.int64, 1), "curve_skipped": ((), np.int64, 0),
    }  # fmt: skip


def _rounds(slots: Places) -> Iterator[Places]:
    """Places of N rows in rounds: in each a machine stands once, its rows in their order."""
    if len(np.unique(slots)) == len(slots):
        yield np.arange(len(slots))
        return
    order = np.argsort(slots, kind="stable")
    ordered = slots[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    turn = np.arange(len(slots)) - np.repeat(starts, np.diff([*starts, len(slots)]))
    for number in range(int(turn.max()) + 1):
        yield np.sort(order[turn == number])


def _join(updates: Sequence[FleetUpdate], order: Places) -> FleetUpdate:
    """The rows of several rounds in the order in which they came."""

    def part(values: Sequence[NDArray[Any]]) -> NDArray[Any]:
        return np.concatenate(values)[order]

    moments = Moments(
        *(part([getattr(update.moments, each.name) for update in updates]) for each in fields(Moments))
    )  # fmt: skip
    others = [part([getattr(update, each.name) for update in updates]) for each in fields(FleetUpdate)[1:-1]]
    build: Any = FleetUpdate  # all fields between the first and the last are arrays of rows
    joined: FleetUpdate = build(moments, *others, np.empty(0, np.int64))
    return joined
