"""A real Prometheus beside real processes: every panel is answered, every rule is healthy, none fires in quiet."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest

from deepseek.observe.check import check_server, fetch_text, query_prometheus
from deepseek.observe.dashboards.panel import Query
from deepseek.observe.dashboards.panels import DASHBOARDS
from deepseek.observe.metrics_table import metrics_in
from deepseek.observe.rules.rule_file import ALERTS, rule_file
from deepseek.observe.rules.thresholds import read_thresholds
from deepseek.train.run_folder.curves import RunFolderSink
from deepseek.train.run_folder.record import RunRecord
from support.servers.cards import build_cards, events_of, payments
from support.servers.certificates import make_certificate
from support.servers.fixtures import build
from support.servers.serving import started, until
from support.servers.watching import exposing, needs_prometheus, prometheus

pytestmark = [pytest.mark.slow, needs_prometheus]
#: What this machine has not: panels of these stay empty.
ABSENT = {"a GPU and nvidia-ml-py", "a model that writes", "a bundle of deepseek recipe fraud that scores events"}
WINDOW = "30s"


def build_loans(out: Path) -> Path:
    rng = np.random.default_rng(0)
    columns = {"age": rng.uniform(18, 80, 300), "income": rng.lognormal(8, 1, 300)}
    columns["late"] = np.where(columns["age"] < 40, "yes", "no").astype(object)
    return build(out, columns, target="late", labels=("no", "yes"), with_support=True)


def make_study(folder: Path) -> Path:
    """The folder of a coordinator after one round of three parties."""
    (folder / "coordinator" / "0").mkdir(parents=True)
    (folder / "study.json").write_text("{}")
    messages = [{"num_bytes": 100}] * 3
    record = {"kind": "training", "attempt": 0, "parties": ["a", "b", "c"], "dropped": [], "messages": messages}
    (folder / "coordinator" / "0" / "record.json").write_text(json.dumps(record))
    return folder


def make_run(folder: Path) -> Path:
    sink = RunFolderSink(folder, RunRecord(status="running", home=".", job={}), go_on=False)
    folder.mkdir()
    sink.start({})
    names = ("train/loss", "train/lr", "train/grad_norm", "train/rows_per_s")
    sink.log(20, dict(zip(names, (0.5, 1e-3, 1.0, 900.0), strict=True)))
    sink.log(20, {"val/loss": 0.6})
    step = folder / "checkpoints" / "step-00000020"
    step.mkdir(parents=True)
    (step / "checkpoint.json").write_text(json.dumps({"step": 20, "epoch": 0, "config": {"epochs": 3}}))
    return folder


@contextmanager
def streaming(folder: Path) -> Iterator[str]:
    """`deepseek stream` that has answered some payments and waits for more; where Prometheus asks it."""
    bundle = build_cards(folder / "cards")
    command = [sys.executable, "-m", "deepseek", "stream", str(bundle), "--state", str(folder / "state")]
    command += ["--no-reasons", "--metrics-port", "0"]
    log, stopping = folder / "stream.log", threading.Event()
    with log.open("w") as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors, text=True, bufsize=1
        )

    def feed() -> None:
        with process.stdin as lines:  # type: ignore[union-attr]
            for event in events_of(payments(4_000)):
                if stopping.wait(0.05):
                    return
                lines.write(json.dumps(event) + "\n")

    feeding = threading.Thread(target=feed, daemon=True)
    try:
        until(lambda: "metrics for Prometheus" in log.read_text(), limit_s=120)
        feeding.start()
        yield next(word for word in log.read_text().split() if word.startswith("http://"))
        stopping.set()
        feeding.join()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


def is_absent(query: Query) -> bool:
    """Whether a query reads what this machine has not."""
    return any(metric.needs in ABSENT for metric in metrics_in(query.expression))


def ask_everything(url: str) -> None:
    """Requests of every kind that the panels speak of."""
    row = {"age": 33.5, "income": 2400.0}
    odd = [{"age": 900.0, "income": 1e9}]
    with httpx.Client(base_url=url, verify=False, timeout=30) as client, ThreadPoolExecutor(4) as several:
        path = "/v1/models/loans"

        def post(verb: str, rows: list[dict[str, float]], headers: dict[str, str] | None = None) -> int:
            return client.post(f"{path}:{verb}", json={"instances": rows}, headers=headers).status_code

        assert set(several.map(lambda _: post("predict", [row]), range(16))) == {200}
        assert post("predict", [{**row, "age": float(age)} for age in range(20, 60)]) == 200
        assert post("predict", odd) == 200
        assert post("explain", [row]) == 200
        assert post("predict", [{"age": "old"}]) == 422


def score_with_verdicts(url: str) -> None:
    """Payments of 40 days, and then which of them were fraud."""
    records = payments(800, seed=12)
    verdicts = [{"id": record["id"], "label": record["label"]} for record in records if record["label"]]
    for verb, rows in (("score", events_of(records)), ("label", verdicts)):
        assert httpx.post(f"{url}/v1/models/cards:{verb}", json=rows, timeout=60).status_code == 200


@pytest.fixture
def targets(tmp_path: Path) -> Iterator[tuple[str, ...]]:
    """A server with versions, a shadow and a certificate; a stream; a run and a document of drift; scored events."""
    for version in ("v1", "v2"):
        build_loans(tmp_path / "models" / "loans" / version)
    certificate, key = make_certificate(0, 90)
    (tmp_path / "cert.pem").write_bytes(certificate)
    (tmp_path / "key.pem").write_bytes(key)
    (tmp_path / "drift.json").write_text(json.dumps({"columns": [{"column": "age", "psi": 0.03}]}))
    words = ["--repository", tmp_path / "models", "--route", "loans=v1,v2:shadow", "--coalesce", "--workers", "1"]
    words += ["--tls-cert", tmp_path / "cert.pem", "--tls-key", tmp_path / "key.pem", "--audit-log", tmp_path / "audit"]
    with (
        started(*words) as server, streaming(tmp_path) as stream,
        exposing(make_run(tmp_path / "first"), make_study(tmp_path / "study"), tmp_path / "drift.json") as exposer,
        started(tmp_path / "cards", "--state", tmp_path / "served", "--workers", "0") as scoring,
    ):  # fmt: skip
        score_with_verdicts(scoring.url)
        yield server.url, stream, exposer, scoring.url


def test_every_panel_has_an_answer_and_every_rule_is_healthy_and_silent(
    targets: tuple[str, ...], tmp_path: Path
) -> None:
    thresholds = read_thresholds(["model_age_days=3650", "stream_lag=1e7", "flagged_rate=10"])
    url = targets[0]
    with prometheus(tmp_path / "prometheus", targets, rule_file(thresholds)) as base:
        ask_everything(url)
        silent: list[str] = []

        def all_answer() -> bool:
            ask_everything(url)
            silent[:] = [
                f"{name}: {panel.title}: {query.expression}"
                for name, dashboard in DASHBOARDS.items() for panel in dashboard.panels for query in panel.queries
                if not is_absent(query) and not query_prometheus(base, query.evaluable(WINDOW))
            ]  # fmt: skip
            return not silent

        try:
            until(all_answer, limit_s=120)
        except AssertionError:
            pytest.fail("\n".join(silent))
        rules = [
            rule
            for group in json.loads(fetch_text(f"{base}/api/v1/rules"))["data"]["groups"]
            for rule in group["rules"]
        ]
        assert {rule["name"] for rule in rules} == {alert.name for alert in ALERTS}
        assert {rule["name"]: rule["lastError"] for rule in rules if rule["health"] == "err"} == {}
        assert [rule["name"] for rule in rules if rule["state"] == "firing"] == []
        boards = DASHBOARDS.items()
        absent = [
            (name, panel.title)
            for name, board in boards
            for panel in board.panels
            if any(map(is_absent, panel.queries))
        ]
        assert len(absent) == 5


def test_the_check_asks_prometheus_too(tmp_path: Path) -> None:
    build_loans(tmp_path / "loans")
    rules = rule_file(read_thresholds([]))
    rules["groups"] = rules["groups"][1:]
    with (
        started(tmp_path / "loans", "--workers", "1") as server,
        prometheus(tmp_path / "prometheus", [server.url], rules) as base,
    ):
        for _ in range(4):
            httpx.post(f"{server.url}/v1/models/loans:predict", json={"instances": [{"age": 30.0, "income": 9.0}]})
            time.sleep(1)
        until(lambda: bool(query_prometheus(base, "count_over_time(deepseek_rows_total[1m]) > 2")))
        result = check_server(server.url, prometheus=base)
        missing = {alert.name for alert in ALERTS if alert.name in {f.name for f in result.dead}}
        assert "DeepseekErrors" in missing  # its group was left out of the rule file
        assert "DeepseekMemory" not in missing
        assert [finding for finding in result.dead if finding.kind != "rule"] == []
