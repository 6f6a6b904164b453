"""Server benchmarks on trees: the null engine, single rows, many rows a message, cold start."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import serving_rivals
from result import claim
from serving_run import Bench, describe, middle, right_cpu_ms

from deepseek.bench import BenchRequest, Server, positional_body
from deepseek.bench.server import stop_process

#: On two cores, which the client shares: one process parses, one computes.
ONE_EACH = ("--front-ends", "1", "--workers", "1")
NULL_CONNECTIONS, ROW_CONNECTIONS, ROWS_CONNECTIONS = 128, 64, 8
ARROW = "application/vnd.apache.arrow.stream"
ROWS = {("json", 100): 250_000, ("json", 1_000): 450_000, ("arrow", 100): 400_000, ("arrow", 1_000): 600_000}


def null(bench: Bench) -> Iterator[dict[str, Any]]:
    """What a request costs when the engine costs next to nothing."""
    with bench.server(bench.stump.bundle, *ONE_EACH) as server:
        load = bench.load(NULL_CONNECTIONS, by_wrk=True)
        [runs] = bench.rounds([(server.example_request(1), load, server.pid)])
    note = f"{' '.join(ONE_EACH)}, by {load.client}: {describe(runs)}"
    cpu_ms = middle(runs, lambda run: 1e3 * run.cpu_s())
    yield claim(
        "null_cpu", ours=cpu_ms, unit="ms of server CPU per request", op="<=", bar=0.10, num_seeds=len(runs), note=note
    )
    rate = middle(runs, lambda run: run.per_s)
    yield claim("null_rate", ours=rate, unit="requests/s", op=">=", bar=10_000, num_seeds=len(runs), note=note)


def row(bench: Bench) -> Iterator[dict[str, Any]]:
    """Single rows as JSON records."""
    with bench.server(bench.tree.bundle, *ONE_EACH) as server:
        load = bench.load(ROW_CONNECTIONS, by_wrk=True)
        [runs] = bench.rounds([(server.example_request(1), load, server.pid)])
    note = f"{' '.join(ONE_EACH)}, by {load.client}: {describe(runs)}"
    rate, p99_ms = middle(runs, lambda run: run.per_s), middle(runs, lambda run: 1e3 * run.quantile_s(0.99))
    yield claim("row_rate", ours=rate, unit="rows/s", op=">=", bar=40_000, num_seeds=len(runs), note=note)
    yield claim("row_p99", ours=p99_ms, unit="ms at full load", op="<=", bar=5.0, num_seeds=len(runs), note=note)


def rows(bench: Bench) -> Iterator[dict[str, Any]]:
    """Many rows a message, as positional arrays and as Arrow."""
    with bench.server(bench.tree.bundle, *ONE_EACH) as server:
        for (form, num_rows), bar in ROWS.items():
            name = f"rows_{num_rows}_{form}"
            if name not in bench.claim_names:
                continue
            ask = _arrow(server, bench, num_rows) if form == "arrow" else _json(server, bench, num_rows)
            load = bench.load(ROWS_CONNECTIONS, by_wrk=True)
            [runs] = bench.rounds([(ask, load, server.pid)])
            yield claim(
                name, ours=middle(runs, lambda run: run.per_s) * num_rows, unit="rows/s", op=">=", bar=bar,
                num_seeds=len(runs),
                note=f"{' '.join(ONE_EACH)}, c={ROWS_CONNECTIONS}, by {load.client}: {describe(runs)}",
            )  # fmt: skip


def _json(server: Server, bench: Bench, num_rows: int) -> BenchRequest:
    body = positional_body(bench.tree.record, num_rows)
    return BenchRequest(_url(server), (json.dumps(body).encode(),), server.headers, num_rows)


def _arrow(server: Server, bench: Bench, num_rows: int) -> BenchRequest:
    """Float32 columns in, an Arrow stream out."""
    import pyarrow as pa

    columns = {name: pa.array([value] * num_rows, pa.float32()) for name, value in bench.tree.record.items()}
    table, sink = pa.table(columns), io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    headers = {**server.headers, "content-type": ARROW, "accept": ARROW}
    return BenchRequest(_url(server), (sink.getvalue(),), headers, num_rows)


def _url(server: Server) -> str:
    return f"{server.url}/v1/models/{server.model}:predict"


def null_rivals(bench: Bench) -> Iterator[dict[str, Any]]:
    """Engines that return at once, behind other servers; ours still runs its stump, with keys, metrics and log.
    They take minutes, so quick leaves them out."""
    if bench.quick and len(bench.claim_names) > 1:
        return
    for key, rival in serving_rivals.RIVALS.items():
        names = (f"null_{key}", f"null_{key}_cpu")
        if not set(names) & set(bench.claim_names) or not serving_rivals.is_there():
            continue
        with ExitStack() as stack:
            load = bench.load(NULL_CONNECTIONS, by_wrk=True)
            setting = serving_rivals.best(rival, "null", [1.5], load, quick=bench.quick)
            other = stack.enter_context(serving_rivals.started(rival, "null", setting))
            ours = stack.enter_context(bench.server(bench.stump.bundle, *ONE_EACH))
            requests = ours.example_request(1), other.ask([1.5])
            runs, theirs = bench.rounds([(requests[0], load, ours.pid), (requests[1], load, other.pid)])
        rates = [middle(each, lambda run: run.per_s) for each in (runs, theirs)]
        cpu_ms = [middle(each, right_cpu_ms) for each in (runs, theirs)]
        told_of = {"rival_name": f"{rival.name}, {setting}", "num_seeds": len(runs), "op": ">="}
        yield claim(
            names[0], ours=rates[0], rival=rates[1], ratio=rates[0] / max(rates[1], 1e-9), bar=1.0,
            unit=f"requests/s, by {load.client}", note=f"ours {describe(runs)}; theirs {describe(theirs)}", **told_of,
        )  # fmt: skip
        yield claim(
            names[1], ours=cpu_ms[0], rival=cpu_ms[1], ratio=cpu_ms[1] / cpu_ms[0], bar=1.0,
            unit="ms of server CPU per right answer", **told_of,
        )  # fmt: skip


def cold_start(bench: Bench) -> Iterator[dict[str, Any]]:
    """From fork to the first answer, trees."""
    body = json.dumps({"instances": [bench.tree.record]}).encode()
    yield cold("cold_start_trees", bench, bench.tree.bundle, body, bar=1.5)


def cold(name: str, bench: Bench, path: Path, body: bytes, *, bar: float) -> dict[str, Any]:
    """Starts of `deepseek serve` with its own choice of engine processes, one a core."""
    runs = [first_answer_s(path, body) for _ in range(3 if bench.quick else 7)]
    note = f"starts {', '.join(f'{each:.2f}' for each in runs)} s, engine processes: one a core"
    return claim(name, ours=median(runs), unit="s", op="<=", bar=bar, num_seeds=len(runs), note=note)


def first_answer_s(path: Path, body: bytes) -> float:
    """One start, one answer."""
    started_s = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "deepseek", "serve", str(path), "--port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        url = f"{ready['url']}/v1/models/{ready['models'][0]}:predict"
        request = urllib.request.Request(url, body, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            answer.read()
        return time.perf_counter() - started_s
    finally:
        stop_process(process)
