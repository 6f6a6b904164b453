"""Payments of a town that is not there: cards with a home, shops near it, and days of more and of fewer payments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deepseek.features.graph.payments import DAY_S, Payments

START_S = 1_735_689_600  # 2025-01-01


@dataclass(frozen=True, slots=True)
class Town:
    """The size of the town; the defaults give some 55,000 payments."""

    num_cards: int = 1_000
    num_terminals: int = 2_000
    num_days: int = 30
    side_km: float = 100.0
    reach_km: float = 7.0  # a card pays at the terminals so near to its home
    mean_a_day: float = 1.9  # payments of a card, between nearly none and twice as many


def simulate_payments(town: Town | None = None, *, seed: int = 0) -> Payments:
    """Genuine payments alone: no ring, no crowd, no holiday. Equal seeds give equal payments."""
    town = town or Town()
    rng = np.random.default_rng(seed)
    homes, shops = (rng.uniform(0, town.side_km, (num, 2)) for num in (town.num_cards, town.num_terminals))
    columns: list[list[np.ndarray]] = [[], [], [], []]
    for card, home in enumerate(homes):
        distance = np.hypot(*(shops - home).T)
        near = np.flatnonzero(distance <= town.reach_km)
        near = near if len(near) else np.array([int(distance.argmin())])
        day = np.repeat(np.arange(town.num_days), rng.poisson(rng.uniform(0, 2 * town.mean_a_day), town.num_days))
        hour_s = np.clip(rng.normal(DAY_S / 2, 20_000, len(day)), 0, DAY_S - 1)
        usual = rng.lognormal(3.6, 0.5)
        parts = (
            START_S + day * DAY_S + hour_s.astype(np.int64), np.full(len(day), card),
            rng.choice(near, len(day)), np.round(usual * rng.lognormal(0, 0.5, len(day)), 2),
        )  # fmt: skip
        for column, values in zip(columns, parts, strict=True):
            column.append(values)
    time_s, cards, terminals, amount = (np.concatenate(column) for column in columns)
    digits = rng.permutation(9_000)[: town.num_cards] + 1_000
    names = np.array([f"card-{number}" for number in digits], object).astype(str)
    return Payments.from_columns(
        time_s, names[cards], np.array([f"shop-{number:04}" for number in range(town.num_terminals)])[terminals], amount
    )
