"""The features of events as they come: a store in this process.

    store = FeatureStore.open(None, definition)        # in memory
    scores = store.score(events)                       # reads and updates, one event after the other
    store.label(ids, fraud)                            # verdicts, days later

Of every event that is accepted the answer is what `compute_offline` gives to the bit, where events come in the order of
time. What comes late, but within the stated bound, is answered as of its own time, and counts for all that follow.
"""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

from deepseek.errors import InputError
from deepseek.extras import need
from deepseek.features.core import layout
from deepseek.features.definition import FeatureDefinition
from deepseek.features.events import EventColumns, Longs
from deepseek.features.plan import make_plan
from deepseek.features.status import Scores, Status


class FeatureStore:
    """The state of all keys, and what it answers. One thread at a time."""

    def __init__(self, definition: FeatureDefinition) -> None:
        need("numba", extra="features")
        from deepseek.features import state
        from deepseek.features.core import run

        self.definition = definition
        self.names = definition.names
        self._plan = make_plan(definition)
        self._core, self._arrays = run, state
        self._state = state.empty_state(self._plan)

    @classmethod
    def open(
        cls,
        folder: None,  # noqa: ARG003
        definition: FeatureDefinition,
    ) -> FeatureStore:
        """A store in memory (`folder` None)."""
        return cls(definition)

    def score(self, events: EventColumns) -> Scores:
        """Answers events one after the other, and keeps each: the second of two events sees the first."""
        if len(events.keys) != len(self.definition.keys):
            raise InputError(
                f"the events have {len(events.keys)} keys", expected=f"{len(self.definition.keys)}",
                fix="make them by EventColumns.from_columns with the store's definition",
            )  # fmt: skip
        features = np.full((len(events), len(self.names)), np.nan)
        status = np.zeros(len(events), np.int8)
        keys = np.stack(events.keys, axis=1)
        slots = np.empty(len(events.keys), np.int32)
        row = 0
        while True:
            row = self._core.score_events(
                self._plan, self._state, events.time, events.amount, keys, events.id, row, slots, features, status
            )
            if self._state.counters[layout.NEED] == layout.NOTHING:
                return Scores(self.names, features, status)
            self._state = self._arrays.grow(self._plan, self._state)

    def label(self, ids: Longs, fraud: Longs, time: int | None = None) -> np.ndarray[tuple[int], np.dtype[np.int8]]:
        """Verdicts (N,) on events by the codes of their ids: 1 is fraud, 0 takes an earlier 1 back. `time`: when they
        came, in ticks; None: with the latest event. They count from `label_delay` after their event. Gives the Status
        of each (N,)."""
        if len(ids) != len(fraud) or not np.isin(fraud, (0, 1)).all():
            raise InputError("the verdicts do not fit the ids", expected="0 or 1 for each id", fix="check their source")
        status = np.zeros(len(ids), np.int8)
        when = layout.NEVER if time is None else time
        self._core.label_events(
            self._plan, self._state, np.asarray(ids, np.int64), np.asarray(fraud, np.int64), when, status
        )
        return status

    @property
    def num_keys(self) -> int:
        """Keys that something is kept of, of all kinds."""
        return int(self._state.counters[layout.NUM_SLOTS]) - len(self.definition.keys)

    @property
    def size_bytes(self) -> int:
        """The memory of the state."""
        return self._arrays.count_bytes(self._state)

    @property
    def counts(self) -> MappingProxyType[str, int]:
        """How many events had which status, by its name in small letters; of verdicts as "label_" and the name."""
        first = layout.NUM_COUNTERS
        counters = self._state.counters[first:].tolist()
        events = {status.name.lower(): counters[status] for status in list(Status)[:8]}
        verdicts = (Status.ACCEPTED, Status.UNKNOWN_ID, Status.LABEL_LATE)
        labels = {f"label_{status.name.lower()}": counters[layout.NUM_STATUSES + status] for status in verdicts}
        return MappingProxyType({**events, **labels})
