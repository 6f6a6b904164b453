"""What became of decisions: counted by the day of the event, the same after a restart, held against what was said."""

from __future__ import annotations

import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepseek.data.view.drift import Bins, make_bins
from deepseek.features import FeatureStore
from deepseek.features.definition import duration_s
from deepseek.observe.metrics import Metrics
from deepseek.operating_point import OperatingPoint, Rate
from deepseek.serve.scoring.monitor import DecisionFigures, DecisionMonitor, ReferenceBins
from deepseek.serve.scoring.reading import RawRows
from deepseek.serve.scoring.scorer import TALLY_FILE, EventScorer
from deepseek.serve.scoring.tally import DecisionTally
from support.servers.cards import DAY_S, build_cards, columns_of, definition, events_of, payments

JSON = b"application/json"
NUM = 2_400


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trees that call some fraud."""
    return build_cards(tmp_path_factory.mktemp("monitored") / "cards", threshold=0.3)


@pytest.fixture(scope="module")
def history() -> list[dict[str, Any]]:
    return payments(NUM, seed=21)


def answer(scorer: EventScorer, records: list[dict[str, Any]], step: int = 60) -> np.ndarray:
    """Scores the events, then labels them: whether each was an alert."""
    alerts = []
    for first in range(0, len(records), step):
        part = records[first : first + step]
        alerts.append(scorer.score(read(scorer, part)).is_alert)
        label(scorer, [{"id": record["id"], "label": record["label"]} for record in part])
        scorer.sync()
    return np.concatenate(alerts)


def read(scorer: EventScorer, records: list[dict[str, Any]]) -> RawRows:
    return scorer.reader.read(json.dumps(events_of(records)).encode(), JSON, len(records))


def label(scorer: EventScorer, verdicts: list[dict[str, Any]]) -> list[int]:
    return scorer.label(scorer.verdict_reader.read(json.dumps(verdicts).encode(), JSON, len(verdicts))).tolist()


def without_sample(figures: DecisionFigures) -> dict[str, Any]:
    """All but what a process keeps in its memory alone."""
    return figures.to_dict() | {"num_sampled": 0, "sampled_since_s": None}


def known_rows(records: list[dict[str, Any]]) -> np.ndarray:
    """Rows of the whole days whose verdicts are out, and whose ids are still known."""
    time = np.array([record["time"] for record in records])
    day, latest = time // DAY_S, int(time.max())
    last = (latest - duration_s(definition().label_delay)) // DAY_S - 1
    with FeatureStore.open(None, definition()) as store:
        first = -(-(latest - store.id_retention) // DAY_S)
    return (day >= first) & (day <= last)


def test_the_counts_are_those_of_the_whole_days_whose_verdicts_are_out(
    bundle: Path, history: list[dict[str, Any]], tmp_path: Path
) -> None:
    scorer = EventScorer.open(bundle, tmp_path / "state")
    alert = answer(scorer, history)
    rows, fraud = known_rows(history), np.array([record["label"] for record in history]) == 1
    figures = scorer.monitor.figures()
    assert (figures.num_scored, figures.num_alerts) == (rows.sum(), (alert & rows).sum())
    assert (figures.num_frauds, figures.num_caught) == ((fraud & rows).sum(), (alert & fraud & rows).sum())
    assert figures.num_false_alarms == (alert & ~fraud & rows).sum() > 0
    assert figures.false_positive_rate is not None
    assert figures.false_positive_rate.value == pytest.approx((alert & ~fraud & rows).sum() / (~fraud & rows).sum())
    assert figures.false_positive_rate.low < figures.false_positive_rate.value < figures.false_positive_rate.high
    again = scorer.score(read(scorer, history[-60:]))  # duplicates
    assert set(again.status.tolist()) <= {1, 2}
    assert without_sample(scorer.monitor.figures()) == without_sample(figures)
    shutil.copytree(tmp_path / "state", tmp_path / "killed")  # as it lies when the process is killed now
    scorer.close()
    for folder in ("state", "killed"):
        reopened = EventScorer.open(bundle, tmp_path / folder)
        assert without_sample(reopened.monitor.figures()) == without_sample(figures)
        reopened.close()


def test_a_verdict_of_fraud_can_be_taken_back_and_the_last_of_a_batch_counts(
    bundle: Path, history: list[dict[str, Any]]
) -> None:
    scorer = EventScorer.open(bundle, None)
    answer(scorer, history)
    before = scorer.monitor.figures()
    row = int(np.flatnonzero(known_rows(history) & np.array([not record["label"] for record in history]))[-1])
    identity = history[row]["id"]
    assert label(scorer, [{"id": identity, "label": 0}, {"id": identity, "label": 1}, {"id": -5, "label": 1}]) == [
        0, 0, 8,
    ]  # fmt: skip
    assert scorer.monitor.figures().num_frauds == before.num_frauds + 1
    label(scorer, [{"id": identity, "label": 1}, {"id": identity, "label": 0}])
    assert scorer.monitor.figures().to_dict() == before.to_dict()
    scorer.close()


def test_another_model_begins_anew_and_what_it_did_not_decide_is_said(
    bundle: Path, history: list[dict[str, Any]], tmp_path: Path
) -> None:
    scorer = EventScorer.open(bundle, tmp_path / "state")
    answer(scorer, history[:600])
    scorer.close()
    other = EventScorer.open(build_cards(tmp_path / "other", threshold=0.9), tmp_path / "state")
    assert other.monitor.figures().num_unknown == len(other.store.known_numbers)
    other.score(read(other, history[600:700]))
    assert sum(day.num_scored for day in other.monitor.tally.days().values()) <= 100
    other.close()


def test_a_file_that_is_damaged_or_cannot_be_written_stops_no_event(
    bundle: Path, history: list[dict[str, Any]], tmp_path: Path
) -> None:
    scorer = EventScorer.open(bundle, tmp_path / "state")
    answer(scorer, history[:120])
    scorer.close()
    for damaged in (b"", b"dsDT0001", (tmp_path / "state" / TALLY_FILE).read_bytes()[:-3]):
        (tmp_path / "state" / TALLY_FILE).write_bytes(damaged)
        scorer = EventScorer.open(bundle, tmp_path / "state")
        assert scorer.monitor.figures().num_unknown == 120
        scorer.close()
    with FeatureStore.open(None, definition()) as store:
        tally = DecisionTally(store, tmp_path / "missing" / "decisions.bin", bytes(32), (0.5,))
        status = store.score(columns_of(history[:10])).status
        tally.add(status, np.full(10, 0.25, np.float32), np.zeros(10, bool))
        tally.save()
        assert tally.num_unsaved == 1
        (tmp_path / "missing").mkdir()
        tally.close()
        twin = DecisionTally(store, tmp_path / "missing" / "decisions.bin", bytes(32), (0.5,))
        assert sum(day.num_scored for day in twin.days().values()) == 10
        twin.close()


def point_of(max_fpr: float) -> OperatingPoint:
    rate = Rate(0.5, 0.0, 1.0)
    return OperatingPoint(
        "fraud", 0.3, "", 10, 1, 1, 0, rate, rate, rate, rate, max_fpr=max_fpr, max_alerts_per_day=0.001
    )


def test_a_promise_that_verdicts_show_to_be_broken_is_said_once(bundle: Path, history: list[dict[str, Any]]) -> None:
    scorer = EventScorer.open(bundle, None)
    monitor = scorer.monitor = DecisionMonitor(point_of(1e-6), None, scorer.monitor.tally, scorer.store)
    reported: list[str] = []
    monitor.tell = reported.append
    answer(scorer, history)
    assert len(reported) == 2
    assert any("above the 1e-06 that the bundle promises" in text for text in reported)
    assert any("the queue takes 0.001" in text for text in reported)
    assert set(monitor.figures().warnings) != set()
    kept = DecisionMonitor(point_of(0.9), None, monitor.tally, scorer.store).figures()
    assert not any("false-positive" in text for text in kept.warnings)
    scorer.close()


def test_chances_and_features_that_move_are_seen(bundle: Path, history: list[dict[str, Any]]) -> None:
    scorer = EventScorer.open(bundle, None)
    features = np.random.default_rng(0).gamma(2.0, 1_000.0, (8_000, 1))
    same = make_bins(features[:, 0])
    reference = ReferenceBins.from_evidence(
        {"reference": {"chance": {"edges": [0.9], "counts": [0, 900, 0]}, "features": {"amount": same.to_dict()}}}
    )
    assert reference is not None
    tally = DecisionTally(scorer.store, None, bytes(32), reference.chance.edges)
    monitor = scorer.monitor = DecisionMonitor(None, reference, tally, scorer.store)
    dense = [record | {"time": 1_522_540_800 + row * 200} for row, record in enumerate(history)]
    answer(scorer, dense)
    for start in range(0, 8_000, 100):
        rows = np.full((100, len(scorer.store.names)), np.nan)
        rows[:, scorer.store.names.index("amount")] = features[start : start + 100, 0]
        monitor.sample(rows)
    figures = monitor.figures()
    assert figures.chance_psi is not None
    assert figures.chance_psi > 1
    assert any("PSI" in text for text in figures.warnings)
    assert figures.num_sampled == sum(len(range(0, n, 16)) for n in (NUM, 8_000))
    moved = DecisionMonitor(
        None, replace(reference, features={"amount": Bins((1.0,), (900, 0, 0))}), tally, scorer.store
    )
    for _ in range(80):
        moved.sample(np.full((100, len(scorer.store.names)), 5.0))
    assert moved.figures().feature_psi["amount"] > 1 > figures.feature_psi["amount"]
    assert set(moved.figures().feature_since_s) == {"amount"}
    assert "amount" not in figures.feature_since_s
    scorer.close()


def test_prometheus_gets_them_with_their_intervals(bundle: Path, history: list[dict[str, Any]]) -> None:
    scorer = EventScorer.open(bundle, None)
    answer(scorer, history)
    metrics = Metrics()
    metrics.watch_decisions(("cards", "1"), lambda: scorer.monitor.figures().to_dict())
    text = metrics.exposition().decode()
    labels = 'end="value",model_name="cards",model_version="1"'
    assert f"deepseek_decision_frauds{{{labels}}} {float(scorer.monitor.figures().num_frauds)}" in text
    assert 'deepseek_decision_false_positive_rate{end="high"' in text
    assert "deepseek_decision_chance_psi{" not in text
    scorer.close()


def test_figures_that_are_read_in_another_thread_count_each_event_once(
    bundle: Path, history: list[dict[str, Any]]
) -> None:
    scorer = EventScorer.open(bundle, None)
    stopping = threading.Event()
    errors: list[BaseException] = []

    def look() -> None:
        try:
            while not stopping.wait(0.0005):  # it leaves the interpreter to the other thread
                scorer.monitor.figures()
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is shown
            errors.append(error)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        answer(scorer, history)
    finally:
        stopping.set()
        thread.join()
    assert not errors
    assert scorer.monitor.figures().num_unknown == 0
    twin = EventScorer.open(bundle, None)
    answer(twin, history)
    assert without_sample(scorer.monitor.figures()) == without_sample(twin.monitor.figures())
    for opened in (scorer, twin):
        opened.close()
