"""What is planted is what it is said to be, and nothing else is touched."""

from __future__ import annotations

import numpy as np
import pytest

from deepseek.errors import InputError
from deepseek.features.graph.example import Town, simulate_payments
from deepseek.features.graph.payments import HOUR_S, Payments
from deepseek.features.graph.planting import LEVELS, PlantedWorld, PlantingPlan, plant, plant_levels, shift_days
from deepseek.features.graph.rings import describe_ring, group_cards
from deepseek.train.rings.scorer import look_at

PLAN = PlantingPlan(num_rings=4, num_crowds=2, num_holidays=2)


@pytest.fixture(scope="module")
def town() -> Payments:
    return simulate_payments(Town(num_cards=300, num_terminals=500), seed=3)


@pytest.fixture(scope="module")
def world(town: Payments) -> PlantedWorld:
    return plant_levels(town, list(LEVELS.values()), PLAN, seed=5)


def rows_of(payments: Payments, cards: np.ndarray) -> set[tuple[int, ...]]:
    kept = np.isin(payments.card, cards)
    columns = (payments.time_s, payments.card, payments.terminal, payments.cents)
    return set(zip(*(column[kept].tolist() for column in columns), strict=True))


def test_equal_seeds_plant_equal_worlds(town: Payments, world: PlantedWorld) -> None:
    again = plant_levels(town, list(LEVELS.values()), PLAN, seed=5)
    assert (again.payments.time_s == world.payments.time_s).all()
    assert (again.ring_of_card == world.ring_of_card).all()
    other = plant_levels(town, list(LEVELS.values()), PLAN, seed=6)
    assert (other.ring_of_card != world.ring_of_card).any()


def test_cards_of_rings_keep_their_genuine_payments_and_are_in_no_other_group(
    town: Payments, world: PlantedWorld
) -> None:
    ring_cards = np.flatnonzero(world.in_ring)
    assert rows_of(town, ring_cards) < rows_of(world.payments, ring_cards)
    assert not (world.in_ring & world.decoy_of_card).any()
    assert (np.diff(world.payments.time_s) >= 0).all()


@pytest.mark.parametrize("name", LEVELS)
def test_a_ring_has_the_size_of_its_level_and_meets_at_its_terminals(town: Payments, name: str) -> None:
    level = LEVELS[name]
    world = plant(town, level, PlantingPlan(num_rings=1, num_crowds=0, num_holidays=0), seed=1)
    cards = np.flatnonzero(world.in_ring)
    assert level.num_cards[0] <= len(cards) <= level.num_cards[1]
    planted = rows_of(world.payments, cards) - rows_of(town, cards)
    places, counts = np.unique([terminal for _, _, terminal, _ in planted], return_counts=True)
    joint = places[counts >= 3]
    assert 1 <= len(joint) <= level.num_terminals[1]


def test_a_holiday_takes_payments_away_from_home(town: Payments) -> None:
    world = plant(town, LEVELS["easy"], PlantingPlan(num_rings=0, num_crowds=0, num_holidays=2), seed=2)
    cards = np.flatnonzero(world.decoy_of_card)
    assert rows_of(town, cards) - rows_of(world.payments, cards)


def test_turned_days_part_who_met_and_keep_who_pays_where(town: Payments) -> None:
    world = plant(town, LEVELS["easy"], PlantingPlan(num_rings=2, num_crowds=0, num_holidays=0), seed=4)
    turned = shift_days(world.payments, seed=1)
    for payments in (world.payments, turned):
        assert (np.diff(payments.time_s) >= 0).all()
    visits = [np.sort(each.card * each.num_terminals + each.terminal) for each in (world.payments, turned)]
    assert (visits[0] == visits[1]).all()
    before, after = (look_at(each).edges for each in (world.payments, turned))
    ring = world.ring_of_card
    met = [
        edges.num_meetings[(ring[edges.card_a] >= 0) & (ring[edges.card_a] == ring[edges.card_b])]
        for edges in (before, after)
    ]
    assert met[1].sum() < met[0].sum() / 4


@pytest.mark.parametrize(("num_terminals", "num_days"), [(2, 10), (200, 1)])
def test_few_terminals_and_few_days_are_enough(num_terminals: int, num_days: int) -> None:
    small = simulate_payments(Town(num_cards=250, num_terminals=num_terminals, num_days=num_days, mean_a_day=9.0))
    world = plant_levels(small, list(LEVELS.values()), PLAN, seed=1)
    assert world.in_ring.sum() >= 4 * 5
    edges = look_at(shift_days(world.payments, seed=1)).edges
    assert np.isfinite(edges.features).all()


def test_too_few_cards_are_refused_in_words() -> None:
    few = simulate_payments(Town(num_cards=12, num_terminals=20))
    with pytest.raises(InputError, match="12 cards are too few to plant rings"):
        plant(few, LEVELS["easy"], PLAN, seed=0)


def test_a_group_is_described_by_its_meetings() -> None:
    day = 24
    rows = [(hour, card, "x") for start in (0, 3 * day) for card, hour in (("a", start), ("b", start + 1))]
    rows += [(50, "a", "home"), (60, "b", "shop"), (70, "c", "x"), (3 * day + 0.5, "d", "x"), (90, "c", "y")]
    hours, cards, places = zip(*rows, strict=True)
    time_s = (np.array(hours) * HOUR_S).astype(np.int64)
    payments = Payments.from_columns(time_s, np.array(cards), np.array(places), np.ones(len(rows)))
    edges = look_at(payments).edges
    suspected = np.array([True, True, False, False])
    groups = group_cards(edges, np.ones(len(edges)), suspected, 0.5)
    assert [group.tolist() for group in groups] == [[0, 1]]
    ring = describe_ring(payments, edges, groups[0], np.array([0.4, 0.9, 0, 0]), 8 * HOUR_S)
    assert ring.cards == (1, 0)  # the more suspected first
    assert [meeting.cards for meeting in ring.meetings] == [(0, 1), (0, 1)]
    assert (ring.evidence.num_days, ring.evidence.attendance, ring.evidence.mean_width_h) == (2, 1.0, 1.0)
    assert (ring.evidence.num_visits_alone, ring.evidence.most_strangers) == (0, 1)
    assert ring.evidence.share_elsewhere == pytest.approx(2 / 6)
