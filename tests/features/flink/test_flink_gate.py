"""The parts of the job on Flink without Flink: the gate and the histories say what the store says, whatever comes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deepseek.features import EventColumns, FeatureDefinition, FeatureStore, Status, card_payments
from deepseek.features.definition import Bounds, KeyDefinition, with_states
from deepseek.features.flink.__main__ import main
from deepseek.features.flink.gate import CHUNK_IDS
from deepseek.features.flink.messages import Kind, read_message
from deepseek.features.flink.parts import CardMessage, Part, PartQueue
from deepseek.features.hidden.parameters import HiddenStates
from support.hidden_states import HIDDEN
from support.local_flink import DictMap, LocalJob, answers_of_job
from support.messages import answers_of_store, column_names, event_messages, same_bits

pytest.importorskip("numba")
DAY = 86_400


@pytest.fixture(scope="module")
def definition() -> FeatureDefinition:
    """Everything that there is, with short memories, so that ids are forgotten and come again."""
    bounds = Bounds(lateness="3d", ahead="20d", duplicates="1d")
    return replace(card_payments("card", "terminal", label_delay="2d"), bounds=bounds)


def hostile_messages(definition: FeatureDefinition, seed: int, number: int) -> list[str]:
    """Few keys, times that run back by up to 4 days, ids that come twice, bad values, verdicts on what was and was not,
    lines that are no JSON."""
    rng = np.random.default_rng(seed)
    time = 1_600_000_000 + np.cumsum(rng.integers(0, 9_000, number)) // 600 * 600 - rng.integers(0, 4 * DAY, number)
    ids = np.where(rng.random(number) < 0.1, rng.integers(0, number, number), np.arange(number))
    amount = rng.choice([0, 1, 500, 500, 12_345], number)
    keys = (rng.integers(-2, 4, number), rng.integers(0, 3, number))
    records = [
        json.loads(one) for one in event_messages(EventColumns(time, amount, keys, ids), column_names(definition))
    ]
    messages = []
    for row, record in enumerate(records):
        dice = rng.random()
        if dice < 0.02:
            record["time"] = "no time"
        elif dice < 0.04:
            record["amount"] = -1.5
        elif dice < 0.06 and row:
            record["time"] += 40 * DAY
        messages.append(json.dumps(record) if dice < 0.98 else "{no JSON")
        if rng.random() < 0.4:
            messages.append(json.dumps({"id": int(rng.integers(0, row + 60)), "label": int(rng.integers(0, 2))}))
    return messages


def compare(definition: FeatureDefinition, messages: Sequence[str], seed: int, restart_each: int) -> set[str]:
    """The statuses, once they and all features are what a store says."""
    answers = answers_of_job(definition, messages, seed=seed, restart_each=restart_each)
    for number, (answer, expected) in enumerate(zip(answers, answers_of_store(definition, messages), strict=True)):
        assert answer.status == expected.status, (number, messages[number])
        assert same_bits(answer.features, expected.features), (number, messages[number])
    return {answer.status for answer in answers}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("hidden", [None, HIDDEN], ids=["windows", "states"])
def test_the_parts_say_what_the_store_says_whatever_comes_in_which_order(
    seed: int, hidden: HiddenStates | None, definition: FeatureDefinition
) -> None:
    """Cards and terminals get their messages in orders of their own, late ones and verdicts on any of them included."""
    messages = hostile_messages(definition, seed, 3 * CHUNK_IDS)
    if hidden is not None:
        definition = with_states(definition, hidden)
    seen = compare(definition, messages, seed, restart_each=701)
    of_readers = {"bad_key", "bad_label"}  # said by who reads events for a store: the job calls both bad_input
    assert seen == {status.name.lower() for status in Status} - {"key_full"} - of_readers | {"bad_input"}


@pytest.mark.slow
@pytest.mark.parametrize("label_delay", ["0d", "2d"])
def test_states_of_two_keys_among_three_are_the_stores(label_delay: str, definition: FeatureDefinition) -> None:
    """The terminal's key comes before the card's, a verdict counts at once, windows are of several lengths."""
    keys = {
        "terminal": KeyDefinition("terminal", ("2d", "5d"), ("count", "sum")),
        "device": KeyDefinition("device", ("1d", "9d"), ("fraud_count", "gap")),
        "card": KeyDefinition("card", ("1d", "9d"), ("count", "amount_zscore")),
    }
    definition = with_states(replace(definition, keys=keys, label_delay=label_delay), HIDDEN)
    rng, number = np.random.default_rng(5), 500
    time = 1_600_000_000 + np.cumsum(rng.integers(0, 4_000, number)) - rng.integers(0, 3 * DAY, number)
    amount = np.exp(rng.normal(7.5, 1.2, number)).astype(np.int64)
    codes = tuple(rng.integers(0, most, number) for most in (5, 4, 9))
    verdicts = (rng.random(number) < 0.3).astype(np.int64)
    messages = event_messages(EventColumns(time, amount, codes, np.arange(number), verdicts), column_names(definition))
    assert compare(definition, messages, seed=1, restart_each=100) == {"accepted"}


def test_a_part_waits_for_the_messages_of_those_before_it_and_no_longer() -> None:
    parts, messages = DictMap(), DictMap()
    queue = PartQueue(parts, messages)
    events = [Part(Kind.EVENT, number, number, 100, 5, 0) for number in range(4)]
    said = [CardMessage(number, number + 0.1, number) for number in range(4)]
    verdict = Part(Kind.VERDICT, 0, 0, 100, 5, 1)
    assert queue.add_message(said[1]) == []  # before its part
    assert queue.add_part(events[0]) == []
    assert queue.add_part(events[1]) == []  # behind one that waits
    assert queue.add_part(verdict) == []
    assert queue.add_part(events[2]) == []
    assert queue.add_message(said[0]) == [(events[0], said[0]), (events[1], said[1]), (verdict, None)]
    assert queue.add_message(said[2]) == [(events[2], said[2])]
    assert queue.add_part(verdict) == [(verdict, None)]
    assert queue.add_message(said[3]) == []
    assert queue.add_part(events[3]) == [(events[3], said[3])]
    assert parts == messages == {}


def test_the_gate_forgets_ids_as_the_store_does(definition: FeatureDefinition) -> None:
    """Each id comes again when it is forgotten, and counts anew: what is left of it must not be dropped once more."""
    retention_days = 2 + 30 + 3
    messages = [
        json.dumps({"id": number % 40, "time": 1_600_000_000 + number * DAY, "amount": 1, "card": 1, "terminal": 1})
        for number in range(40 * CHUNK_IDS // 8)
    ]
    job = LocalJob(definition)
    assert {job.send(text) for text in messages} == {"accepted"}
    assert len(job.ids) == retention_days
    assert len(job.chunks) <= 2
    compare(definition, messages[:200], seed=0, restart_each=7)


def test_a_verdict_counts_for_good_also_for_a_key_of_short_windows() -> None:
    """Known frauds are counted ever. A verdict comes when the shorter windows have long passed its event."""
    keys = {
        "card": KeyDefinition("card", ("1d",), ("count", "frauds_known")),
        "terminal": KeyDefinition("terminal", ("30d",), ("fraud_count",)),
    }
    definition = FeatureDefinition(keys, label_delay="1d")
    store = FeatureStore.open(None, definition)
    for day in range(12):
        one = np.array([day])
        events = EventColumns(1_600_000_000 + one * DAY, one, (one * 0, one * 0), one)
        features = store.score(events).features[0]
        if day == 10:
            store.label(np.array([0]), np.array([1]))
    assert features[list(store.names).index("card.frauds_known")] == 1


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('{"id": 1, "time": 5, "amount": 1.5, "card": "a", "terminal": 2, "more": true}', Kind.EVENT),
        ('{"id": "x", "time": null, "amount": "much", "card": 1, "terminal": 2}', Kind.EVENT),  # the gate refuses it
        ('{"id": 1, "label": 1}', Kind.VERDICT),
        ('{"id": 1, "label": 2}', Kind.NEITHER),
        ('{"id": 1.5, "label": 1}', Kind.NEITHER),
        ('{"id": 1, "time": 5, "amount": 1.5, "card": null, "terminal": 2}', Kind.NEITHER),
        ('{"id": 1, "time": 5, "amount": NaN, "card": 1, "terminal": 2}', Kind.EVENT),  # the gate refuses it
        ('{"id": 1, "id": 2, "label": 1}', Kind.NEITHER),
        ('{"id": 1, "label": [1]}', Kind.NEITHER),
        ("[" * 100_000, Kind.NEITHER),
        ("", Kind.NEITHER),
        ("17", Kind.NEITHER),
    ],
)
def test_a_line_is_an_event_a_verdict_or_neither(text: str, kind: Kind, definition: FeatureDefinition) -> None:
    assert read_message(definition, text).kind == kind


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["features.toml", "-D", "parallelism"], "sets nothing"),
        (["."], "features.toml cannot be read"),
        (["broken.toml"], "no TOML"),
        (["bytes.toml"], "cannot be read"),
        (["nothing.toml"], "does not exist"),
    ],
)
def test_bad_input_of_the_program_is_said_and_ends_with_2(
    words: list[str],
    said: str,
    definition: FeatureDefinition,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.toml").write_text("keys = [")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    if words[0] == "features.toml":
        (tmp_path / "features.toml").write_text(definition.to_toml())
    with pytest.raises(SystemExit) as ended:
        main([*words, "--from", "in", "--to", "out", "--checkpoints", "kept"])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
