"""The last minutes of a server in a few hundred numbers, for its console.

Latencies fall into buckets that grow by 10 %, so a quantile is right within 5 %, and time into slots of SLOT_S; a
request costs one addition, whatever the load. Predictions and explanations are counted apart: an explainer that opens
takes seconds, and would be the p99 of a thousand predictions.

>>> live = LiveStats(clock=lambda: 100.0)
>>> live.emit(Event("request", "cancer", "1", 200, num_rows=2, duration_s=0.001, fields={"method": "POST"}))
>>> round(live.snapshot()["models"][0]["latency_p99_s"], 3)
0.001
"""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, Literal, TypedDict, get_args

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Event

SLOT_S = 5
NUM_SLOTS = 60  # five minutes
MAX_PENDING_EVENTS = 512  # requests that are counted at once
FIRST_BUCKET_S = 1e-5
BUCKET_GROWTH = 1.1
NUM_BUCKETS = 170  # up to about 100 s
#: Processes that ended by themselves, others in their place, and times without a free file descriptor.
PROCESS_CHANGES = ("engine_died", "engine_restarted", "front_end_died", "front_end_restarted", "out_of_files")
_LOG_GROWTH = math.log(BUCKET_GROWTH)
RequestKind = Literal["predict", "explain"]
REQUEST_KINDS: tuple[RequestKind, ...] = get_args(RequestKind)

#: What another process is sent, as JSON lists: number, num_requests, num_rows, num_errors, buckets, and of the errors
#: those that failed (5xx), were refused (429) and came too late (504).
SlotState = tuple[int, int, int, int, list[int], tuple[int, int, int]]
#: num_requests, num_rows, num_errors, and the slots that were used.
WindowState = tuple[int, int, int, list[SlotState]]
#: (name, version, kind, window) of each model's requests, and how often each of PROCESS_CHANGES came.
LiveState = tuple[list[tuple[str, str, RequestKind, WindowState]], dict[str, int]]


@dataclass(frozen=True, slots=True)
class GroupState:
    """What a front end of a group sends the others: its counts, its gauges, when it was started (s on the clock that
    they share), and its ring of the last hours for one that has just come, else ""."""

    live: LiveState
    gauges: tuple[float, ...] = ()
    started_s: float = 0.0
    ring: str = ""

    @classmethod
    def read(cls, state: Sequence[Any]) -> GroupState:
        """From the JSON list of to_list()."""
        live, gauges, started_s, ring = state
        return cls(tuple(live), tuple(gauges), started_s, ring)

    def to_list(self) -> list[Any]:
        return [self.live, self.gauges, self.started_s, self.ring]


class SlotSummary(TypedDict):
    """Rate and latencies (s) of one slot, as /v1/stats has them. None: no request was answered in it."""

    requests_per_s: float
    p50_s: float | None
    p99_s: float | None


class LatencySummary(TypedDict):
    """Latencies (s) of requests of one kind over the window: how many they are of, and by slot, oldest first."""

    num_requests: int
    p50_s: float | None
    p99_s: float | None
    history: list[SlotSummary]


class ModelSummary(TypedDict):
    """The figures of one model, as /v1/stats has them: totals since the start, the others over the window."""

    name: str
    version: str
    num_requests: int
    num_rows: int
    num_errors: int
    requests_per_s: float
    rows_per_s: float
    latency_p50_s: float | None
    latency_p99_s: float | None
    slot_s: int
    history: list[SlotSummary]  # oldest first
    latency: dict[RequestKind, LatencySummary]  # of predictions and of explanations, each by itself


class LiveSnapshot(TypedDict):
    """The answer of /v1/stats."""

    uptime_s: float
    window_s: float
    models: list[ModelSummary]
    processes: dict[str, int]  # by PROCESS_CHANGES, since the start


class LiveStats:
    """Requests by model over the last five minutes, and since the start."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self.started_s = clock()
        self.on_slot: Callable[[], None] = lambda: None  # called when a slot is over, by the first request behind it
        self._models: dict[tuple[str, str, RequestKind], SlidingWindow] = {}
        self._changes: Counter[str] = Counter()  # of processes and files since the start, by PROCESS_CHANGES
        self._slot = 0  # of the pending events
        self._pending: list[Event] = []  # not counted yet: counted together they cost a tenth

    def emit(self, event: Event) -> None:
        if event.kind == "request":
            slot = int(self._clock()) // SLOT_S
            if slot != self._slot or len(self._pending) >= MAX_PENDING_EVENTS:
                self._count_pending()
                if slot != self._slot:
                    self._slot = slot
                    self.on_slot()
            self._pending.append(event)
        elif event.kind == "server" and (change := event.fields.get("change")) is not None:
            self._changes[f"{event.fields['process']}_{change}" if "process" in event.fields else change] += 1

    def _count_pending(self) -> None:
        """Add the pending events to the windows of their models."""
        by_model: defaultdict[tuple[str, str, RequestKind], list[Event]] = defaultdict(list)
        for event in self._pending:
            fields = event.fields
            if event.model_name and fields.get("method") == "POST":
                kind: RequestKind = "explain" if "explains" in fields else "predict"
                by_model[event.model_name, event.model_version, kind].append(event)
        self._pending = []
        for key, events in by_model.items():
            self._models.setdefault(key, SlidingWindow()).add(self._slot, events)

    def state(self) -> LiveState:
        """All counts in a form that JSON holds, for another process of the same machine, whose clock is the same."""
        self._count_pending()
        return [(*key, window.state()) for key, window in self._models.items()], dict(self._changes)

    def snapshot(self, others: Iterable[LiveState] = ()) -> LiveSnapshot:
        """One object per model that answered: totals, and rates and latency quantiles over the window; and how often
        processes died and were started again, and files ran out, since the start.

        `others` are states of other processes, which count as well.
        """
        now_s = self._clock()
        uptime_s = now_s - self.started_s
        windows: dict[tuple[str, str], ModelWindows] = {}
        changes: Counter[str] = Counter()
        for model_states, change_counts in (self.state(), *others):
            changes.update(change_counts)
            for name, version, kind, state in model_states:
                windows.setdefault((name, version), ModelWindows()).merge(kind, state)
        slot = int(now_s) // SLOT_S
        models = [model.summary(*key, slot, uptime_s) for key, model in windows.items()]
        return {
            "uptime_s": uptime_s,
            "window_s": min(uptime_s, SLOT_S * NUM_SLOTS),
            "models": models,
            "processes": {name: changes[name] for name in PROCESS_CHANGES},
        }


class SlidingWindow:
    """A ring of time slots, each with counts and a latency histogram."""

    def __init__(self) -> None:
        self.num_requests = self.num_rows = self.num_errors = 0
        self._slots = [TimeSlot(-1) for _ in range(NUM_SLOTS)]

    def add(self, number: int, events: Sequence[Event]) -> None:
        """Requests that were answered in the slot `number`."""
        num_rows = sum([event.num_rows for event in events])
        num_errors = sum([event.status >= 400 for event in events])
        buckets = np.bincount(bucket_indices([event.duration_s for event in events]), minlength=NUM_BUCKETS).tolist()
        errors = [event.status for event in events if event.status >= 400] if num_errors else []
        kinds = sum(status >= 500 for status in errors), errors.count(429), errors.count(504)
        self.merge((len(events), num_rows, num_errors, [(number, len(events), num_rows, num_errors, buckets, kinds)]))

    def state(self) -> WindowState:
        """Totals, and each slot that was used."""
        slots = [slot.state() for slot in self._slots if slot.number >= 0]
        return self.num_requests, self.num_rows, self.num_errors, slots

    def merge(self, state: WindowState) -> None:
        """Add the counts of another window."""
        num_requests, num_rows, num_errors, slots = state
        self.num_requests += num_requests
        self.num_rows += num_rows
        self.num_errors += num_errors
        for state_of_slot in slots:
            number = state_of_slot[0]
            slot = self._slots[number % NUM_SLOTS]
            if slot.number < number:
                slot = self._slots[number % NUM_SLOTS] = TimeSlot(number)
            if slot.number == number:
                slot.add(state_of_slot)

    def recent_slots(self, number: int) -> dict[int, TimeSlot]:
        """The slots of the window by their number, when the slot is `number`."""
        return {slot.number: slot for slot in self._slots if number - NUM_SLOTS < slot.number <= number}

    def latency(self, number: int, first: int) -> LatencySummary:
        """Latencies over the window, when the slot is `number`; `first` is the first slot of the history."""
        recent = self.recent_slots(number)
        buckets = [sum(column) for column in zip(*(slot.buckets for slot in recent.values()), strict=True)]
        empty = TimeSlot(-1)
        return {
            "num_requests": sum(slot.num_requests for slot in recent.values()),
            "p50_s": quantile(buckets, 0.50),
            "p99_s": quantile(buckets, 0.99),
            "history": [recent.get(slot, empty).summary() for slot in range(first, number + 1)],
        }


class ModelWindows:
    """The requests of one model: all of them, and each kind by itself."""

    def __init__(self) -> None:
        self._all = SlidingWindow()
        self._kinds: dict[RequestKind, SlidingWindow] = {kind: SlidingWindow() for kind in REQUEST_KINDS}

    def merge(self, kind: RequestKind, state: WindowState) -> None:
        """Add the counts of a window of that kind."""
        self._all.merge(state)
        self._kinds[kind].merge(state)

    def summary(self, name: str, version: str, number: int, uptime_s: float) -> ModelSummary:
        """The figures of the model of that name and version, when the slot is `number`."""
        recent = self._all.recent_slots(number)
        first = min(recent, default=number)
        latency = self._all.latency(number, first)
        span_s = min(max(uptime_s, 1.0), SLOT_S * NUM_SLOTS)
        return {
            "name": name,
            "version": version,
            "num_requests": self._all.num_requests,
            "num_rows": self._all.num_rows,
            "num_errors": self._all.num_errors,
            "requests_per_s": latency["num_requests"] / span_s,
            "rows_per_s": sum(slot.num_rows for slot in recent.values()) / span_s,
            "latency_p50_s": latency["p50_s"],
            "latency_p99_s": latency["p99_s"],
            "slot_s": SLOT_S,
            "history": latency["history"],
            "latency": {kind: window.latency(number, first) for kind, window in self._kinds.items()},
        }


class TimeSlot:
    """The counts of SLOT_S seconds."""

    __slots__ = (
        "buckets", "num_errors", "num_failed", "num_late", "num_refused", "num_requests", "num_rows", "number",
    )  # fmt: skip

    def __init__(self, number: int) -> None:
        self.number = number
        self.num_requests = self.num_rows = self.num_errors = 0
        self.num_failed = self.num_refused = self.num_late = 0  # of the errors
        self.buckets = [0] * NUM_BUCKETS

    def add(self, state: SlotState) -> None:
        """Add the counts of the same seconds."""
        _, requests, rows, errors, buckets, (failed, refused, late) = state
        self.num_requests += requests
        self.num_rows += rows
        self.num_errors += errors
        self.num_failed += failed
        self.num_refused += refused
        self.num_late += late
        self.buckets = [one + other for one, other in zip(self.buckets, buckets, strict=True)]

    def state(self) -> SlotState:
        kinds = self.num_failed, self.num_refused, self.num_late
        return self.number, self.num_requests, self.num_rows, self.num_errors, self.buckets, kinds

    def summary(self) -> SlotSummary:
        return {
            "requests_per_s": self.num_requests / SLOT_S,
            "p50_s": quantile(self.buckets, 0.50),
            "p99_s": quantile(self.buckets, 0.99),
        }


def merged_slots(states: Iterable[LiveState], number: int) -> dict[int, tuple[TimeSlot, TimeSlot]]:
    """The slots of the window by their number, when the slot is `number`, over all models of several processes: all
    requests, and the predictions alone."""
    merged: dict[int, tuple[TimeSlot, TimeSlot]] = {}
    for models, _ in states:
        for _, _, kind, (*_, slots) in models:
            for state in slots:
                if number - NUM_SLOTS < state[0] <= number:
                    both = merged.setdefault(state[0], (TimeSlot(state[0]), TimeSlot(state[0])))
                    for slot in both if kind == "predict" else both[:1]:
                        slot.add(state)
    return merged


def bucket_indices(durations_s: Sequence[float]) -> NDArray[np.intp]:
    """The bucket of each latency; the first and the last take what lies beyond."""
    steps = np.log(np.maximum(durations_s, FIRST_BUCKET_S) / FIRST_BUCKET_S) / _LOG_GROWTH
    return np.minimum(np.rint(steps), NUM_BUCKETS - 1).astype(np.intp)


def quantile(buckets: list[int], share: float) -> float | None:
    """The latency (s, 3 digits) that `share` of the counted requests do not exceed; None when none was counted."""
    wanted = math.ceil(share * sum(buckets))
    if wanted == 0:
        return None
    index = next(i for i, reached in enumerate(itertools.accumulate(buckets)) if reached >= wanted)
    return float(f"{FIRST_BUCKET_S * BUCKET_GROWTH**index:.3g}")
