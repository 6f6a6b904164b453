"""What the graph says of each card by itself: plain counts, without a model of chance.

These are the features that one would try first; `benchmarks/fraud_rings.py` trains trees on them alone as the rival.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from deepseek.extras import need
from deepseek.features.graph.edges import Edges
from deepseek.features.graph.meetings import Meetings
from deepseek.features.graph.payments import Floats, Mask, Payments


@dataclass(frozen=True, eq=False)
class CardGraph:
    """One value for each card (C,) float64."""

    num_payments: Floats
    num_terminals: Floats
    mean_popularity: Floats  # payments at the terminals that it uses
    least_popularity: Floats
    mean_log_amount: Floats
    std_log_amount: Floats
    num_meetings: Floats
    num_meetings_within_hour: Floats
    degree: Floats  # cards that it met
    degree_twice: Floats  # cards that it met at least twice
    degree_thrice: Floats
    most_meetings: Floats  # with one card
    sum_rarity: Floats
    most_rarity: Floats  # of one edge
    triangles: Floats  # among cards that met at least twice
    component_size: Floats  # of the graph of cards that met at least twice
    most_present: Floats  # at one of its meetings

    @property
    def features(self) -> Floats:
        """(C, F), in the order of the fields."""
        return np.column_stack([getattr(self, field.name) for field in fields(self)])


def describe_cards(payments: Payments, meetings: Meetings, edges: Edges) -> CardGraph:
    """The plain graph features of all cards."""
    size = payments.num_cards
    num = np.bincount(payments.card, minlength=size).astype(np.float64)
    used = np.maximum(num, 1)
    popularity = np.bincount(payments.terminal, minlength=payments.num_terminals).astype(np.float64)[payments.terminal]
    log_amount = np.log(np.maximum(payments.cents, 1).astype(np.float64))
    mean = np.bincount(payments.card, log_amount, size) / used
    square = np.bincount(payments.card, log_amount**2, size) / used
    visited = np.unique(payments.card * payments.num_terminals + payments.terminal) // payments.num_terminals
    least = np.full(size, np.inf)
    np.minimum.at(least, payments.card, popularity)
    twice = edges.num_meetings >= 2
    present = np.zeros(size)
    for rows in (meetings.earlier, meetings.later):
        np.maximum.at(present, payments.card[rows], meetings.num_present)
    return CardGraph(
        num, np.bincount(visited, minlength=size).astype(np.float64),
        np.bincount(payments.card, popularity, size) / used, np.where(np.isfinite(least), least, 0.0),
        mean, np.sqrt(np.maximum(square - mean**2, 0)),
        sum_over_edges(edges, edges.num_meetings, size), sum_over_edges(edges, edges.num_within_hour, size),
        sum_over_edges(edges, np.ones(len(edges)), size), sum_over_edges(edges, twice.astype(float), size),
        sum_over_edges(edges, (edges.num_meetings >= 3).astype(float), size),
        most_over_edges(edges, edges.num_meetings, size), sum_over_edges(edges, edges.sum_rarity, size),
        most_over_edges(edges, edges.sum_rarity, size),
        sum_over_edges(edges, np.where(twice, edges.triangles_twice, 0.0), size) / 2,
        _component_sizes(edges, twice, size), present,
    )  # fmt: skip


def sum_over_edges(edges: Edges, values: Floats, num_cards: int) -> Floats:
    """The sum of a value (P,) over the edges of each card (C,)."""
    return np.asarray(
        np.bincount(edges.card_a, values, num_cards) + np.bincount(edges.card_b, values, num_cards), np.float64
    )


def most_over_edges(edges: Edges, values: Floats, num_cards: int) -> Floats:
    """The largest value (P,) over the edges of each card (C,); 0 for a card without edges."""
    most = np.zeros(num_cards)
    for card in (edges.card_a, edges.card_b):
        np.maximum.at(most, card, values)
    return most


def _component_sizes(edges: Edges, kept: Mask, num_cards: int) -> Floats:
    sparse = need("scipy.sparse", extra="tabular")
    ends = (edges.card_a[kept], edges.card_b[kept])
    graph = sparse.csr_matrix((np.ones(int(kept.sum())), ends), shape=(num_cards, num_cards))
    _, label = need("scipy.sparse.csgraph", extra="tabular").connected_components(graph, directed=False)
    return np.asarray(np.bincount(label)[label], np.float64)
