"""Hidden states as they might have been learned, for definitions of tests."""

from __future__ import annotations

from deepseek.features.hidden.parameters import HiddenStates, RunLength

HIDDEN = HiddenStates(
    card="card", terminal="terminal",
    card_run=RunLength(0.002, (0.0, 0.1, 0.2, 0.3, 1.0), 0.4),
    terminal_run=RunLength(0.001, (0.0, 0.0, 0.05, 0.1, 0.3, 0.5, 1.0), 0.95),
    other_cause=0.01, first_scale=80, scales=(0.1, 0.2, 0.3, 0.2, 0.1, 0.1), first_offset=-10,
    ordinary=(*[0.02] * 5, *[0.1] * 8, *[0.005] * 20), unusual=(*[0.001] * 13, *[0.05] * 20),
    first_amount=118, amounts=(0.9, 0.99),
)  # fmt: skip
