"""Watching: what it costs a request, whether its alerts fire in time, and whether they are silent while all is well.

    python benchmarks/observe.py [--quick] [--only CLAIM] [--minutes 30]

hot: CPU of a server a request, everything of its process tree, with its sinks against the same server without a single
one (observe_server.py), in turns, the time behind each round in which logs are written counted with it. `default` are
metrics, figures of the console and the access log; `all` has the audit log and the prediction log of every row beside.
drill: faults in real processes until a webhook hears of them and of their end; rules wait seconds there, and promtool
holds what they really wait. clean: a real Prometheus with the exported rules beside a server that is asked a little.
--quick: fewer rounds, and three clean minutes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import tree_bundle
from result import ROOT, claim, finish, options

from deepseek.bench import BenchRequest, Load, Server, measure, usage, wrk
from deepseek.bench.server import stop_process
from deepseek.observe.export import export
from deepseek.observe.rules.rule_file import ALERTS, rule_file
from deepseek.observe.rules.thresholds import read_thresholds

sys.path.insert(0, str(ROOT / "tests"))  # the drill and the real Prometheus are those of the tests
from support.servers.drill import build_loans, fire_drill
from support.servers.serving import started
from support.servers.watching import prometheus

NUM_CONNECTIONS, ROUND_S, SETTLE_S = 16, 3.0, 1.5
MAX_COST = 1.05  # of a request with its sinks, by one without
MAX_NULL_CPU_MS = 0.025
SCRAPE_S = 15
CLEAN_REQUESTS_PER_S = 5.0
#: The bundle of the benchmark is old, and the machine's disk and clock are not what is measured.
CLEAN_THRESHOLDS = ["model_age_days=3650", "disk_free=0.01"]
CLAIMS = ("hot_default", "hot_all", "null_cpu", "scrape", "rules", "drill_fired", "drill_ended", "clean")


@contextmanager
def serve(words: Sequence[str]) -> Iterator[Server]:
    """A server in a process of its own, until the block ends."""
    environ = os.environ | {"WORKERS": "1", "PORT": "0"}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, *words], stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL, env=environ
        )
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            yield Server(ready["url"], ready["models"][0], process.pid)
        finally:
            stop_process(process)


def cpu_s(server: Server) -> float:
    """CPU of the whole process tree until now."""
    assert server.pid is not None
    return sum(seconds for _, seconds in usage.cpu_by_process(server.pid).values())


def cpu_per_request_s(server: Server, request: BenchRequest) -> float:
    """CPU of one round, a request, with what is written behind it."""
    client = "wrk" if wrk.is_installed() else "own"
    before_s = cpu_s(server)
    result = measure(request, Load(NUM_CONNECTIONS, ROUND_S, warmup_s=0.0, client=client))
    time.sleep(SETTLE_S)
    num_requests = sum(result.statuses.values())
    assert result.num_right == num_requests, f"{server.url} answered {result.statuses}"
    return (cpu_s(server) - before_s) / num_requests


def interval(values: Sequence[float], num_resamples: int = 2_000) -> tuple[float, float]:
    """The 95 % bootstrap interval of a median."""
    rng = np.random.default_rng(0)
    medians = np.median(rng.choice(np.asarray(values), (num_resamples, len(values))), axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return float(low), float(high)


def hot_path(folder: Path, num_rounds: int) -> Iterator[dict[str, Any]]:
    """A request of 30 numbers to 100 trees: with sinks, by without."""
    (folder / "row").mkdir()
    bundle = str(tree_bundle.make(folder / "row", num_columns=30).bundle)
    ours = ["-m", "deepseek", "serve", bundle]
    logs = ["--audit-log", str(folder / "audit"), "--prediction-log", f"{folder / 'predictions'},flush_s=1"]
    commands = {
        "off": [str(ROOT / "benchmarks" / "observe_server.py"), bundle], "default": ours, "all": [*ours, *logs]
    }  # fmt: skip
    with ExitStack() as stack:
        servers = {name: stack.enter_context(serve(words)) for name, words in commands.items()}
        requests = {name: server.example_request(1) for name, server in servers.items()}
        costs_s = in_turns(servers, requests, num_rounds)
        yield scrape_cost(servers["all"])
    for name in ("default", "all"):
        ratios = [one / off for one, off in zip(costs_s[name], costs_s["off"], strict=True)]
        low, high = interval(ratios)
        ours_us, off_us = (1e6 * median(costs_s[each]) for each in (name, "off"))
        note = (
            f"{NUM_CONNECTIONS} connections, {num_rounds} rounds in turns: {ours_us:.1f} us against {off_us:.1f} us, "
            f"ratio [{low:.3f}, {high:.3f}]"
        )
        yield claim(
            f"hot_{name}", ours=ours_us / 1e3, rival=off_us / 1e3,
            rival_name="itself without sinks", ratio=median(ratios), unit="ms of server CPU a request", op="<=",
            bar=MAX_COST, num_seeds=num_rounds, note=note,
        )  # fmt: skip


def in_turns(
    servers: Mapping[str, Server], requests: Mapping[str, BenchRequest], num_rounds: int
) -> dict[str, list[float]]:
    """CPU a request of each server, round by round (A, B, C, A, B, C, ...), behind a first one that counts nothing."""
    costs_s: dict[str, list[float]] = {name: [] for name in servers}
    for number in range(num_rounds + 1):
        for name, server in servers.items():
            cost_s = cpu_per_request_s(server, requests[name])
            if number:
                costs_s[name].append(cost_s)
    return costs_s


def scrape_cost(server: Server) -> dict[str, Any]:
    """CPU of one answer to Prometheus."""
    num_scrapes, num_bytes = 50, 0
    before_s = cpu_s(server)
    for _ in range(num_scrapes):
        with urllib.request.urlopen(f"{server.url}/metrics", timeout=30) as response:
            num_bytes = len(response.read())
    cost_s = (cpu_s(server) - before_s) / num_scrapes
    note = f"{num_bytes / 1e3:.0f} kB; each {SCRAPE_S} s that is {100 * cost_s / SCRAPE_S:.3f} % of a core"
    return claim("scrape", ours=1e3 * cost_s, unit="ms of server CPU a scrape", num_seeds=num_scrapes, note=note)


def null_cpu(folder: Path, num_rounds: int) -> Iterator[dict[str, Any]]:
    """The smallest bundle there is, with the sinks that every server has."""
    (folder / "stump").mkdir()
    bundle = tree_bundle.make(folder / "stump", num_columns=1, num_trees=1, depth=1).bundle
    with serve(["-m", "deepseek", "serve", str(bundle)]) as server:
        costs_s = in_turns({"": server}, {"": server.example_request(1)}, num_rounds)[""]
    low, high = interval(costs_s)
    yield claim(
        "null_cpu", ours=1e3 * median(costs_s), unit="ms of server CPU a request", op="<=", bar=MAX_NULL_CPU_MS,
        num_seeds=num_rounds, note=f"{NUM_CONNECTIONS} connections, [{1e3 * low:.4f}, {1e3 * high:.4f}] ms",
    )  # fmt: skip


def rules(folder: Path) -> Iterator[dict[str, Any]]:
    """promtool on the exported rules: each is silent, fires within its stated time, and ends. It raises where one does
    not."""
    result = export(folder / "watching", read_thresholds([]))
    assert result.unit_tests == "passed", result.unit_tests
    yield claim(
        "rules", ours=result.num_rules, unit=f"of {len(ALERTS)} rules, by promtool", op=">=", bar=len(ALERTS)
    )  # fmt: skip


def drill(folder: Path) -> Iterator[dict[str, Any]]:
    """Faults in real processes; the webhook's clock against what the rules state."""
    (folder / "drill").mkdir()
    responses = list(fire_drill(folder / "drill"))
    for name, time_of in (("fired", lambda each: each.fired_s), ("ended", lambda each: each.ended_s)):
        in_time = sum(time_of(each) <= each.stated_s for each in responses)
        times = ", ".join(f"{each.name.removeprefix('Deepseek')} {time_of(each):.1f}" for each in responses)
        yield claim(
            f"drill_{name}", ours=in_time, unit=f"of {len(responses)} alerts in their stated time", op=">=",
            bar=len(responses), note=f"windows of 5 s, waits of 1 s; seconds until the webhook heard: {times}",
        )  # fmt: skip


def clean(folder: Path, minutes: float) -> Iterator[dict[str, Any]]:
    """A server that is asked what it was trained on, by a Prometheus with the exported rules."""
    (folder / "clean").mkdir()
    bundle = build_loans(folder / "clean" / "loans")
    logs = ["--audit-log", folder / "clean" / "audit", "--prediction-log", str(folder / "clean" / "predictions")]
    fired: set[str] = set()
    with (
        started(bundle, "--workers", "1", *logs) as server,
        prometheus(
            folder / "clean" / "prometheus", [server.url], rule_file(read_thresholds(CLEAN_THRESHOLDS)),
            interval_s=SCRAPE_S,
        ) as base,
    ):  # fmt: skip
        num_requests = ask_for(server.url, 60 * minutes, lambda: fired.update(active_alerts(base)))
    yield claim(
        "clean", ours=len(fired), unit=f"alerts in {minutes:g} minutes", op="<=", bar=0,
        note=f"{num_requests:,} requests, {len(ALERTS)} rules each {SCRAPE_S} s; {', '.join(sorted(fired)) or 'none'}",
    )  # fmt: skip


def ask_for(url: str, seconds: float, look: Callable[[], None]) -> int:
    """Requests for so long, one in a hundred of them for an explanation; `look` is called every few. How many."""
    rng = np.random.default_rng(1)
    number, end_s = 0, time.monotonic() + seconds
    while time.monotonic() < end_s:
        row = {"age": float(rng.uniform(18, 80)), "income": float(rng.lognormal(8, 1))}
        verb = "explain" if number % 100 == 99 else "predict"
        post(f"{url}/v1/models/loans:{verb}", {"instances": [row]})
        number += 1
        if number % 50 == 0:
            look()
        time.sleep(1 / CLEAN_REQUESTS_PER_S)
    look()
    return number


def post(url: str, body: Mapping[str, Any]) -> None:
    """One request; an answer that is none raises."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        response.read()


def active_alerts(base: str) -> set[str]:
    """Names of the alerts that fire now, as Prometheus has them."""
    with urllib.request.urlopen(f"{base}/api/v1/alerts", timeout=60) as response:
        alerts = json.load(response)["data"]["alerts"]
    return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}


def main() -> int:
    parser = options(__doc__, CLAIMS, quick="fewer rounds, and three clean minutes")
    parser.add_argument("--minutes", type=float, default=30.0, help="Of clean load.")
    arguments = parser.parse_args()
    num_rounds = 5 if arguments.quick else 15
    minutes = min(arguments.minutes, 3.0) if arguments.quick else arguments.minutes
    parts: dict[tuple[str, ...], Callable[[Path], Iterator[dict[str, Any]]]] = {
        ("rules",): rules, ("drill_fired", "drill_ended"): drill,
        ("null_cpu",): lambda each: null_cpu(each, num_rounds),
        ("hot_default", "hot_all", "scrape"): lambda each: hot_path(each, num_rounds),
        ("clean",): lambda each: clean(each, minutes),
    }  # fmt: skip
    claims: list[dict[str, Any]] = []
    status = 0
    for names, part in parts.items():
        if arguments.only and arguments.only not in names:
            continue
        with tempfile.TemporaryDirectory() as folder:
            claims += part(Path(folder))
        done = {each["claim"] for each in claims}
        status = finish("observe", claims, not_run=[name for name in CLAIMS if name not in done])
    return status


if __name__ == "__main__":
    sys.exit(main())
