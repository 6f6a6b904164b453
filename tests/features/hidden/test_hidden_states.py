"""Hidden states: the same to the bit over a table, in the store and in plain Python; learned from verdicts alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deepseek.errors import InputError
from deepseek.features import EventColumns, FeatureDefinition, FeatureStore, Status, card_payments, compute_offline
from deepseek.features.definition import Bounds, ColumnNames, KeyDefinition, states_alone, with_states
from deepseek.features.reference import ReferenceStore
from deepseek.features.states.estimate import estimate_states
from support.hidden_states import HIDDEN, simulate_runs

pytest.importorskip("numba")
DAY = 86_400


@pytest.fixture(scope="module")
def definition() -> FeatureDefinition:
    """Hidden states and a window of each key; late events fall on both sides of a label's delay."""
    plain = card_payments("card", "terminal", label_delay="2d")
    keys = {name: KeyDefinition(name, ("1d", "9d"), ("count", "fraud_count")) for name in ("card", "terminal")}
    return with_states(replace(plain, keys=keys, bounds=Bounds(lateness="3d", ahead="20d", duplicates="1d")), HIDDEN)


def draw_events(seed: int, number: int, spread: int = 0) -> EventColumns:
    """Some with times that run back by up to `spread`."""
    rng = np.random.default_rng(seed)
    time = 1_600_000_000 + np.cumsum(rng.integers(0, 4_000, number)) // 600 * 600 - rng.integers(0, spread + 1, number)
    amount = np.exp(rng.normal(7.5, 1.2, number)).astype(np.int64)
    time += 0 if spread else np.arange(number)  # no two at one time
    keys = (rng.integers(0, 9, number), rng.integers(0, 5, number))
    return EventColumns(time, amount, keys, np.arange(number), (rng.random(number) < 0.2).astype(np.int64))


def same_bits(left: np.ndarray, right: np.ndarray) -> bool:
    return bool((np.ascontiguousarray(left).view(np.int64) == np.ascontiguousarray(right).view(np.int64)).all())


@pytest.mark.slow
def test_the_store_answers_as_the_table_does_to_the_bit_and_goes_on_where_it_was(
    tmp_path: Path, definition: FeatureDefinition
) -> None:
    events = draw_events(0, 3_000)
    offline = compute_offline(definition, events)
    names = list(offline.names)
    assert (offline.values[:, names.index("terminal.state_odds")] > 100).any()
    assert (offline.values[:, names.index("card.amount_odds")] > 3).any()
    answers, known = [], []
    for start in range(0, len(events), 300):
        with FeatureStore.open(tmp_path, definition) as store:
            batch = events.take(slice(start, start + 300))
            answers.append(store.score(batch).features)
            store.label(batch.id, batch.fraud)
            if start % 600 == 0:
                store.snapshot()
        known.append(np.full(len(batch), batch.time[-1] + 1))
    assert not same_bits(np.concatenate(answers), offline.values)  # a batch is a week, the delay of verdicts two days
    reread = compute_offline(definition, replace(events, known=np.concatenate(known)))
    assert same_bits(np.concatenate(answers), reread.values)


@pytest.mark.parametrize("seed", range(2))
def test_the_store_is_its_plain_twin_with_late_events_and_verdicts(seed: int, definition: FeatureDefinition) -> None:
    events = draw_events(seed, 400, spread=3 * DAY)
    store, twin = FeatureStore.open(None, definition), ReferenceStore(definition)
    rng = np.random.default_rng(seed)
    for start in range(0, len(events), 40):
        batch = events.take(slice(start, start + 40))
        scores, expected = store.score(batch), twin.score(batch)
        assert scores.status.tolist() == expected.status.tolist()
        assert same_bits(scores.features, expected.features)
        ids, fraud = rng.integers(0, start + 40, 25), rng.integers(0, 2, 25)
        assert store.label(ids, fraud).tolist() == twin.label(ids, fraud).tolist()
    assert store.counts["accepted"] > 300
    assert (scores.status == Status.ACCEPTED).any()


@pytest.mark.slow
def test_a_key_of_very_many_events_costs_no_more_and_has_no_odds_that_are_none(definition: FeatureDefinition) -> None:
    """1,500 payments within a day, whose verdicts are all out three days later."""
    number = 1_500
    time = 1_600_000_000 + np.append(np.arange(number - 1), 3 * DAY)
    ones = np.ones(number, np.int64)
    for fraud in (0 * ones, ones):
        events = EventColumns(time, 1_100 * ones, (ones, ones), np.arange(number), fraud)
        offline = compute_offline(definition, events)
        store = FeatureStore.open(None, definition)
        before = store.score(events.take(slice(0, number - 1))).features
        store.label(events.id[:-1], fraud[:-1])
        after = store.score(events.take(slice(number - 1, number))).features
        assert same_bits(np.concatenate([before, after]), offline.values)
        assert np.isfinite(offline.values).all()
        odds = offline.values[-1, list(offline.names).index("terminal.state_odds")]
        assert odds > 0.5 if fraud.any() else odds < 0.1  # about half of such runs are over by then
    assert compute_offline(definition, events.take(slice(0, 0))).values.shape == (0, len(definition.names))


def test_a_definition_keeps_what_was_learned_as_text(definition: FeatureDefinition) -> None:
    text = definition.to_toml()
    assert FeatureDefinition.from_toml(text) == definition
    assert text.count("[hidden.card_run]") == 1
    assert "hidden" not in card_payments("card", "terminal").to_toml()
    for line, words in (
        ('card = "card"\nterminal = "card"', "hidden states of"), ('card = "cart"\nterminal = "terminal"', "hidden"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=words):
            FeatureDefinition.from_toml(text.replace('card = "card"\nterminal = "terminal"', line))
    with pytest.raises(InputError, match="terminal_run"):
        FeatureDefinition.from_toml(text.replace("0.05, 0.1, 0.3, 0.5, 1.0", "0.05, 7, 0.3, 0.5, 1.0"))
    with pytest.raises(InputError, match="no feature of them"):
        replace(definition, keys={**definition.keys, "card": KeyDefinition("card", ("1d",), ("count",))})
    with pytest.raises(InputError, match="state_odds"):
        FeatureDefinition.from_toml(text[: text.index("\n[hidden]")])


@pytest.mark.slow
def test_states_are_learned_from_verdicts_alone() -> None:
    events, cause = simulate_runs(60)
    plain = FeatureDefinition(
        keys={name: KeyDefinition(name, ("1d", "20d"), ("count",)) for name in ("card", "terminal")},
        columns=ColumnNames(), event_features=(), label_delay="3d",
    )  # fmt: skip
    past = events.take(np.flatnonzero(events.time < 40 * DAY))
    hidden = estimate_states(plain, past, card="card", terminal="terminal")
    days = {}
    for name in ("card_run", "terminal_run"):
        ends = np.array(getattr(hidden, name).ends)
        days[name] = float(np.cumprod(np.append(1, 1 - ends[:-1])).sum())
    assert days["terminal_run"] == pytest.approx(9, abs=2)
    assert days["card_run"] == pytest.approx(12, abs=3)
    assert hidden.card_run.fraud_share == pytest.approx(1 / 3, abs=0.1)
    assert hidden.terminal_run.fraud_share > 0.9
    shift = (np.argmax(hidden.unusual) - np.argmax(hidden.ordinary)) / 8
    assert 2**shift == pytest.approx(5, rel=0.3)
    definition = with_states(plain, hidden)
    features = compute_offline(definition, events)
    later = events.time > 47 * DAY
    odds = dict(zip(features.names, features.values.T, strict=True))
    for name, number in (("terminal.fraud_odds", 0), ("terminal.state_odds", 1), ("card.fraud_odds", 2)):
        is_fraud = (cause == number) if number else (cause > 0)
        genuine = np.sort(odds[name][later & (cause == 0)])
        caught = odds[name][later & is_fraud] > genuine[int(0.995 * len(genuine))]
        assert caught.mean() > 0.3, name
    with pytest.raises(InputError, match="too few"):
        estimate_states(plain, events.take(np.flatnonzero(cause == 0)), card="card", terminal="terminal")


@pytest.mark.slow
def test_real_transactions_have_the_same_states_online_to_the_bit(shared_data: Path) -> None:
    """Learned from a month of the handbook's transactions and followed through it, verdicts told once a batch."""
    pq = pytest.importorskip("pyarrow.parquet")
    table = pq.read_table(shared_data / "fraud-handbook" / "transactions-2018-06.parquet")
    plain = card_payments(
        "CUSTOMER_ID", "TERMINAL_ID", time="TX_DATETIME", amount="TX_AMOUNT", id="TRANSACTION_ID", label="TX_FRAUD",
        label_delay="2d",
    )  # fmt: skip
    events = EventColumns.from_columns(plain, {name: table[name].to_numpy() for name in table.column_names})
    events = events.take(np.argsort(events.time, kind="stable"))
    hidden = estimate_states(plain, events, card="card", terminal="terminal")
    assert 2.0 ** ((np.argmax(hidden.unusual) - np.argmax(hidden.ordinary)) / 8) == pytest.approx(5, rel=0.3)
    definition = states_alone(with_states(plain, hidden))
    offline = compute_offline(definition, events)
    store = FeatureStore.open(None, definition)
    for start in range(0, len(events), 9_000):
        batch = events.take(slice(start, start + 9_000))
        assert same_bits(store.score(batch).features, offline.values[start : start + len(batch)])
        frauds = batch.fraud == 1
        store.label(batch.id[frauds], batch.fraud[frauds])
