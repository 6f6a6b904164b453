"""The features of a key, from its record."""

from __future__ import annotations

from typing import Any

import numpy as np

from deepseek.features.core.compilation import compile_inline
from deepseek.features.core.layout import (
    AMOUNT,
    AMOUNT_RATIO,
    AMOUNT_ZSCORE,
    BLOCK,
    COUNT,
    DAY_S,
    END,
    FRAUD_COUNT,
    FRAUD_SHARE,
    FRAUD_STREAK,
    FRAUDS_KNOWN,
    GAP,
    HOUR,
    HOUR_S,
    KNOWN_COUNT,
    KNOWN_FRAUDS,
    LABELED,
    LAST_FRAUD,
    LAST_GENUINE,
    LEAST_VARIANCE,
    MEAN,
    NUM_LONGS,
    NUM_WORDS,
    SINCE_FRAUD,
    SQUARE_BITS,
    SUM,
    State,
)


@compile_inline
def compute_event_feature(plan: Any, kind: int, time: int, amount: int) -> float:
    """A feature of the event alone."""
    if kind == AMOUNT:
        return amount / float(plan.scale)
    seconds = time // plan.ticks_per_second
    if kind == HOUR:
        return float(seconds % DAY_S // HOUR_S)
    return float((seconds // DAY_S + 3) % 7)  # 1970-01-01 was a Thursday; Monday is 0


@compile_inline
def compute_key_feature(
    plan: Any, state: State, kind: int, slot: int, group: int, window: int, time: int, amount: int
) -> float:
    """A feature of a key, for an event that is not yet in its block."""
    words, longs = state.words[slot], state.longs[slot]
    if kind <= AMOUNT_ZSCORE:
        return _amount_feature(plan, words, longs, kind, window, amount)
    if kind <= FRAUD_SHARE:
        return _label_window_feature(plan, words, kind, window)
    if kind == FRAUDS_KNOWN:
        return float(words[KNOWN_FRAUDS])
    width, last = plan.windows.shape[1], plan.num_windows[group] - 1
    first = words[NUM_WORDS + width + last]
    if kind == GAP:
        place = words[END] - 1 if words[END] > words[NUM_WORDS + last] else -1
    elif kind == SINCE_FRAUD:
        place = words[LAST_FRAUD] if words[LAST_FRAUD] >= first else -1
    else:
        place = max(words[LAST_GENUINE] + 1, first)
        if kind == FRAUD_STREAK:
            return float(words[LABELED] - place)
        place = place if place < words[LABELED] else -1
    return (time - state.arena[longs[BLOCK] + place, 0]) / float(plan.ticks_per_second) if place >= 0 else np.nan


@compile_inline
def _amount_feature(plan: Any, words: Any, longs: Any, kind: int, window: int, amount: int) -> float:
    number, total = words[END] - words[NUM_WORDS + window], longs[NUM_LONGS + window]
    if kind == COUNT:
        return float(number + 1)
    if kind == SUM:
        return float(total + amount) / float(plan.scale)
    if kind == MEAN:
        return float(total + amount) / (float(plan.scale) * float(number + 1))
    if kind == AMOUNT_RATIO:
        return float(amount) * float(number) / float(total) if total > 0 else np.nan
    squares_at = NUM_LONGS + plan.windows.shape[1] + 2 * window
    high, low = longs[squares_at], longs[squares_at + 1]
    high, low = high + (low >> SQUARE_BITS), low & ((1 << SQUARE_BITS) - 1)
    squares = float(number) * (float(high) * 2.0**SQUARE_BITS + float(low))
    variance = squares - float(total) * float(total)
    if number < 2 or variance <= LEAST_VARIANCE * squares:
        return np.nan
    return float(number * amount - total) / float(np.sqrt(variance))


@compile_inline
def _label_window_feature(plan: Any, words: Any, kind: int, window: int) -> float:
    width = plan.windows.shape[1]
    known, frauds = words[LABELED] - words[NUM_WORDS + width + window], words[NUM_WORDS + 2 * width + window]
    if kind == KNOWN_COUNT:
        return float(known)
    if kind == FRAUD_COUNT:
        return float(frauds)
    return float(frauds) / float(known) if known > 0 else 0.0
