"""Alarms of machines while their rows come: what find_alarm() finds in a whole course, row by row.

    tracker = AlarmTracker(definition, rule)
    has_alarm, is_active = tracker.advance(arrays, slots, age, times, values)     # one row of N machines
    tracker.alarm_of(arrays, slot)                                                # with its reasons

It keeps the last rows of each machine's index, the best level so far, and the sensors as they were then.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float64
from deepseek.features.machines.definition import WindowDefinition
from deepseek.features.machines.warning import (
    BEST_WIDTH,
    JUMP_ROWS,
    MAX_REASONS,
    SURE_HOLD,
    WIDTH,
    Alarm,
    Reason,
    WarningRule,
    judge_rows,
    measure_jump,
    middle_value,
    share_reasons,
)

Arrays = dict[str, NDArray[Any]]
NO_ROW = -1


class AlarmTracker:
    """Of one definition and rule; None: no machine ever has an alarm. Its arrays are in the caller's hands."""

    def __init__(self, definition: WindowDefinition, rule: WarningRule | None) -> None:
        self._definition, self._rule = definition, rule
        self._num_sensors = len(definition.sensors)

    def arrays(self) -> dict[str, tuple[tuple[int, ...], Any, Any]]:
        """Of each array its shape for one machine, its kind, and what stands there before the first row."""
        if self._rule is None:
            return {}
        return {
            "alarm.signals": ((BEST_WIDTH, self._num_sensors + 1), np.float64, 0.0),
            "alarm.best": ((), np.float64, -np.inf), "alarm.best_sensors": ((self._num_sensors,), np.float64, 0.0),
            "alarm.above": ((), np.int32, 0), "alarm.sure": ((), np.int32, 0), "alarm.below": ((), np.int32, 0),
            "alarm.row": ((), np.int64, NO_ROW),
            "alarm.time": ((), np.float64, np.nan), "alarm.is_active": ((), np.bool_, False),
            "alarm.num_episodes": ((), np.int32, 0), "alarm.sensors": ((MAX_REASONS,), np.int32, NO_ROW),
            "alarm.changes": ((MAX_REASONS, 2), np.float64, 0.0),
        }  # fmt: skip

    def advance(
        self, arrays: Arrays, slots: NDArray[np.int64], age: NDArray[np.int64], times: Float64, values: Float64
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """One row of N machines, each of which had `age` rows before: values (N, S), the last known where one is
        missing. (N,) whether there is an alarm, and whether it is above its level."""
        rule = self._rule
        if rule is None:
            return np.zeros(len(slots), np.bool_), np.zeros(len(slots), np.bool_)
        signals = self._definition.scale(values)
        signals[np.isnan(signals)] = 0.0
        arrays["alarm.signals"][slots, age % BEST_WIDTH] = signals
        whole = np.flatnonzero(age + 1 >= BEST_WIDTH)
        if len(whole):
            self._follow(rule, arrays, slots[whole], age[whole], times[whole])
        return arrays["alarm.row"][slots] != NO_ROW, arrays["alarm.is_active"][slots]

    def _follow(
        self, rule: WarningRule, arrays: Arrays, slots: NDArray[np.int64], age: NDArray[np.int64], times: Float64
    ) -> None:
        """Machines with whole windows."""
        last = (age[:, None] - np.arange(JUMP_ROWS)[::-1]) % BEST_WIDTH
        rows = arrays["alarm.signals"][slots[:, None], last]  # (N, 12, S + 1), the latest last
        recent = rows[:, -WIDTH:]
        level = middle_value(arrays["alarm.signals"][slots, :, -1], axis=1)
        better = level >= arrays["alarm.best"][slots]
        arrays["alarm.best"][slots[better]] = level[better]
        arrays["alarm.best_sensors"][slots[better]] = middle_value(
            arrays["alarm.signals"][slots[better], :, : self._num_sensors], axis=1
        )
        drop = arrays["alarm.best"][slots] - middle_value(recent[:, :, -1], axis=1)
        runs = []
        is_above, is_sure, is_jump, is_quiet = judge_rows(rule, drop, measure_jump(rows[:, :, -1]), age + 1)
        for name, is_so in (("above", is_above), ("sure", is_sure), ("below", is_quiet)):
            runs.append(np.where(is_so, arrays[f"alarm.{name}"][slots] + 1, 0))
            arrays[f"alarm.{name}"][slots] = runs[-1]
        above, sure, below = runs
        was_active = arrays["alarm.is_active"][slots]
        is_raised = ~was_active & ((above >= rule.hold) | (sure >= SURE_HOLD) | is_jump)
        arrays["alarm.is_active"][slots] = np.where(was_active, below < rule.hold, is_raised)
        arrays["alarm.num_episodes"][slots] += is_raised
        first = np.flatnonzero(is_raised & (arrays["alarm.row"][slots] == NO_ROW))
        for place in first.tolist():
            slot = slots[place]
            arrays["alarm.row"][slot], arrays["alarm.time"][slot] = age[place], times[place]
            change = middle_value(recent[place, :, : self._num_sensors], axis=0) - arrays["alarm.best_sensors"][slot]
            for rank, (sensor, moved, share) in enumerate(share_reasons(self._definition, change)):
                arrays["alarm.sensors"][slot, rank] = sensor
                arrays["alarm.changes"][slot, rank] = moved, share

    def alarm_of(self, arrays: Arrays, slot: int) -> Alarm | None:
        """The latched alarm of one machine, whose time is that of the row as it came."""
        if self._rule is None or arrays["alarm.row"][slot] == NO_ROW:
            return None
        names = self._definition.sensor_names
        reasons = tuple(
            Reason(names[sensor], moved, share)
            for sensor, (moved, share) in zip(
                arrays["alarm.sensors"][slot].tolist(), arrays["alarm.changes"][slot].tolist(), strict=True
            )
            if sensor != NO_ROW
        )
        return Alarm(
            int(arrays["alarm.row"][slot]), float(arrays["alarm.time"][slot]), reasons,
            bool(arrays["alarm.is_active"][slot]), int(arrays["alarm.num_episodes"][slot]),
        )  # fmt: skip

    def reset(self, arrays: Arrays, slots: NDArray[np.int64]) -> None:
        """A person has looked: the alarm ends, and may be raised anew by rows to come."""
        for name, (_, _, empty) in self.arrays().items():
            if name not in ("alarm.signals", "alarm.best", "alarm.best_sensors"):
                arrays[name][slots] = empty
