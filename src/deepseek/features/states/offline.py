"""The features of hidden states over a whole table: what the store answers event by event, to the bit."""

from __future__ import annotations

import numpy as np

from deepseek.extras import need
from deepseek.features.definition import FeatureDefinition
from deepseek.features.events import EventColumns, Longs, Values
from deepseek.features.hidden.tables import NUM_ANSWERS, HiddenTables


def compute_states(definition: FeatureDefinition, events: EventColumns) -> Values:
    """The answers (N, NUM_ANSWERS) of N events in the order of time: first what is believed at their cards, whose notes
    then tell the terminals which frauds have a cause of their own."""
    need("numba", extra="features")
    from deepseek.features.plan import make_plan

    tables = make_plan(definition).hidden
    values, notes = np.zeros((len(events), NUM_ANSWERS)), np.zeros((len(events), 2), np.int64)
    _answer_keys(definition, tables, events, tables.card, values, notes)
    _answer_keys(definition, tables, events, tables.terminal, values, notes)
    return values


def _answer_keys(
    definition: FeatureDefinition, tables: HiddenTables, events: EventColumns, key: int, values: Values, notes: Longs
) -> None:
    from deepseek.features.core.hidden import answer_keys
    from deepseek.features.core.layout import TAG_BITS

    _, code = np.unique(events.keys[key], return_inverse=True)
    order = np.argsort(code, kind="stable")
    starts = np.append(np.unique(code[order], return_index=True)[1], len(code))
    time = events.time[order]
    out_at = time + tables.delay
    fraud = np.zeros(len(events), bool) if events.fraud is None else events.fraud[order] == 1
    known_at = out_at
    if events.known is not None:
        known_at = np.maximum(out_at, events.known[order])
        fraud &= events.known[order] < time + definition.label_horizon
    late = fraud & (known_at > out_at)
    arena = np.empty((len(events), 3), np.int64)
    arena[:, 0], arena[:, 2] = time, notes[order, 1]
    arena[:, 1] = (events.amount[order] << (TAG_BITS + 1)) | (fraud & ~late)
    is_card = key == tables.card
    ordered, kept = values[order], notes[order]
    answer_keys(tables, arena, starts, known_at, late, is_card, ordered, kept)
    values[order], notes[order] = ordered, kept
