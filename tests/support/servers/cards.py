"""A small real bundle that scores payments: "cards" has a definition of features over time, trees and a threshold.

cards = build_cards(tmp_path / "cards")
payments(1_000, seed=1)          # records as a client sends them, in the order of time
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepseek.features import EventColumns, FeatureDefinition, compute_offline
from deepseek.features.definition import card_payments
from support.servers.fixtures import build

NUM_PAYMENTS, NUM_CARDS, NUM_TERMINALS = 3_000, 60, 25
START_S = 1_522_540_800  # 2018-04-01
DAYS, DAY_S = 40, 86_400


def definition() -> FeatureDefinition:
    """Of the columns time, amount, id, card and terminal."""
    return card_payments("card", "terminal")


def payments(
    num: int = NUM_PAYMENTS, *, seed: int = 0, first_id: int = 0, span_s: int = DAYS * DAY_S
) -> list[dict[str, Any]]:
    """Records in the order of time, over `span_s` seconds; "label" is 1 where a terminal or chance makes it fraud."""
    rng = np.random.default_rng(seed)
    time = np.sort(rng.integers(0, span_s, num))
    card, terminal = rng.integers(0, NUM_CARDS, num), rng.integers(0, NUM_TERMINALS, num)
    fraud = ((terminal < 3) & (time // DAY_S > 15) & (rng.random(num) < 0.7)) | (rng.random(num) < 0.02)
    cents = rng.integers(100, 9_000, num) * np.where(fraud, 3, 1)
    return [
        {
            "id": first_id + row, "time": START_S + int(time[row]), "card": int(card[row]),
            "terminal": int(terminal[row]), "amount": int(cents[row]) / 100, "label": int(fraud[row]),
        }
        for row in range(num)
    ]  # fmt: skip


def columns_of(records: list[dict[str, Any]]) -> EventColumns:
    """The same payments as a table."""
    return EventColumns.from_columns(definition(), {name: np.array([r[name] for r in records]) for name in records[0]})


def build_cards(out: Path, *, threshold: float = 0.5, with_age: bool = False) -> Path:
    """Fit on payments of another seed, and write the bundle. `with_age`: the model reads a column of the event, too."""
    records = payments(seed=7)
    features = compute_offline(definition(), columns_of(records))
    columns: dict[str, Any] = dict(zip(features.names, features.values.T, strict=True))
    if with_age:
        columns["age"] = np.linspace(18.0, 90.0, len(records))
    columns["fraud"] = np.where([record["label"] for record in records], "fraud", "genuine").astype(object)
    return build(
        out, columns, target="fraud", labels=("genuine", "fraud"), threshold=threshold,
        kinds=dict.fromkeys((name for name in columns if name != "fraud"), "numeric"),
        more_files={"features.toml": definition().to_toml().encode()},
    )  # fmt: skip


@pytest.fixture(scope="session")
def cards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that calls little fraud."""
    return build_cards(tmp_path_factory.mktemp("cards") / "cards")


def events_of(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a client sends: all but the verdict."""
    return [{name: value for name, value in record.items() if name != "label"} for record in records]
