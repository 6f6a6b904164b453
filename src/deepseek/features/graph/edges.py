"""The graph of cards that met: one edge for each pair, with how surprising its meetings are and what they are like.

Surprise is -log10 of the chance that two cards which pay where and as often as these do meet so often if neither knows
of the other: Poisson, with the expected number summed over the terminals that both use. Two neighbors who share forty
shops meet now and then; two cards that meet twice at the only terminal that they share do not.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from deepseek.extras import need
from deepseek.features.graph.meetings import MeetingLimits, Meetings
from deepseek.features.graph.payments import DAY_S, HOUR_S, Floats, Ints, Payments

MAX_SURPRISE = 30.0
MAX_EDGES_OF_CARD = 48  # the most surprising ones are looked at for triangles: work grows with its square


@dataclass(frozen=True, eq=False)
class Edges:
    """P pairs of cards that met. All but the first three are features, each (P,) float64."""

    card_a: Ints  # (P,) the lower one
    card_b: Ints  # (P,)
    meeting_edge: Ints  # (M,) the edge of each meeting
    num_meetings: Floats
    num_within_hour: Floats
    num_within_3h: Floats
    expected: Floats  # meetings by chance
    surprise: Floats
    sum_rarity: Floats
    max_rarity: Floats
    num_terminals: Floats
    num_days: Floats
    span_days: Floats
    least_present: Floats  # payments around the meeting with the fewest
    mean_present: Floats
    amount_difference: Floats  # mean difference of the logs of both amounts
    least_joint: Floats  # share of the payments in the days of the meetings that are meetings; of the card with less
    most_joint: Floats
    num_alone: Floats  # payments of either at the terminals of the meetings that are none
    num_shared: Floats  # terminals that both use
    least_payments: Floats
    most_payments: Floats
    triangles: Floats  # third cards that met both again, weighted by surprise
    triangles_twice: Floats  # third cards that met both at least twice

    @property
    def features(self) -> Floats:
        """(P, F), in the order of `feature_names()`."""
        return np.column_stack([getattr(self, name) for name in edge_feature_names()])

    def __len__(self) -> int:
        return len(self.card_a)


def edge_feature_names() -> list[str]:
    """The names of the features of an edge."""
    return [field.name for field in fields(Edges)][3:]


def join_meetings(payments: Payments, meetings: Meetings, limits: MeetingLimits) -> Edges:
    """The edges of all pairs that met."""
    one, other = payments.card[meetings.earlier], payments.card[meetings.later]
    key = np.minimum(one, other) * payments.num_cards + np.maximum(one, other)
    keys, edge = np.unique(key, return_inverse=True)
    a, b = keys // payments.num_cards, keys % payments.num_cards
    size = len(keys)

    def total(values: Floats | None = None) -> Floats:
        return np.bincount(edge, values, size).astype(np.float64)

    num = total()
    time_s = payments.time_s[meetings.earlier]
    first_s, last_s = _extremes(edge, time_s, size)
    expected, num_shared = _expected_meetings(payments, a, b, limits)
    log_cents = np.log(np.maximum(payments.cents, 1).astype(np.float64))
    difference = np.abs(log_cents[meetings.earlier] - log_cents[meetings.later])
    present = meetings.num_present.astype(np.float64)
    joint = [num / np.maximum(_payments_between(payments, card, first_s - DAY_S, last_s + DAY_S), 1) for card in (a, b)]
    volume = np.bincount(payments.card, minlength=payments.num_cards).astype(np.float64)
    surprise = log_surprise(num, expected)
    rarity = total(meetings.log_rarity)
    return Edges(
        a, b, edge, num, total((meetings.gap_s <= HOUR_S).astype(float)),
        total((meetings.gap_s <= 3 * HOUR_S).astype(float)),
        expected, surprise, rarity, _extremes(edge, meetings.log_rarity, size)[1],
        _num_distinct(edge, payments.terminal[meetings.earlier], size), _num_distinct(edge, time_s // DAY_S, size),
        (last_s - first_s) / DAY_S, _extremes(edge, present, size)[0], total(present) / num, total(difference) / num,
        np.minimum(*joint), np.maximum(*joint), _num_alone(payments, meetings, edge, a, b) - 2 * num,
        num_shared, np.minimum(volume[a], volume[b]), np.maximum(volume[a], volume[b]),
        count_triangles(a, b, np.sqrt(surprise), payments.num_cards),
        count_triangles(a, b, (num >= 2).astype(float), payments.num_cards),
    )  # fmt: skip


def log_surprise(num: Floats, expected: Floats) -> Floats:
    """-log10 of a bound on the chance of at least `num` events where `expected` are expected (Poisson), 0 to 30.

    The tail is bounded by its first term times a geometric series: within 10 % of the tail where few are expected.

    >>> log_surprise(np.array([2.0, 1.0]), np.array([0.01, 3.0])).round(2).tolist()
    [4.3, 0.0]
    """
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, int(num.max(initial=0)) + 1)))])
    mean = np.maximum(expected, 1e-12)
    ratio = np.minimum(mean / (num + 1), 0.999)
    log_tail = -mean + num * np.log(mean) - log_factorial[num.astype(np.int64)] - np.log1p(-ratio)
    surprise = np.where(num > mean, -log_tail / np.log(10), 0.0)
    return np.asarray(np.clip(surprise, 0.0, MAX_SURPRISE), np.float64)


def count_triangles(a: Ints, b: Ints, weight: Floats, num_cards: int) -> Floats:
    """For each edge, the sum over third cards of the product of the weights of the two other edges (P,). Of a card with
    many edges the heaviest count."""
    sparse = need("scipy.sparse", extra="tabular")
    ends, others = np.concatenate([a, b]), np.concatenate([b, a])
    weights = np.concatenate([weight, weight])
    order = np.lexsort((-weights, ends))
    first = np.concatenate([[0], np.cumsum(np.bincount(ends, minlength=num_cards))])
    rank = np.arange(len(order)) - first[ends[order]]
    kept = order[(rank < MAX_EDGES_OF_CARD) & (weights[order] > 0)]
    shape = (num_cards, num_cards)
    heavy = sparse.csr_matrix((weights[kept], (ends[kept], others[kept])), shape=shape)
    product = (heavy @ heavy.T).tocsr()
    return np.asarray(product[a, b], np.float64).ravel() if len(a) else np.empty(0)


def _extremes(group: Ints, values: Ints | Floats, size: int) -> tuple[Floats, Floats]:
    """The least and the largest value of each group."""
    low, high = np.full(size, np.inf), np.full(size, -np.inf)
    np.minimum.at(low, group, values)
    np.maximum.at(high, group, values)
    return low, high


def _num_distinct(group: Ints, values: Ints, size: int) -> Floats:
    """How many distinct values each group has."""
    order = np.lexsort((values, group))
    groups, sorted_values = group[order], values[order]
    is_new = np.ones(len(order), bool)
    is_new[1:] = (groups[1:] != groups[:-1]) | (sorted_values[1:] != sorted_values[:-1])
    return np.bincount(groups[is_new], minlength=size).astype(np.float64)


def _expected_meetings(payments: Payments, a: Ints, b: Ints, limits: MeetingLimits) -> tuple[Floats, Floats]:
    """Meetings that chance would bring each pair, and how many terminals both use."""
    sparse = need("scipy.sparse", extra="tabular")
    ones = np.ones(len(payments))
    shape = (payments.num_cards, payments.num_terminals)
    visits = sparse.csr_matrix((ones, (payments.card, payments.terminal)), shape=shape)
    visits.sum_duplicates()
    shared, expected = np.zeros(len(a)), np.zeros(len(a))
    chance = min(1.0, 2.0 * limits.window_s / (payments.num_days * DAY_S))
    for start in range(0, len(a), 100_000):  # in parts, so that memory does not grow with the edges
        part = slice(start, start + 100_000)
        both = visits[a[part]].multiply(visits[b[part]])
        expected[part] = np.asarray(both.sum(axis=1)).ravel() * chance
        shared[part] = np.diff(both.tocsr().indptr)
    return expected, shared


def _payments_between(payments: Payments, card: Ints, start_s: Floats, end_s: Floats) -> Floats:
    """How many payments each card has between two moments, both included."""
    first_s = int(payments.time_s[0])
    stride_s = int(payments.time_s[-1]) - first_s + 8 * DAY_S
    keys = np.sort(payments.card * stride_s + (payments.time_s - first_s + 2 * DAY_S))
    low = card * stride_s + np.maximum(start_s - first_s + 2 * DAY_S, 0)
    high = card * stride_s + np.minimum(end_s - first_s + 2 * DAY_S, stride_s - 1)
    return (np.searchsorted(keys, high, "right") - np.searchsorted(keys, low, "left")).astype(np.float64)


def _num_alone(payments: Payments, meetings: Meetings, edge: Ints, a: Ints, b: Ints) -> Floats:
    """Payments of either card at the terminals at which they met."""
    keys, counts = np.unique(payments.card * payments.num_terminals + payments.terminal, return_counts=True)
    met = np.unique(edge * payments.num_terminals + payments.terminal[meetings.earlier])
    edges, terminals = met // payments.num_terminals, met % payments.num_terminals
    num = np.zeros(len(a))
    for card in (a, b):
        at = np.searchsorted(keys, card[edges] * payments.num_terminals + terminals)
        num += np.bincount(edges, counts[at], len(a))
    return num
