"""Tables of raw events: what cannot be read as events is refused in words; history counts and is not answered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deepseek.bundle import open_bundle
from deepseek.data.table.table import Table
from deepseek.errors import InputError
from deepseek.features import card_payments
from deepseek.features.tables import add_features, read_definition, read_events

DEFINITION = card_payments("card", "terminal", label="fraud")
TYPES = {"time": "datetime", "card": "number", "terminal": "text", "amount": "number", "fraud": "number"}


def payments(first_day: int, number: int = 4) -> Table:
    """One payment a day of card 7 at terminal "t", each a fraud."""
    start = np.datetime64("2026-01-01", "ms") + np.timedelta64(first_day, "D")
    columns = {
        "time": start + np.arange(number) * np.timedelta64(1, "D"), "card": np.full(number, 7.0),
        "terminal": np.array(["t"] * number, object), "amount": np.arange(1.0, number + 1), "fraud": np.ones(number),
    }  # fmt: skip
    return Table(columns, TYPES)  # type: ignore[arg-type]


def test_history_counts_and_is_not_in_the_answer() -> None:
    alone, later = add_features(DEFINITION, payments(8)), add_features(DEFINITION, payments(8), [payments(0)])
    assert alone.num_rows == later.num_rows == 4
    assert alone.column("card.count.30d").tolist() == [1, 2, 3, 4]
    assert later.column("card.count.30d").tolist() == [5, 6, 7, 8]
    # on day 8 the verdicts of days 0 and 1 are out
    assert later.column("terminal.frauds_known").tolist() == [2, 3, 4, 4]
    assert later.names[:2] == ("time", "fraud")


def test_a_table_without_verdicts_is_answered_from_those_of_its_history() -> None:
    blank = payments(8).drop(["fraud"])
    assert add_features(DEFINITION, blank, [payments(0)]).column("terminal.frauds_known").tolist() == [2, 3, 4, 4]


def test_what_is_no_event_is_refused_in_words() -> None:
    table = payments(0)
    with pytest.raises(InputError, match="no column 'card'"):
        add_features(DEFINITION, table, [payments(8).drop(["card"])])
    with pytest.raises(InputError, match="name of a feature"):
        add_features(DEFINITION, Table({**table.columns, "card.gap": np.ones(4)}, {**TYPES, "card.gap": "number"}))  # type: ignore[dict-item]
    with_ids = Table({**table.columns, "id": np.arange(4.0)}, {**TYPES, "id": "number"})  # type: ignore[dict-item]
    with pytest.raises(InputError, match="others have none"):
        add_features(DEFINITION, with_ids, [payments(8)])
    for card in (np.nan, 1.5):
        cards = np.array([7.0, 7.0, card, 7.0])
        odd = Table({**table.columns, "card": cards}, TYPES)  # type: ignore[arg-type]
        with pytest.raises(InputError, match="row 2 has no 'card'"):
            read_events(DEFINITION, odd)


def test_a_bundle_of_other_models_holds_no_definition(cancer_bundle: Path) -> None:
    assert read_definition(open_bundle(cancer_bundle)) is None
