"""Meetings, edges and their surprise: small cases by hand, then a slow loop over all pairs of payments."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import poisson

from deepseek.errors import InputError
from deepseek.features.graph.edges import count_triangles, join_meetings, log_surprise
from deepseek.features.graph.meetings import MeetingLimits, find_meetings
from deepseek.features.graph.neighbors import card_features, neighbor_features, top_over_edges
from deepseek.features.graph.payments import DAY_S, HOUR_S, Payments

LIMITS = MeetingLimits(window_s=2 * HOUR_S)


def payments_of(rows: list[tuple[float, str, str]]) -> Payments:
    """Rows of (hours, card, terminal)."""
    hours, cards, terminals = zip(*rows, strict=True)
    time_s = (np.array(hours) * HOUR_S).astype(np.int64)
    return Payments.from_columns(time_s, np.array(cards), np.array(terminals), np.full(len(rows), 9.5))


def random_payments(num: int, num_cards: int = 12, num_terminals: int = 5, seed: int = 0) -> Payments:
    rng = np.random.default_rng(seed)
    return Payments.from_columns(
        rng.integers(0, 6 * DAY_S, num), rng.integers(0, num_cards, num), rng.integers(0, num_terminals, num),
        rng.uniform(1, 90, num),
    )  # fmt: skip


def test_two_cards_meet_at_one_terminal_within_the_window() -> None:
    payments = payments_of([(0, "a", "x"), (1, "b", "x"), (1.5, "c", "y"), (4, "c", "x"), (4.5, "c", "x")])
    meetings = find_meetings(payments, LIMITS)
    assert [(payments.card_names[payments.card[row]]) for row in (meetings.earlier[0], meetings.later[0])] == ["a", "b"]
    assert meetings.gap_s.tolist() == [HOUR_S]
    assert meetings.num_present.tolist() == [2]


def test_a_session_of_two_cards_counts_once_and_by_its_closest_payments() -> None:
    payments = payments_of([(0, "a", "x"), (0.5, "b", "x"), (0.6, "a", "x"), (30, "b", "x"), (31, "a", "x")])
    meetings = find_meetings(payments, LIMITS)
    edges = join_meetings(payments, meetings, LIMITS)
    assert sorted(meetings.gap_s.tolist()) == [round(0.1 * HOUR_S), HOUR_S]
    assert edges.num_meetings.tolist() == [2.0]
    assert edges.num_days.tolist() == [2.0]
    assert edges.num_alone.tolist() == [1.0]  # five payments there, twice two of them are meetings


def test_meetings_are_those_of_a_loop_over_all_pairs_of_payments() -> None:
    payments = random_payments(300)
    meetings = find_meetings(payments, MeetingLimits(window_s=HOUR_S, max_followers=300, max_expected=1e9))
    expected = {
        (min(payments.card[i], payments.card[j]), max(payments.card[i], payments.card[j]), payments.terminal[i])
        for i, j in itertools.combinations(range(300), 2)
        if payments.terminal[i] == payments.terminal[j]
        and payments.card[i] != payments.card[j]
        and abs(payments.time_s[i] - payments.time_s[j]) <= HOUR_S
    }
    one, other = payments.card[meetings.earlier], payments.card[meetings.later]
    pairs = zip(np.minimum(one, other), np.maximum(one, other), payments.terminal[meetings.earlier], strict=True)
    assert set(pairs) == expected


def test_a_busy_terminal_makes_no_more_meetings_than_the_limit() -> None:
    num = 30_000
    payments = random_payments(num, num_cards=400, num_terminals=1)
    meetings = find_meetings(payments, MeetingLimits(max_followers=10))
    assert len(meetings.earlier) < num / 10  # somebody always pays there
    assert meetings.num_cut > 0
    every = find_meetings(payments, MeetingLimits(max_followers=10, max_expected=1e9))
    assert num < len(every.earlier) <= 10 * num


def test_expected_meetings_are_summed_over_shared_terminals() -> None:
    rows = [(0.0, "a", "x"), (0.5, "b", "x"), (50, "a", "y"), (80, "b", "y"), (90, "b", "y"), (240, "c", "z")]
    payments = payments_of(rows)
    edges = join_meetings(payments, find_meetings(payments, LIMITS), LIMITS)
    assert edges.num_shared.tolist() == [2.0]
    assert edges.expected[0] == pytest.approx((1 * 1 + 1 * 2) * 2 * LIMITS.window_s / (240 * HOUR_S))


def test_surprise_is_the_tail_of_poisson_or_less() -> None:
    num, mean = np.array([1.0, 2, 3, 5, 2, 1]), np.array([0.01, 0.02, 0.3, 0.5, 4.0, 1.0])
    surprise, exact = log_surprise(num, mean), -np.log10(poisson.sf(num - 1, mean))
    assert (surprise <= exact + 1e-12).all()
    assert surprise[:4] == pytest.approx(exact[:4], abs=0.05)
    assert surprise[4:].tolist() == [0.0, 0.0]  # no more than chance brings


def test_triangles_are_those_of_a_loop() -> None:
    rng = np.random.default_rng(1)
    a, b = np.array(list(itertools.combinations(range(9), 2)))[rng.random(36) < 0.6].T
    weight = rng.random(len(a))
    matrix = np.zeros((9, 9))
    matrix[a, b] = matrix[b, a] = weight
    expected = [sum(matrix[i, k] * matrix[j, k] for k in range(9)) for i, j in zip(a, b, strict=True)]
    assert count_triangles(a, b, weight, 9) == pytest.approx(expected)


def test_the_neighborhood_of_an_edge_leaves_the_edge_itself_out() -> None:
    payments = payments_of([(0, "a", "x"), (0.2, "b", "x"), (0.4, "c", "x"), (90, "d", "y")])
    meetings = find_meetings(payments, LIMITS)
    edges = join_meetings(payments, meetings, LIMITS)
    strength = np.array([0.9, 0.5, 0.2])  # a-b, a-c, b-c
    assert top_over_edges(edges, strength, 4, 3).tolist() == [[0.9, 0.5, 0], [0.9, 0.2, 0], [0.5, 0.2, 0], [0, 0, 0]]
    features = neighbor_features(payments, meetings, edges, strength)
    assert features.shape == (3, 12)
    assert features[0, 3:5].tolist() == [0.2, 0.5]  # the strongest other edge of b and of a
    assert features[:, 9] == pytest.approx([0.7, 1.1, 1.4])  # the other meetings of that day
    assert card_features(edges, strength, strength, 4)[3].tolist() == [0.0] * 12


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (([], [], [], []), "there are no payments"),
        (([1, 2], ["a", "a"], ["x", "y"], [1, 1]), "all 2 payments are of one card"),
        (([1, np.nan], ["a", "b"], ["x", "y"], [1, 1]), "1 payments have no time, the first of them in row 1"),
        (([1, 2], ["a", "b"], ["x", "y"], [1, np.nan]), "1 payments have no amount"),
        (([1, 1.5e12], ["a", "b"], ["x", "y"], [1, 1]), "the time of row 1 is 1.5e"),
        (([1, 2], ["a", "b"], ["x", "y"], [1, 1e18]), "the amount of row 1 is 1e"),
        (([1, 2], ["a", "b"], ["x"], [1, 1]), "other lengths"),
    ],
)
def test_payments_that_cannot_be_used_are_refused_in_words(columns: tuple[list, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Payments.from_columns(*(np.array(values) for values in columns))
