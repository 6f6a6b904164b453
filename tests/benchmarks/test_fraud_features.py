"""The fraud features: small tables by hand, then the slow twin, then the counts that the handbook publishes."""

from __future__ import annotations

from pathlib import Path

import fraud_features as fraud
import numpy as np
import pyarrow as pa
import pytest

HOUR_S = 3_600


def transactions(rows: list[tuple[float, int, int, float, int]]) -> pa.Table:
    """Rows of (hours since Monday 2018-04-02, customer, terminal, amount, fraud), in order of time."""
    hours, customer, terminal, amount, label = zip(*rows, strict=True)
    start = np.datetime64("2018-04-02T00:00:00", "ms")
    times = start + (np.array(hours) * HOUR_S * 1_000).astype("timedelta64[ms]")
    return pa.table(
        {"TX_DATETIME": times, "CUSTOMER_ID": list(customer), "TERMINAL_ID": list(terminal), "TX_AMOUNT": list(amount),
         "TX_FRAUD": list(label)}
    )  # fmt: skip


def test_a_customer_window_holds_the_row_itself_and_ends_before_the_day_that_is_over() -> None:
    features = fraud.build_features(
        transactions([(0, 1, 9, 10.0, 0), (1, 2, 9, 99.0, 0), (23, 1, 9, 20.0, 0), (24, 1, 9, 60.0, 0)])
    )
    assert features["CUSTOMER_ID_NB_TX_1DAY_WINDOW"].to_pylist() == [1, 1, 2, 2]
    assert features["CUSTOMER_ID_AVG_AMOUNT_1DAY_WINDOW"].to_pylist() == [10.0, 99.0, 15.0, 40.0]
    assert features["CUSTOMER_ID_AVG_AMOUNT_7DAY_WINDOW"].to_pylist() == [10.0, 99.0, 15.0, 30.0]


def test_a_fraud_counts_at_its_terminal_only_after_the_delay() -> None:
    rows = [
        (0, 1, 5, 1.0, 1),
        (12, 2, 5, 1.0, 0),
        (24, 3, 5, 1.0, 0),
        (7 * 24 + 13, 4, 5, 1.0, 0),
        (7 * 24 + 30, 4, 6, 1.0, 0),
    ]
    features = fraud.build_features(transactions(rows))
    assert features["TERMINAL_ID_NB_TX_1DAY_WINDOW"].to_pylist() == [0, 0, 0, 2, 0]
    assert features["TERMINAL_ID_RISK_1DAY_WINDOW"].to_pylist() == [0.0, 0.0, 0.0, 0.5, 0.0]


def test_flags_follow_the_calendar() -> None:
    features = fraud.build_features(transactions([(6.9, 1, 1, 1.0, 0), (7, 1, 1, 1.0, 0), (5 * 24 + 12, 1, 1, 1.0, 0)]))
    assert features["TX_DURING_NIGHT"].to_pylist() == [1, 0, 0]
    assert features["TX_DURING_WEEKEND"].to_pylist() == [0, 0, 1]


def test_windows_agree_with_a_loop_over_all_pairs() -> None:
    rng = np.random.default_rng(3)
    entity, value = rng.integers(0, 4, 300), rng.integers(0, 50, 300)
    time_s = np.sort(rng.integers(0, 12 * fraud.DAY_S, 300))
    number, total = fraud.window_sums(entity, time_s, value, 7)
    for row in range(300):
        age = time_s[row] - time_s[: row + 1]
        seen = (entity[: row + 1] == entity[row]) & (age < 7 * fraud.DAY_S)
        assert (number[row], total[row]) == (seen.sum(), value[: row + 1][seen].sum())


def test_a_card_is_left_out_of_the_test_once_its_fraud_is_eight_days_old() -> None:
    first = 14 * 24.0  # the test week begins two weeks after the first row
    rows = [
        (1.0, 1, 1, 1.0, 1),  # in training: card 1 is known on every test day
        (7 * 24 + 1.0, 2, 1, 1.0, 1),  # first day of the delay: card 2 is known from the second test day
        *((first + day * 24 + 12, card, 1, 1.0, 0) for day in (0, 1) for card in (1, 2, 3)),
    ]
    week = fraud.fold(fraud.build_features(transactions(rows)), "2018-04-16")
    assert week.train["CUSTOMER_ID"].to_pylist() == [1]
    assert week.test["CUSTOMER_ID"].to_pylist() == [2, 3, 3]


def test_card_precision_counts_a_card_once_and_not_on_the_days_after() -> None:
    rows = [(0, 1, 1, 1.0, 1), (1, 1, 1, 1.0, 1), (2, 2, 1, 1.0, 0), (24, 1, 1, 1.0, 1), (25, 3, 1, 1.0, 1)]
    score = np.array([0.9, 0.8, 0.7, 0.99, 0.1])
    assert fraud.card_precision(transactions(rows), score, top=2) == pytest.approx((1 / 2 + 1 / 2) / 2)


@pytest.mark.slow
def test_folds_have_the_row_and_fraud_counts_of_the_handbook(shared_data: Path, tmp_path: Path) -> None:
    if not (shared_data / "fraud-handbook").exists():
        pytest.skip("fraud-handbook is not among the public data sets here")
    week = fraud.fold(fraud.load_features(shared_data, cache=tmp_path), "2018-08-08")
    counts = [(part.num_rows, int(part["TX_FRAUD"].to_numpy().sum())) for part in (week.train, week.test)]
    assert counts == [(67_240, 598), (58_264, 385)]
