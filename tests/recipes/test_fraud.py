"""`deepseek recipe fraud`: raw rows in, a bundle that takes raw rows, the same answers however the rows come."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("xgboost")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

from deepseek.bundle import open_bundle  # noqa: E402
from deepseek.cli import main  # noqa: E402
from deepseek.data import Table, read_table  # noqa: E402
from deepseek.data.table.synth import FraudWorld, simulate_transactions  # noqa: E402
from deepseek.data.table.values import DAY_MS  # noqa: E402
from deepseek.errors import CheckError, InputError  # noqa: E402
from deepseek.features import EventColumns, compute_offline  # noqa: E402
from deepseek.features.tables import add_features, read_definition, read_events  # noqa: E402
from deepseek.recipes.fraud import (  # noqa: E402
    FraudColumns,
    FraudOptions,
    make_definition,
    prepare_rows,
    run_fraud,
)
from deepseek.recipes.fraud_decision import (  # noqa: E402
    DecisionLimits,
    bound_rate,
)
from deepseek.recipes.fraud_figures import card_precision, measure_scores, recall_at_fpr  # noqa: E402
from deepseek.recipes.fraud_periods import cut_periods  # noqa: E402
from deepseek.recipes.fraud_states import choose_states  # noqa: E402

WORLD = FraudWorld(num_customers=250, num_terminals=120, num_days=90, seed=3)
MAX_FPR = 0.01


@pytest.fixture(scope="module")
def transactions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small world's raw rows as a file."""
    path = tmp_path_factory.mktemp("fraud") / "transactions.parquet"
    write(simulate_transactions(WORLD), path)
    return path


@pytest.fixture(scope="module")
def cards(transactions: Path) -> Path:
    """The bundle that the recipe makes of them."""
    out = transactions.parent / "cards"
    words = ["recipe", "fraud", str(transactions), "--out", str(out), "--max-fpr", str(MAX_FPR), "--trials", "2"]
    assert main([*words, "--json"]) == 0
    return out


def write(table: Table, path: Path) -> None:
    pq.write_table(pa.table({name: pa.array(values, from_pandas=True) for name, values in table.columns.items()}), path)


def eight_days() -> Table:
    table = simulate_transactions(replace(WORLD, num_days=20))
    time = table.column("time")
    return table.take(time < time[0] + np.timedelta64(8, "D"))


def options(**changes: Any) -> FraudOptions:
    return replace(FraudOptions(FraudColumns(), Path("nowhere"), limits=DecisionLimits(MAX_FPR)), **changes)


def scores_of(path: Path) -> np.ndarray:
    table = pq.read_table(path)
    return table[table.column_names[-1]].to_numpy()


@pytest.mark.slow
def test_the_bundle_holds_the_definition_and_its_evidence_the_periods(cards: Path) -> None:
    bundle = open_bundle(cards)
    definition = read_definition(bundle)
    assert definition is not None
    assert {column.name for column in bundle.manifest.inputs} == set(definition.names)
    report = json.loads(bundle.read("evidence/fraud.json"))
    assert report["definition"] == definition.digest
    states = report["hidden_states"]
    assert states["used"] == (definition.hidden is not None)
    gain = states["held_average_precision"] - states["held_average_precision_without"]
    assert states["used"] == (gain > states["gain_standard_error"])
    assert states["gain_standard_error"] > 0
    periods = report["periods"]
    for before, after in (("train", "held"), ("held", "test")):
        gap = np.datetime64(periods[after]["start"]) - np.datetime64(periods[before]["end"])
        assert gap >= np.timedelta64(7, "D")
    assert report["threshold"]["limit"] <= MAX_FPR
    point = json.loads(bundle.read("evidence/metrics.json"))["operating_point"]
    test_days = (np.datetime64(periods["test"]["end"]) - np.datetime64(periods["test"]["start"])) / np.timedelta64(
        1, "D"
    )
    assert point["rows_per_day"] == pytest.approx(periods["test"]["num_rows"] / test_days)
    assert report["test"]["average_precision"] > 2 * report["test"]["num_frauds"] / report["test"]["num_rows"]


@pytest.mark.slow
def test_the_model_that_is_shipped_keeps_the_bound_on_the_rows_that_set_its_threshold(
    cards: Path, transactions: Path, tmp_path: Path
) -> None:
    """Of trees that learned from these rows, too, the bound would say nothing."""
    bundle, out = open_bundle(cards), tmp_path / "scores.parquet"
    report = json.loads(bundle.read("evidence/fraud.json"))
    assert main(["predict", str(cards), str(transactions), "--out", str(out)]) == 0
    table, score = read_table(transactions), scores_of(out)
    time, fraud = table.column("time"), table.column("fraud") == 1
    start, end = (np.datetime64(report["periods"]["held"][name]) for name in ("start", "end"))
    held = (time >= start) & (time < end)
    alert = score >= np.float32(bundle.manifest.threshold)
    threshold = report["threshold"]
    assert (held & ~fraud).sum() == threshold["num_genuine"]
    assert (alert & held & ~fraud).sum() <= threshold["num_alarms"]
    assert (alert & held).sum() == report["money"]["held"]["num_alerts"]
    test = time >= np.datetime64(report["periods"]["test"]["start"])
    assert (alert & test).sum() == report["money"]["test"]["num_alerts"]
    assert report["money"]["test"]["amount_caught"] == pytest.approx(table.column("amount")[alert & test & fraud].sum())
    chance = report["reference"]["chance"]
    assert sum(chance["counts"]) == test.sum()
    assert set(report["reference"]["features"]) == set(read_definition(bundle).names)  # type: ignore[union-attr]
    point = json.loads(bundle.read("evidence/metrics.json"))
    assert point["operating_point"]["max_fpr"] == MAX_FPR
    assert point["operating_point"]["num_alarms_set"] == threshold["num_alarms"]
    assert point["money"][0][0] > 0


@pytest.mark.slow
def test_a_changed_definition_is_another_model(cards: Path) -> None:
    manifest = open_bundle(cards).manifest
    changed = replace(manifest, files=manifest.files | {"features.toml": "0" * 64})
    assert changed.model_digest() != manifest.model_digest()


@pytest.mark.slow
def test_predict_answers_alike_from_one_table_and_from_history_and_the_rest(
    cards: Path, transactions: Path, tmp_path: Path
) -> None:
    table = read_table(transactions)
    cut = int(0.8 * table.num_rows)
    rows = np.arange(table.num_rows)
    write(table.take(rows[:cut]), tmp_path / "earlier.parquet")
    write(table.take(rows[cut:]), tmp_path / "later.parquet")
    whole, part = tmp_path / "whole.parquet", tmp_path / "part.parquet"
    assert main(["predict", str(cards), str(transactions), "--out", str(whole)]) == 0
    words = ["predict", str(cards), str(tmp_path / "later.parquet"), "--history", str(tmp_path / "earlier.parquet")]
    assert main([*words, "--out", str(part)]) == 0
    np.testing.assert_array_equal(scores_of(whole)[cut:], scores_of(part))
    forgotten = tmp_path / "forgotten.parquet"
    assert main([*words[:3], "--out", str(forgotten)]) == 0
    assert (scores_of(forgotten) != scores_of(part)).any()


@pytest.mark.slow
def test_explain_takes_raw_events_and_their_history_as_predict_does(
    cards: Path, transactions: Path, cancer_bundle: Path, tmp_path: Path, capsys: Any
) -> None:
    table = read_table(transactions)
    rows = np.arange(table.num_rows)
    cut = table.num_rows - 20
    write(table.take(rows[:cut]), tmp_path / "earlier.parquet")
    write(table.take(rows[cut:]), tmp_path / "later.parquet")
    capsys.readouterr()
    explained = []
    for words in (
        [str(transactions), "--row", str(cut + 7)],
        [str(tmp_path / "later.parquet"), "--history", str(tmp_path / "earlier.parquet"), "--row", "7"],
    ):
        assert main(["explain", str(cards), *words, "--json"]) == 0
        (row,) = json.loads(capsys.readouterr().out)["explanations"]
        explained.append((row["base_value"], row["output"], row["values"]))
    assert explained[0] == explained[1]
    assert main(["explain", str(cancer_bundle), str(transactions), "--history", str(transactions)]) == 2
    assert "computes nothing from history" in capsys.readouterr().err


@pytest.mark.slow
def test_verdicts_that_are_not_out_change_no_answer(cards: Path, transactions: Path, tmp_path: Path) -> None:
    table = read_table(transactions)
    time = table.column("time")
    not_out = time > time.max() - np.timedelta64(7, "D")
    verdicts = np.where(not_out, 1 - table.column("fraud"), table.column("fraud"))
    write(Table({**table.columns, "fraud": verdicts}, table.types), tmp_path / "changed.parquet")
    first, second = tmp_path / "first.parquet", tmp_path / "second.parquet"
    assert main(["predict", str(cards), str(transactions), "--out", str(first)]) == 0
    assert main(["predict", str(cards), str(tmp_path / "changed.parquet"), "--out", str(second)]) == 0
    np.testing.assert_array_equal(scores_of(first), scores_of(second))


def test_rows_in_any_order_get_their_own_answers() -> None:
    table = simulate_transactions(replace(WORLD, num_days=20))
    definition = make_definition(table, options())
    order = np.random.default_rng(0).permutation(table.num_rows)
    shuffled = add_features(definition, table.take(order))
    straight = add_features(definition, table)
    for name in definition.names:
        np.testing.assert_array_equal(shuffled.column(name), straight.column(name)[order])
    events = read_events(definition, table)
    assert isinstance(events, EventColumns)
    values = compute_offline(definition, events).values
    np.testing.assert_array_equal(values[:, 3], straight.column(definition.names[3]))


def test_a_verdict_that_is_missing_counts_as_none_and_teaches_nothing() -> None:
    table = simulate_transactions(replace(WORLD, num_days=20))
    unknown = np.where(np.arange(table.num_rows) % 2 == 0, np.nan, table.column("fraud"))
    blank = Table({**table.columns, "fraud": unknown}, table.types)
    events = read_events(make_definition(blank, options()), blank)
    assert events.fraud is not None
    assert events.fraud.sum() == np.nansum(unknown)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"amount": np.array(["x"], object)}, "amount"),
        ({"fraud": np.array([2.0])}, "holds 2"),
        ({"time": np.array(["noon"], object)}, "time"),
    ],
)
def test_a_column_that_cannot_be_what_it_is_called_is_refused(change: dict[str, Any], said: str) -> None:
    table = eight_days().take(np.arange(50))
    columns = {**table.columns, **{name: np.repeat(values, 50) for name, values in change.items()}}
    types = {**table.types, **{name: "text" for name, values in change.items() if values.dtype == object}}
    with pytest.raises(InputError, match=said):
        run_fraud(Table(columns, types), options())


@pytest.mark.parametrize("amount", [-1.0, np.nan, 1e18])
def test_amounts_that_are_none_are_refused_in_words(amount: float) -> None:
    table = eight_days()
    amounts = table.column("amount").copy()
    amounts[7] = amount
    with pytest.raises(InputError, match="row 7 has no amount"):
        run_fraud(Table({**table.columns, "amount": amounts}, table.types), options())


def test_a_missing_column_and_too_few_days_are_refused_in_words() -> None:
    table = eight_days()
    with pytest.raises(InputError, match="no column 'terminal'"):
        run_fraud(table.drop(["terminal"]), options())
    with pytest.raises(InputError, match="transactions cover 8"):
        run_fraud(table, options())


@pytest.mark.slow
def test_a_rate_that_the_held_rows_cannot_show_is_refused() -> None:
    with pytest.raises(CheckError, match="cannot show a false-positive rate"):
        run_fraud(simulate_transactions(WORLD), options(limits=DecisionLimits(0.0002)))
    assert bound_rate(18_443, 0.0002).num_alarms == 0
    with pytest.raises(CheckError, match="cannot show"):
        bound_rate(18_442, 0.0002)


def test_history_for_a_model_that_reads_none_is_refused(cancer_bundle: Path, transactions: Path, capsys: Any) -> None:
    assert main(["predict", str(cancer_bundle), str(transactions), "--history", str(transactions)]) == 2
    assert "computes nothing from history" in capsys.readouterr().err


def test_periods_are_a_delay_apart_and_in_order() -> None:
    table = simulate_transactions(WORLD)
    periods = cut_periods(table.column("time"), make_definition(table, options()))
    moment = table.column("time").astype(np.int64)
    ends = [(moment[period.rows].min(), moment[period.rows].max()) for _, period in periods.by_name()]
    assert all(later[0] - earlier[1] >= 7 * DAY_MS for earlier, later in itertools.pairwise(ends))


def test_the_figures_are_those_of_the_field() -> None:
    score = np.array([0.9, 0.8, 0.7, 0.6, 0.1])
    fraud = np.array([True, True, False, True, False])
    assert recall_at_fpr(score, fraud, 0.0) == pytest.approx(2 / 3)
    day, card = np.array([0, 0, 0, 1, 1]), np.array([1, 2, 3, 1, 4])
    # of each day one card: card 1 with a fraud, then card 4, for card 1 is known
    assert card_precision(score, fraud, day, card, num_cards=1) == 0.5
    figures = measure_scores(score, fraud, day * DAY_MS, card, max_fpr=0.0)
    assert figures.average_precision == pytest.approx((1 + 1 + 3 / 4) / 3)


@pytest.mark.slow
def test_hidden_states_join_the_definition_where_held_rows_are_ranked_better() -> None:
    table = simulate_transactions(replace(WORLD, num_customers=500))
    definition = make_definition(table, options())
    rows = prepare_rows(table, definition, options())
    periods = cut_periods(rows.column("time"), definition)
    chosen = choose_states(table, rows, definition, periods)
    gain = chosen.report["held_average_precision"] - chosen.report["held_average_precision_without"]
    used = gain > chosen.report["gain_standard_error"]
    assert chosen.report["used"] == used == (chosen.definition.hidden is not None)
    assert set(chosen.definition.names) <= set(chosen.rows.names)
    if used:
        wider = prepare_rows(table, chosen.definition, options())
        for name in chosen.definition.names:
            np.testing.assert_array_equal(wider.column(name), chosen.rows.column(name))
    few = Table(
        {**table.columns, "fraud": np.where(np.arange(table.num_rows) % 50, 0.0, table.column("fraud"))}, table.types
    )
    sparse = choose_states(few, prepare_rows(few, definition, options()), definition, periods)
    assert sparse.definition is definition
    assert "frauds are too few" in sparse.report["reason"]
