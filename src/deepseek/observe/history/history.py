"""A ring of summaries of ten seconds each: six hours of a server in some two hundred kB.

Nothing is counted here: every ten seconds what LiveStats has counted is summed up. That happens when the next request
comes, or when somebody looks, so a server that is not asked does nothing; the seconds between are filled in then.

Each front end of a group sums up what all of them have counted, so that any of them shows all. One that was started
again is sent the ring of another (`state`).

>>> history = History(LiveStats(clock=lambda: 100.0), lambda _: Gauges(), clock=lambda: 100.0)
>>> history.frame().num_slots
0
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass
from time import monotonic, time

import numpy as np
from numpy.typing import NDArray

from deepseek.observe.history.gauges import GAUGE_NAMES, Gauges
from deepseek.observe.live import NUM_SLOTS as NUM_LIVE_SLOTS
from deepseek.observe.live import SLOT_S as LIVE_SLOT_S
from deepseek.observe.live import GroupState, LiveStats, TimeSlot, merged_slots, quantile

SLOT_S = 2 * LIVE_SLOT_S
NUM_SLOTS = 2_160  # six hours
WINDOW_SLOTS = NUM_LIVE_SLOTS // 2  # of the five minutes that rules look back
SHARE_S = 5.0  # for which the ring is sent to a front end that has just come
#: Columns of the ring. `late_p99_s`: of predictions over the last five minutes.
COUNT_NAMES = (
    "requests", "errors", "failed", "refused", "late", "p50_s", "p95_s", "p99_s", "late_p99_s", "deaths", "restarts",
    "out_of_files",
)  # fmt: skip
NAMES = COUNT_NAMES + GAUGE_NAMES
Columns = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Frame:
    """Slots that follow each other, the oldest first: `values` (N, len(NAMES)). NaN: no request, or not known."""

    values: Columns

    @property
    def num_slots(self) -> int:
        return len(self.values)

    def __getitem__(self, name: str) -> Columns:
        """One column (N,)."""
        column: Columns = self.values[:, NAMES.index(name)]
        return column


class History:
    """The ring of one front end."""

    def __init__(
        self,
        live: LiveStats,
        read_gauges: Callable[[float], Gauges],
        *,
        others: Callable[[], Sequence[GroupState]] = lambda: (),
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`others`: states of the other front ends, as `state` makes them; `clock`: that of `live`."""
        self._live, self._read_gauges, self._others, self._clock = live, read_gauges, others, clock
        self._values = np.full((NUM_SLOTS, len(NAMES)), np.nan, np.float32)
        self._first = self._next = int(clock()) // SLOT_S  # slots that the ring holds: from, to
        self._gauges, self._gauged_slot = Gauges(), -1
        self._known: set[float] = set()  # the other front ends, by the start of each
        self._share_until_s = 0.0
        live.on_slot = self.tick

    def tick(self) -> None:
        """Sum up what is over. The last slot waits for one more: others send their counts each second."""
        end = int(self._clock()) // SLOT_S - (1 if self._others() else 0)
        if self._next >= end:
            return
        states = [self._live.state(), *(state.live for state in self._others())]
        gauges = Gauges.merge([self.gauges(), *(Gauges(*state.gauges) for state in self._others() if state.gauges)])
        self._first = max(self._first, end - NUM_SLOTS)
        changes = [sum(counts.get(name, 0) for _, counts in states) for name in _CHANGE_NAMES]
        slots = merged_slots(states, int(self._clock()) // LIVE_SLOT_S)
        for number in range(max(self._next, end - NUM_SLOTS), end):
            row = [*_summary(slots, number), *_totals(changes), *astuple(gauges)]
            self._values[number % NUM_SLOTS] = [min(value, 3e38) for value in row]
        self._next = end

    def gauges(self) -> Gauges:
        """Those of this front end, read once a slot."""
        slot = int(self._clock()) // SLOT_S
        if slot != self._gauged_slot:
            self._gauges, self._gauged_slot = self._read_gauges(time()), slot
        return self._gauges

    def frame(self, num_slots: int = NUM_SLOTS) -> Frame:
        """The last slots, summed up until now."""
        self._take_rings()
        self.tick()
        numbers = np.arange(max(self._first, self._next - num_slots), self._next)
        return Frame(self._values[numbers % NUM_SLOTS])

    def state(self) -> GroupState:
        """For the other front ends: what is counted here, and the ring while one of them has just come."""
        self._take_rings()
        self.tick()
        known = {state.started_s for state in self._others()}
        if not known <= self._known:
            self._known, self._share_until_s = known, self._clock() + SHARE_S
        ring = self._pack() if self._clock() < self._share_until_s else ""
        return GroupState(self._live.state(), astuple(self.gauges()), self._live.started_s, ring)

    def _pack(self) -> str:
        numbers = np.arange(self._first, self._next)
        data = base64.b85encode(self._values[numbers % NUM_SLOTS].tobytes()).decode()
        return f"{self._first}:{data}"

    def _take_rings(self) -> None:
        """Take from other rings the slots before the first of this one."""
        for state in self._others():
            first_text, _, data = state.ring.partition(":")
            if not data or int(first_text) >= self._first:
                continue
            rows = np.frombuffer(base64.b85decode(data), np.float32).reshape(-1, len(NAMES))
            first = int(first_text)
            oldest = max(first, self._next - NUM_SLOTS)
            for number in range(oldest, min(self._first, first + len(rows))):
                self._values[number % NUM_SLOTS] = rows[number - first]
            self._first = oldest


_CHANGE_NAMES = ("engine_died", "front_end_died", "engine_restarted", "front_end_restarted", "out_of_files")


def _totals(changes: Sequence[int]) -> tuple[int, int, int]:
    """Deaths, restarts, and times without a free file, since the start."""
    return changes[0] + changes[1], changes[2] + changes[3], changes[4]


def _summary(slots: dict[int, tuple[TimeSlot, TimeSlot]], number: int) -> list[float]:
    """Counts and latencies of a slot; `slots`: of each slot of LiveStats all requests, and the predictions alone."""
    ones = [slots[each] for each in (2 * number, 2 * number + 1) if each in slots]
    window = [slots[each] for each in range(2 * number + 2 - NUM_LIVE_SLOTS, 2 * number + 2) if each in slots]
    everything = [one for one, _ in ones]
    buckets = _sum_buckets([two for _, two in ones])
    quantiles = [quantile(buckets, share) for share in (0.5, 0.95, 0.99)]
    quantiles.append(quantile(_sum_buckets([two for _, two in window]), 0.99))
    counts = [sum(getattr(slot, f"num_{name}") for slot in everything) for name in COUNT_NAMES[:5]]
    return [*map(float, counts), *(math.nan if value is None else value for value in quantiles)]


def _sum_buckets(slots: Iterable[TimeSlot]) -> list[int]:
    columns = [slot.buckets for slot in slots]
    return np.sum(columns, axis=0).tolist() if columns else []
