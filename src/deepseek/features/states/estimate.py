"""Learns hidden states from events whose verdicts are out.

    hidden = estimate_states(definition, events, card="card", terminal="terminal")

Each fraud has one of three causes: its terminal is compromised, its card is, or its amount alone. In turns, each fraud
is shared out among them, and what it says of runs, of amounts and of shares is counted. Nothing of it is known
beforehand: how long runs are, how unusual amounts are, from what amount on payments are frauds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from deepseek.errors import InputError
from deepseek.features.definition import FeatureDefinition
from deepseek.features.events import EventColumns
from deepseek.features.hidden.parameters import HiddenStates, RunLength
from deepseek.features.hidden.tables import LEAST_DENSITY, OUTLIER_SHARE, bin_limits
from deepseek.features.states.runs import LearnedRun, learn_run

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
LONGEST_RUN_DAYS = 45
MAX_DAYS = 120  # the latest ones teach
LEAST_FRAUDS, LEAST_PAYMENTS = 50, 20  # in all; genuine ones of a card whose amounts teach
MAX_CARDS = 20_000
FIRST_OFFSET, NUM_OFFSETS = -64, 104  # bins: from a 256th of the usual amount to 32 times as much
SCALE_ROUNDS, CAUSE_ROUNDS, UNUSUAL_ROUNDS, RUN_ITERATIONS = 40, 2, 6, 3
AMOUNT_SHARE = 0.5  # of payments of an amount that are frauds, from which on the amount itself is a cause
LEAST_CAUSE, MOST_CAUSE = 5e-4, 0.999


@dataclass(frozen=True, eq=False)
class _Payments:
    """N payments: day, bin of the amount, codes of card and terminal, (N,) each; places of the frauds (M,)."""

    day: Array
    amount_bin: Array
    card: Array
    terminal: Array
    frauds: Array
    is_fraud: Array


@dataclass(frozen=True, eq=False)
class _Scales:
    """What usual amounts are: G of them, from the bin `first` on."""

    first: int
    chances: Array  # (G,)
    ordinary: Array  # (NUM_OFFSETS,)
    of_fraud: Array  # (M, G): the usual amount of the card of each fraud
    offset: Array  # (M, G): place of each fraud's amount among offsets


def estimate_states(definition: FeatureDefinition, events: EventColumns, *, card: str, terminal: str) -> HiddenStates:
    """What the events teach, all of whose verdicts are out. InputError where there are too few frauds or cards."""
    payments = _read(definition, events, card, terminal)
    scales = _learn_scales(payments)
    causes = _amount_causes(payments)
    amount_cause = causes[payments.amount_bin[payments.frauds]]
    number = len(payments.frauds)
    unusual = np.full(NUM_OFFSETS, 1 / NUM_OFFSETS)
    card_run, terminal_run = _first_run(0.3), _first_run(0.98)
    by_terminal, by_card = np.full(number, 0.006), np.full(number, 0.004)
    for _ in range(CAUSE_ROUNDS):
        for _ in range(UNUSUAL_ROUNDS):
            odds = _compare(scales, unusual)
            of_card = by_card * card_run.fraud_share * odds
            of_card = of_card / (of_card + by_terminal + amount_cause)
            unusual = _learn_unusual(scales, unusual, of_card)
        of_card = by_card * card_run.fraud_share * _compare(scales, unusual)
        own = np.clip(
            np.maximum(of_card / (1 - by_card * card_run.fraud_share + of_card), amount_cause), LEAST_CAUSE, MOST_CAUSE
        )
        share = terminal_run.fraud_share
        learned = _learn_key(payments, payments.terminal, np.log((share + (1 - share) * own) / own), terminal_run)
        terminal_run, by_terminal = learned.run, learned.by_fraud
        other = np.clip(np.maximum(by_terminal, amount_cause), 2e-3, MOST_CAUSE)
        share = card_run.fraud_share
        evidence = np.log((share * _compare(scales, unusual) + (1 - share) * other) / other)
        learned = _learn_key(payments, payments.card, evidence, card_run)
        card_run, by_card = learned.run, learned.by_fraud
    known = np.flatnonzero(causes)
    first = int(known[0]) if len(known) else 0
    return HiddenStates(
        card=card, terminal=terminal, card_run=card_run, terminal_run=terminal_run,
        other_cause=float(np.clip(by_terminal.sum() / len(payments.day), 2e-3, 0.2)),
        first_scale=scales.first, scales=_as_floats(scales.chances), first_offset=FIRST_OFFSET,
        ordinary=_as_floats(scales.ordinary), unusual=_as_floats(unusual),
        first_amount=first, amounts=_as_floats(causes[first : known[-1] + 1]) if len(known) else (),
    )  # fmt: skip


def _read(definition: FeatureDefinition, events: EventColumns, card: str, terminal: str) -> _Payments:
    names = list(definition.keys)
    day = events.time // definition.ticks("1d")
    rows = np.flatnonzero((day > day.max(initial=0) - MAX_DAYS) & (events.amount >= 0))
    fraud = np.zeros(len(rows), bool) if events.fraud is None else events.fraud[rows] == 1
    if fraud.sum() < LEAST_FRAUDS:
        raise InputError(
            f"{int(fraud.sum())} frauds are too few to learn hidden states from", expected=f"{LEAST_FRAUDS} or more",
            fix="bring more transactions, or leave hidden states out",
        )  # fmt: skip
    card_code, terminal_code = (
        np.unique(events.keys[names.index(name)][rows], return_inverse=True)[1] for name in (card, terminal)
    )
    bins = np.maximum(np.searchsorted(bin_limits(), events.amount[rows], side="right") - 1, 0)
    return _Payments(day[rows] - day[rows].min(), bins, card_code, terminal_code, np.flatnonzero(fraud), fraud)


def _learn_scales(payments: _Payments) -> _Scales:
    """The usual amount of each card is hidden, too: chances of it, and of offsets from it, by genuine payments."""
    genuine = ~payments.is_fraud
    card, bins = payments.card[genuine], payments.amount_bin[genuine]
    counts = np.bincount(card, minlength=int(payments.card.max()) + 1)
    teachers = np.flatnonzero(counts >= LEAST_PAYMENTS)[:MAX_CARDS]
    if not len(teachers):
        raise InputError(
            f"no card has {LEAST_PAYMENTS} genuine payments", expected="cards with a history",
            fix="bring more transactions, or leave hidden states out",
        )  # fmt: skip
    middle = np.bincount(card, bins, len(counts))[teachers] / counts[teachers]
    first, last = max(int(middle.min()) - 4, 0), int(middle.max()) + 4
    width = int(payments.amount_bin.max()) + 1
    place = np.full(len(counts), -1)
    place[teachers] = np.arange(len(teachers))
    kept = place[card] >= 0
    table = np.bincount(place[card[kept]] * width + bins[kept], minlength=len(teachers) * width).reshape(-1, width)
    offset = _offsets(np.arange(width), first, last - first + 1)
    ordinary = np.exp(-0.5 * ((np.arange(NUM_OFFSETS) + FIRST_OFFSET) / 6.0) ** 2)
    ordinary /= ordinary.sum()
    chances = np.full(last - first + 1, 1 / (last - first + 1))
    for _ in range(SCALE_ROUNDS):
        belief = _believe_scales(table, ordinary, chances, offset)
        ordinary = np.bincount(offset.ravel(), (table.T @ belief).ravel(), NUM_OFFSETS) + 1e-3
        ordinary /= ordinary.sum()
        chances = belief.mean(axis=0) + 1e-4
        chances /= chances.sum()
    owner, which = np.unique(payments.card[payments.frauds], return_inverse=True)
    place = np.full(len(counts), -1)
    place[owner] = np.arange(len(owner))
    kept = place[card] >= 0
    table = np.bincount(place[card[kept]] * width + bins[kept], minlength=len(owner) * width).reshape(-1, width)
    belief = _believe_scales(table, ordinary, chances, offset)[which]
    return _Scales(first, chances, ordinary, belief, offset[payments.amount_bin[payments.frauds]])


def _offsets(bins: Array, first: int, number: int) -> Array:
    """(B, G): the place among offsets of each bin at each usual amount."""
    return np.asarray(np.clip(bins[:, None] - (first + np.arange(number)) - FIRST_OFFSET, 0, NUM_OFFSETS - 1))


def _believe_scales(table: Array, ordinary: Array, chances: Array, offset: Array) -> Array:
    """(C, G) of cards with so many payments in each bin (C, B)."""
    robust = (1 - OUTLIER_SHARE) * ordinary + OUTLIER_SHARE / NUM_OFFSETS
    logs = table @ np.log(robust)[offset] + np.log(chances)
    belief = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(belief / belief.sum(axis=1, keepdims=True))


def _compare(scales: _Scales, unusual: Array) -> Array:
    """(M,): how many times as likely the amount of each fraud is for a compromised card as for a genuine payment."""
    ordinary = (scales.of_fraud * np.maximum(scales.ordinary, LEAST_DENSITY)[scales.offset]).sum(axis=1)
    return np.asarray((scales.of_fraud * unusual[scales.offset]).sum(axis=1) / ordinary)


def _learn_unusual(scales: _Scales, unusual: Array, of_card: Array) -> Array:
    """Offsets of frauds by compromised cards, each fraud counted by the share that is its card's."""
    belief = scales.of_fraud * unusual[scales.offset]
    belief *= (of_card / belief.sum(axis=1))[:, None]
    counts = np.bincount(scales.offset.ravel(), belief.ravel(), NUM_OFFSETS)
    smooth = np.convolve(counts, (0.25, 0.5, 0.25), "same") + 0.02
    return np.asarray(smooth / smooth.sum())


def _amount_causes(payments: _Payments) -> Array:
    """(B,): of amounts that are mostly frauds, the share that are; 0 of others."""
    width = int(payments.amount_bin.max()) + 1
    number = np.bincount(payments.amount_bin, minlength=width)
    frauds = np.bincount(payments.amount_bin[payments.frauds], minlength=width)
    share = frauds / (number + 1.0)
    return np.where(share > AMOUNT_SHARE, np.minimum(share, MOST_CAUSE), 0.0)


@dataclass(frozen=True, eq=False)
class _LearnedKey:
    run: RunLength
    by_fraud: Array  # (M,): chance that the key of each fraud was compromised, by other days


def _learn_key(payments: _Payments, key: Array, evidence: Array, run: RunLength) -> _LearnedKey:
    """`evidence` (M,): what each fraud says for a compromised key."""
    frauds = payments.frauds
    owner, place = np.unique(key[frauds], return_inverse=True)
    where = np.full(int(key.max()) + 1, -1)
    where[owner] = np.arange(len(owner))
    num_days = int(payments.day.max()) + 1
    shape = (num_days, len(owner))
    cells = payments.day * len(owner) + where[key]
    genuine = (where[key] >= 0) & ~payments.is_fraud
    num_genuine = np.bincount(cells[genuine], minlength=num_days * len(owner)).reshape(shape)
    fraud_cells = payments.day[frauds] * len(owner) + place
    said = np.bincount(fraud_cells, evidence, num_days * len(owner)).reshape(shape)
    num_frauds = np.bincount(fraud_cells, minlength=num_days * len(owner)).reshape(shape)
    said += num_genuine * np.log(1 - run.fraud_share)
    learned: LearnedRun = learn_run(said, run, len(where) - len(owner), RUN_ITERATIONS)
    explained = np.bincount(fraud_cells, evidence > 0, num_days * len(owner)).reshape(shape)
    share = float(
        (learned.posterior * explained).sum() / max((learned.posterior * (num_genuine + num_frauds)).sum(), 1e-9)
    )
    run = RunLength(learned.run.start, learned.run.ends, float(np.clip(share, 0.02, MOST_CAUSE)))
    return _LearnedKey(run, np.clip(learned.others[payments.day[frauds], place], 1e-4, MOST_CAUSE))


def _first_run(fraud_share: float) -> RunLength:
    return RunLength(5e-4, (*[0.05] * (LONGEST_RUN_DAYS - 1), 1.0), fraud_share)


def _as_floats(values: Array) -> tuple[float, ...]:
    return tuple(float(f"{value:.6g}") for value in values.tolist())
