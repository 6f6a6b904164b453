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
        arena=np.zeros((8 * FIRST_EVENTS, 3 if plan.hidden.is_on else 2), np.int64),
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
        return _compact_arena(plan, state)
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


def digest_state(plan: Plan, state: State) -> str:
    """SHA-256 of what a state knows, wherever it lies in memory: the same for two stores that got the same events and
    verdicts, and forgot keys at the same times."""
    digest = hashlib.sha256()
    for name, array in _canonical_arrays(plan, state).items():
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _canonical_arrays(plan: Plan, state: State) -> Mapping[str, Values]:
    """Keys in the order of their codes, places counted from the first event that is kept, rings from their oldest."""
    slots = _live_slots(plan, state)
    slots = slots[np.lexsort((state.longs[slots, layout.CODE], state.words[slots, layout.GROUP]))]
    words, longs = state.words[slots], state.longs[slots]
    start, number = words[:, layout.START].copy(), words[:, layout.END] - words[:, layout.START]
    width = plan.windows.shape[1]
    for field in (layout.END, layout.LABELED, layout.LAST_GENUINE, layout.LAST_FRAUD):
        words[:, field] = np.maximum(words[:, field] - start, -1)
    places = slice(layout.NUM_WORDS, layout.NUM_WORDS + 2 * width)
    words[:, places] = np.maximum(words[:, places] - start[:, None], 0)
    words[:, [layout.START, layout.SIZE_CLASS]] = 0
    events = _gather(state.arena, longs[:, layout.BLOCK] + start, number)
    longs[:, layout.BLOCK] = 0
    counters = state.counters
    known = np.arange(counters[layout.TAIL], counters[layout.HEAD]) & (len(state.ids) - 1)
    kept = np.arange(counters[layout.ANSWERS_TAIL], counters[layout.HEAD]) & (len(state.answers) - 1)
    counted = counters[[layout.WATERMARK, *range(layout.NUM_COUNTERS, len(counters))]]
    return {
        "words": words, "longs": longs, "events": events, "ids": state.ids[known], "times": state.times[known],
        "answers": state.answers[kept], "counters": counted,
    }  # fmt: skip


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
    return _with_room(state)


def _with_room(state: State) -> State:
    """An eighth more room for events: a snapshot has none, and the first key that outgrew its block would have all of
    them moved while somebody waits."""
    used = len(state.arena)
    arena = np.zeros((used + used // 8, state.arena.shape[1]), np.int64)
    arena[:used] = state.arena
    return state._replace(arena=arena)


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


def _live_slots(plan: Plan, state: State) -> Values:
    """The slots of keys, in their order."""
    num_groups, num_slots = len(plan.num_windows), int(state.counters[layout.NUM_SLOTS])
    return num_groups + np.flatnonzero(state.words[num_groups:num_slots, layout.GROUP] >= 0)


def _gather(arena: Values, first: Values, number: Values) -> Values:
    """The rows first..first+number of each of several blocks, one behind the other."""
    ends = np.cumsum(number, dtype=np.int64)
    return np.asarray(arena[np.repeat(first - (ends - number), number) + np.arange(ends[-1] if len(ends) else 0)])


def _compact_arena(plan: Plan, state: State) -> State:
    """Blocks one behind the other, without those that are free, and an eighth more room: when all keys are young they
    outgrow one size after the other, and leave more behind than they hold."""
    slots = _live_slots(plan, state)
    slots = slots[state.words[slots, layout.SIZE_CLASS] >= 0]
    sizes = state.sizes[state.words[slots, layout.SIZE_CLASS]]
    events = _gather(state.arena, state.longs[slots, layout.BLOCK], sizes)
    state.longs[slots, layout.BLOCK] = np.cumsum(sizes) - sizes
    state.free_blocks[:] = -1
    state.counters[layout.ARENA_END] = len(events)
    room = max(len(events) // 8, 2 * int(sizes.max(initial=0)) + 8 * FIRST_EVENTS)
    arena = np.zeros((len(events) + room, state.arena.shape[1]), np.int64)
    arena[: len(events)] = events
    return state._replace(arena=arena)


def _grow_slots(plan: Plan, state: State) -> State:
    number = len(state.words)
    if state.counters[layout.NUM_SLOTS] >= number:
        number = number * 5 // 4
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
