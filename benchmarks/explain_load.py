"""Predictions at half of their maximum load, alone and beside explanations that are asked for without a pause.

    python benchmarks/explain_load.py [--quick] [--only CLAIM]

XGBoost, 15 columns, 100 trees, depth 6, single rows of JSON both ways; `deepseek serve` with keys, one front end and
one engine process; then MiniLM, single texts, the same way. The maximum is what wrk gets over 64 connections; half of
it is the load of so many connections as come nearest to it. (An open load by a client in Python would take a core
itself.) Beside it 8 connections ask for explanations, each as soon as the last was answered; as that client runs on the
same two cores here and nowhere else, it has the lowest priority. Alone and beside in turn, in pairs (A, B, B, A, ...);
a ratio is the median over the pairs, and its interval that of the mean over pairs (95 %, Student).
"""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any
from urllib.parse import urlsplit

from result import claim, finish, options
from scipy.stats import t as student
from serving_run import Bench
from serving_tree import ONE_EACH, ROW_CONNECTIONS

from deepseek.bench import BenchRequest, LoadResult, Server, measure

NUM_EXPLAINING = 8
CLAIMS = ("load_p50", "load_p99", "load_rate", "text_load_p50", "text_load_p99", "text_load_rate")
FIGURES: dict[str, tuple[Callable[[LoadResult], float], str, str]] = {
    "load_p50": (lambda run: 1e3 * run.quantile_s(0.5), "ms, the median of predictions", "<="),
    "load_p99": (lambda run: 1e3 * run.quantile_s(0.99), "ms, the 99th percentile of predictions", "<="),
    "load_rate": (lambda run: run.per_s, "predictions/s", ">="),
}


@contextmanager
def explaining(ask: BenchRequest) -> Iterator[None]:
    """Somebody asks for explanations, again and again, until the end of the block."""
    parts = urlsplit(ask.url)
    plan = {
        "host": parts.hostname, "port": parts.port, "num_connections": NUM_EXPLAINING, "seconds": 3_600.0,
        "requests": [base64.b64encode(each).decode() for each in ask.requests()], "warmup_s": 0.0, "rate": None,
    }  # fmt: skip
    command = [sys.executable, "-m", "deepseek.bench.client"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        try:
            print(json.dumps(plan), file=client.stdin)
            client.stdin.close()  # type: ignore[union-attr]
            client.stdout.readline()  # type: ignore[union-attr]
            os.setpriority(os.PRIO_PROCESS, client.pid, min(19, os.getpriority(os.PRIO_PROCESS, 0) + 19))
            yield
        finally:
            client.kill()


def explained(server: Server) -> float:
    """Rows that the server has explained."""
    request = urllib.request.Request(f"{server.url}/metrics", headers=dict(server.headers))
    with urllib.request.urlopen(request, timeout=30) as page:
        return sum(float(each) for each in re.findall(rb"^deepseek_explained_rows_total.* (\S+)$", page.read(), re.M))


def interval(ratios: list[float]) -> tuple[float, float]:
    """Of their mean."""
    half = float(student.ppf(0.975, len(ratios) - 1)) * stdev(ratios) / len(ratios) ** 0.5
    return mean(ratios) - half, mean(ratios) + half


def pairs(bench: Bench, server: Server, num_pairs: int, kind: str = "") -> list[dict[str, Any]]:
    """The three claims of what a server serves."""
    ask = server.example_request(1)
    why = dataclasses.replace(ask, url=ask.url.replace(":predict", ":explain"))
    most = measure(ask, bench.load(ROW_CONNECTIONS, by_wrk=True)).per_s
    tried = {
        count: measure(ask, dataclasses.replace(bench.load(count, by_wrk=True), seconds=1.0)).per_s
        for count in (1, 2, 3, 4, 6, 8, 12)
    }
    chosen = min(tried, key=lambda count: abs(tried[count] - most / 2))
    load = dataclasses.replace(bench.load(chosen, by_wrk=True), warmup_s=0.0)
    results: list[list[LoadResult]] = [[], []]
    with explaining(why):  # the first explanation starts a process and opens the model
        time.sleep(3.0)
    counts = []
    for number in range(num_pairs):
        for beside in (False, True) if number % 2 else (True, False):
            before = explained(server)
            if beside:
                with explaining(why):
                    run = measure(ask, load, server.pid)
                counts.append((explained(server) - before) / (run.wall_s + load.warmup_s))
            else:
                run = measure(ask, load, server.pid)
            results[beside].append(run)
    failed = sum(run.num_failed for runs in results for run in runs)
    claims = []
    for name, (figure, unit, op) in FIGURES.items():
        alone, beside_it = ([figure(run) for run in runs] for runs in results)
        ratios = [b / a for a, b in zip(alone, beside_it, strict=True)]
        low, high = interval(ratios)
        claims.append(
            claim(
                kind + name, ours=median(beside_it), rival=median(alone), rival_name="without explanations", unit=unit,
                ratio=median(ratios), op=op, bar=1.05 if op == "<=" else 0.95, num_seeds=num_pairs,
                note=f"mean of the ratios {low:.3f} to {high:.3f}; {chosen} connections of {load.client} where 64 get "
                f"{most:,.0f} predictions/s; {median(counts):,.0f} explanations/s; {failed} not answered with 200",
            )
        )  # fmt: skip
    return claims


def main() -> int:
    args = options(__doc__, CLAIMS, quick="Shorter rounds, fewer of them.").parse_args()
    num_pairs = 6 if args.quick else 30
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench.make(Path(folder), quick=args.quick)
        bench = dataclasses.replace(bench, seconds=3.0)
        served = {"": bench.tree.bundle} | ({"text_": bench.minilm} if bench.minilm is not None else {})
        claims = []
        for kind, path in served.items():
            if args.only is None or args.only in (kind + name for name in FIGURES):
                with bench.server(path, *ONE_EACH) as server:
                    claims += pairs(bench, server, num_pairs, kind)
    claims = [each for each in claims if args.only in (None, each["claim"])]
    ran = {each["claim"] for each in claims}
    return finish("explain_load", claims, not_run=[name for name in CLAIMS if name not in ran])


if __name__ == "__main__":
    sys.exit(main())
