"""A past of payments whose frauds come in runs, and a definition."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np

from deepseek.features import card_payments
from support.hidden_states import simulate_runs
from support.readers.reader import Reader


def prepare(stack: ExitStack) -> Reader:
    events, _ = simulate_runs(60)
    definition = card_payments("card", "terminal", label_delay="3d")
    columns = {
        "time": events.time,
        "amount": events.amount / 100,
        "card": events.keys[0],
        "terminal": events.keys[1],
    }
    ids = events.id[:5]
    return Reader(
        {
            "definition": definition,
            "past_events": events,
            "text": definition.to_toml(),
            "columns": columns,
            "ids": ids,
            "fraud": np.zeros(5, bool),
        }
    )
