"""Raw events to chances in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepseek.engines import Runtime
from deepseek.engines.tabular.compiled_trees import add_trees
from deepseek.errors import InputError
from deepseek.explain import explainer_for, reason_codes
from deepseek.explain.tabular.trees.compiled_tables import add_rows
from deepseek.features import FeatureStore, compute_offline
from deepseek.serve.scoring.plain_answers import write_rows
from deepseek.serve.scoring.plain_json import read_rows, replace_words
from deepseek.serve.scoring.preparing import fill_inputs
from deepseek.serve.scoring.reading import RawRows
from deepseek.serve.scoring.reasons import AlertReasons
from deepseek.serve.scoring.scorer import EventScorer
from deepseek.serve.scoring.writing import answer_rows
from support.servers.cards import build_cards, columns_of, definition, events_of, payments


def raw_of(scorer: EventScorer, events: list[dict[str, Any]]) -> RawRows:
    return scorer.reader.read(json.dumps(events).encode(), b"application/json", len(events))


def test_the_features_of_alerts_are_those_of_the_whole_table_to_the_bit(tmp_path: Path) -> None:
    records = payments(700, seed=7)
    scorer = EventScorer.open(build_cards(tmp_path / "cards", threshold=0.05), None)
    values: list[Any] = []
    alerts: list[int] = []
    for first in range(0, len(records), 70):
        part = records[first : first + 70]
        scored = scorer.score(raw_of(scorer, events_of(part)))
        verdicts = json.dumps([{"id": record["id"], "label": record["label"]} for record in part]).encode()
        scorer.label(scorer.verdict_reader.read(verdicts, b"application/json", 70))
        alerts += (first + np.flatnonzero(scored.is_alert)).tolist()
        values += list(scored.alert_values)
    table = compute_offline(definition(), columns_of(records))
    assert len(alerts) > 10
    assert np.array(values).tobytes() == table.values[alerts].tobytes()
    scorer.close()


def test_a_column_of_the_event_that_does_not_fit_changes_no_state(tmp_path: Path) -> None:
    scorer = EventScorer.open(build_cards(tmp_path / "cards", with_age=True), None)
    good, bad = (event | {"age": age} for event, age in zip(events_of(payments(2, seed=1)), (40.0, "old"), strict=True))
    with pytest.raises(InputError, match="age"):
        scorer.score(raw_of(scorer, [good, bad]))
    assert scorer.score(raw_of(scorer, [good])).status.tolist() == [0]
    assert scorer.store.counts["accepted"] == 1
    scorer.close()


def test_a_snapshot_is_written_while_events_come_and_nothing_is_lost(tmp_path: Path) -> None:
    records, bundle = payments(600, seed=5), build_cards(tmp_path / "cards")
    runtime = Runtime.open(bundle)
    store = FeatureStore.open(tmp_path / "state", definition())
    scorer = EventScorer(runtime, definition(), store, snapshot_events=150)
    for first in range(0, 600, 50):
        scorer.score(raw_of(scorer, events_of(records[first : first + 50])))
        scorer.sync()
    assert scorer.snapshots.last is not None
    assert scorer.snapshots.last.result().is_dir()
    digest = store.digest
    scorer.close()
    verified = FeatureStore.verify(tmp_path / "state")
    assert (verified.ok, verified.num_events, verified.digest) == (True, 600, digest)
    assert len(list((tmp_path / "state").glob("snapshot-*"))) == 1


def test_a_scorer_that_is_warm_compiles_nothing_at_its_first_event(cards: Path) -> None:
    scorer = EventScorer.open(cards, None)
    scorer.warm_up()
    owners = scorer.runtime.preprocessor.owners()
    AlertReasons(scorer, explainer_for(scorer.runtime.model, owners, compiled=True), reason_codes).warm_up()
    kernels = [read_rows, replace_words, write_rows, fill_inputs, add_trees, add_rows]
    before = [len(kernel.signatures) for kernel in kernels]
    body = b"\n".join(json.dumps(event).encode() for event in events_of(payments(300)))
    scored = scorer.score(scorer.reader.read(body, b"application/x-ndjson", 1_000))
    without_amounts = body.replace(b'"amount": ', b'"amount": NaN, "x": ')
    scorer.score(scorer.reader.read(without_amounts, b"application/x-ndjson", 1_000))
    assert answer_rows(scored)[0].startswith(b'{"id":0,"status":"accepted"')
    scorer.close()
    assert min(before) > 0
    assert [len(kernel.signatures) for kernel in kernels] == before
