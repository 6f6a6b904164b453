"""What is believed of a card and of a terminal at a moment, from what is kept of each: plain Python, which the store
compiles as it stands (core/hidden.py).

Each function reads the events first..stop of one key, (time; amount and verdict; note), those of one moment in the
order of arrival. No state is carried from one answer to the next: a verdict or an event that comes late counts from
then on as if it had always been there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba.extending import register_jitable

MOST, LEAST = 1e12, 1e-12  # of the weight of soundness, against weights that begin at 1
LEAST_RUN = 1e-100  # of the weight of a run: never 0, and far from where numbers are slow
MAX_EVENTS = 512  # of a key, the latest ones, that an answer reads: one of a million costs no more
#: A note on an event: its bin, the level of the odds of its amount, the level of the chance of its own cause.
NOTE_BITS, NOTE_MASK = 10, 2**10 - 1
F = TypeVar("F", bound=Callable[..., Any])


def compilable(function: F) -> F:
    """A function that Python runs as it stands, and compiled code calls, too (core/compilation.py says how)."""
    return cast("F", cast("Any", register_jitable)(error_model="numpy", _nrt=False)(function))


@compilable
def find_place(limits: Any, value: Any) -> int:
    """The last place of an ascending array whose entry is at most `value`; 0 where none is."""
    low, high = 0, len(limits)
    while low < high:
        middle = (low + high) >> 1
        if limits[middle] <= value:
            low = middle + 1
        else:
            high = middle
    return max(low - 1, 0)


@compilable
def begin_run(weights: Any, ends: Any, start: float) -> None:
    """Weights [sound, compromised for 1, 2, ... days] of a key of which nothing is known."""
    weights[0] = 1.0
    left = start
    for day in range(1, len(ends) + 1):
        weights[day] = left
        left = left * (1.0 - ends[day - 1])


@compilable
def pass_days(weights: Any, ends: Any, start: float, days: int) -> None:
    """Moves weights on by whole days."""
    longest = len(ends)
    for _ in range(min(days, 2 * longest)):
        ended = 0.0
        for day in range(longest, 0, -1):
            leaving = weights[day] * ends[day - 1]
            ended = ended + leaving
            if day < longest:
                weights[day + 1] = weights[day] - leaving
        weights[1] = weights[0] * start
        weights[0] = weights[0] * (1.0 - start) + ended


@compilable
def weigh_evidence(weights: Any, longest: int, quotient: float) -> None:
    """What was seen is `quotient` times as likely of a compromised key as of a sound one."""
    sound = weights[0] / quotient
    if sound > MOST:
        for day in range(1, longest + 1):
            weights[day] = max(weights[day] / sound, LEAST_RUN)
        sound = 1.0
    weights[0] = max(sound, LEAST)


@compilable
def sum_run(weights: Any, longest: int, first: int) -> float:
    """The weight of being compromised for `first` days or more."""
    total = 0.0
    for day in range(first, longest + 1):
        total = total + weights[day]
    return total


@compilable
def weigh_scales(tables: Any, arena: Any, first: int, stop: int, weights: Any) -> None:
    """The weight of each usual amount of a card (G,), by its events but those that were probably frauds."""
    units, number = tables.work_units, len(tables.prior_units)
    doubtful = find_place(tables.levels, 0.5)
    for scale in range(number):
        units[scale] = tables.prior_units[scale]
    for place in range(first, stop):
        note = arena[place, 2]
        if (note >> (2 * NOTE_BITS)) >= doubtful:
            continue
        at = (note & NOTE_MASK) + number - 1
        for scale in range(number):
            units[scale] += tables.units[at - scale]
    most = units[0]
    for scale in range(1, number):
        most = max(most, units[scale])
    last = len(tables.decay)
    for scale in range(number):
        behind = most - units[scale]
        weights[scale] = tables.decay[behind] if behind < last else 0.0


@compilable
def compare_amount(tables: Any, weights: Any, amount_bin: int, answers: Any) -> None:
    """Of an amount at a card with these weights of usual amounts, into `answers`: 1 how many times as likely it is for
    a fraud by a compromised card as for a genuine payment, 3 the usual amount, 5 its spread in bins, 6 how likely the
    amount is for a genuine payment."""
    number, at = len(tables.prior_units), amount_bin + len(tables.prior_units) - 1
    total = ordinary = unusual = amount = place = square = 0.0
    for scale in range(number):
        weight = weights[scale]
        if weight > 0.0:
            total = total + weight
            ordinary = ordinary + weight * tables.ordinary[at - scale]
            unusual = unusual + weight * tables.unusual[at - scale]
            amount = amount + weight * tables.scale_amounts[scale]
            place = place + weight * scale
            square = square + weight * (scale * scale)
    answers[1] = unusual / ordinary
    answers[3] = amount / total
    answers[5] = square / total - (place / total) * (place / total)
    answers[6] = ordinary / total


@compilable
def weigh_card(tables: Any, arena: Any, first: int, stop: int, labeled: int, today: int, weights: Any) -> None:
    """Of a card on the day `today`: events before `labeled` by their verdicts, later ones by their amounts."""
    start, share, other = tables.rates[0], tables.rates[1], tables.rates[4]
    ends, longest = tables.card_ends, len(tables.card_ends)
    begin_run(weights, ends, start)
    day = today if first >= stop else arena[first, 0] // tables.day
    for place in range(first, stop):
        here = arena[place, 0] // tables.day
        if here > day:
            pass_days(weights, ends, start, here - day)
            day = here
        note = arena[place, 2]
        odds = tables.levels[(note >> NOTE_BITS) & NOTE_MASK]
        if place >= labeled:
            quotient = (1.0 - share) + share * odds
        elif arena[place, 1] & 1:
            cause = max(other, tables.amount_causes[note & NOTE_MASK])
            quotient = (share * odds + (1.0 - share) * cause) / cause
        else:
            quotient = 1.0 - share
        weigh_evidence(weights, longest, quotient)
    pass_days(weights, ends, start, today - day)


@compilable
def weigh_terminal(tables: Any, arena: Any, first: int, labeled: int, today: int, weights: Any) -> None:
    """Of a terminal on the day `today`, by verdicts. A fraud that has a cause of its own says little of the place."""
    start, share = tables.rates[2], tables.rates[3]
    ends, longest = tables.terminal_ends, len(tables.terminal_ends)
    begin_run(weights, ends, start)
    day = today if first >= labeled else arena[first, 0] // tables.day
    for place in range(first, labeled):
        here = arena[place, 0] // tables.day
        if here > day:
            pass_days(weights, ends, start, here - day)
            day = here
        if arena[place, 1] & 1:
            cause = tables.levels[arena[place, 2]]
            quotient = (share + (1.0 - share) * cause) / cause
        else:
            quotient = 1.0 - share
        weigh_evidence(weights, longest, quotient)
    pass_days(weights, ends, start, today - day)


@compilable
def answer_card(tables: Any, arena: Any, first: int, stop: int, labeled: int, now: int, amount: int) -> None:
    """What is believed of an event at its card, and the notes to be kept of it."""
    answers, notes, longest = tables.answers, tables.notes, len(tables.card_ends)
    first = max(first, stop - MAX_EVENTS)
    run, scales = tables.work[: longest + 1], tables.work[longest + 1 :]
    amount_bin = find_place(tables.limits, amount)
    weigh_scales(tables, arena, first, stop, scales)
    compare_amount(tables, scales, amount_bin, answers)
    weigh_card(tables, arena, first, stop, labeled, now // tables.day, run)
    odds = sum_run(run, longest, 1) / run[0]
    share = odds / (1.0 + odds) * tables.rates[1]
    fraud_odds = share * answers[1] / (1.0 - share)
    answers[0], answers[2] = odds, fraud_odds
    answers[4] = amount / tables.scale / answers[3]
    cause = max(fraud_odds / (1.0 + fraud_odds), tables.amount_causes[amount_bin])
    level = find_place(tables.levels, cause)
    notes[0] = amount_bin | (find_place(tables.levels, answers[1]) << NOTE_BITS) | (level << (2 * NOTE_BITS))
    notes[1] = level


@compilable
def answer_terminal(tables: Any, arena: Any, first: int, labeled: int, now: int) -> None:
    """What is believed of an event at its terminal, once its card has been asked."""
    answers, longest = tables.answers, len(tables.terminal_ends)
    first = max(first, labeled - MAX_EVENTS)
    run = tables.work[: longest + 1]
    weigh_terminal(tables, arena, first, labeled, now // tables.day, run)
    compromised = sum_run(run, longest, 1)
    before = sum_run(run, longest, min(tables.delay // tables.day + 1, longest))
    ages = 0.0
    for day in range(1, longest + 1):
        ages = ages + run[day] * day
    odds = compromised / run[0]
    answers[7], answers[8], answers[9] = odds, before / (run[0] + compromised - before), ages / compromised
    answers[10] = odds + answers[2] + odds * answers[2]  # of a fraud for either reason
