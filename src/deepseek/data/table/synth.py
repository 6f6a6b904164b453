"""A seeded simulator of card payments with fraud, for examples and tests that need no download.

    customers  live somewhere, spend around an amount of their own, at hours of their own, in shops near by
    terminals  stand somewhere and sell one kind of goods
    fraud      a stolen card      a few days of larger, hurried payments, far away or online
               a bad terminal     a week in which many of its cards are used again
               a tested number    small online payments in quick succession, then a large one

Each payment is then described by what a bank knows at that moment: no feature looks ahead, and a fraud becomes known
only DELAY_DAYS later.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepseek.data.table.table import ColumnType, Table
from deepseek.data.table.values import DAY_MS

GOODS = ("groceries", "fuel", "restaurant", "electronics", "travel", "clothing", "cash machine", "online shop")
PRICE_FACTORS = np.array([0.8, 1.0, 0.9, 2.4, 2.8, 1.3, 1.6, 1.2])  # of a customer's usual amount, by goods
POPULARITY = np.array([0.28, 0.11, 0.15, 0.07, 0.05, 0.10, 0.08, 0.16])
ONLINE, CASH = 7, 6
DELAY_DAYS = 7
START_MS = 1_735_689_600_000  # 2025-01-01
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FraudWorld:
    """The size of the simulated world: customers, terminals, days, and the seed."""

    num_customers: int = 900
    num_terminals: int = 600
    num_days: int = 60  # the first DELAY_DAYS are left out: nothing is known of them yet
    seed: int = 0


@dataclass(frozen=True, eq=False)
class _Payments:
    """N payments in the order of time."""

    moment: Ints  # (N,) milliseconds since the start
    customer: Ints  # (N,)
    terminal: Ints  # (N,)
    amount: Floats  # (N,)
    fraud: NDArray[np.bool_]  # (N,)


def simulate_fraud(world: FraudWorld | None = None) -> Table:
    """Payments (some 40,000 rows, near 1 % fraud) in the order of time, with the boolean target "fraud".

    Equal worlds give equal tables.
    """
    paid, rng, goods, distance = _simulate(world or FraudWorld())
    return _payments_table(paid, world or FraudWorld(), rng, goods, distance)


def simulate_transactions(world: FraudWorld | None = None) -> Table:
    """The same payments as they come in, before anything is known of them: id, time, card, terminal, amount, and the
    boolean target "fraud". From the first day on."""
    world = world or FraudWorld()
    paid, *_ = _simulate(world)
    columns: dict[str, tuple[ColumnType, NDArray[np.generic]]] = {
        "id": ("number", np.arange(len(paid.moment), dtype=np.float64)),
        "time": ("datetime", (START_MS + paid.moment).astype("datetime64[ms]")),
        "card": ("text", np.array([f"card-{number}" for number in paid.customer.tolist()], object)),
        "terminal": ("text", np.array([f"terminal-{number}" for number in paid.terminal.tolist()], object)),
        "amount": ("number", np.round(paid.amount, 2)),
        "fraud": ("boolean", paid.fraud.astype(np.float64)),
    }
    table = Table(
        {name: values for name, (_, values) in columns.items()}, {n: kind for n, (kind, _) in columns.items()}
    )
    return table.take((paid.moment >= 0) & (paid.moment < world.num_days * DAY_MS))


def _simulate(world: FraudWorld) -> tuple[_Payments, np.random.Generator, Ints, Floats]:
    """The payments of a world, its generator as they leave it, the goods of each terminal, and the distance of each
    customer to each terminal in km."""
    rng = np.random.default_rng(world.seed)
    goods = rng.choice(len(GOODS), world.num_terminals, p=POPULARITY)
    position = rng.uniform(0, 100, (world.num_terminals, 2))  # km
    home = rng.uniform(0, 100, (world.num_customers, 2))
    usual = rng.lognormal(3.4, 0.5, world.num_customers)
    distance = np.hypot(*(home[:, None, :] - position[None, :, :]).transpose(2, 0, 1))
    genuine = _genuine_payments(world, rng, goods, distance, usual)
    stolen = _stolen_card_payments(world, rng, goods, usual)
    tested = _card_testing_payments(world, rng, goods, usual)
    compromised = _bad_terminal_payments(world, rng, genuine, usual)
    return _concat_payments([genuine, stolen, tested, compromised]), rng, goods, distance


def _genuine_payments(
    world: FraudWorld, rng: np.random.Generator, goods: Ints, distance: Floats, usual: Floats
) -> _Payments:
    per_day = rng.gamma(2.0, 0.42, world.num_customers)
    counts = rng.poisson(per_day[:, None], (world.num_customers, world.num_days))
    customer, day = (np.repeat(axis.ravel(), counts.ravel()) for axis in np.indices(counts.shape))
    hour = (rng.normal(14, 3.6, len(customer)) + rng.normal(0, 2, world.num_customers)[customer]) % 24
    # A shop is chosen by the inverse of its distance; an online shop is near to all
    weights = np.where(goods == ONLINE, 0.05, 1 / (5 + distance) ** 2)
    ladder = np.cumsum(weights / weights.sum(axis=1, keepdims=True), axis=1)
    terminal = _pick_terminals(ladder, customer, rng)
    amount = usual[customer] * PRICE_FACTORS[goods[terminal]] * rng.lognormal(0, 0.45, len(customer))
    moment = (day * DAY_MS + hour * 3_600_000).astype(np.int64)
    return _Payments(moment, customer, terminal, amount, np.zeros(len(customer), bool))


def _pick_terminals(ladder: Floats, customer: Ints, rng: np.random.Generator) -> Ints:
    """A terminal for each payment, by the customer's row of cumulated chances."""
    steps = rng.uniform(size=len(customer)) + customer
    positions = np.searchsorted((ladder + np.arange(len(ladder))[:, None]).ravel(), steps)
    return np.asarray(np.minimum(positions - customer * ladder.shape[1], ladder.shape[1] - 1), np.int64)


def _stolen_card_payments(world: FraudWorld, rng: np.random.Generator, goods: Ints, usual: Floats) -> _Payments:
    customer = np.repeat(rng.choice(world.num_customers, max(3, world.num_customers // 30), replace=False), 7)
    start = np.repeat(rng.uniform(0, world.num_days - 3, len(customer) // 7), 7)
    moment = ((start + rng.uniform(0, 2.5, len(customer))) * DAY_MS).astype(np.int64)
    terminal = _draw_terminals(np.isin(goods, (3, 4, CASH, ONLINE)), rng, len(customer))
    amount = usual[customer] * rng.lognormal(1.1, 0.5, len(customer))
    return _Payments(moment, customer, terminal, amount, np.ones(len(customer), bool))


def _card_testing_payments(world: FraudWorld, rng: np.random.Generator, goods: Ints, usual: Floats) -> _Payments:
    length = 5
    customer = np.repeat(rng.choice(world.num_customers, max(3, world.num_customers // 40), replace=False), length)
    start = np.repeat(rng.uniform(0, world.num_days - 1, len(customer) // length), length)
    step = np.tile(np.arange(length), len(customer) // length)
    moment = (start * DAY_MS).astype(np.int64) + step * 180_000 + rng.integers(0, 120_000, len(customer))
    terminal = _draw_terminals(goods == ONLINE, rng, len(customer))
    last = step == length - 1
    amount = np.where(
        last, usual[customer] * rng.lognormal(1.3, 0.4, len(customer)), rng.uniform(0.5, 4, len(customer))
    )
    return _Payments(moment, customer, terminal, amount, np.ones(len(customer), bool))


def _bad_terminal_payments(world: FraudWorld, rng: np.random.Generator, genuine: _Payments, usual: Floats) -> _Payments:
    """Cards that paid at a bad terminal are used there again, by someone else, within a week."""
    bad = rng.choice(world.num_terminals, max(2, world.num_terminals // 60), replace=False)
    start_ms = rng.uniform(0, world.num_days - 14, len(bad)) * DAY_MS
    rows = [
        np.flatnonzero((genuine.terminal == one) & (genuine.moment >= start) & (genuine.moment < start + 12 * DAY_MS))
        for one, start in zip(bad, start_ms, strict=True)
    ]
    copied = np.concatenate(rows)
    copied = copied[rng.uniform(size=len(copied)) < 0.7]
    moment = genuine.moment[copied] + rng.integers(3_600_000, 4 * DAY_MS, len(copied))
    customer = genuine.customer[copied]
    amount = usual[customer] * rng.lognormal(0.3, 0.5, len(copied))
    return _Payments(moment, customer, genuine.terminal[copied], amount, np.ones(len(copied), bool))


def _draw_terminals(allowed: NDArray[np.bool_], rng: np.random.Generator, size: int) -> Ints:
    choices = np.flatnonzero(allowed)
    return rng.choice(choices if len(choices) else np.arange(len(allowed)), size)


def _concat_payments(parts: list[_Payments]) -> _Payments:
    moment = np.concatenate([part.moment for part in parts])
    order = np.argsort(moment, kind="stable")

    def column(name: str) -> NDArray[np.generic]:
        return np.concatenate([getattr(part, name) for part in parts])[order]

    return _Payments(*(column(name) for name in ("moment", "customer", "terminal", "amount", "fraud")))  # type: ignore[arg-type]


def _payments_table(
    paid: _Payments, world: FraudWorld, rng: np.random.Generator, goods: Ints, distance: Floats
) -> Table:
    """The table of what a bank knows of each payment when it happens."""
    card = GroupHistory(paid.customer, paid.moment, paid.amount)
    shop = GroupHistory(paid.terminal, paid.moment, paid.fraud.astype(np.float64))
    kind = goods[paid.terminal]
    online = kind == ONLINE
    age_years = rng.uniform(0.2, 15, world.num_customers)
    count_1d, _ = card.past(1)
    count_7d, sum_7d = card.past(7)
    known, frauds = shop.past(28, delay_days=DELAY_DAYS)
    with np.errstate(invalid="ignore"):
        mean_7d = np.where(count_7d > 0, sum_7d / np.maximum(count_7d, 1), np.nan)
        fraud_share = np.where(known > 0, frauds / np.maximum(known, 1), np.nan)
    entry = np.where(online, "keyed", np.where(rng.uniform(size=len(online)) < 0.6, "contactless", "chip"))
    columns: dict[str, tuple[ColumnType, NDArray[np.generic]]] = {
        "time": ("datetime", (START_MS + paid.moment).astype("datetime64[ms]")),
        "amount": ("number", np.round(paid.amount, 2)),
        "goods": ("text", np.array(GOODS, object)[kind]),
        "entry": ("text", entry.astype(object)),
        "abroad": ("boolean", (rng.uniform(size=len(online)) < np.where(paid.fraud, 0.25, 0.03)).astype(np.float64)),
        "distance_km": ("number", np.where(online, np.nan, np.round(distance[paid.customer, paid.terminal], 1))),
        "card_age_years": ("number", np.round(age_years[paid.customer], 1)),
        "card_payments_1d": ("number", count_1d),
        "card_payments_7d": ("number", count_7d),
        "card_mean_amount_7d": ("number", np.round(mean_7d, 2)),
        "card_minutes_since_last": ("number", np.round(card.since_last() / 60_000, 1)),
        "terminal_payments_28d": ("number", known),
        "terminal_fraud_share_28d": ("number", np.round(fraud_share, 4)),
        "fraud": ("boolean", paid.fraud.astype(np.float64)),
    }
    table = Table(
        {name: values for name, (_, values) in columns.items()}, {n: kind for n, (kind, _) in columns.items()}
    )
    first, last = DELAY_DAYS * DAY_MS, world.num_days * DAY_MS
    return table.take((paid.moment >= first) & (paid.moment < last))


class GroupHistory:
    """Sums over the past of each payment in its group (a card, a terminal). Payments are in the order of time."""

    def __init__(self, group: Ints, moment: Ints, value: Floats) -> None:
        self.order = np.lexsort((moment, group))
        self.group, self.moment = group[self.order], moment[self.order]
        span = int(moment.max()) + 400 * DAY_MS
        self.key = self.group * span + self.moment
        self.span = span
        self.sums = np.concatenate([[0.0], np.cumsum(value[self.order])])

    def past(self, num_days: int, *, delay_days: int = 0) -> tuple[Floats, Floats]:
        """Count and sum (N,) over the `num_days` that ended `delay_days` before each payment, itself not counted."""
        end = np.maximum(self.moment - delay_days * DAY_MS, 0) + self.group * self.span
        start = np.maximum(self.moment - (delay_days + num_days) * DAY_MS, 0) + self.group * self.span
        high, low = np.searchsorted(self.key, end), np.searchsorted(self.key, start)
        return self._back((high - low).astype(np.float64)), self._back(self.sums[high] - self.sums[low])

    def since_last(self) -> Floats:
        """Milliseconds since the group's payment before (N,); NaN for its first."""
        gap = np.diff(self.moment, prepend=0).astype(np.float64)
        first = np.concatenate([[True], self.group[1:] != self.group[:-1]])
        return self._back(np.where(first, np.nan, gap))

    def _back(self, values: Floats) -> Floats:
        """Values in the order of groups -> values in the order of payments."""
        ordered = np.empty_like(values)
        ordered[self.order] = values
        return ordered
