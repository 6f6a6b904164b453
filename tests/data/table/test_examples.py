"""Tables that come with the package: whole, learnable, the same each time."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek.data import check_leaks, encode_target, find_kinds, fit_preprocessor, infer_task, split_table
from deepseek.data.table.examples import EXAMPLES, load_example
from deepseek.data.table.synth import FraudWorld, GroupHistory, simulate_fraud
from deepseek.data.table.values import DAY_MS
from deepseek.errors import MissingError

SMALL = FraudWorld(num_customers=120, num_terminals=60, num_days=40)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_can_be_prepared_and_has_no_leak(name: str) -> None:
    table, target, description = load_example(name)
    info = infer_task(table, target)
    kinds = find_kinds(table, target=target)
    split = split_table(table, target=target, task=info.task, split="time:time" if name == "fraud" else "random")
    batch = fit_preprocessor(table.take(split.train), kinds, target=target).table(table)
    assert np.isfinite(batch.features).all()
    assert description
    leaks = check_leaks(table, split, target=target, task=info.task, kinds=kinds, method="random")
    assert not [finding for finding in leaks if finding.level == "refuse"]


def test_an_unknown_example_names_the_near_one() -> None:
    with pytest.raises(MissingError, match="Did you mean 'fraud'"):
        load_example("fruad")


def test_payments_are_simulated_in_seconds() -> None:
    start_s = time.process_time()
    table = simulate_fraud()
    assert time.process_time() - start_s < 3
    assert 20_000 < table.num_rows < 60_000
    assert 0.003 < table.column("fraud").mean() < 0.03


def test_the_seed_decides() -> None:
    assert simulate_fraud(SMALL).digest() == simulate_fraud(SMALL).digest()
    assert simulate_fraud(SMALL).digest() != simulate_fraud(FraudWorld(120, 60, 40, seed=1)).digest()


def test_payments_are_in_the_order_of_time_and_have_every_kind_of_column() -> None:
    table = simulate_fraud(SMALL)
    assert (np.diff(table.column("time")) >= np.timedelta64(0)).all()
    assert set(find_kinds(table, target="fraud").values()) >= {"numeric", "category", "boolean", "datetime"}
    assert table.missing_mask("distance_km").any()


def test_a_payment_within_the_last_day_is_counted() -> None:
    table = simulate_fraud(SMALL)
    since_ms = table.column("card_minutes_since_last") * 60_000
    in_last_day = table.column("card_payments_1d") > 0
    assert (since_ms[in_last_day] <= 24 * 3_600_000 + 6_000).all()
    assert not (since_ms[~in_last_day] < 24 * 3_600_000 - 6_000).any()


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 20), st.integers(0, 1)), min_size=1, max_size=30))
def test_what_came_before_agrees_with_counting_one_by_one(payments: list[tuple[int, int, int]]) -> None:
    payments = sorted(payments, key=lambda payment: payment[1])
    group, hours, value = (np.array(column) for column in zip(*payments, strict=True))
    moment = hours * (DAY_MS // 4)
    counts, sums = GroupHistory(group, moment, value.astype(float)).past(2, delay_days=1)
    for row in range(len(payments)):
        ages = (moment[row] - moment[group == group[row]]) / DAY_MS
        before = value[group == group[row]][(ages > 1) & (ages <= 3)]
        assert counts[row] == len(before)
        assert sums[row] == before.sum()


@pytest.mark.slow
def test_the_features_tell_fraud() -> None:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import roc_auc_score

    table = simulate_fraud()
    split = split_table(table, target="fraud", task="binary", split="time:time", validation_share=0.0)
    kinds = find_kinds(table, target="fraud")
    features = fit_preprocessor(table.take(split.train), kinds, target="fraud").table(table).features
    y = encode_target(table, "fraud", infer_task(table, "fraud").labels)
    model = RandomForestClassifier(30, min_samples_leaf=5, random_state=0).fit(features[split.train], y[split.train])
    assert 0.9 < roc_auc_score(y[split.test], model.predict_proba(features[split.test])[:, 1]) < 0.999
