"""Fraud that is planted into a table of payments: a stolen card, a bad terminal, a ring.

    injection = inject(table, definition, "card", seed=0)
    injection.rows              # a table of new rows, with the columns of the other

Equal seeds give equal rows. What is planted begins in the middle of the table's time, when the past of cards and
terminals is known. Each new row is a copy of another payment of its card in all but its time, terminal, amount and id.

    card        stolen: within 3 days 12 payments at other terminals, of about three times the usual amount
    terminal    for 14 days most of its cards are used there again by somebody else, within 4 days of their payment
    ring        6 to 9 cards meet at 3 or 4 terminals, and pay elsewhere between (features/graph/planting.py, "mid")

The first two follow the scenarios of Le Borgne et al., Machine Learning for Credit Card Fraud Detection (2022).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deepseek.data.table.table import Table
from deepseek.errors import InputError
from deepseek.features import FeatureDefinition
from deepseek.features.definition import TICKS_PER_SECOND
from deepseek.features.events import BAD_TIME, Longs, read_times
from deepseek.features.graph.payments import DAY_S, HOUR_S, Payments
from deepseek.features.graph.planting import LEVELS, MIN_GENUINE, PlantingPlan, plant

INJECTION_KINDS = ("card", "terminal", "ring")
RING_LEVEL = "mid"
STOLEN_DAYS, NUM_STOLEN = 3, 12
TERMINAL_DAYS, REUSE_DAYS, REUSE_SHARE = 14, 4, 0.7
#: Of the logarithm of an amount against the usual one: mean and standard deviation.
STOLEN_AMOUNT, REUSE_AMOUNT = (1.1, 0.5), (0.3, 0.5)


@dataclass(frozen=True, slots=True, eq=False)
class Injection:
    """P payments that were planted, as one card, one terminal or one ring."""

    kind: str
    rows: Table  # P rows
    cards: tuple[object, ...]  # whose payments they are
    terminals: tuple[object, ...]  # where


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """P new payments, by rows of the table that they take something of."""

    template: Longs  # (P,) of the same card
    place: Longs  # (P,) whose terminal it is
    time: Longs  # (P,) ticks
    amount: np.ndarray[Any, np.dtype[np.float64]]  # (P,)


def inject(
    table: Table, definition: FeatureDefinition, kind: str, *, seed: int, earlier: Sequence[Injection] = ()
) -> Injection:
    """Plant one of `kind` into the payments of `table`, which stays as it is. InputError where it has too few.
    `earlier`: what was planted before, whose ids are taken."""
    names = definition.columns
    view = _View(table, definition, np.random.default_rng([seed, INJECTION_KINDS.index(kind)]))
    plan = {"card": view.steal_card, "terminal": view.spoil_terminal, "ring": view.plant_ring}[kind]()
    rows = table.take(plan.template)
    columns = dict(rows.columns)
    columns[view.terminal_column] = table.column(view.terminal_column)[plan.place]
    columns[names.amount] = np.maximum(
        np.round(plan.amount, definition.amount_decimals), 10.0**-definition.amount_decimals
    )
    columns[names.time] = _as_column(plan.time, definition, table.column(names.time))
    columns[names.id] = view.make_ids(len(plan.time), earlier)
    if names.label in columns:
        columns[names.label] = np.ones(len(plan.time))
    return Injection(
        kind, Table(columns, table.types),
        _unique(columns[view.card_column]), _unique(columns[view.terminal_column]),
    )  # fmt: skip


def key_column(definition: FeatureDefinition, name: str) -> str:
    """The column of a key of the definition. InputError where it has no such key."""
    if name not in definition.keys:
        raise InputError(
            f"the definition of features has no key {name!r}", expected=f"one of {', '.join(definition.keys)}",
            fix="leave --inject out, or name the key so in the definition",
        )  # fmt: skip
    return definition.keys[name].column


class _View:
    """The payments of a table that something can be planted beside, by whole numbers."""

    def __init__(self, table: Table, definition: FeatureDefinition, rng: np.random.Generator) -> None:
        self.table, self.definition, self.rng = table, definition, rng
        self.card_column, self.terminal_column = (key_column(definition, name) for name in ("card", "terminal"))
        time = read_times(table.column(definition.columns.time), definition.time_unit)
        amount = table.column(definition.columns.amount).astype(np.float64)
        self.rows = np.flatnonzero((time != BAD_TIME) & np.isfinite(amount) & (amount > 0))
        if not len(self.rows):
            raise InputError(
                "no row has a time and an amount above 0", expected="payments", fix="look at the columns of the table"
            )
        self.time, self.amount = time[self.rows], amount[self.rows]
        self.card, self.terminal = (
            np.unique(table.column(name)[self.rows].astype(str), return_inverse=True)[1].astype(np.int64)
            for name in (self.card_column, self.terminal_column)
        )
        self.ticks = TICKS_PER_SECOND[definition.time_unit]
        self.last = int(self.time.max())
        self.start = (int(self.time.min()) + self.last) // 2
        self.usual = np.bincount(self.card, np.log(self.amount)) / np.maximum(np.bincount(self.card), 1)

    def steal_card(self) -> _Plan:
        """Hurried, larger payments of one card, beside its own."""
        card = self._choose(self.card, self.time < self.start, MIN_GENUINE, "card")
        span = min(STOLEN_DAYS * DAY_S * self.ticks, self.last - self.start)
        time = self.start + np.sort(self.rng.integers(0, span + 1, NUM_STOLEN))
        amount = np.exp(self.usual[card] + self.rng.normal(*STOLEN_AMOUNT, NUM_STOLEN))
        template = self.rng.choice(np.flatnonzero(self.card == card), NUM_STOLEN)
        return self._plan(template, self.rng.integers(0, len(self.rows), NUM_STOLEN), time, amount)

    def spoil_terminal(self) -> _Plan:
        """Payments at one terminal, of cards that paid there a little before."""
        end = min(self.start + TERMINAL_DAYS * DAY_S * self.ticks, self.last)
        is_near = (self.time >= self.start) & (self.time <= end)
        terminal = self._choose(self.terminal, is_near, MIN_GENUINE, "terminal")
        copied = np.flatnonzero(is_near & (self.terminal == terminal))
        is_reused = self.rng.random(len(copied)) < REUSE_SHARE
        is_reused[0] = True
        copied = copied[is_reused]
        later = self.rng.integers(HOUR_S * self.ticks, REUSE_DAYS * DAY_S * self.ticks, len(copied))
        amount = np.exp(self.usual[self.card[copied]] + self.rng.normal(*REUSE_AMOUNT, len(copied)))
        time = np.minimum(self.time[copied] + later, self.last)
        return self._plan(copied, copied, time, amount)

    def plant_ring(self) -> _Plan:
        """The meetings of a ring, and what its cards pay elsewhere on its account."""
        late = np.flatnonzero(self.time >= self.start)
        payments = Payments.from_columns(
            self.time[late] // self.ticks, self.card[late], self.terminal[late], self.amount[late]
        )
        none = PlantingPlan(num_rings=1, num_crowds=0, num_holidays=0)
        world = plant(payments, LEVELS[RING_LEVEL], none, seed=int(self.rng.integers(2**31)))
        before, after = (Counter(zip(*_columns(each), strict=True)) for each in (payments, world.payments))
        fresh = np.array(sorted((after - before).elements()), np.int64).reshape(-1, 4)
        cards, terminals = payments.card_names[fresh[:, 1]], payments.terminal_names[fresh[:, 2]]
        template = [int(self.rng.choice(np.flatnonzero(self.card == card))) for card in cards]
        place = [int(np.argmax(self.terminal == terminal)) for terminal in terminals]
        time = np.minimum(fresh[:, 0] * self.ticks, self.last)
        return self._plan(np.array(template), np.array(place), time, fresh[:, 3] / 100)

    def make_ids(self, number: int, earlier: Sequence[Injection]) -> np.ndarray[Any, Any]:
        """New ids that look like those of the table."""
        name = self.definition.columns.id
        ids = np.concatenate([self.table.column(name), *(each.rows.column(name) for each in earlier)])
        if ids.dtype.kind == "f":
            return np.asarray(np.nanmax(ids) + 1 + np.arange(number))
        known = set(ids.tolist())
        fresh: list[str] = []
        while len(fresh) < number:
            text = self.rng.bytes(8).hex()
            if text not in known:
                known.add(text)
                fresh.append(text)
        return np.array(fresh, object)

    def _choose(self, key: Longs, rows: np.ndarray[Any, np.dtype[np.bool_]], least: int, what: str) -> int:
        """One of those that have so many of these rows."""
        usual = np.flatnonzero(np.bincount(key[rows], minlength=1) >= least)
        if not len(usual):
            raise InputError(
                f"no {what} has {least} payments in the half of the table that this needs",
                expected="days of payments of many cards", fix="replay more rows, or leave --inject out",
            )  # fmt: skip
        return int(self.rng.choice(usual))

    def _plan(self, template: Longs, place: Longs, time: Longs, amount: np.ndarray[Any, Any]) -> _Plan:
        order = np.argsort(time, kind="stable")
        return _Plan(self.rows[template[order]], self.rows[place[order]], time[order], amount[order])


def _columns(payments: Payments) -> tuple[list[int], list[int], list[int], list[int]]:
    arrays = (payments.time_s, payments.card, payments.terminal, payments.cents)
    when, card, terminal, cents = (array.tolist() for array in arrays)
    return when, card, terminal, cents


def _as_column(time: Longs, definition: FeatureDefinition, column: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Ticks in the form that the table has them in."""
    if column.dtype.kind != "M":
        return time.astype(np.float64)
    return time.astype(f"datetime64[{definition.time_unit}]").astype("datetime64[ms]")


def _unique(values: np.ndarray[Any, Any]) -> tuple[object, ...]:
    """Each value once, in the order in which they come; whole numbers as such."""
    names = list(dict.fromkeys(values.tolist()))
    return tuple(int(name) if isinstance(name, float) and name.is_integer() else name for name in names)
