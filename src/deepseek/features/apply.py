"""Events and verdicts into a state, and what no window needs out of it."""

from __future__ import annotations

import numpy as np

from deepseek.features.core import layout
from deepseek.features.core.layout import State
from deepseek.features.core.run import label_events, score_events
from deepseek.features.events import EventColumns, Longs
from deepseek.features.plan import Plan
from deepseek.features.state import fill_key_table, grow
from deepseek.features.status import Bytes, Doubles


def apply_events(plan: Plan, state: State, events: EventColumns) -> tuple[State, Doubles, Bytes]:
    """The state behind N events; their features (N, F), NaN where one is refused; the Status of each (N,)."""
    features = np.full((len(events), len(plan.features)), np.nan)
    status = np.zeros(len(events), np.int8)
    time, amount, ids = (_as_compiled(column) for column in (events.time, events.amount, events.id))
    keys, slots = np.stack(events.keys, axis=1), np.empty(len(events.keys), np.int32)
    row = 0
    while True:
        row = score_events(plan, state, time, amount, keys, ids, row, slots, features, status)
        if state.counters[layout.NEED] == layout.NOTHING:
            return state, features, status
        state = grow(plan, state)


def apply_verdicts(plan: Plan, state: State, ids: Longs, fraud: Longs, time: int) -> Bytes:
    """Verdicts that came at `time`, into the state; the Status of each (N,)."""
    status = np.zeros(len(ids), np.int8)
    label_events(plan, state, _as_compiled(ids), _as_compiled(fraud), time, status)
    return status


def _as_compiled(column: Longs) -> Longs:
    """In the one form that the core is compiled for: an array that is read-only or strided would compile it anew."""
    flags = column.flags
    if column.dtype == np.int64 and flags.c_contiguous and flags.writeable:
        return column
    return np.require(column, np.int64, ["C", "W"])


def forget_keys(plan: Plan, state: State) -> int:
    """Frees the records and blocks of keys of which no answer can depend on any more, and says how many. A key with a
    known fraud stays: their number is kept for good."""
    num_slots, num_groups = int(state.counters[layout.NUM_SLOTS]), len(plan.num_windows)
    words, longs, arena = state.words[:num_slots], state.longs[:num_slots], state.arena
    limit = int(state.counters[layout.WATERMARK]) - plan.lateness - np.maximum(plan.retention, plan.id_retention)
    group = words[:, layout.GROUP]
    is_old = (group >= 0) & (longs[:, layout.LATEST] <= limit[group]) & (words[:, layout.KNOWN_FRAUDS] == 0)
    is_old[:num_groups] = False
    if state.counters[layout.WATERMARK] == layout.NEVER or not is_old.any():
        return 0
    old = np.flatnonzero(is_old)
    frauds = np.concatenate([[0], np.cumsum(arena[:, 1] & 1, dtype=np.int64)])
    block = longs[old, layout.BLOCK]
    is_clean = frauds[block + words[old, layout.END]] == frauds[block + words[old, layout.LABELED]]
    old, block = old[is_clean], block[is_clean]
    classes = words[old, layout.SIZE_CLASS]
    for size_class in np.unique(classes[classes >= 0]):
        freed = block[classes == size_class]
        arena[freed, 0] = np.concatenate([freed[1:], [state.free_blocks[size_class]]])
        state.free_blocks[size_class] = freed[0]
    if len(old):
        longs[old, layout.BLOCK] = np.concatenate([old[1:], [state.counters[layout.FREE_SLOT]]])
        longs[old, layout.CODE] = 0
        words[old, layout.GROUP] = -1
        state.counters[layout.FREE_SLOT] = old[0]
        state.counters[layout.NUM_FREE] += len(old)
        fill_key_table(plan, state)
    return len(old)
