"""Two rounds of messages on the graph of cards, payments and terminals: what a terminal's frauds leave unexplained.

    names, values = pass_messages(time_s, amount, fraud, card, terminal, ratio)

First round, card to payment: is the amount usual for this card? A payment of at least `UNUSUAL_RATIO` times the mean of
its card's last 30 days is unusual. Second round, payment to card: how many unusual ones there were lately, and how the
amount compares with the ordinary ones alone. Payment to terminal, once the verdict is out: frauds that are ordinary for
their cards are the ones that the terminal has to answer for; an unusual one is explained by its card and says nothing
of the place. No message looks ahead, and a verdict counts from `DELAY_S` after its payment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

Values: TypeAlias = np.ndarray[Any, np.dtype[Any]]
DAY_S = 86_400
DELAY_S = 7 * DAY_S
UNUSUAL_RATIO = 2.0
WINDOWS_DAYS = (1, 7, 14, 30)
LONGEST_DAYS = 30


@dataclass(frozen=True)
class History:
    """N payments in the order of (key, time); all arrays are in that order, places count in it."""

    order: Values  # (N,) the place of each among the payments in the order of time
    time_s: Values  # (N,)
    rank: Values  # (N,) ascending: key and time in one number
    first: Values  # (N,) the first place of the key

    @classmethod
    def of(cls, key: Values, time_s: Values) -> History:
        """Of payments in the order of time."""
        _, code = np.unique(key, return_inverse=True)
        order = np.argsort(code, kind="stable")
        time_s, code = (time_s - time_s.min())[order], code[order].astype(np.int64)
        stride_s = int(time_s.max()) + 2 * (LONGEST_DAYS * DAY_S + DELAY_S)
        return cls(order, time_s, code * stride_s + time_s, np.searchsorted(code, code))

    def places_until(self, behind_s: int) -> Values:
        """Of each payment, the place behind the last one of its key that is at least so much older."""
        return np.maximum(np.searchsorted(self.rank, self.rank - behind_s, side="right"), self.first)

    def age(self, place: Values, exists: Values) -> Values:
        """Seconds since the payments at `place` (N,); NaN where there is none."""
        return np.where(exists, self.time_s - self.time_s[np.where(exists, place, 0)], np.nan)


def pass_messages(
    time_s: Values, amount: Values, fraud: Values, card: Values, terminal: Values, ratio: Values
) -> tuple[tuple[str, ...], Values]:
    """The names (F,) and values (N, F) float32 of what each payment's card and terminal heard before it. Payments are
    in the order of time; `ratio`: of the amount to its card's mean over 30 days before, NaN for none."""
    unusual = ratio >= UNUSUAL_RATIO
    heard = {
        "card": _hear_card(History.of(card, time_s), np.rint(amount * 100).astype(np.int64), unusual),
        "terminal": _hear_terminal(History.of(terminal, time_s), fraud == 1, unusual),
    }
    names = tuple(f"{key}.{name}" for key, columns in heard.items() for name in columns)
    return names, np.stack([each for columns in heard.values() for each in columns.values()], axis=1)


def _hear_card(history: History, cents: Values, unusual: Values) -> dict[str, Values]:
    unusual, cents, place = unusual[history.order], cents[history.order], np.arange(len(cents))
    total_unusual, total = _running_total(unusual), _running_total(np.where(unusual, 0, cents))
    columns = {}
    for days in WINDOWS_DAYS:
        columns[f"unusual_count.{days}d"] = total_unusual[place] - total_unusual[history.places_until(days * DAY_S)]
    start = history.places_until(LONGEST_DAYS * DAY_S)
    number = place - start - columns[f"unusual_count.{LONGEST_DAYS}d"]
    ordinary = total[place] - total[start]
    columns["ordinary_ratio.30d"] = np.where(ordinary > 0, cents * number / np.maximum(ordinary, 1), np.nan)
    last = _last_before(unusual, place)
    columns["since_unusual"] = history.age(last, last >= history.first)
    return _in_order_of_time(history, columns)


def _hear_terminal(history: History, fraud: Values, unusual: Values) -> dict[str, Values]:
    """An event counts from its verdict on; `stop`: the place behind the last one with a verdict that is out."""
    fraud = fraud[history.order]
    ordinary = fraud & ~unusual[history.order]
    stop = history.places_until(DELAY_S)
    frauds, genuine = _running_total(ordinary), _running_total(~fraud)
    columns = {}
    for days in WINDOWS_DAYS:
        start = history.places_until(DELAY_S + days * DAY_S)
        columns[f"ordinary_fraud_count.{days}d"] = frauds[stop] - frauds[start]
    last_genuine = _last_before(~fraud, stop)
    columns["since_genuine"] = history.age(last_genuine, last_genuine >= history.first)
    streak = np.maximum(last_genuine + 1, history.first)
    columns["ordinary_streak"] = frauds[stop] - frauds[streak]
    for name, start in (
        ("ordinary_streak_age", streak),
        ("first_ordinary_fraud.30d", history.places_until(DELAY_S + LONGEST_DAYS * DAY_S)),
    ):
        first = _first_from(ordinary, start)
        columns[name] = history.age(first, first < stop)
    last = _last_before(ordinary, stop)
    exists = last >= history.first
    columns["since_ordinary_fraud"] = history.age(last, exists)
    columns["genuine_since_ordinary"] = np.where(exists, genuine[stop] - genuine[np.maximum(last, 0)], np.nan)
    return _in_order_of_time(history, columns)


def _last_before(marked: Values, stop: Values) -> Values:
    """Of each place in `stop`, the last marked place before it; -1 for none."""
    latest = np.maximum.accumulate(np.where(marked, np.arange(len(marked)), -1))
    return np.concatenate([[-1], latest])[stop]


def _first_from(marked: Values, start: Values) -> Values:
    """Of each place in `start`, the first marked place from it on; N for none."""
    size = len(marked)
    earliest = np.minimum.accumulate(np.where(marked, np.arange(size), size)[::-1])[::-1]
    return np.concatenate([earliest, [size]])[start]


def _running_total(values: Values) -> Values:
    return np.concatenate([[0], np.cumsum(values, dtype=np.int64)])


def _in_order_of_time(history: History, columns: dict[str, Values]) -> dict[str, Values]:
    ordered = {}
    for name, values in columns.items():
        ordered[name] = np.empty(len(values), np.float32)
        ordered[name][history.order] = values
    return ordered
