"""`deepseek stream --replay`: real processes, a table of rows, a page; and what is refused before any work."""

from __future__ import annotations

import fcntl
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deepseek.cli import main
from deepseek.cli.stream.replay import KINDS
from deepseek.data.table.synth import FraudWorld, simulate_transactions
from deepseek.features import FeatureStore
from deepseek.serve.replay.injection import INJECTION_KINDS
from support.servers.cards import cards, events_of, payments

__all__ = ["cards"]


def write(path: Path, records: list[dict[str, Any]]) -> Path:
    lines = [",".join(records[0])] + [",".join(map(str, record.values())) for record in records]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def transactions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("replay") / "tx.csv", payments(1_500, seed=5))


def words(*more: object) -> list[str]:
    return ["stream", *map(str, more)]


@pytest.mark.slow
def test_a_planted_card_is_found_and_the_page_and_the_json_say_so(
    cards: Path, transactions: Path, tmp_path: Path
) -> None:
    before = transactions.read_bytes()
    page = tmp_path / "replay.html"
    command = words(cards, "--replay", transactions, "--inject", "card", "--html", page, "--json")
    done = subprocess.run(
        [sys.executable, "-m", "deepseek", *command], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    (planted,) = report["planted"]
    assert report["num_rows"] == 1_512
    assert planted["num_rows"] == len(planted["rows"]) == 12
    assert planted["num_alerts"] > 0
    assert planted["time_to_first_alert_s"] >= 0
    assert planted["first_alert"]["reasons"]
    assert report["latency_s"]["p50"] <= report["latency_s"]["p99"]
    assert transactions.read_bytes() == before
    text = page.read_text("utf-8")
    assert planted["first_alert"]["reasons"][0].split(" ")[0] in text
    assert sorted(path.name for path in transactions.parent.iterdir()) == ["tx.csv"]


@pytest.mark.slow
def test_a_state_is_copied_and_never_changed(cards: Path, tmp_path: Path, capsys: Any) -> None:
    records = payments(300, seed=5)
    earlier, later = write(tmp_path / "earlier.ndjson", records[:200]), write(tmp_path / "later.csv", records[200:])
    earlier.write_text("".join(json.dumps(event) + "\n" for event in events_of(records[:200])))
    state = tmp_path / "state"
    with earlier.open() as lines:
        command = [sys.executable, "-m", "deepseek", *words(cards, "--state", state)]
        subprocess.run(command, stdin=lines, capture_output=True, timeout=600, check=True)
    digest = FeatureStore.verify(state).digest
    files = {path: path.stat().st_mtime_ns for path in state.rglob("*")}
    assert main(words(cards, "--replay", later, "--state", state, "--json")) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["counts"] == {"accepted": 100}
    assert report["state"] == f"a copy of {state}"
    assert {path: path.stat().st_mtime_ns for path in state.rglob("*")} == files
    assert FeatureStore.verify(state).digest == digest
    with (state / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(words(cards, "--replay", later, "--state", state)) == 3
    assert "another process has" in capsys.readouterr().err


@pytest.mark.slow
def test_ctrl_c_ends_a_slow_replay_with_figures_of_what_was_played(cards: Path, transactions: Path) -> None:
    command = [sys.executable, "-m", "deepseek", *words(cards, "--replay", transactions, "--speed", "100000", "--json")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    while "rows/s" not in process.stderr.readline():  # a line of its progress
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=600)
    report = json.loads(out)
    assert process.returncode == 0, err
    assert 0 < report["num_rows"] < 1_500
    assert report["num_left"] == 1_500 - report["num_rows"]
    assert report["speed"] == 100_000


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--speed", "0"), "no speed"),
        (("--speed", "-1"), "no speed"),
        (("--speed", "nan"), "no speed"),
        (("--inject", "bank"), "'bank' is not one of"),
        (("--to", "nats://127.0.0.1:1/x"), "--to does not go with --replay"),
        (("--state", "nowhere"), "there is no state in nowhere"),
        (("--html", "nowhere/page.html"), "nowhere"),
        (("--history", "nowhere.csv"), "nowhere.csv"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    cards: Path, transactions: Path, capsys: Any, more: tuple[str, ...], said: str
) -> None:
    assert main(words(cards, "--replay", transactions, *more)) == 2
    assert said in capsys.readouterr().err


def test_the_kinds_of_the_option_are_those_that_can_be_planted() -> None:
    assert KINDS == INJECTION_KINDS


def test_options_of_a_replay_need_one(cards: Path, tmp_path: Path, capsys: Any) -> None:
    assert main(words(cards, "--state", tmp_path / "state", "--inject", "card")) == 2
    assert "--inject needs --replay" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,time,card,terminal,amount,label\n", "no rows"),
        ("", "empty"),
        ("id,time,card,amount\n1,2,3,4\n", "no column 'terminal'"),
        ("id,time,card,terminal,amount\n1,noon,3,4,5\n", "time"),
        ("id,time,card,terminal,amount\n1,1522540800,,4,5\n2,1522540900,3,4,5\n", "card"),
    ],
)
def test_a_table_that_cannot_be_played_is_refused(
    cards: Path, tmp_path: Path, capsys: Any, text: str, said: str
) -> None:
    (tmp_path / "tx.csv").write_text(text)
    assert main(words(cards, "--replay", tmp_path / "tx.csv")) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


@pytest.mark.slow
def test_from_raw_rows_to_a_bad_terminal_that_is_found(tmp_path: Path, capsys: Any) -> None:
    """The recipe makes the bundle, and its own rows are replayed: the whole way.

    Few terminals, so that the planted one has some forty payments: of three, any model may miss each."""
    pytest.importorskip("xgboost")
    world = simulate_transactions(FraudWorld(num_customers=250, num_terminals=12, num_days=90, seed=5))
    path = write(tmp_path / "tx.csv", world.records())
    recipe = ["recipe", "fraud", str(path), "--out", str(tmp_path / "cards"), "--max-fpr", "0.01", "--trials", "2"]
    assert main(recipe) == 0
    capsys.readouterr()
    assert main(words(tmp_path / "cards", "--replay", path, "--inject", "terminal", "--no-reasons", "--json")) == 0
    report = json.loads(capsys.readouterr().out)
    (planted,) = report["planted"]
    assert planted["num_played"] >= 20
    assert planted["num_alerts"] > 0
    assert report["metrics"]["recall"]["low"] > 0
    assert report["num_frauds"] == sum(record["fraud"] for record in world.records())
