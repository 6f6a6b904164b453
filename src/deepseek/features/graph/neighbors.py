"""What the neighborhood says of an edge and of a card, once each edge has a strength: a ring is a group, not a pair.

A strength (P,) is any value from 0 to 1 for each edge, here the probability that both cards are in one ring.
"""

from __future__ import annotations

import numpy as np

from deepseek.features.graph.cards import most_over_edges, sum_over_edges
from deepseek.features.graph.edges import Edges, count_triangles
from deepseek.features.graph.meetings import Meetings
from deepseek.features.graph.payments import DAY_S, Floats, Ints, Payments

MAX_TOP = 5  # strongest edges of a card that are looked at


def neighbor_features(payments: Payments, meetings: Meetings, edges: Edges, strength: Floats) -> Floats:
    """(P, 12): the edge's own strength; triangles; the strongest and the sum of the other edges of both cards; the
    strength of the other meetings in the same sessions and at the same terminals."""
    size = payments.num_cards
    columns = [
        strength, count_triangles(edges.card_a, edges.card_b, strength, size),
        count_triangles(edges.card_a, edges.card_b, np.sqrt(strength), size),
    ]  # fmt: skip
    top, total = top_over_edges(edges, strength, size, 3), sum_over_edges(edges, strength, size)
    sides = [_other_edges(top[card], total[card], strength) for card in (edges.card_a, edges.card_b)]
    for one, other in zip(*sides, strict=True):
        columns += [np.minimum(one, other), np.maximum(one, other)]
    return np.column_stack([*columns, *_session_strength(payments, meetings, edges, strength)])


def card_features(edges: Edges, first: Floats, second: Floats, num_cards: int) -> Floats:
    """(C, 12) for each card, from two strengths (P,) of its edges: its strongest edges, their sums, its triangles."""
    triangles = count_triangles(edges.card_a, edges.card_b, second, num_cards)
    return np.column_stack(
        [
            top_over_edges(edges, second, num_cards, MAX_TOP), top_over_edges(edges, first, num_cards, 3),
            sum_over_edges(edges, second, num_cards), sum_over_edges(edges, first, num_cards),
            sum_over_edges(edges, second * triangles, num_cards), most_over_edges(edges, second * triangles, num_cards),
        ]
    )  # fmt: skip


def top_over_edges(edges: Edges, values: Floats, num_cards: int, num_top: int) -> Floats:
    """The largest values (P,) over the edges of each card, in descending order (C, num_top); 0 where it has fewer."""
    ends, both = np.concatenate([edges.card_a, edges.card_b]), np.concatenate([values, values])
    order = np.lexsort((-both, ends))
    first = np.concatenate([[0], np.cumsum(np.bincount(ends, minlength=num_cards))])
    rank = np.arange(len(order)) - first[ends[order]]
    top = np.zeros((num_cards, num_top))
    kept = rank < num_top
    top[ends[order[kept]], rank[kept]] = both[order[kept]]
    return top


def _other_edges(top: Floats, total: Floats, strength: Floats) -> tuple[Floats, Floats, Floats]:
    """The strongest, the second strongest and the sum of the other edges of one end of each edge (P,)."""
    is_first, is_second = top[:, 0] == strength, top[:, 1] == strength
    strongest = np.where(is_first, top[:, 1], top[:, 0])
    return strongest, np.where(is_first | is_second, top[:, 2], top[:, 1]), total - strength


def _session_strength(payments: Payments, meetings: Meetings, edges: Edges, strength: Floats) -> list[Floats]:
    """Of each edge: the strength of other meetings at the same terminals on the same days, summed and of its best
    meeting, and on all days."""
    terminal = payments.terminal[meetings.earlier]
    day = (payments.time_s[meetings.earlier] - payments.time_s[0]) // DAY_S
    same_day, inverse = np.unique(terminal * (int(day.max(initial=0)) + 1) + day, return_inverse=True)
    of_meeting, edge = strength[edges.meeting_edge], edges.meeting_edge
    on_day = np.bincount(inverse, of_meeting, len(same_day))[inverse] - of_meeting
    ever = np.bincount(terminal, of_meeting, payments.num_terminals)[terminal] - of_meeting
    size = len(edges)
    return [np.bincount(edge, on_day, size).astype(np.float64), _most(edge, on_day, size), _most(edge, ever, size)]


def _most(edge: Ints, values: Floats, size: int) -> Floats:
    most = np.zeros(size)
    np.maximum.at(most, edge, values)
    return most
