"""Meetings: two cards at one terminal within a window, and what each meeting would be by chance.

    meetings = find_meetings(payments, MeetingLimits())
    edges = join_meetings(payments, meetings)

Bounded: a payment is compared with at most `max_followers` that come after it at its terminal, and a meeting counts
only where at most `max_expected` payments would be so near by chance. So N payments make few meetings, however busy a
terminal is: where somebody always pays, a meeting is no news.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deepseek.features.graph.payments import DAY_S, HOUR_S, Floats, Ints, Payments


@dataclass(frozen=True, slots=True)
class MeetingLimits:
    """What counts as a meeting."""

    window_s: int = 8 * HOUR_S  # between the two payments, at most
    max_followers: int = 24  # payments after a payment, at its terminal, that are looked at
    max_expected: float = 2.0  # payments that the terminal has in so short a time around one, on average


@dataclass(frozen=True, eq=False)
class Meetings:
    """M meetings of two cards; one per pair of cards, terminal and session, the closest in time."""

    earlier: Ints  # (M,) rows of the payments
    later: Ints  # (M,)
    gap_s: Ints  # (M,) seconds between the two
    num_present: Ints  # (M,) payments at the terminal within an hour of either, both included, or more
    log_rarity: Floats  # (M,) minus the log of the chance of a payment so near at this terminal; large is rare
    num_cut: int  # payments with more followers than are looked at


def find_meetings(payments: Payments, limits: MeetingLimits) -> Meetings:
    """All meetings within the limits."""
    order = np.lexsort((payments.time_s, payments.terminal))
    terminal, time_s, card = payments.terminal[order], payments.time_s[order], payments.card[order]
    rate = np.bincount(terminal, minlength=payments.num_terminals)[terminal] / (payments.num_days * DAY_S)
    firsts, seconds = [], []
    num_cut = 0
    for shift in range(1, limits.max_followers + 2):
        near = np.flatnonzero(
            (terminal[shift:] == terminal[:-shift]) & (time_s[shift:] - time_s[:-shift] <= limits.window_s)
        )
        if shift > limits.max_followers:
            num_cut = len(near)
            break
        if not len(near):
            break
        expected = rate[near] * _around_s(time_s[near + shift] - time_s[near])
        near = near[(card[near] != card[near + shift]) & (expected <= limits.max_expected)]
        firsts.append(near)
        seconds.append(near + shift)
    first = np.concatenate(firsts) if firsts else np.empty(0, np.int64)
    second = np.concatenate(seconds) if seconds else np.empty(0, np.int64)
    chosen = _closest_of_session(card, terminal, time_s, first, second, limits.window_s)
    first, second = first[chosen], second[chosen]
    gap_s = time_s[second] - time_s[first]
    stride_s = int(time_s.max() - time_s.min()) + 4 * DAY_S if len(time_s) else DAY_S
    key = terminal * stride_s + (time_s - time_s.min() if len(time_s) else time_s)
    num_present = np.searchsorted(key, key[second] + HOUR_S, "right") - np.searchsorted(key, key[first] - HOUR_S)
    rarity = -np.log(-np.expm1(-rate[first] * _around_s(gap_s)))
    return Meetings(order[first], order[second], gap_s, num_present, rarity, num_cut)


def _around_s(gap_s: Ints) -> Floats:
    """The seconds around a payment in which another is at least so near; a minute more, the grain of a till."""
    return np.asarray(2.0 * gap_s + 60.0, np.float64)


def _closest_of_session(card: Ints, terminal: Ints, time_s: Ints, first: Ints, second: Ints, window_s: int) -> Ints:
    """Of the meetings of one pair at one terminal within a window, the one that is closest in time."""
    low, high = np.minimum(card[first], card[second]), np.maximum(card[first], card[second])
    gap_s = time_s[second] - time_s[first]
    order = np.lexsort((time_s[first], terminal[first], high, low))
    low, high, place, when = low[order], high[order], terminal[first][order], time_s[first][order]
    same = (low[1:] == low[:-1]) & (high[1:] == high[:-1]) & (place[1:] == place[:-1])
    session = np.concatenate([[0], np.cumsum(~(same & (when[1:] - when[:-1] <= window_s)))])[: len(order)]
    ranked = order[np.lexsort((gap_s[order], session))]
    sessions = session[np.lexsort((gap_s[order], session))]
    is_first = np.concatenate([[True], sessions[1:] != sessions[:-1]])[: len(ranked)]
    return np.sort(ranked[is_first])
