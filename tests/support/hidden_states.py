"""Hidden states as they might have been learned, and payments that they can be learned from."""

from __future__ import annotations

import numpy as np

from deepseek.features import EventColumns
from deepseek.features.hidden.parameters import HiddenStates, RunLength

HIDDEN = HiddenStates(
    card="card", terminal="terminal",
    card_run=RunLength(0.002, (0.0, 0.1, 0.2, 0.3, 1.0), 0.4),
    terminal_run=RunLength(0.001, (0.0, 0.0, 0.05, 0.1, 0.3, 0.5, 1.0), 0.95),
    other_cause=0.01, first_scale=80, scales=(0.1, 0.2, 0.3, 0.2, 0.1, 0.1), first_offset=-10,
    ordinary=(*[0.02] * 5, *[0.1] * 8, *[0.005] * 20), unusual=(*[0.001] * 13, *[0.05] * 20),
    first_amount=118, amounts=(0.9, 0.99),
)  # fmt: skip
DAY = 86_400


def simulate_runs(num_days: int) -> tuple[EventColumns, np.ndarray]:
    """Terminals that are compromised for 9 days, cards for 12 days with a third of amounts five times as large; and
    whether each payment is a fraud of its terminal (1) or its card (2)."""
    rng = np.random.default_rng(7)
    number, num_cards, num_terminals = 600 * num_days, 400, 300
    time = np.sort(rng.integers(0, num_days * DAY, number))
    card, terminal = rng.integers(0, num_cards, number), rng.integers(0, num_terminals, number)
    usual = np.exp(rng.uniform(np.log(500), np.log(10_000), num_cards))
    amount = usual[card] * np.maximum(rng.normal(1, 0.4, number), 0.05)
    cause = np.zeros(number, np.int64)
    for key, count, days in ((2, 50, 12), (1, 30, 9)):
        column = card if key == 2 else terminal
        chosen = rng.choice(num_cards if key == 2 else num_terminals, count, replace=False)
        for each, start in zip(chosen.tolist(), rng.integers(5, num_days - days, count).tolist(), strict=True):
            hit = (column == each) & (time // DAY >= start) & (time // DAY < start + days)
            if key == 2:
                hit &= rng.random(number) < 1 / 3
                amount[hit] *= 5
            cause[hit] = key
    events = EventColumns(
        time, amount.astype(np.int64), (card, terminal), np.arange(number), (cause > 0).astype(np.int64)
    )
    return events, cause
