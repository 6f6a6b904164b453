"""A definition as numbers: what the store's core reads for every event. No names, no branches on text."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from deepseek.features.core import layout
from deepseek.features.definition import (
    CARD_STATE_FEATURES,
    EVENT_FEATURES,
    HISTORY_FEATURES,
    KEY_FEATURES,
    STATE_FEATURES,
    TERMINAL_STATE_FEATURES,
    TICKS_PER_SECOND,
    WINDOW_FEATURES,
    WINDOWED,
    Feature,
    FeatureDefinition,
    has_labels,
)
from deepseek.features.events import Longs
from deepseek.features.hidden.tables import HiddenTables, make_tables

#: The number of each kind of feature in `Plan.features`.
KINDS: dict[str, int] = {kind: getattr(layout, kind.upper()) for kind in (*EVENT_FEATURES, *WINDOWED, *KEY_FEATURES)}


class Plan(NamedTuple):
    """K keys of at most W windows, F features; durations in ticks. A tuple of arrays is what numba takes apart."""

    features: Longs  # (F, 3): kind, key (-1: none), window (-1: none)
    num_windows: Longs  # (K,)
    windows: Longs  # (K, W), ascending; 0 beyond num_windows
    has_labels: Longs  # (K,): 0 or 1
    has_windows: Longs  # (K,): 0 or 1; whether a feature needs the windows that end with the event
    has_sums: Longs  # (K,): 0 or 1; and sums over them
    has_squares: Longs  # (K,): 0 or 1
    retention: Longs  # (K,): how long an event is kept behind the latest of its key
    delay: int
    lateness: int
    ahead: int
    label_horizon: int  # a verdict on an event that is as old as this changes nothing
    duplicates: int  # answers are kept for this long
    id_retention: int  # ids are known for this long
    ticks_per_second: int
    scale: int  # smallest units in the unit of amounts
    hidden: HiddenTables


def make_plan(definition: FeatureDefinition) -> Plan:
    """The numbers of a definition."""
    keys = list(definition.keys.values())
    windows = np.zeros((len(keys), max(len(key.windows) for key in keys)), np.int64)
    for place, key in enumerate(keys):
        windows[place, : len(key.windows)] = definition.windows(key)
    features = [(_number_of(definition, feature), feature.key, feature.window) for feature in definition.features]
    lateness = definition.ticks(definition.bounds.lateness)
    return Plan(
        features=np.array(features, np.int64),
        num_windows=_longs([len(key.windows) for key in keys]),
        windows=windows,
        has_labels=_longs([has_labels(key) for key in keys]),
        has_windows=_longs([bool({*WINDOW_FEATURES, *HISTORY_FEATURES, "gap"} & {*key.features}) for key in keys]),
        has_sums=_longs([bool({*WINDOW_FEATURES[1:], *HISTORY_FEATURES} & {*key.features}) for key in keys]),
        has_squares=_longs(["amount_zscore" in key.features for key in keys]),
        retention=_longs([definition.retention(key) for key in keys]),
        delay=definition.ticks(definition.label_delay),
        lateness=lateness,
        ahead=definition.ticks(definition.bounds.ahead),
        label_horizon=definition.label_horizon,
        duplicates=definition.ticks(definition.bounds.duplicates),
        id_retention=max(definition.label_horizon, definition.ticks(definition.bounds.duplicates)) + lateness,
        ticks_per_second=TICKS_PER_SECOND[definition.time_unit],
        scale=10**definition.amount_decimals,
        hidden=_hidden_tables(definition),
    )


def answer_place(definition: FeatureDefinition, feature: Feature) -> int:
    """The place of a feature of hidden states among the answers of their filters; -1 for another feature."""
    if feature.kind not in STATE_FEATURES or definition.hidden is None:
        return -1
    if feature.key == list(definition.keys).index(definition.hidden.card):
        return CARD_STATE_FEATURES.index(feature.kind)
    return len(CARD_STATE_FEATURES) + TERMINAL_STATE_FEATURES.index(feature.kind)


def _number_of(definition: FeatureDefinition, feature: Feature) -> int:
    place = answer_place(definition, feature)
    return KINDS[feature.kind] if place < 0 else layout.STATE_ODDS + place


def _hidden_tables(definition: FeatureDefinition) -> HiddenTables:
    hidden = definition.hidden
    if hidden is None:
        return make_tables(None)
    names = list(definition.keys)
    card, terminal = names.index(hidden.card), names.index(hidden.terminal)
    return make_tables(
        hidden, card=card, terminal=terminal,
        delay=definition.ticks(definition.label_delay), day=definition.ticks("1d"),
        window=min(definition.windows(definition.keys[name])[-1] for name in (hidden.card, hidden.terminal)),
        scale=float(10**definition.amount_decimals),
    )  # fmt: skip


def _longs(values: list[Any]) -> Longs:
    return np.array(values, np.int64)
