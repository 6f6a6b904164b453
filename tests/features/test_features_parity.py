"""Offline equals online to the bit: on real transactions, and the store equals its plain twin on hostile ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deepseek.features import EventColumns, FeatureDefinition, FeatureStore, Status, card_payments, compute_offline

pq = pytest.importorskip("pyarrow.parquet")
pytest.importorskip("numba")


@pytest.fixture(scope="module")
def definition() -> FeatureDefinition:
    return card_payments(
        "CUSTOMER_ID", "TERMINAL_ID", time="TX_DATETIME", amount="TX_AMOUNT", id="TRANSACTION_ID", label="TX_FRAUD"
    )


@pytest.fixture(scope="module")
def april(shared_data: Path, definition: FeatureDefinition) -> EventColumns:
    """A month of the handbook's transactions in the order of time."""
    table = pq.read_table(shared_data / "fraud-handbook" / "transactions-2018-04.parquet")
    events = EventColumns.from_columns(definition, {name: table[name].to_numpy() for name in table.column_names})
    return events.take(np.argsort(events.time, kind="stable"))


def same_bits(left: np.ndarray, right: np.ndarray) -> bool:
    return bool((left.view(np.int64) == right.view(np.int64)).all())


@pytest.mark.parametrize("rows", [40_000, pytest.param(10**9, marks=pytest.mark.slow)])
def test_the_store_answers_real_transactions_as_the_table_does_to_the_bit(
    april: EventColumns, definition: FeatureDefinition, rows: int
) -> None:
    """Verdicts after each batch: with 4 days of rows none may be out before a delay of a day."""
    april = april.take(slice(0, rows))
    definition = replace(definition, label_delay="1d" if len(april) == 40_000 else "7d")
    offline = compute_offline(definition, april)
    store = FeatureStore.open(None, definition)
    answers = []
    for start in range(0, len(april), 5_000):
        batch = april.take(slice(start, start + 5_000))
        scores = store.score(batch)
        assert (scores.status == Status.ACCEPTED).all()
        answers.append(scores.features)
        frauds = batch.fraud == 1
        assert (store.label(batch.id[frauds], batch.fraud[frauds]) == Status.ACCEPTED).all()
    assert scores.names == offline.names
    assert offline.values[:, list(offline.names).index("terminal.fraud_streak")].max() >= 2
    assert same_bits(np.concatenate(answers), offline.values)
