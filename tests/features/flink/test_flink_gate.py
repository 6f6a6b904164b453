"""The parts of the job on Flink without Flink: the gate and the histories say what the store says, whatever comes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deepseek.features import EventColumns, FeatureDefinition, FeatureStore, Status, card_payments
from deepseek.features.definition import Bounds, KeyDefinition
from deepseek.features.flink.__main__ import main
from deepseek.features.flink.gate import BAD_INPUT, CHUNK_IDS, Gate, GatePlace
from deepseek.features.flink.messages import Kind, read_message
from deepseek.features.key_history import KeyHistory, KeyRules, compute_event_feature
from support.messages import answers_of_store, column_names, event_messages, same_bits

pytest.importorskip("numba")
DAY = 86_400


class DictMap(dict):
    """As Flink's MapState: a value is what it was when it was put."""

    def put(self, key: int, value: list[int]) -> None:
        self[key] = list(value)

    def remove(self, key: int) -> None:
        del self[key]


class LocalJob:
    """The job in one process. `restart` forgets what is not in the state that Flink keeps."""

    def __init__(self, definition: FeatureDefinition) -> None:
        self.definition, self.place = definition, GatePlace()
        self.rules = KeyRules.all_of(definition)
        self.ids, self.chunks = DictMap(), DictMap()
        self.histories: dict[tuple[int, int], KeyHistory] = {}
        self.answers: dict[int, np.ndarray] = {}
        self.restart()

    def restart(self) -> None:
        self.gate = Gate(self.definition, self.ids, self.chunks)

    def answer(self, text: str) -> tuple[str, np.ndarray]:
        admission, self.place = self.gate.admit(read_message(self.definition, text), self.place)
        message, features = admission.message, np.full(len(self.definition.names), np.nan)
        if admission.status == BAD_INPUT:
            return "bad_input", features
        if admission.status == Status.DUPLICATE:
            features = self.answers[admission.event]
        if admission.status == Status.ACCEPTED:
            histories = [self._history(key) for key in enumerate(message.keys)]
            if message.kind == Kind.VERDICT:
                for history in histories:
                    history.label(message.id, message.time, fraud=bool(message.fraud))
            else:
                for column, feature in enumerate(self.definition.features):
                    features[column] = (
                        histories[feature.key].compute(feature, message.time, message.amount)
                        if feature.key >= 0
                        else compute_event_feature(self.gate.plan, feature.kind, message.time, message.amount)
                    )
                for history in histories:
                    history.keep(message.time, message.amount, message.id)
                    history.forget()
                self.answers[admission.event] = features
        return Status(admission.status).name.lower(), features

    def _history(self, key: tuple[int, int]) -> KeyHistory:
        if key not in self.histories:
            self.histories[key] = KeyHistory(self.rules[key[0]])
        return self.histories[key]


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


def compare(definition: FeatureDefinition, messages: Sequence[str], restart_each: int) -> set[str]:
    job, statuses = LocalJob(definition), set()
    for number, (text, expected) in enumerate(zip(messages, answers_of_store(definition, messages), strict=True)):
        if number % restart_each == 0:
            job.restart()
        status, features = job.answer(text)
        assert status == expected.status, (number, text)
        assert same_bits(features, expected.features), (number, text)
        statuses.add(status)
    return statuses


@pytest.mark.parametrize("seed", range(2))
def test_the_parts_say_what_the_store_says_whatever_comes(seed: int, definition: FeatureDefinition) -> None:
    messages = hostile_messages(definition, seed, 3 * CHUNK_IDS)
    seen = compare(definition, messages, restart_each=701)
    of_readers = {"bad_key", "bad_label"}  # said by who reads events for a store: the job calls both bad_input
    assert seen == {status.name.lower() for status in Status} - {"key_full"} - of_readers | {"bad_input"}


def test_the_gate_forgets_ids_as_the_store_does(definition: FeatureDefinition) -> None:
    """Each id comes again when it is forgotten, and counts anew: what is left of it must not be dropped once more."""
    retention_days = 2 + 30 + 3
    messages = [
        json.dumps({"id": number % 40, "time": 1_600_000_000 + number * DAY, "amount": 1, "card": 1, "terminal": 1})
        for number in range(40 * CHUNK_IDS // 8)
    ]
    job = LocalJob(definition)
    assert {job.answer(text)[0] for text in messages} == {"accepted"}
    assert len(job.ids) == retention_days
    assert len(job.chunks) <= 2
    compare(definition, messages[:200], restart_each=7)


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
