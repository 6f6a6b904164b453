"""`deepseek observe check` and `expose`: what they find alive, and what they refuse."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import generate_latest

from deepseek.cli import main
from deepseek.errors import InputError, MissingError
from deepseek.observe.expose import Exposer, serve_registry
from deepseek.train.run_folder.curves import RunFolderSink
from deepseek.train.run_folder.record import RunRecord
from support.servers.serving import Server


def run_verb(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    code = main(["observe", *words, "--json"])
    return code, json.loads(capsys.readouterr().out)


@contextmanager
def answering(text: str) -> Iterator[str]:
    """A server that answers every GET with a text."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_server_that_has_answered_has_nothing_dead(
    server: Server, loan: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    httpx.post(f"{server.url}/v1/models/loans:predict", json={"instances": [loan]})
    code, result = run_verb(capsys, "check", server.url)
    assert code == 0
    assert [finding for finding in result["findings"] if finding["state"] == "dead"] == []
    assert result["counts"]["metric"]["alive"] >= 40
    states = {(finding["kind"], finding["name"]): finding for finding in result["findings"]}
    assert states["metric", "deepseek_certificate_expiry_timestamp_seconds"]["reason"] == "needs --tls-cert"
    assert states["rule", "DeepseekCertificate"]["state"] == "idle"
    assert states["panel", "overview: Ready"]["state"] == "alive"


def test_a_metric_that_is_not_told_is_dead_and_so_is_what_reads_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with answering("# TYPE deepseek_ready gauge\ndeepseek_ready 1\n") as url:
        code, result = run_verb(capsys, "check", url)
    assert code == 3
    states = {finding["name"]: finding["state"] for finding in result["findings"]}
    assert states["deepseek_ready"] == states["DeepseekNotReady"] == "alive"
    assert (
        states["deepseek_queue_rows"]
        == states["DeepseekQueue"]
        == states["overview: Queue against its limit"]
        == "dead"
    )
    assert "are dead" in result["error"]["message"]


@pytest.mark.parametrize(
    ("url", "code", "message"),
    [
        ("http://127.0.0.1:1", 3, "does not answer"),
        ("ftp://x", 2, "is no address"),
        ("http://[x", 2, "is no address"),
    ],
)
def test_an_address_that_cannot_be_asked_is_said(
    url: str, code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    exit_code, result = run_verb(capsys, "check", url)
    assert (exit_code, message in result["error"]["message"]) == (code, True)


def test_what_is_no_exposition_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with answering("<html>hello</html>") as url:
        code, result = run_verb(capsys, "check", url)
    assert code == 2
    assert "no exposition" in result["error"]["message"]


def test_a_prometheus_that_is_away_is_said(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    code, result = run_verb(capsys, "check", server.url, "--prometheus", "http://127.0.0.1:1")
    assert (code, result["error"]["code"]) == (3, "unreachable")


def make_run(folder: Path) -> RunFolderSink:
    folder.mkdir()
    sink = RunFolderSink(folder, RunRecord(status="running", home=".", job={}), go_on=False)
    sink.start({})
    sink.log(10, {"train/loss": 0.7, "train/lr": 0.1})
    return sink


def test_a_study_is_told_task_by_task_and_half_a_record_the_next_time(tmp_path: Path) -> None:
    study = tmp_path / "hospitals"
    (study / "coordinator").mkdir(parents=True)
    (study / "study.json").write_text("{}")
    exposer = Exposer([study])

    def value(name: str) -> float | None:
        return exposer.registry.get_sample_value(f"deepseek_federated_{name}", {"study": "hospitals"})

    def write(task: int, kind: str, parties: list[str], dropped: list[str], text: str | None = None) -> None:
        (study / "coordinator" / str(task)).mkdir(exist_ok=True)
        messages = [{"num_bytes": 100}] * (len(parties) + len(dropped))
        record = {"kind": kind, "attempt": 1, "parties": parties, "dropped": dropped, "messages": messages}
        (study / "coordinator" / str(task) / "record.json").write_text(text or json.dumps(record))

    assert value("rounds") is None
    write(0, "moments", ["a", "b", "c"], [])
    assert (value("rounds"), value("parties")) == (0, 3)
    write(1, "training", ["a", "b"], ["c"])
    assert [value(name) for name in ("rounds", "parties", "dropped_parties", "attempts", "sent_bytes")] == [
        1, 2, 1, 2, 300
    ]  # fmt: skip
    write(2, "training", [], [], text='{"kind": "trai')
    assert value("rounds") == 1
    write(2, "training", ["a", "b", "c"], [])
    assert (value("rounds"), value("parties")) == (2, 3)
    assert value("task_timestamp_seconds")


def test_a_run_is_told_as_it_goes_on_and_after_it_was_killed(tmp_path: Path) -> None:
    sink = make_run(tmp_path / "first")
    exposer = Exposer([tmp_path / "first"])
    value, labels = exposer.registry.get_sample_value, {"run": "first"}
    assert value("deepseek_training_loss", labels) == 0.7
    assert value("deepseek_training_status_info", {**labels, "run_status": "running"}) == 1
    assert value("deepseek_training_checkpoint_step", labels) is None
    sink.log(20, {"train/loss": float("nan")})
    sink.log(20, {"val/loss": 0.4})
    step = tmp_path / "first/checkpoints/step-20"
    step.mkdir(parents=True)
    (step / "checkpoint.json").write_text(json.dumps({"step": 20, "epoch": 0, "config": {"epochs": 2}}))
    assert math.isnan(value("deepseek_training_loss", labels) or 0)
    assert value("deepseek_training_validation_loss", labels) == 0.4
    assert value("deepseek_training_step", labels) == value("deepseek_training_checkpoint_step", labels) == 20
    sink.log(15, {"train/loss": 0.6})  # goes on from an earlier checkpoint: the file has become shorter
    assert value("deepseek_training_loss", labels) == 0.6
    with (tmp_path / "first/curves.jsonl").open("a") as file:
        file.write('{"step": 16, "train/loss": 0.')  # a kill cut it
    assert value("deepseek_training_loss", labels) == 0.6


def test_drift_is_told_from_its_document(tmp_path: Path) -> None:
    path = tmp_path / "loans.json"
    path.write_text(json.dumps({"columns": [{"column": "age", "psi": 0.25}]}))
    exposer = Exposer([path])
    value = exposer.registry.get_sample_value
    assert value("deepseek_column_psi", {"bundle": "loans", "column": "age"}) == 0.25
    assert (value("deepseek_drift_timestamp_seconds", {"bundle": "loans"}) or 0) > 0
    path.write_text('{"columns": [')  # it is being written
    assert value("deepseek_column_psi", {"bundle": "loans", "column": "age"}) is None


def test_what_is_exposed_is_answered_over_http(tmp_path: Path) -> None:
    make_run(tmp_path / "first")
    exposer = Exposer([tmp_path / "first"])
    with serve_registry(exposer.registry, "127.0.0.1", 0) as url:
        assert httpx.get(url).content == generate_latest(exposer.registry)
        with (
            pytest.raises(InputError, match="cannot be had"),
            serve_registry(exposer.registry, "127.0.0.1", int(url.split(":")[2].split("/")[0])),
        ):
            pass


def test_paths_that_hold_nothing_of_that_sort_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    make_run(tmp_path / "first")
    with pytest.raises(MissingError, match="holds no run"):
        Exposer([tmp_path / "empty"])
    with pytest.raises(MissingError, match="neither a run's folder"):
        Exposer([tmp_path / "gone"])
    with pytest.raises(InputError, match="have one name"):
        Exposer([tmp_path / "first", tmp_path / "first"])
