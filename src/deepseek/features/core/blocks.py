"""Records of keys and the blocks of their events: found by hash, moved to another size as they grow."""

from __future__ import annotations

from typing import Any

import numpy as np

from deepseek.features.core.compilation import compile_inline
from deepseek.features.core.layout import (
    ARENA,
    ARENA_END,
    BLOCK,
    CODE,
    END,
    FEW_EVENTS,
    FREE_SLOT,
    GROUP,
    LABELED,
    LAST_FRAUD,
    LAST_GENUINE,
    LATEST,
    NEED,
    NEVER,
    NUM_FREE,
    NUM_SLOTS,
    NUM_WORDS,
    SIZE_CLASS,
    SLOTS,
    START,
    State,
)


@compile_inline
def hash_code(code: int, group: int) -> int:
    """Splitmix64 of a code (Steele, Lea, Flood 2014), not below 0."""
    mixed = np.uint64(code) + np.uint64(group + 1) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return int((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(1))


@compile_inline
def copy_row(source: Any, target: Any) -> None:
    """By hand: an assignment of slices allocates memory, in case that they overlap."""
    for index in range(len(target)):
        target[index] = source[index]


@compile_inline
def fill_row(target: Any, first: int, value: int) -> None:
    """From `first` on."""
    for index in range(first, len(target)):
        target[index] = value


@compile_inline
def find_slot(state: State, code: int, group: int) -> int:
    """The slot of a key; -1 - its place in the table where it has none."""
    mask = len(state.table) - 1
    place = hash_code(code, group) & mask
    while state.table[place] != 0:
        slot = state.table[place]
        if state.longs[slot, CODE] == code and state.words[slot, GROUP] == group:
            return int(slot)
        place = (place + 1) & mask
    return -1 - place


@compile_inline
def find_or_add_slot(state: State, code: int, group: int) -> int:
    """The slot of a key, a new one where it has none; -1 where there is no room for one."""
    slot = find_slot(state, code, group)
    if slot >= 0:
        return slot
    place, counters = -1 - slot, state.counters
    slot = counters[FREE_SLOT]
    if slot > 0:
        counters[FREE_SLOT] = state.longs[slot, BLOCK]
        counters[NUM_FREE] -= 1
    elif counters[NUM_SLOTS] < len(state.words) and counters[NUM_SLOTS] * 4 < len(state.table) * 3:
        slot = counters[NUM_SLOTS]
        counters[NUM_SLOTS] += 1
    else:
        counters[NEED] = SLOTS
        return -1
    fill_row(state.words[slot], 0, 0)
    fill_row(state.longs[slot], 0, 0)
    state.words[slot, GROUP], state.words[slot, SIZE_CLASS] = group, -1
    state.words[slot, LAST_GENUINE], state.words[slot, LAST_FRAUD] = -1, -1
    state.longs[slot, CODE], state.longs[slot, LATEST] = code, NEVER
    state.table[place] = slot
    return int(slot)


@compile_inline
def make_room(plan: Any, state: State, slot: int) -> bool:
    """Whether the block of a slot has room for one event behind its last. Events that no window needs are dropped, or
    the block moves to one of another size."""
    words, longs, arena, sizes = state.words[slot], state.longs[slot], state.arena, state.sizes
    size_class, start, end = words[SIZE_CLASS], words[START], words[END]
    if size_class >= 0 and end < sizes[size_class]:
        return True
    live = end - start
    slack = live >> 3 if live > FEW_EVENTS else 0  # few are moved at each event, for less than a search costs
    target = np.searchsorted(sizes, live + 1 + slack)
    old = longs[BLOCK]
    if size_class >= 0 and size_class - 2 < target <= size_class:
        block = old
    else:
        block = state.free_blocks[target]
        if block >= 0:
            state.free_blocks[target] = arena[block, 0]
        elif state.counters[ARENA_END] + sizes[target] <= len(arena):
            block = state.counters[ARENA_END]
            state.counters[ARENA_END] += sizes[target]
        else:
            state.counters[NEED] = ARENA
            return False
        words[SIZE_CLASS] = target
    for index in range(live):
        arena[block + index, 0] = arena[old + start + index, 0]
        arena[block + index, 1] = arena[old + start + index, 1]
        if plan.hidden.is_on:
            arena[block + index, 2] = arena[old + start + index, 2]
    if block != old and size_class >= 0:
        arena[old, 0] = state.free_blocks[size_class]
        state.free_blocks[size_class] = old
    longs[BLOCK] = block
    words[START], words[END] = 0, live
    for field in (LABELED, LAST_GENUINE, LAST_FRAUD):
        words[field] = max(words[field] - start, -1)
    for field in range(NUM_WORDS, NUM_WORDS + 2 * plan.windows.shape[1]):
        words[field] = max(words[field] - start, 0)
    return True


@compile_inline
def first_after(arena: Any, low: int, high: int, time: int) -> int:
    """The first place in low..high whose event is later than `time`; high where none is."""
    while low < high:
        middle = (low + high) >> 1
        if arena[middle, 0] <= time:
            low = middle + 1
        else:
            high = middle
    return low
