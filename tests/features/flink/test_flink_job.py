"""The job on Apache Flink for real, in its mini-cluster, and on a cluster of processes of which one is killed: the
store's answers to the bit. Run by `make test-flink`, which makes the environment `.venv-flink`."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from deepseek.features import EventColumns, FeatureDefinition, card_payments, compute_offline
from deepseek.features.definition import with_states
from deepseek.features.states.estimate import estimate_states
from support.messages import answers_of_store, column_names, event_messages, same_bits
from support.servers.flink import flink_cluster, python_with_flink, start_job, stop

pq = pytest.importorskip("pyarrow.parquet")
pytest.importorskip("numba")
pytestmark = pytest.mark.slow
NUM_EVENTS = 100_000
PATIENCE_S = 3_000


@pytest.fixture(scope="module")
def python() -> str:
    return python_with_flink()


@pytest.fixture(scope="module")
def definition() -> FeatureDefinition:
    """Verdicts are out after a day, so that ten days of transactions have many of them."""
    return card_payments(
        "CUSTOMER_ID", "TERMINAL_ID", time="TX_DATETIME", amount="TX_AMOUNT", id="TRANSACTION_ID", label="TX_FRAUD",
        label_delay="1d",
    )  # fmt: skip


@pytest.fixture(scope="module")
def april(shared_data: Path, definition: FeatureDefinition) -> EventColumns:
    """The handbook's first transactions, in the order of time."""
    table = pq.read_table(shared_data / "fraud-handbook" / "transactions-2018-04.parquet")
    events = EventColumns.from_columns(definition, {name: table[name].to_numpy() for name in table.column_names})
    return events.take(np.argsort(events.time, kind="stable")[:NUM_EVENTS])


@pytest.fixture(scope="module")
def with_hidden(definition: FeatureDefinition, april: EventColumns) -> FeatureDefinition:
    """What `recipe fraud` makes: windows, and hidden states as these transactions teach them."""
    return with_states(definition, estimate_states(definition, april, card="card", terminal="terminal"))


def add_faults(messages: Sequence[str], seed: int) -> list[str]:
    """The messages, and between them what a stream should not have."""
    rng = np.random.default_rng(seed)
    events = [json.loads(message) for message in messages if "TX_AMOUNT" in message]
    faulty = []
    for place, message in enumerate(messages):
        faulty.append(message)
        if place % 50:
            continue
        record = events[int(rng.integers(0, max(1, place - place // 20)))]
        faults = (
            record,  # again, at once or days later
            record | {"TRANSACTION_ID": -place - 1, "TX_DATETIME": record["TX_DATETIME"] - 40 * 86_400},
            record | {"TRANSACTION_ID": -place - 1, "TX_DATETIME": record["TX_DATETIME"] + 400 * 86_400},
            record | {"TRANSACTION_ID": -place - 1, "TX_AMOUNT": -3.5},
            record | {"TRANSACTION_ID": -place - 1, "TX_DATETIME": None},
            record | {"TRANSACTION_ID": -place - 1, "TX_DATETIME": events[-1]["TX_DATETIME"] - 3_600}
            if place > 0.99 * len(messages)  # late, within the bound
            else {"TRANSACTION_ID": -place, "TX_FRAUD": 1},
            {"TRANSACTION_ID": record["TRANSACTION_ID"], "TX_FRAUD": int(rng.integers(0, 2))},
        )
        faulty.append(json.dumps(faults[int(rng.integers(0, len(faults)))]))
        if place % 500 == 0:
            faulty += ["no JSON", json.dumps(record)]
    return faulty


def read_answers(folder: Path, names: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """The statuses and the features of the answers that are whole, in the order of the messages. Each is there once."""
    answers = [json.loads(line) for path in sorted(folder.rglob("part-*")) for line in path.read_text().splitlines()]
    answers.sort(key=lambda answer: answer["number"])
    assert [answer["number"] for answer in answers] == list(range(len(answers)))
    values = [[np.nan if answer[name] is None else answer[name] for name in names] for answer in answers]
    return [answer["status"] for answer in answers], np.array(values)


def write_input(definition: FeatureDefinition, messages: Sequence[str], folder: Path) -> list[str]:
    """The files of a job, and its arguments."""
    (folder / "features.toml").write_text(definition.to_toml())
    (folder / "messages.ndjson").write_text("\n".join(messages) + "\n")
    places = ("--from", "messages.ndjson"), ("--to", "answers"), ("--checkpoints", "checkpoints")
    options = [word for option, name in places for word in (option, str(folder / name))]
    return [str(folder / "features.toml"), *options]


def wait_for_end(process: subprocess.Popen[str], folder: Path) -> None:
    try:
        process.wait(timeout=PATIENCE_S)
    finally:
        stop(process)
    assert process.returncode == 0, "".join(path.read_text()[-4_000:] for path in folder.glob("*.out"))


def compare_with_store(
    definition: FeatureDefinition, messages: Sequence[str], status: Sequence[str], features: np.ndarray
) -> None:
    stored = answers_of_store(definition, messages)
    assert status == [answer.status for answer in stored]
    assert same_bits(features, np.array([answer.features for answer in stored]))


def count_answers(folder: Path) -> int:
    return sum(len(path.read_text().splitlines()) for path in folder.rglob("part-*"))


def test_real_transactions_are_answered_as_by_the_store_and_the_table_to_the_bit(
    python: str, definition: FeatureDefinition, april: EventColumns, tmp_path: Path
) -> None:
    names = column_names(definition)
    messages = event_messages(april, names)
    arguments = write_input(definition, messages, tmp_path)
    wait_for_end(start_job(python, *arguments, "-D", "parallelism.default=2", cwd=tmp_path), tmp_path)
    status, features = read_answers(tmp_path / "answers", definition.names)
    is_event = np.array([names[1] in message for message in messages])
    assert Counter(status) == {"accepted": len(messages)}
    offline = compute_offline(definition, april)
    assert same_bits(features[is_event], offline.values)
    compare_with_store(definition, messages, status, features)
    assert offline.values[:, list(offline.names).index("terminal.fraud_streak")].max() >= 2


def test_hidden_states_are_followed_as_by_the_store_to_the_bit(
    python: str, with_hidden: FeatureDefinition, april: EventColumns, tmp_path: Path
) -> None:
    """Cards tell terminals of each payment. Late events, verdicts on any of them and duplicates are among them."""
    messages = add_faults(event_messages(april, column_names(with_hidden)), seed=4)
    arguments = write_input(with_hidden, messages, tmp_path)
    wait_for_end(start_job(python, *arguments, "-D", "parallelism.default=2", cwd=tmp_path), tmp_path)
    status, features = read_answers(tmp_path / "answers", with_hidden.names)
    compare_with_store(with_hidden, messages, status, features)
    names = list(with_hidden.names)
    assert np.nanmax(features[:, names.index("terminal.state_odds")]) > 10
    assert np.nanmax(features[:, names.index("card.amount_odds")]) > 3


def test_a_killed_task_manager_loses_nothing_and_answers_nothing_twice(
    python: str, with_hidden: FeatureDefinition, april: EventColumns, tmp_path: Path
) -> None:
    """Faults among the messages, on a cluster of processes. The only task manager gets a SIGKILL when some answers are
    out, and then another one comes."""
    messages = add_faults(event_messages(april.take(slice(0, NUM_EVENTS // 5)), column_names(with_hidden)), seed=3)
    arguments = write_input(with_hidden, messages, tmp_path)
    settings = ("execution.checkpointing.interval=1 s", "restart-strategy.fixed-delay.attempts=1000")
    options = [word for setting in settings for word in ("-D", setting)]
    with flink_cluster(python, tmp_path / "cluster") as cluster:
        victim = cluster.start("taskmanager.sh")
        process = cluster.submit(*arguments, *options)
        deadline = time.monotonic() + PATIENCE_S
        while not count_answers(tmp_path / "answers"):
            assert process.poll() is None, (tmp_path / "cluster" / "flink-2.out").read_text()[-4_000:]
            assert time.monotonic() < deadline
            time.sleep(0.05)
        stop(victim)
        assert victim.returncode == -signal.SIGKILL
        assert count_answers(tmp_path / "answers") < len(messages)
        cluster.start("taskmanager.sh")
        wait_for_end(process, tmp_path / "cluster")
    status, features = read_answers(tmp_path / "answers", with_hidden.names)
    compare_with_store(with_hidden, messages, status, features)
    assert set(status) >= {
        "accepted", "duplicate", "duplicate_old", "late", "ahead", "bad_amount", "bad_time", "bad_input", "unknown_id",
    }  # fmt: skip
