"""From suspected cards to rings: which of them belong to one group, when and where they met, and what speaks for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deepseek.extras import need
from deepseek.features.graph.edges import Edges
from deepseek.features.graph.payments import DAY_S, HOUR_S, Floats, Ints, Mask, Payments


@dataclass(frozen=True, slots=True)
class RingMeeting:
    """Cards of one ring at one terminal, each within the window of the one before."""

    terminal: int
    cards: tuple[int, ...]
    times_s: tuple[int, ...]  # the first payment of each


@dataclass(frozen=True, slots=True)
class RingEvidence:
    """What speaks for a ring, in figures."""

    num_days: int  # on which they met
    span_days: float  # from the first meeting to the last
    attendance: float  # mean share of the ring's cards in a meeting
    mean_width_h: float  # hours from the first payment of a meeting to the last, mean over meetings
    surprise: float  # -log10 of the chance that the pair which surprises most met so often; at most 30
    share_elsewhere: float  # of its cards' payments in these days, those that belong to no meeting
    num_visits_alone: int  # payments of its cards at these terminals that belong to no meeting
    most_strangers: int  # payments of other cards in the busiest meeting


@dataclass(frozen=True, slots=True)
class SuspectedRing:
    """A group of suspected cards, by index into Payments.card_names."""

    cards: tuple[int, ...]  # the most suspected first
    scores: tuple[float, ...]  # of each card, 0 to 1
    meetings: tuple[RingMeeting, ...]  # in the order of time
    evidence: RingEvidence

    @property
    def terminals(self) -> tuple[int, ...]:
        """Where they met, the most frequent first."""
        places = [meeting.terminal for meeting in self.meetings]
        return tuple(sorted(set(places), key=lambda place: (-places.count(place), places.index(place))))


def group_cards(edges: Edges, strength: Floats, suspected: Mask, least_strength: float) -> list[Ints]:
    """Groups of at least two `suspected` cards (C,) that edges of a `strength` (P,) of at least `least_strength` join,
    the largest first."""
    sparse = need("scipy.sparse", extra="tabular")
    kept = suspected[edges.card_a] & suspected[edges.card_b] & (strength >= least_strength)
    size = len(suspected)
    graph = sparse.csr_matrix((np.ones(int(kept.sum())), (edges.card_a[kept], edges.card_b[kept])), shape=(size, size))
    _, label = need("scipy.sparse.csgraph", extra="tabular").connected_components(graph, directed=False)
    joined = np.flatnonzero(suspected & (np.bincount(label)[label] >= 2))
    groups = [joined[label[joined] == each] for each in np.unique(label[joined])]
    return sorted(groups, key=len, reverse=True)


def describe_ring(payments: Payments, edges: Edges, cards: Ints, score: Floats, window_s: int) -> SuspectedRing:
    """A group of cards with its meetings and the evidence. `score` (C,) is of all cards."""
    ordered = cards[np.argsort(-score[cards], kind="stable")]
    rows = np.flatnonzero(np.isin(payments.card, cards))
    meetings, in_meeting = _meetings_of(payments, rows, window_s)
    is_inner = np.isin(edges.card_a, cards) & np.isin(edges.card_b, cards)
    evidence = _evidence(
        payments, rows, in_meeting, meetings, len(cards), float(edges.surprise[is_inner].max(initial=0))
    )
    return SuspectedRing(
        tuple(ordered.tolist()), tuple(score[ordered].tolist()), tuple(meetings), evidence
    )  # fmt: skip


def _meetings_of(payments: Payments, rows: Ints, window_s: int) -> tuple[list[RingMeeting], Mask]:
    """The meetings among some payments, and which of the payments (R,) belong to one."""
    order = np.lexsort((payments.time_s[rows], payments.terminal[rows]))
    ranked = rows[order]
    terminal, time_s = payments.terminal[ranked], payments.time_s[ranked]
    is_start = np.ones(len(ranked), bool)
    is_start[1:] = (terminal[1:] != terminal[:-1]) | (time_s[1:] - time_s[:-1] > window_s)
    meetings, in_meeting = [], np.zeros(len(rows), bool)
    starts = np.flatnonzero(is_start)
    for start, end in zip(starts, [*starts[1:], len(ranked)], strict=True):
        cards, first = np.unique(payments.card[ranked[start:end]], return_index=True)
        if len(cards) >= 2:
            times_s = time_s[start:end][first]
            meetings.append(RingMeeting(int(terminal[start]), tuple(cards.tolist()), tuple(times_s.tolist())))
            in_meeting[order[start:end]] = True
    return sorted(meetings, key=lambda meeting: min(meeting.times_s)), in_meeting


def _evidence(
    payments: Payments, rows: Ints, in_meeting: Mask, meetings: list[RingMeeting], num_cards: int, surprise: float
) -> RingEvidence:
    if not meetings:
        return RingEvidence(0, 0.0, 0.0, 0.0, surprise, 1.0, 0, 0)
    starts, ends = [min(each.times_s) for each in meetings], [max(each.times_s) for each in meetings]
    time_s = payments.time_s[rows]
    in_span = (time_s >= min(starts) // DAY_S * DAY_S) & (time_s <= max(ends) // DAY_S * DAY_S + DAY_S)
    is_there = np.isin(payments.terminal[rows], [each.terminal for each in meetings])
    strangers = [_num_strangers(payments, each) for each in meetings]
    return RingEvidence(
        num_days=len({start // DAY_S for start in starts}),
        span_days=(max(ends) - min(starts)) / DAY_S,
        attendance=float(np.mean([len(each.cards) for each in meetings])) / num_cards,
        mean_width_h=float(np.mean(np.subtract(ends, starts))) / HOUR_S,
        surprise=surprise,
        share_elsewhere=float((in_span & ~in_meeting).sum() / max(1, in_span.sum())),
        num_visits_alone=int((is_there & ~in_meeting).sum()),
        most_strangers=max(strangers),
    )


def _num_strangers(payments: Payments, meeting: RingMeeting) -> int:
    """Payments of other cards at the terminal while a meeting lasts."""
    rows = slice(*np.searchsorted(payments.time_s, [min(meeting.times_s), max(meeting.times_s) + 1]).tolist())
    there = payments.terminal[rows] == meeting.terminal
    return int((there & ~np.isin(payments.card[rows], meeting.cards)).sum())
