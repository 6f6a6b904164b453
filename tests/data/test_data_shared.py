"""Public data sets, as they are found."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deepseek.data import check_leaks, find_kinds, fit_preprocessor, infer_task, read_table, split_table


def test_concrete_is_a_regression_on_eight_numbers(shared_data: Path) -> None:
    table = read_table(shared_data / "concrete" / "concrete.csv")
    assert (table.num_rows, len(table.names)) == (1030, 9)
    assert infer_task(table, "strength_mpa").task == "regression"
    kinds = find_kinds(table, target="strength_mpa")
    assert set(kinds.values()) <= {"numeric", "integer_category"}
    split = split_table(table, target="strength_mpa", task="regression")
    leaks = check_leaks(table, split, target="strength_mpa", task="regression", kinds=kinds)
    assert not [finding for finding in leaks if finding.level == "refuse"]  # it has a few equal mixes: a warning
    assert fit_preprocessor(table, kinds, target="strength_mpa").table(table).features.shape[0] == 1030


def test_card_payments_have_their_kinds_and_their_leak_is_named(shared_data: Path) -> None:
    table = read_table(shared_data / "fraud-handbook" / "transactions-2018-04.parquet").take(np.arange(60_000))
    kinds = find_kinds(table, target="TX_FRAUD")
    assert kinds["TRANSACTION_ID"] == kinds["CUSTOMER_ID"] == kinds["TERMINAL_ID"] == "identifier"
    assert kinds["TX_DATETIME"] == "datetime"
    assert kinds["TX_AMOUNT"] == "numeric"
    assert infer_task(table, "TX_FRAUD").labels == ("0", "1")
    split = split_table(table, split="time:TX_DATETIME", target="TX_FRAUD", task="binary")
    assert table.column("TX_DATETIME")[split.train].max() < table.column("TX_DATETIME")[split.validation].min()
    leaks = check_leaks(table, split, target="TX_FRAUD", task="binary", kinds=kinds, method="time:TX_DATETIME")
    assert "TX_FRAUD_SCENARIO" in [finding.name for finding in leaks]
