"""Raw card transactions over HTTP, end to end on 2 cores: features, trees, decision, log synced before the answer.

    python benchmarks/fraud_stream_server.py [--quick] [--only single]

Handbook data: the trees (100 of depth 6, on all features of `card_payments`) are fitted on rows of June; the state
then holds April to June, and July is sent. wrk sends it from the same two cores, each row once and in order: a request
for each row (JSON), then requests of 100 rows (NDJSON). fraud_stream_client.py sends a line for each row on one HTTP
connection, answered by a line while the next are on their way: as fast as the server reads, then at 30,000 a second.
Lines through `deepseek stream` are the same over a pipe. The rival is FastAPI with the past in Redis and xgboost, in
the same rounds; it computes 19 features, of windows without labels, and its Redis has no log at all.

Latency depends on the disk: what one fdatasync costs there is measured and stated. `--state` names the folder.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import xgboost
from fraud_features import data_folder, read_transactions
from http_load import cpu_s
from result import claim, write_result

from deepseek.bundle import Manifest, Output, write_bundle
from deepseek.data import fit_preprocessor, read_table
from deepseek.engines import Source, autotune, check_parity, export_onnx
from deepseek.features import EventColumns, FeatureDefinition, FeatureStore, compute_offline
from deepseek.features.definition import card_payments
from deepseek.nn.model import Model, Part
from deepseek.train.tabular.convert import from_xgboost

HERE = Path(__file__).parent
TRAIN_FROM, STREAM_FROM = "2018-06-01", "2018-07-01"
NUM_TREES, DEPTH = 100, 6
SINGLE_PER_S, BATCH_PER_S, P99_MS = 30_000, 200_000, 10.0
SECONDS = {1: 6, 100: 1}  # no row twice: the file holds 580,000, and wrk says when it is at its end
CONNECTIONS = {1: 256, 100: 64}  # without a pause: what a sync of the disk takes is bridged by who waits


@dataclass(frozen=True)
class Inputs:
    """What both servers are given."""

    bundle: Path
    state: Path  # of the rows before the stream; copied for each run
    rival_model: Path
    events: Path  # NDJSON


@dataclass(frozen=True)
class Run:
    """One run of a client against one server."""

    rows_per_s: float
    p99_ms: float
    server_cpu_us: float  # a row
    num_rows: int


def definition() -> FeatureDefinition:
    return card_payments(
        "CUSTOMER_ID", "TERMINAL_ID", time="TX_DATETIME", amount="TX_AMOUNT", id="TRANSACTION_ID", label="TX_FRAUD"
    )


def prepare(folder: Path, num_events: int) -> Inputs:
    """Fit the trees, fill the state, write the events."""
    table = read_transactions(data_folder() / "fraud-handbook")
    columns = {name: table[name].to_numpy() for name in
               ("TX_DATETIME", "TX_AMOUNT", "TRANSACTION_ID", "CUSTOMER_ID", "TERMINAL_ID", "TX_FRAUD")}  # fmt: skip
    day = columns["TX_DATETIME"].astype("datetime64[D]")
    past = np.flatnonzero(day < np.datetime64(STREAM_FROM))
    coming = np.flatnonzero(day >= np.datetime64(STREAM_FROM))[:num_events]
    events = EventColumns.from_columns(definition(), {name: values[past] for name, values in columns.items()})
    features = compute_offline(definition(), events)
    train = day[past] >= np.datetime64(TRAIN_FROM)
    bundle = fit_bundle(folder / "cards", features.names, features.values[train], columns["TX_FRAUD"][past][train] == 1)
    with FeatureStore.open(folder / "state", definition(), sync_rows=2**40, sync_ms=1e12) as store:
        for start in range(0, len(events), 2**19):
            store.score(events.take(slice(start, start + 2**19)))
        store.label(events.id[events.fraud == 1], np.ones(int((events.fraud == 1).sum()), np.int64))
        store.snapshot()
    time_s = columns["TX_DATETIME"].astype("datetime64[s]").astype(np.int64)
    names = ("TRANSACTION_ID", "TX_DATETIME", "CUSTOMER_ID", "TERMINAL_ID", "TX_AMOUNT")
    values = [(columns | {"TX_DATETIME": time_s})[name][coming].tolist() for name in names]
    path = folder / "events.ndjson"
    with path.open("w") as file:
        for row in zip(*values, strict=True):
            file.write(json.dumps(dict(zip(names, row, strict=True)), separators=(",", ":")) + "\n")
    rng = np.random.default_rng(0)
    rival = xgboost.train(
        {"objective": "binary:logistic", "max_depth": DEPTH, "nthread": 2},
        xgboost.DMatrix(rng.random((5_000, 19)), rng.random(5_000) < 0.2), num_boost_round=NUM_TREES,
    )  # fmt: skip
    rival.save_model(folder / "rival.ubj")
    return Inputs(bundle, folder / "state", folder / "rival.ubj", path)


def fit_bundle(out: Path, names: Sequence[str], values: Any, is_fraud: Any) -> Path:
    """A bundle as the recipe makes it: definition, trees, threshold, the engine that is fastest here."""
    columns: dict[str, Any] = dict(zip(names, values.T, strict=True))
    columns["fraud"] = np.where(is_fraud, "fraud", "genuine").astype(object)
    table = read_table(columns)
    preprocessor = fit_preprocessor(table, dict.fromkeys(names, "numeric"), target="fraud")
    features = preprocessor.table(table).features
    booster = xgboost.train(
        {"objective": "binary:logistic", "max_depth": DEPTH, "eta": 0.1, "nthread": 2},
        xgboost.DMatrix(features, is_fraud), num_boost_round=NUM_TREES,
    )  # fmt: skip
    model = Model("binary", ("genuine", "fraud"), "log-odds", (Part("xgboost", from_xgboost(booster, num_margins=1)),))
    graph = export_onnx(model, features.shape[1])
    sample = features[-4_000:]
    parity = check_parity(model, graph, sample)
    engines = autotune(Source(lambda: model, lambda: graph, features.shape[1]), parity, sample).entries
    genuine = model.score(features[-100_000:]).output[~is_fraud[-100_000:], 1]
    threshold = float(np.quantile(genuine, 1 - 2e-4))
    manifest = Manifest(
        name="cards", version="1", created="2026-01-01T00:00:00+00:00", task="binary", target="fraud",
        inputs=preprocessor.inputs(), outputs=(Output("label", "str"), Output("probabilities", "float32", (2,))),
        labels=("genuine", "fraud"), threshold=threshold, engines=engines,
    )  # fmt: skip
    files = {
        "features.toml": definition().to_toml().encode(),
        "preprocess.json": preprocessor.to_bytes(), "model.onnx": graph,
        "decision.json": json.dumps({"threshold": threshold}).encode(),
        "example.json": json.dumps(preprocessor.example()).encode(), **model.to_files(),
    }  # fmt: skip
    return write_bundle(out, manifest, files).path


@contextmanager
def ours(inputs: Inputs, folder: Path) -> Iterator[tuple[str, list[int]]]:
    """The URL to score at, and the processes whose CPU time counts."""
    state = folder / "state-of-run"
    shutil.rmtree(state, ignore_errors=True)
    shutil.copytree(inputs.state, state, ignore=shutil.ignore_patterns("lock"))
    command = [sys.executable, "-m", "deepseek", "serve", str(inputs.bundle), "--state", str(state), "--port", "0",
               "--workers", "0", "--log-level", "error"]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        yield f"{ready['url']}/v1/models/cards:score", [process.pid]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


@contextmanager
def rival(inputs: Inputs, folder: Path) -> Iterator[tuple[str, list[int]]]:
    """The same for FastAPI and its Redis."""
    port, redis_port = free_port(), free_port()
    redis = subprocess.Popen(
        ["redis-server", "--port", str(redis_port), "--save", "", "--appendonly", "no", "--dir", str(folder)],
        stdout=subprocess.DEVNULL,
    )
    wait_for(redis_port)
    command = [
        sys.executable,
        str(HERE / "rivals" / "fastapi_fraud.py"),
        str(inputs.rival_model),
        str(port),
        str(redis_port),
    ]
    process = subprocess.Popen(command)
    try:
        wait_for(port)
        yield f"http://127.0.0.1:{port}/score", [process.pid, redis.pid]
    finally:
        process.terminate()
        process.wait(30)
        redis.kill()
        redis.wait()


def measure(url: str, pids: list[int], inputs: Inputs, rows: int) -> Run:
    """What wrk gets. CheckError by assertion when an answer is no success."""
    before = sum(map(cpu_s, pids))
    command = ["wrk", "-t1", f"-c{CONNECTIONS[rows]}", f"-d{SECONDS[rows]}s", "--latency", "-s",
               str(HERE / "fraud_stream_load.lua"), url, "--", str(inputs.events), str(rows)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    used = sum(map(cpu_s, pids)) - before
    text = done.stdout
    assert "Non-2xx" not in text, text
    assert not done.stderr.strip(), done.stderr
    number = int(re.search(r"(\d+) requests in", text)[1]) * rows  # type: ignore[index]
    per_s = float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1]) * rows  # type: ignore[index]
    value, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", text).groups()  # type: ignore[union-attr]
    return Run(per_s, float(value) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[unit], 1e6 * used / max(1, number), number)


def measure_stream(url: str, pids: list[int], inputs: Inputs, num_rows: int, per_s: int | None) -> Run:
    """Lines over one HTTP connection; at a rate, or as fast as they are read."""
    before = sum(map(cpu_s, pids))
    command = [sys.executable, str(HERE / "fraud_stream_client.py"), url, str(inputs.events), "--rows", str(num_rows)]
    if per_s is not None:
        command += ["--per-s", str(per_s)]
    figures = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout)
    used_us = 1e6 * (sum(map(cpu_s, pids)) - before) / num_rows
    return Run(figures["rows_per_s"], figures.get("p99_ms", float("nan")), used_us, num_rows)


def measure_lines(inputs: Inputs, folder: Path, num_rows: int) -> Run:
    """Lines through `deepseek stream`, from its first answer to its last."""
    state = folder / "state-of-run"
    shutil.rmtree(state, ignore_errors=True)
    shutil.copytree(inputs.state, state, ignore=shutil.ignore_patterns("lock"))
    command = [sys.executable, "-m", "deepseek", "stream", str(inputs.bundle), "--state", str(state), "--no-reasons"]
    with inputs.events.open("rb") as file, tempfile.TemporaryFile() as part:
        for _ in range(num_rows):
            part.write(file.readline())
        part.seek(0)
        process = subprocess.Popen(command, stdin=part, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        start_s, start_cpu_s = time.perf_counter(), cpu_s(process.pid)
        lines, used_s = 1, 0.0
        for _ in process.stdout:
            lines += 1
            if lines == num_rows:
                used_s = cpu_s(process.pid) - start_cpu_s
                break
        spent_s = time.perf_counter() - start_s
        process.wait(60)
    assert lines == num_rows
    return Run(num_rows / spent_s, float("nan"), 1e6 * used_s / num_rows, num_rows)


def sync_ms(folder: Path) -> float:
    """The median of fdatasync behind 4 KiB, in ms."""
    spent = []
    with (folder / "sync").open("wb", buffering=0) as file:
        for _ in range(50):
            file.write(b"x" * 4_096)
            start = time.perf_counter()
            os.fdatasync(file.fileno())
            spent.append(time.perf_counter() - start)
    return 1e3 * statistics.median(spent)


def wait_for(port: int) -> None:
    end_s = time.monotonic() + 30
    while time.monotonic() < end_s:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(port)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def has_rival() -> bool:
    """Whether FastAPI, Redis and its client are installed."""
    return shutil.which("redis-server") is not None and all(map(find_spec, ("redis", "fastapi", "uvicorn")))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--only", choices=("single", "batches", "stream", "lines"), help="one protocol")
    parser.add_argument("--state", type=Path, help="folder of the state: the disk that is measured")
    options = parser.parse_args()
    rounds = 2 if options.quick else 5
    sizes = {"single": (1,), "batches": (100,), "stream": (), "lines": ()}.get(options.only, (1, 100))
    servers = [("ours", ours), *([("rival", rival)] if has_rival() else [])]
    runs: dict[tuple[str, int], list[Run]] = {}
    with tempfile.TemporaryDirectory(dir=options.state) as name:
        folder = Path(name)
        inputs = prepare(folder, 580_000)
        for _ in range(rounds):
            for rows in sizes:
                for who, server in servers:
                    with server(inputs, folder) as (url, pids):
                        runs.setdefault((who, rows), []).append(measure(url, pids, inputs, rows))
                    print(who, rows, runs[who, rows][-1], flush=True)
            if options.only in (None, "stream"):
                for kind, per_s in (("stream", None), ("paced", SINGLE_PER_S)):
                    with ours(inputs, folder) as (url, pids):
                        runs.setdefault((kind, 1), []).append(measure_stream(url, pids, inputs, 180_000, per_s))
                    print(kind, runs[kind, 1][-1], flush=True)
            if options.only in (None, "lines"):
                runs.setdefault(("lines", 1), []).append(measure_lines(inputs, folder, 100_000))
                print("lines", runs["lines", 1][-1], flush=True)
        disk_ms = sync_ms(folder)
    claims = judge(runs, disk_ms, rounds)
    for each in claims:
        print(f"{each['claim']}: {each['ours']:,.1f} {each['unit']} (bar {each['bar']}); {each['note']}")
    if options.only is None:
        not_run = () if has_rival() else ("FastAPI + Redis: not installed",)
        write_result("fraud_stream_server", claims, "python benchmarks/fraud_stream_server.py", not_run=not_run)
    return 0 if all(each["holds"] is not False for each in claims) else 3


def judge(runs: dict[tuple[str, int], list[Run]], disk_ms: float, rounds: int) -> list[dict[str, Any]]:
    """The claims of all runs: of each kind of request its rate, judged, and beside it the rival's; p99; lines."""

    def middle(who: str, rows: int, figure: str) -> float:
        return statistics.median(getattr(run, figure) for run in runs[who, rows])

    claims = []
    for rows, name, bar in ((1, "a request a row", SINGLE_PER_S), (100, "requests of 100 rows", BATCH_PER_S)):
        if ("ours", rows) not in runs:
            continue
        mine, cpu_us = middle("ours", rows, "rows_per_s"), middle("ours", rows, "server_cpu_us")
        note = f"CPU a row {cpu_us:.1f} us; wrk on the same cores; one fdatasync {disk_ms:.1f} ms"
        shared: dict[str, Any] = {"ours": mine, "unit": "rows/s", "num_seeds": rounds}
        claims.append(claim(f"rows a second, {name}", op=">=", bar=bar, note=note, **shared))
        if ("rival", rows) in runs:
            theirs, note = middle("rival", rows, "rows_per_s"), f"CPU {middle('rival', rows, 'server_cpu_us'):.1f} us"
            against = {"rival": theirs, "rival_name": "FastAPI + Redis", "ratio": mine / theirs, "note": note}
            claims.append(claim(f"against FastAPI with Redis, {name}", **against, **shared))
    if ("ours", 1) in runs:
        p99_ms, note = middle("ours", 1, "p99_ms"), f"{CONNECTIONS[1]} connections without a pause"
        claims.append(
            claim("p99, a request a row", ours=p99_ms, unit="ms", op="<=", bar=P99_MS, num_seeds=rounds, note=note)
        )
    if ("stream", 1) in runs:
        per_s, cpu_us = middle("stream", 1, "rows_per_s"), middle("stream", 1, "server_cpu_us")
        note = f"CPU a row {cpu_us:.1f} us; the client on the same cores"
        name = "rows a second, a line a row on one HTTP connection"
        claims.append(claim(name, ours=per_s, unit="rows/s", op=">=", bar=SINGLE_PER_S, num_seeds=rounds, note=note))
        sent, p99_ms = middle("paced", 1, "rows_per_s"), middle("paced", 1, "p99_ms")
        note = f"{sent:,.0f} rows/s answered; from when a row is due; one fdatasync {disk_ms:.1f} ms"
        name = f"p99 at {SINGLE_PER_S:,} rows a second, a line a row on one HTTP connection"
        claims.append(claim(name, ours=p99_ms, unit="ms", op="<=", bar=P99_MS, num_seeds=rounds, note=note))
    if ("lines", 1) in runs:
        per_s, note = middle("lines", 1, "rows_per_s"), f"CPU a row {middle('lines', 1, 'server_cpu_us'):.1f} us"
        name = "rows a second, a line a row (deepseek stream)"
        claims.append(claim(name, ours=per_s, unit="rows/s", num_seeds=rounds, note=note))
    return claims


if __name__ == "__main__":
    raise SystemExit(main())
