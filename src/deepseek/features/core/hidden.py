"""The filters of hidden states on what the store keeps, over whole tables, and on the events of one key."""

from __future__ import annotations

from typing import Any

from deepseek.features.core.blocks import first_after
from deepseek.features.core.compilation import SOURCE, compile_cached, compile_inline, compile_once
from deepseek.features.core.layout import BLOCK, END, START, TAG_BITS
from deepseek.features.hidden.filters import answer_card, answer_terminal


@compile_inline
def answer_at_card(hidden: Any, arena: Any, low: int, high: int, time: int, amount: int) -> None:
    """One event by the events low..high of its card."""
    stop = first_after(arena, low, high, time)
    labeled = first_after(arena, low, stop, time - hidden.delay)
    first = first_after(arena, low, labeled, time - hidden.delay - hidden.window)
    answer_card(hidden, arena, first, stop, labeled, time, amount)


@compile_inline
def answer_at_terminal(hidden: Any, arena: Any, low: int, high: int, time: int) -> None:
    """One event by the events low..high of its terminal, once its card has been asked."""
    labeled = first_after(arena, low, high, time - hidden.delay)
    first = first_after(arena, low, labeled, time - hidden.delay - hidden.window)
    answer_terminal(hidden, arena, first, labeled, time)


@compile_once
def answer_hidden(hidden: Any, arena: Any, words: Any, longs: Any, slots: Any, time: int, amount: int) -> None:
    """The answers and notes of one event, by the records of its card and its terminal."""
    slot = slots[hidden.card]
    low, high = longs[slot, BLOCK] + words[slot, START], longs[slot, BLOCK] + words[slot, END]
    answer_at_card(hidden, arena, low, high, time, amount)
    slot = slots[hidden.terminal]
    low, high = longs[slot, BLOCK] + words[slot, START], longs[slot, BLOCK] + words[slot, END]
    answer_at_terminal(hidden, arena, low, high, time)


def _make_answer_keys(source: str) -> Any:
    @compile_cached
    def answer_keys(
        hidden: Any, arena: Any, starts: Any, known_at: Any, late: Any, is_card: bool, values: Any, notes: Any
    ) -> None:
        """Every event of a table at its cards, or at its terminals once that is done.

        arena (N, 3): as a store keeps the events, in the order of (key, time); notes of terminals filled in; starts
        (K + 1,): the first place of each key; known_at (N,) ticks: from when on a verdict counts; late (N,) bool: where
        that is after the delay; values (N, NUM_ANSWERS) and notes (N, 2), by place: what is filled in. Of terminals,
        `values` holds what the card said.
        """
        source  # noqa: B018
        for key in range(len(starts) - 1):
            low, is_late = starts[key], False
            for place in range(low, starts[key + 1]):
                time, amount = arena[place, 0], arena[place, 1] >> (TAG_BITS + 1)
                if is_late:
                    for before in range(low, place):
                        if late[before]:
                            arena[before, 1] = (arena[before, 1] | 1) ^ (known_at[before] > time)
                labeled = first_after(arena, low, place, time - hidden.delay)
                first = first_after(arena, low, labeled, time - hidden.delay - hidden.window)
                if is_card:
                    answer_card(hidden, arena, first, place, labeled, time, amount)
                    arena[place, 2] = hidden.notes[0]
                    notes[place, 0], notes[place, 1] = hidden.notes[0], hidden.notes[1]
                else:
                    hidden.answers[2] = values[place, 2]
                    answer_terminal(hidden, arena, first, labeled, time)
                for column in range(0 if is_card else 7, 7 if is_card else len(hidden.answers)):
                    values[place, column] = hidden.answers[column]
                is_late = is_late or late[place]

    return answer_keys


def _make_answer_event(source: str) -> Any:
    @compile_cached
    def answer_event(hidden: Any, arena: Any, is_card: bool, time: int, amount: int) -> None:
        """One event by all events of its card, or of its terminal: into the answers and notes of `hidden`.

        arena (N, 3) int64: time, 1 where the verdict is fraud, note; in the order of time, of one time in the order of
        arrival. Of a terminal, `hidden.answers` holds what the card said.
        """
        source  # noqa: B018
        if is_card:
            answer_at_card(hidden, arena, 0, len(arena), time, amount)
        else:
            answer_at_terminal(hidden, arena, 0, len(arena), time)

    return answer_event


answer_keys = _make_answer_keys(SOURCE)
answer_event = _make_answer_event(SOURCE)
