"""The windows of a key: moved on with time, read at an earlier time, told of an event and of a verdict."""

from __future__ import annotations

from typing import Any

from deepseek.features.core.blocks import copy_row, fill_row, first_after
from deepseek.features.core.compilation import compile_inline, compile_once
from deepseek.features.core.layout import (
    BLOCK,
    END,
    HALF_BITS,
    KNOWN_FRAUDS,
    LABELED,
    LAST_FRAUD,
    LAST_GENUINE,
    LATEST,
    NUM_LONGS,
    NUM_WORDS,
    SQUARE_BITS,
    START,
    TAG_BITS,
    TAG_MASK,
    State,
)


@compile_inline
def add_to_sums(plan: Any, longs: Any, group: int, window: int, amount: int, sign: int) -> None:
    """An amount into the sums of a window (sign 1), or out of them (-1)."""
    width = plan.windows.shape[1]
    if plan.has_sums[group]:
        longs[NUM_LONGS + window] += sign * amount
    if plan.has_squares[group]:
        upper, lower = amount >> HALF_BITS, amount & ((1 << HALF_BITS) - 1)
        middle = 2 * upper * lower
        low = ((middle & ((1 << HALF_BITS) - 1)) << HALF_BITS) + lower * lower
        high = upper * upper + (middle >> HALF_BITS) + (low >> SQUARE_BITS)
        longs[NUM_LONGS + width + 2 * window] += sign * high
        longs[NUM_LONGS + width + 2 * window + 1] += sign * (low & ((1 << SQUARE_BITS) - 1))


@compile_inline
def advance_windows(plan: Any, state: State, slot: int, group: int, now: int) -> None:
    """Moves the windows of a key on to `now`, which is not before its latest event."""
    words, longs, arena = state.words[slot], state.longs[slot], state.arena
    block, end, width = longs[BLOCK], words[END], plan.windows.shape[1]
    longs[LATEST] = now
    if plan.has_windows[group]:
        for window in range(plan.num_windows[group]):
            place, limit = words[NUM_WORDS + window], now - plan.windows[group, window]
            while place < end and arena[block + place, 0] <= limit:
                add_to_sums(plan, longs, group, window, arena[block + place, 1] >> (TAG_BITS + 1), -1)
                place += 1
            words[NUM_WORDS + window] = place
    if plan.has_labels[group]:
        place, limit = words[LABELED], now - plan.delay
        while place < end and arena[block + place, 0] <= limit:
            if arena[block + place, 1] & 1:
                words[LAST_FRAUD] = place
                words[KNOWN_FRAUDS] += 1
                for window in range(plan.num_windows[group]):
                    words[NUM_WORDS + 2 * width + window] += 1
            else:
                words[LAST_GENUINE] = place
            place += 1
        words[LABELED] = place
        for window in range(plan.num_windows[group]):
            first, limit = words[NUM_WORDS + width + window], now - plan.delay - plan.windows[group, window]
            while first < place and arena[block + first, 0] <= limit:
                words[NUM_WORDS + 2 * width + window] -= arena[block + first, 1] & 1
                first += 1
            words[NUM_WORDS + width + window] = first
    start, limit = words[START], now - plan.retention[group]
    while start < end and arena[block + start, 0] <= limit:
        start += 1
    words[START] = start


@compile_once
def read_record_at(plan: Any, state: State, slot: int, group: int, now: int) -> None:
    """Fills the record `group`, which is no key's, with the windows of a key at a time before its latest event."""
    words, longs, arena = state.words[group], state.longs[group], state.arena
    copy_row(state.words[slot], words)
    copy_row(state.longs[slot], longs)
    block, width = longs[BLOCK], plan.windows.shape[1]
    low, high = block + words[START], block + words[END]
    end = first_after(arena, low, high, now)
    words[END] = end - block
    fill_row(longs, NUM_LONGS, 0)
    labeled = first_after(arena, low, end, now - plan.delay)
    for window in range(plan.num_windows[group]):
        first = first_after(arena, low, end, now - plan.windows[group, window])
        words[NUM_WORDS + window] = first - block
        for place in range(first, end):
            add_to_sums(plan, longs, group, window, arena[place, 1] >> (TAG_BITS + 1), 1)
        first = first_after(arena, low, labeled, now - plan.delay - plan.windows[group, window])
        words[NUM_WORDS + width + window] = first - block
        frauds = 0
        for place in range(first, labeled):
            frauds += arena[place, 1] & 1
        words[NUM_WORDS + 2 * width + window] = frauds
    if plan.has_labels[group]:
        for place in range(labeled, block + words[LABELED]):
            words[KNOWN_FRAUDS] -= arena[place, 1] & 1
        words[LABELED] = labeled - block
        words[LAST_GENUINE], words[LAST_FRAUD] = -1, -1
        for place in range(low, labeled):
            words[LAST_FRAUD if arena[place, 1] & 1 else LAST_GENUINE] = place - block


@compile_inline
def keep_event(plan: Any, state: State, slot: int, group: int, now: int, value: int, note: int) -> None:
    """Puts an event into the block of its key and into the windows that hold it. There is room. `note`: kept where the
    definition has hidden states."""
    words, longs, arena = state.words[slot], state.longs[slot], state.arena
    block, end, width = longs[BLOCK], words[END], plan.windows.shape[1]
    latest, amount = longs[LATEST], value >> (TAG_BITS + 1)
    place = end
    while place > words[START] and arena[block + place - 1, 0] > now:
        arena[block + place, 0], arena[block + place, 1] = arena[block + place - 1, 0], arena[block + place - 1, 1]
        if plan.hidden.is_on:
            arena[block + place, 2] = arena[block + place - 1, 2]
        place -= 1
    arena[block + place, 0], arena[block + place, 1] = now, value
    if plan.hidden.is_on:
        arena[block + place, 2] = note
    words[END] = end + 1
    for window in range(plan.num_windows[group]):
        if now > latest - plan.windows[group, window]:
            add_to_sums(plan, longs, group, window, amount, 1)
        else:
            words[NUM_WORDS + window] += 1
        if plan.has_labels[group] and now <= latest - plan.delay - plan.windows[group, window]:
            words[NUM_WORDS + width + window] += 1
    if plan.has_labels[group] and now <= latest - plan.delay:  # so late that it counts as genuine at once
        words[LABELED] += 1
        words[LAST_FRAUD] += words[LAST_FRAUD] >= place
        words[LAST_GENUINE] = max(words[LAST_GENUINE] + (words[LAST_GENUINE] >= place), place)


@compile_once
def set_verdict(plan: Any, state: State, slot: int, group: int, time: int, tag: int, fraud: int) -> None:
    """A verdict on an event of a key. Of two events of one key, one tick and one tag (22 bits) the first gets it: what
    is counted is the same."""
    words, longs, arena = state.words[slot], state.longs[slot], state.arena
    block, width = longs[BLOCK], plan.windows.shape[1]
    end = block + words[END]
    place = first_after(arena, block + words[START], end, time - 1)
    while place < end and arena[place, 0] == time and ((arena[place, 1] >> 1) & TAG_MASK) != tag:
        place += 1
    if place >= end or arena[place, 0] != time or (arena[place, 1] & 1) == fraud:
        return
    arena[place, 1] ^= 1
    place -= block
    if place >= words[LABELED]:
        return  # it counts when the delay is over
    sign = 1 if fraud else -1
    words[KNOWN_FRAUDS] += sign
    for window in range(plan.num_windows[group]):
        if place >= words[NUM_WORDS + width + window]:
            words[NUM_WORDS + 2 * width + window] += sign
    won, lost = (LAST_FRAUD, LAST_GENUINE) if fraud else (LAST_GENUINE, LAST_FRAUD)
    words[won] = max(words[won], place)
    if words[lost] == place:
        place -= 1
        while place >= words[START] and (arena[block + place, 1] & 1) == fraud:
            place -= 1
        words[lost] = place if place >= words[START] else -1
