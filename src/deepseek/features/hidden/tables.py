"""The numbers of hidden states as the filters read them: tables, so that no answer hangs on a library's exp or log.

Likelihoods of usual amounts are summed as whole numbers of `UNIT` nats, exact and free of order. All else is +, -, *, /
in one stated order, which every machine rounds alike.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from deepseek.features.hidden.parameters import BINS_PER_DOUBLING, NUM_BINS, HiddenStates, RunLength

Array = np.ndarray[Any, np.dtype[Any]]
UNIT = 1 / 64  # nats
NUM_DECAYS = 16 * 64  # beyond it a usual amount has no weight
OUTLIER_SHARE, OUTLIER_CHANCE = 0.005, 0.01  # of amounts that no usual amount explains
LEAST_DENSITY = 1e-7  # of an offset, so that no quotient is without end
LEVELS_PER_DOUBLING, FIRST_DOUBLING, LAST_DOUBLING = 8, -11, 14
NUM_ANSWERS = 11


class HiddenTables(NamedTuple):
    """G usual amounts, B bins, V levels, A days. `is_on` 0: a definition without hidden states."""

    is_on: int
    card: int  # places of the keys
    terminal: int
    window: int  # ticks; of verdicts, and with `delay` before it of amounts
    delay: int
    day: int
    scale: float  # smallest units in the unit of amounts
    limits: Array  # (B,) int64: least amount of each bin
    units: Array  # (B + G,) int64: log likelihoods of offsets; offset of bin b and scale j at b - j + G - 1
    ordinary: Array  # (B + G,) float64
    unusual: Array  # (B + G,) float64
    prior_units: Array  # (G,) int64
    scale_amounts: Array  # (G,) float64: in the unit of amounts
    amount_causes: Array  # (B,) float64
    decay: Array  # (NUM_DECAYS,) float64: exp of -UNIT times the place
    levels: Array  # (V,) float64, ascending: what a level stands for is its own limit
    rates: Array  # (5,) start, share of the card's run, of the terminal's; chance of other causes
    card_ends: Array  # (A,) float64
    terminal_ends: Array  # (A',) float64
    work: Array  # (2 + A + A' + G,) float64: the filters' own
    work_units: Array  # (G,) int64
    answers: Array  # (NUM_ANSWERS,) float64: of the last event
    notes: Array  # (2,) int64: of the last event, for its card and its terminal


def make_tables(
    hidden: HiddenStates | None, *, card: int = 0, terminal: int = 0, window: int = 0, delay: int = 0, day: int = 1,
    scale: float = 1.0,
) -> HiddenTables:  # fmt: skip
    """The tables of a definition; window, delay and day in ticks, `scale`: smallest units in the unit of amounts."""
    if hidden is None:
        empty, none = np.zeros(1), np.zeros(1, np.int64)
        return HiddenTables(
            0, 0, 0, 0, 0, 1, 1.0, none, none, empty, empty, none, empty, empty, empty, empty, empty, empty, empty,
            empty, none, np.zeros(NUM_ANSWERS), np.zeros(2, np.int64),
        )  # fmt: skip
    number = len(hidden.scales)
    offset = np.arange(NUM_BINS + number) - (number - 1) - hidden.first_scale - hidden.first_offset
    place = np.clip(offset, 0, len(hidden.ordinary) - 1)
    ordinary, unusual = (np.maximum(np.array(each), LEAST_DENSITY)[place] for each in (hidden.ordinary, hidden.unusual))
    causes = np.zeros(NUM_BINS)
    known = np.array(hidden.amounts)
    causes[hidden.first_amount : hidden.first_amount + len(known)] = known
    if len(known):
        causes[hidden.first_amount + len(known) :] = known[-1]
    runs = (hidden.card_run, hidden.terminal_run)
    return HiddenTables(
        is_on=1, card=card, terminal=terminal, window=window, delay=delay, day=day, scale=scale,
        limits=bin_limits(),
        units=_as_units((1 - OUTLIER_SHARE) * ordinary + OUTLIER_SHARE * OUTLIER_CHANCE),
        ordinary=ordinary, unusual=unusual,
        prior_units=_as_units(np.maximum(np.array(hidden.scales), LEAST_DENSITY)),
        scale_amounts=np.array([_bin_middle(hidden.first_scale + each) / scale for each in range(number)]),
        amount_causes=causes,
        decay=_decay(),
        levels=np.array([
            math.ldexp(1 + step / LEVELS_PER_DOUBLING, power)
            for power in range(FIRST_DOUBLING, LAST_DOUBLING) for step in range(LEVELS_PER_DOUBLING)
        ]),
        rates=np.array([*(value for run in runs for value in (run.start, run.fraud_share)), hidden.other_cause]),
        card_ends=_ends(hidden.card_run), terminal_ends=_ends(hidden.terminal_run),
        work=np.zeros(2 + sum(len(run.ends) for run in runs) + number),
        work_units=np.zeros(number, np.int64),
        answers=np.zeros(NUM_ANSWERS), notes=np.zeros(2, np.int64),
    )  # fmt: skip


def bin_limits() -> Array:
    """The least amount of each bin (NUM_BINS,) int64: a power of two, and steps between that follow 2 ** (n / 8)."""
    steps = [2.0 ** (step / BINS_PER_DOUBLING) for step in range(BINS_PER_DOUBLING)]
    return np.array([
        math.ceil(math.ldexp(step, power)) for power in range(NUM_BINS // BINS_PER_DOUBLING) for step in steps
    ], np.int64)  # fmt: skip


def _bin_middle(place: int) -> float:
    return math.ldexp(2.0 ** ((place % BINS_PER_DOUBLING + 0.5) / BINS_PER_DOUBLING), place // BINS_PER_DOUBLING)


def _as_units(chances: Array) -> Array:
    return np.array([round(math.log(chance) / UNIT) for chance in chances.tolist()], np.int64)


def _decay() -> Array:
    values = np.empty(NUM_DECAYS)
    values[0] = 1.0
    for place in range(1, NUM_DECAYS):
        values[place] = values[place - 1] * (1 - UNIT + UNIT * UNIT / 2)
    return values


def _ends(run: RunLength) -> Array:
    ends = np.array(run.ends)
    ends[-1] = 1.0
    return ends
