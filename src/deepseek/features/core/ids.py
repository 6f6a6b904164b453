"""The ids that are known: a ring in the order of arrival with a table of hashes."""

from __future__ import annotations

from typing import Any

from deepseek.features.core.blocks import copy_row, hash_code
from deepseek.features.core.compilation import compile_inline
from deepseek.features.core.layout import (
    ANSWERS_TAIL,
    DUPLICATE,
    DUPLICATE_OLD,
    HEAD,
    ID_TAG_MASK,
    ROW_MASK,
    TAIL,
    WATERMARK,
    State,
)


@compile_inline
def make_tag(identity: int) -> int:
    """31 bits of an id; the place where its search begins. Ids that count up lie beside each other, eight to a line of
    the processor's cache."""
    return ((hash_code(identity >> 3, 0) << 3) | (identity & 7)) & ID_TAG_MASK


@compile_inline
def find_id(state: State, identity: int) -> int:
    """The place of an id in its table; -1 - the free place where it is not known."""
    mask = len(state.id_table) - 1
    tag = make_tag(identity)
    place = tag & mask
    while state.id_table[place] != 0:
        entry = state.id_table[place]
        if entry >> 32 == tag and state.ids[(entry & ROW_MASK) - 1] == identity:
            return place
        place = (place + 1) & mask
    return -1 - place


@compile_inline
def make_entry(identity: int, row: int) -> int:
    """What the table holds of an id at a row of the ring: a part of its hash, so that a search looks at few ids."""
    return (make_tag(identity) << 32) | (row + 1)


@compile_inline
def forget_ids(plan: Any, state: State) -> None:
    """Drops the ids and the answers that are too old to be asked for."""
    counters, table, last, mask = state.counters, state.id_table, len(state.ids) - 1, len(state.id_table) - 1
    limit = counters[WATERMARK] - plan.id_retention
    while counters[TAIL] < counters[HEAD] and state.times[counters[TAIL] & last] <= limit:
        hole = find_id(state, state.ids[counters[TAIL] & last])
        place = (hole + 1) & mask
        while table[place] != 0:  # entries behind move up, so that a search never ends too early
            home = (table[place] >> 32) & mask
            if ((place - home) & mask) >= ((place - hole) & mask):
                table[hole] = table[place]
                hole = place
            place = (place + 1) & mask
        table[hole] = 0
        counters[TAIL] += 1
    limit = counters[WATERMARK] - plan.duplicates
    tail = max(counters[ANSWERS_TAIL], counters[TAIL])
    while tail < counters[HEAD] and state.times[tail & last] <= limit:
        tail += 1
    counters[ANSWERS_TAIL] = tail


@compile_inline
def answer_known(state: State, place: int, answer: Any) -> int:
    """Writes the answer to an event that is known, where it is kept."""
    counters = state.counters
    number = counters[TAIL] + ((state.id_table[place] & ROW_MASK) - 1 - counters[TAIL]) & (len(state.ids) - 1)
    if number < counters[ANSWERS_TAIL]:
        return DUPLICATE_OLD
    copy_row(state.answers[number & (len(state.answers) - 1)], answer)
    return DUPLICATE
