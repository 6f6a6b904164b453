"""Rings of cards and harmless groups, planted into real payments: what a detector of rings is taught and measured by.

    world = plant(payments, LEVELS["mid"], PlantingPlan(), seed=1)
    world.payments, world.ring_of_card                 # -1: in no ring

A ring is a few cards that are used together at a few terminals, in windows of time that they share, among their own
genuine payments. Two kinds of decoys look alike and are no rings:

    a flash crowd       many cards at one terminal within hours, once
    a holiday           a group that moves together for some days, at the terminals of one place, away from home

The levels were set once, before any detector was tuned, so that boosted trees on plain graph features find about the
shares of cards that they were reported to find (.97, .60 to .67 and .39 at a false-positive rate of .5 %). They stay.
Rings of these three are of strangers. A fourth level, "local", is like the hard one among neighbors, who meet by chance
as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deepseek.errors import InputError
from deepseek.features.graph.payments import DAY_S, HOUR_S, Ints, Mask, Payments

Range = tuple[int, int]  # both ends included
MIN_TURNED_WEEKS = 20  # from so many on, days of the week stay what they are
NUM_NEIGHBORS = 40  # of a card, from which a local ring is taken
MIN_GENUINE = 5  # payments of a card that may be in a ring or a decoy: a card that is hardly used hides nothing


@dataclass(frozen=True, slots=True)
class RingLevel:
    """How well a ring hides."""

    num_cards: Range  # small rings leave fewer pairs to be seen
    num_terminals: Range  # more terminals: fewer meetings at each
    num_sessions: Range  # how often they meet; one meeting is chance
    window_h: Range  # hours within which the cards of a session pay: the wider, the more strangers are in it
    attendance: float  # share of the ring's cards in a session: the density of the ring
    camouflage: float  # payments elsewhere, alone, for each payment with the ring: hides volume and new terminals
    own_amounts: float  # 0: all pay about the same in a session; 1: each what it pays otherwise
    span_days: Range  # days over which the sessions are spread
    is_local: bool = False  # its cards live near each other, and it meets where they pay anyway


LEVELS: dict[str, RingLevel] = {
    "easy": RingLevel((8, 12), (2, 3), (6, 8), (1, 2), 0.9, 0.2, 0.2, (7, 14)),
    "mid": RingLevel((6, 9), (3, 4), (4, 6), (2, 4), 0.68, 0.4, 0.5, (14, 25)),
    "hard": RingLevel((5, 8), (3, 5), (4, 5), (3, 6), 0.62, 0.7, 0.8, (18, 28)),
    "local": RingLevel((5, 8), (3, 5), (4, 5), (3, 6), 0.62, 0.7, 0.8, (18, 28), is_local=True),
}


@dataclass(frozen=True, slots=True)
class PlantingPlan:
    """How much is planted. Decoys outnumber the cards of rings, as they do in life."""

    num_rings: int = 12
    num_crowds: int = 12
    crowd_cards: Range = (15, 60)
    crowd_h: Range = (1, 3)
    num_holidays: int = 12
    holiday_cards: Range = (3, 8)
    holiday_days: Range = (4, 10)
    holiday_terminals: Range = (6, 15)  # of one place: some are visited again, as those of a ring are
    outings_a_day: Range = (1, 3)
    outing_attendance: float = 0.75  # share of the group on an outing
    away: float = 0.9  # share of the payments at home that a holiday replaces


@dataclass(frozen=True, eq=False)
class PlantedWorld:
    """Payments with rings and decoys in them, and who is in which."""

    payments: Payments
    ring_of_card: Ints  # (C,) number of the ring, -1 for none
    decoy_of_card: Mask  # (C,) whether the card was in a crowd or on a holiday

    @property
    def in_ring(self) -> Mask:
        """Which cards are in a ring (C,)."""
        return self.ring_of_card >= 0


def plant(payments: Payments, level: RingLevel, plan: PlantingPlan, *, seed: int) -> PlantedWorld:
    """Plant rings of a level, and decoys, into `payments`. Equal seeds give equal worlds. InputError where there are
    too few cards or days for them."""
    return plant_levels(payments, [level], plan, seed=seed)


def plant_levels(payments: Payments, levels: list[RingLevel], plan: PlantingPlan, *, seed: int) -> PlantedWorld:
    """As plant(), with the rings' levels in turn."""
    sower = _Sower(payments, np.random.default_rng(seed))
    ring_of_card = np.full(payments.num_cards, -1, np.int64)
    for number in range(plan.num_rings):
        ring_of_card[sower.plant_ring(levels[number % len(levels)])] = number
    decoy_of_card = np.zeros(payments.num_cards, bool)
    for _ in range(plan.num_holidays):
        decoy_of_card[sower.plant_holiday(plan)] = True
    for _ in range(plan.num_crowds):
        decoy_of_card[sower.plant_crowd(plan)] = True
    return PlantedWorld(sower.finish(), ring_of_card, decoy_of_card)


def shift_days(payments: Payments, *, seed: int) -> Payments:
    """The same payments with each card's days turned by a number of its own: who pays where, how often and at what hour
    stays, and whoever met by more than chance hardly does any longer. What is planted into this is the only ring in it,
    whatever was in the payments. Whole weeks are turned where there are many: with few, cards too often turn alike."""
    rng = np.random.default_rng(seed)
    first_s = int(payments.time_s[0]) // DAY_S * DAY_S
    num_days = int(payments.time_s[-1] - first_s) // DAY_S + 1
    week = 7 if num_days >= MIN_TURNED_WEEKS * 7 else 1
    shift = rng.integers(0, max(1, num_days // week), payments.num_cards) * week
    since_s = payments.time_s - first_s
    day = (since_s // DAY_S + shift[payments.card]) % num_days
    none = np.empty(0, np.int64)
    turned = Payments(
        first_s + day * DAY_S + since_s % DAY_S, payments.card, payments.terminal, payments.cents,
        payments.card_names, payments.terminal_names,
    )  # fmt: skip
    return turned.replace_rows(np.ones(len(payments), bool), none, none, none, none)


class _Sower:
    """Collects rows that are planted and the genuine ones that they replace."""

    def __init__(self, payments: Payments, rng: np.random.Generator) -> None:
        self.payments, self.rng = payments, rng
        self.kept = np.ones(len(payments), bool)
        self.rows: list[tuple[int, int, int, int]] = []  # time_s, card, terminal, cents
        num_genuine = np.bincount(payments.card, minlength=payments.num_cards)
        self.free = num_genuine >= MIN_GENUINE  # cards that are in no group yet
        log_cents = np.log(np.maximum(payments.cents, 1).astype(np.float64))
        self.log_mean = np.bincount(payments.card, log_cents, payments.num_cards) / np.maximum(num_genuine, 1)
        self.by_card = np.argsort(payments.card, kind="stable")
        self.start = np.concatenate([[0], np.cumsum(num_genuine)])
        self.first_s = int(payments.time_s[0]) // DAY_S * DAY_S
        self.num_days = int(payments.num_days)

    def plant_ring(self, level: RingLevel) -> Ints:
        """Plant one ring; returns its cards."""
        if level.is_local:
            cards, terminals = self._take_neighbors(level)
        else:
            cards = self._take_cards(level.num_cards)
            terminals = self._take_terminals(level.num_terminals)
        span = min(self._draw(level.span_days), self.num_days)
        first_day = int(self.rng.integers(0, self.num_days - span + 1))
        for _ in range(self._draw(level.num_sessions)):
            day = first_day + int(self.rng.integers(0, span))
            self._meet(cards, int(self.rng.choice(terminals)), day, level)
        return cards

    def _meet(self, cards: Ints, terminal: int, day: int, level: RingLevel) -> None:
        """One session of a ring, and what its cards pay elsewhere on its account."""
        start_s, window_s = self._moment(day), self._draw(level.window_h) * HOUR_S
        shared = self.rng.normal(self.log_mean[cards].mean(), 0.5)
        for card in cards[self.rng.random(len(cards)) < level.attendance]:
            own = self.rng.normal(self.log_mean[card], 0.5)
            amount = (1 - level.own_amounts) * (shared + self.rng.normal(0, 0.03)) + level.own_amounts * own
            self._pay(start_s + int(self.rng.integers(0, window_s)), card, terminal, amount)
            for _ in range(self.rng.poisson(level.camouflage)):
                elsewhere = int(self.rng.choice(self.payments.terminal))  # a popular one, more often
                when_s = self._moment(int(self.rng.integers(0, self.num_days)))
                self._pay(when_s, card, elsewhere, self.rng.normal(self.log_mean[card], 0.5))

    def plant_holiday(self, plan: PlantingPlan) -> Ints:
        """A group that moves together for some days; returns its cards."""
        cards = self._take_cards(plan.holiday_cards)
        place = self._take_terminals(plan.holiday_terminals)
        days = min(self._draw(plan.holiday_days), self.num_days)
        first_day = int(self.rng.integers(0, self.num_days - days + 1))
        for card in cards:
            rows = self._rows_of(card)
            days_of_rows = (self.payments.time_s[rows] - self.first_s) // DAY_S
            at_home = rows[(days_of_rows >= first_day) & (days_of_rows < first_day + days)]
            self.kept[at_home[self.rng.random(len(at_home)) < plan.away]] = False
        for day in range(first_day, first_day + days):
            for _ in range(self._draw(plan.outings_a_day)):
                start_s, terminal = self._moment(day), int(self.rng.choice(place))
                for card in cards[self.rng.random(len(cards)) < plan.outing_attendance]:
                    when_s = start_s + int(self.rng.integers(0, HOUR_S))
                    self._pay(when_s, card, terminal, self.rng.normal(self.log_mean[card], 0.5))
        return cards

    def plant_crowd(self, plan: PlantingPlan) -> Ints:
        """Many cards at one terminal within hours, whatever else they are; returns those of no ring or holiday."""
        num_cards = min(self._draw(plan.crowd_cards), self.payments.num_cards)
        cards = self.rng.choice(self.payments.num_cards, num_cards, replace=False)
        terminal = int(self.rng.integers(0, self.payments.num_terminals))
        start_s = self._moment(int(self.rng.integers(0, self.num_days)))
        window_s = self._draw(plan.crowd_h) * HOUR_S
        for card in cards:
            self._pay(start_s + int(self.rng.integers(0, window_s)), card, terminal,
                      self.rng.normal(self.log_mean[card], 0.5))  # fmt: skip
        return np.asarray(cards[self.free[cards]], np.int64)

    def finish(self) -> Payments:
        """The payments with all that was planted."""
        rows = np.array(self.rows, np.int64).reshape(-1, 4)
        return self.payments.replace_rows(self.kept, *(rows[:, column] for column in range(4)))

    def _take_cards(self, size: Range) -> Ints:
        num_cards, free = self._draw(size), np.flatnonzero(self.free)
        if len(free) < 2 * num_cards:
            raise InputError(
                f"{self.payments.num_cards} cards are too few to plant rings among them",
                expected=f"many more cards that pay at least {MIN_GENUINE} times",
                fix="give more cards or more days",
            )
        cards = np.sort(self.rng.choice(free, num_cards, replace=False))
        self.free[cards] = False
        return np.asarray(cards, np.int64)

    def _take_terminals(self, size: Range) -> Ints:
        num_terminals = self.payments.num_terminals
        return self.rng.choice(num_terminals, min(self._draw(size), num_terminals), replace=False)

    def _take_neighbors(self, level: RingLevel) -> tuple[Ints, Ints]:
        """Cards that share the most terminals with one of them, and some of its terminals."""
        first = int(self.rng.choice(np.flatnonzero(self.free)))
        places = np.unique(self.payments.terminal[self._rows_of(first)])
        rows = np.isin(self.payments.terminal, places)
        visits = np.unique(self.payments.card[rows] * self.payments.num_terminals + self.payments.terminal[rows])
        num_shared = np.bincount(visits // self.payments.num_terminals, minlength=self.payments.num_cards)
        num_shared[~self.free] = 0
        nearest = np.argsort(-num_shared, kind="stable")[:NUM_NEIGHBORS]
        num_cards = self._draw(level.num_cards)
        if num_shared[nearest[: 2 * num_cards]].min() == 0:  # nobody lives near
            return self._take_cards(level.num_cards), places[: level.num_terminals[0]]
        cards = np.sort(self.rng.choice(nearest[num_shared[nearest] > 0], num_cards, replace=False))
        self.free[cards] = False
        num_places = min(self._draw(level.num_terminals), len(places))
        return np.asarray(cards, np.int64), self.rng.choice(places, num_places, replace=False)

    def _draw(self, size: Range) -> int:
        return int(self.rng.integers(size[0], size[1] + 1))

    def _rows_of(self, card: int) -> Ints:
        return self.by_card[self.start[card] : self.start[card + 1]]

    def _moment(self, day: int) -> int:
        """A moment of that day, at an hour at which people pay."""
        return self.first_s + day * DAY_S + int(self.rng.choice(self.payments.time_s)) % DAY_S

    def _pay(self, time_s: int, card: int, terminal: int, log_cents: float) -> None:
        self.rows.append((time_s, int(card), terminal, max(1, round(float(np.exp(log_cents))))))
