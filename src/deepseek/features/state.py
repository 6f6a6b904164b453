"""The arrays of a store, and how they grow: tables and rings to twice their size, the others by less."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from deepseek.errors import IntegrityError
from deepseek.features.core import layout
from deepseek.features.core.layout import State
from deepseek.features.core.run import index_ids, index_keys
from deepseek.features.definition import MAX_KEYS
from deepseek.features.events import Values
from deepseek.features.plan import Plan

FIRST_SLOTS, FIRST_EVENTS = 64, 64
#: Sizes of blocks: four in each doubling, so that about an eighth of a block is empty.
BLOCK_SIZES = tuple(
    sorted({max(2, (4 + quarter) << power >> 2) for power in range(1, 24) for quarter in range(4)})
)  # fmt: skip


def empty_state(plan: Plan) -> State:
    """The state before the first event."""
    num_keys, width = plan.windows.shape
    has_squares = bool(plan.has_squares.any())
    counters = np.zeros(layout.NUM_COUNTERS + 2 * layout.NUM_STATUSES, np.int64)
    counters[layout.NUM_SLOTS] = num_keys  # the first records belong to late events
    counters[layout.WATERMARK] = layout.NEVER
    return State(
        words=np.zeros((FIRST_SLOTS + MAX_KEYS, layout.NUM_WORDS + 3 * width), np.int32),
        longs=np.zeros((FIRST_SLOTS + MAX_KEYS, layout.NUM_LONGS + width * (3 if has_squares else 1)), np.int64),
        table=np.zeros(2 * FIRST_SLOTS, np.int32),
        arena=np.zeros((8 * FIRST_EVENTS, 2), np.int64),
        sizes=np.array(BLOCK_SIZES, np.int64),
        free_blocks=np.full(len(BLOCK_SIZES), -1, np.int64),
        ids=np.zeros(FIRST_EVENTS, np.int64),
        times=np.zeros(FIRST_EVENTS, np.int64),
        slots=np.zeros((FIRST_EVENTS, num_keys), np.int32),
        id_table=np.zeros(2 * FIRST_EVENTS, np.int64),
        answers=np.zeros((FIRST_EVENTS, len(plan.features)), np.float64),
        counters=counters,
    )


def grow(plan: Plan, state: State) -> State:
    """A state with more room for what `counters[NEED]` says is too small."""
    need = int(state.counters[layout.NEED])
    state.counters[layout.NEED] = layout.NOTHING
    if need == layout.SLOTS:
        return _grow_slots(plan, state)
    if need == layout.ARENA:
        # A block may be larger than half of what there is.
        size = int(max(len(state.arena) * 5 // 4, len(state.arena) + state.sizes[-1] // 64))
        return state._replace(arena=_longer(state.arena, size))
    if need == layout.EVENTS:
        return _grow_events(state)
    first, last = int(state.counters[layout.ANSWERS_TAIL]), int(state.counters[layout.HEAD])
    return state._replace(answers=_longer_ring(state.answers, first, last, 2 * len(state.answers)))


def count_bytes(state: State) -> Mapping[str, int]:
    """The memory of the arrays: `keys` (records, events, table), `ids`, `answers`, and the `total`."""
    groups = {"keys": ("words", "longs", "table", "arena"), "ids": ("ids", "times", "slots", "id_table")}
    sizes = {group: sum(getattr(state, name).nbytes for name in names) for group, names in groups.items()}
    return {**sizes, "answers": state.answers.nbytes, "total": sum(array.nbytes for array in state)}


def count_key_bytes(plan: Plan, state: State) -> tuple[int, ...]:
    """Of each key (K,) its share of the memory of `keys`: by records, and by the sizes of the blocks of its events."""
    num_slots, num_groups = int(state.counters[layout.NUM_SLOTS]), len(plan.num_windows)
    group = state.words[num_groups:num_slots, layout.GROUP]
    sizes = state.sizes[np.maximum(state.words[num_groups:num_slots, layout.SIZE_CLASS], 0)]
    records = np.array([np.sum(group == place) for place in range(num_groups)])
    blocks = np.array([np.sum(sizes[group == place]) for place in range(num_groups)])
    record_bytes = state.words.nbytes + state.longs.nbytes + state.table.nbytes
    shares = record_bytes * records / max(records.sum(), 1) + state.arena.nbytes * blocks / max(blocks.sum(), 1)
    return tuple(int(share) for share in shares)


def digest_state(state: State) -> str:
    """SHA-256 of all arrays: of two stores that got the same events and verdicts in the same order it is the same."""
    digest = hashlib.sha256()
    for name, array in used_arrays(state).items():
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def used_arrays(state: State) -> Mapping[str, Values]:
    """What a snapshot holds: every array but the tables, which follow from the others, and the room for more."""
    num_slots, arena_end = int(state.counters[layout.NUM_SLOTS]), int(state.counters[layout.ARENA_END])
    return {
        "words": state.words[:num_slots], "longs": state.longs[:num_slots], "arena": state.arena[:arena_end],
        "free_blocks": state.free_blocks, "ids": state.ids, "times": state.times, "slots": state.slots,
        "answers": state.answers, "counters": state.counters,
    }  # fmt: skip


def restore_state(plan: Plan, arrays: Mapping[str, Values]) -> State:
    """The state that a snapshot holds, its tables filled anew."""
    num_slots, num_ids = len(arrays["words"]), len(arrays["ids"])
    fresh = empty_state(plan)
    names = set(used_arrays(fresh))
    if set(arrays) != names or any(arrays[name].dtype != getattr(fresh, name).dtype for name in names):
        raise IntegrityError(
            "the snapshot has other arrays", expected=", ".join(sorted(names)), fix="bring it back from a copy"
        )
    state = fresh._replace(
        **{name: arrays[name].copy() for name in names},
        table=np.zeros(_table_size(num_slots), np.int32),
        id_table=np.zeros(_table_size(num_ids), np.int64),
    )
    index_keys(state, len(plan.num_windows))
    index_ids(state)
    return state


def fill_key_table(plan: Plan, state: State) -> None:
    """Fills the table of keys anew."""
    state.table[:] = 0
    index_keys(state, len(plan.num_windows))


def _table_size(number: int) -> int:
    """The power of two of which at most three quarters are used."""
    size = 2 * FIRST_SLOTS
    while number * 4 >= size * 3:
        size *= 2
    return size


def _grow_slots(plan: Plan, state: State) -> State:
    number = len(state.words)
    if state.counters[layout.NUM_SLOTS] >= number:
        number = number * 3 // 2
    state = state._replace(words=_longer(state.words, number), longs=_longer(state.longs, number))
    if state.counters[layout.NUM_SLOTS] * 4 >= len(state.table) * 3:
        state = state._replace(table=np.zeros(_table_size(number), np.int32))
        fill_key_table(plan, state)
    return state


def _grow_events(state: State) -> State:
    first, last = int(state.counters[layout.TAIL]), int(state.counters[layout.HEAD])
    size = 2 * len(state.ids)
    rings = [_longer_ring(ring, first, last, size) for ring in (state.ids, state.times, state.slots)]
    state = state._replace(ids=rings[0], times=rings[1], slots=rings[2], id_table=np.zeros(_table_size(size), np.int64))
    index_ids(state)
    return state


def _longer(array: Values, size: int) -> Values:
    longer = np.zeros((size, *array.shape[1:]), array.dtype)
    longer[: len(array)] = array
    return longer


def _longer_ring(ring: Values, first: int, last: int, size: int) -> Values:
    """A ring with `size` places that holds the entries with the running numbers first to last."""
    longer = np.zeros((size, *ring.shape[1:]), ring.dtype)
    while first < last:  # a run to the end of either ring at a time
        number = min(last - first, len(ring) - first % len(ring), size - first % size)
        longer[first % size : first % size + number] = ring[first % len(ring) : first % len(ring) + number]
        first += number
    return longer
