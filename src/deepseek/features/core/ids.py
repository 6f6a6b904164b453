"""The ids that are known: a ring in the order of arrival with a table of hashes."""

from __future__ import annotations

from typing import Any

from numba import njit

from deepseek.features.core.blocks import copy_row, hash_code
from deepseek.features.core.layout import ANSWERS_TAIL, DUPLICATE, DUPLICATE_OLD, HEAD, TAIL, WATERMARK, State


@njit(nogil=True, _nrt=False)
def find_id(state: State, identity: int) -> int:
    """The place of an id in its table; -1 - the free place where it is not known."""
    mask = len(state.id_table) - 1
    place = hash_code(identity, 0) & mask
    while state.id_table[place] != 0:
        if state.ids[state.id_table[place] - 1] == identity:
            return place
        place = (place + 1) & mask
    return -1 - place


@njit(nogil=True, _nrt=False)
def forget_ids(plan: Any, state: State) -> None:
    """Drops the ids and the answers that are too old to be asked for."""
    counters, table, size, mask = state.counters, state.id_table, len(state.ids), len(state.id_table) - 1
    limit = counters[WATERMARK] - plan.id_retention
    while counters[TAIL] < counters[HEAD] and state.times[counters[TAIL] % size] <= limit:
        hole = find_id(state, state.ids[counters[TAIL] % size])
        place = (hole + 1) & mask
        while table[place] != 0:  # entries behind move up, so that a search never ends too early
            home = hash_code(state.ids[table[place] - 1], 0) & mask
            if ((place - home) & mask) >= ((place - hole) & mask):
                table[hole] = table[place]
                hole = place
            place = (place + 1) & mask
        table[hole] = 0
        counters[TAIL] += 1
    limit = counters[WATERMARK] - plan.duplicates
    tail = max(counters[ANSWERS_TAIL], counters[TAIL])
    while tail < counters[HEAD] and state.times[tail % size] <= limit:
        tail += 1
    counters[ANSWERS_TAIL] = tail


@njit(nogil=True, _nrt=False)
def answer_known(state: State, place: int, answer: Any) -> int:
    """Writes the answer to an event that is known, where it is kept."""
    counters, size = state.counters, len(state.ids)
    number = counters[TAIL] + (state.id_table[place] - 1 - counters[TAIL]) % size
    if number < counters[ANSWERS_TAIL]:
        return DUPLICATE_OLD
    copy_row(state.answers[number % len(state.answers)], answer)
    return DUPLICATE
