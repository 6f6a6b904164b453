"""Server benchmarks on texts: against the engine alone, against other servers, at half load, under overload."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import httpx
import serving_rivals
import serving_texts
from result import claim
from serving_run import NUM_CORES, Bench, describe, middle, right_cpu_ms
from serving_texts import Computing
from serving_tree import cold

from deepseek.bench import BenchRequest, LoadResult, Server, measure, resident_bytes

CONNECTIONS = 128
#: Ratio of requests a second that ours must reach. FastAPI has no batches of its own; its CPU alone is judged.
BARS = {"litserve": 1.7, "bentoml": 2.2, "ray": 3.0, "fastapi": None}
CPU_BAR = 1.7
DEADLINE_S = 1.0  # of a request under overload
CLOCK_S = 0.05  # between the server's last word and this client's clock, on a machine where all cores are taken


def _ask(server: Server, headers: dict[str, str] | None = None) -> BenchRequest:
    bodies = tuple(json.dumps({"instances": [{"text": text}]}).encode() for text in serving_texts.texts())
    return BenchRequest(f"{server.url}/v1/models/{server.model}:predict", bodies, {**server.headers, **(headers or {})})


def ceiling(bench: Bench, *, lossy: bool = False) -> Iterator[dict[str, Any]]:
    """Of what the engine alone computes on all cores, the share that is served, once the client's CPU is taken off."""
    computing = _computing(bench, lossy=lossy)
    if bench.minilm is None or computing is None:
        return
    shares, cpu_shares, runs = [], [], []
    with bench.server(bench.minilm, *computing.words) as server:
        for _ in range(bench.num_rounds):
            alone = serving_texts.ceiling(bench.minilm, bench.seconds, NUM_CORES, computing)
            run = measure(_ask(server), bench.load(CONNECTIONS), server.pid)
            runs.append(run)
            shares.append(_without_client(run) / alone["per_s"])
            cpu_shares.append(1 / run.cpu_s() / alone["per_cpu_s"])
    at = sorted(range(len(shares)), key=lambda each: shares[each])[len(shares) // 2]
    cpu_share = sorted(cpu_shares)[len(cpu_shares) // 2]
    yield claim(
        f"text_ceiling{computing.end}", ours=runs[at].per_s, rival=runs[at].per_s / shares[at],
        rival_name="the engine alone", ratio=shares[at], unit="texts/s", op=">=", bar=0.92, num_seeds=len(runs),
        note=f"{computing.note}; after the client's CPU is taken off; by CPU seconds {cpu_share:.3f}; {describe(runs)}",
    )  # fmt: skip


def _computing(bench: Bench, *, lossy: bool) -> Computing | None:
    if not lossy:
        return serving_texts.EXACT
    return None if bench.minilm is None else serving_texts.lossy(bench.minilm, bench.folder)


def _without_client(run: LoadResult) -> float:
    """Right answers a second of the time that the client has left to the server: it runs on the same cores."""
    return run.num_right / (run.wall_s - run.client_cpu_s / NUM_CORES)


def half_load(bench: Bench) -> Iterator[dict[str, Any]]:
    """The 99th percentile when half of what can be served comes, at random times."""
    if bench.minilm is None:
        return
    with bench.server(bench.minilm) as server:
        ratios, tails_ms, batches_ms = [], [], []
        for _ in range(bench.num_rounds):
            most = measure(_ask(server), bench.load(CONNECTIONS), server.pid)
            if not most.num_right:
                raise RuntimeError(f"nothing was answered within {bench.seconds} s: this machine is too busy")
            before = _batches(server)
            load = replace(bench.load(CONNECTIONS, rate=most.per_s / 2), seconds=max(bench.seconds, 5.0))
            half = measure(_ask(server), load, server.pid)
            batch_s = _median_s(before, _batches(server))
            tails_ms.append(1e3 * half.quantile_s(0.99))
            batches_ms.append(1e3 * batch_s)
            ratios.append(half.quantile_s(0.99) / batch_s)
    at = sorted(range(len(ratios)), key=lambda each: ratios[each])[len(ratios) // 2]
    yield claim(
        "text_p99_half_load", ours=tails_ms[at], rival=batches_ms[at], rival_name="median time of a batch then",
        ratio=ratios[at], unit="ms", op="<=", bar=2.0, num_seeds=len(ratios),
        note=f"they come at random (Poisson); texts of 2 to 90 words; rounds {', '.join(f'{r:.2f}' for r in ratios)}",
    )  # fmt: skip


def _batches(server: Server) -> dict[float, float]:
    """Batches by the upper end of their time, as /metrics counts them."""
    text = httpx.get(f"{server.url}/metrics", headers=dict(server.headers)).text
    counts: dict[float, float] = {}
    for end, number in re.findall(
        r'^deepseek_batch_duration_seconds_bucket{.*?le="([^"]+)".*} (\S+)$', text, re.MULTILINE
    ):
        counts[float(end)] = counts.get(float(end), 0.0) + float(number)
    return counts


def _median_s(before: dict[float, float], after: dict[float, float]) -> float:
    """The median of what was counted in between, with straight lines inside of a bucket."""
    counts = {end: number - before.get(end, 0.0) for end, number in sorted(after.items())}
    half, low_s, below = max(counts.values()) / 2, 0.0, 0.0
    for end_s, number in counts.items():
        if number >= half:
            return low_s + (end_s - low_s) * (half - below) / (number - below)
        low_s, below = end_s, number
    raise ValueError("no batch was counted")


def overload(bench: Bench) -> Iterator[dict[str, Any]]:
    """Twice of what can be served, each request with a deadline of a second."""
    if bench.minilm is None:
        return
    with bench.server(bench.minilm) as server:
        ask = _ask(server, {"x-timeout-ms": str(round(1e3 * DEADLINE_S))})
        closed = [measure(ask, bench.load(CONNECTIONS), server.pid) for _ in range(3)]
        most, capacity = middle(closed, lambda run: run.per_s), middle(closed, _without_client)
        seconds = 15.0 if bench.quick else 60.0
        load = replace(bench.load(round(4 * most * DEADLINE_S), rate=2 * most), seconds=seconds)
        with Memory(server.pid or 0) as memory:
            run = measure(ask, load, server.pid)
    note = (
        f"ratio after the client's CPU is taken off both, {run.per_s / most:.3f} with it; {2 * most:,.0f}/s came for "
        f"{seconds:.0f} s; {_statuses(run)}; {describe([run])}; capacity {describe(closed)}"
    )
    yield claim(
        "overload_goodput", ours=run.per_s, rival=most, rival_name="closed load, c=128",
        ratio=_without_client(run) / capacity, unit="answers/s within their deadline", op=">=", bar=0.95, note=note,
    )  # fmt: skip
    late_ms = 1e3 * max(0.0, run.longest_s - DEADLINE_S - CLOCK_S)
    yield claim(
        "overload_late", ours=late_ms, unit="ms that the slowest answer came too late",
        op="<=", bar=0.0,
        note=f"the slowest took {1e3 * run.longest_s:.0f} ms; {1e3 * CLOCK_S:.0f} ms are allowed for the clocks",
    )  # fmt: skip
    yield claim(
        "overload_memory",
        ours=memory.growth,
        unit="memory at the end over that after a quarter",
        op="<=",
        bar=1.02,
        note=f"{memory.sizes[0] / 1e6:.0f} MB before, {memory.sizes[-1] / 1e6:.0f} MB at the end",
    )


def _statuses(run: LoadResult) -> str:
    return ", ".join(f"{number:,} with {name}" for name, number in sorted(run.statuses.items()))


class Memory:
    """What a server holds, once a second."""

    def __init__(self, pid: int) -> None:
        self.sizes = [resident_bytes(pid)]
        self._pid = pid
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)

    @property
    def growth(self) -> float:
        return self.sizes[-1] / self.sizes[max(1, len(self.sizes) // 4)]

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.sizes.append(resident_bytes(self._pid))
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(1.0):
            self.sizes.append(resident_bytes(self._pid))


def rivals(bench: Bench, *, lossy: bool = False) -> Iterator[dict[str, Any]]:
    """The same engine behind other servers."""
    computing = _computing(bench, lossy=lossy)
    if bench.minilm is None or computing is None or not serving_rivals.is_there():
        return
    texts = serving_texts.texts()
    for key, rival in serving_rivals.RIVALS.items():
        name = f"text_{key}{computing.end}"
        if not {name, f"{name}_cpu"} & set(bench.claim_names):
            continue
        with ExitStack() as stack:
            load = bench.load(CONNECTIONS)
            setting = serving_rivals.best(rival, str(bench.minilm), texts, load, quick=bench.quick, computing=computing)
            other = stack.enter_context(serving_rivals.started(rival, str(bench.minilm), setting, computing))
            ours = stack.enter_context(bench.server(bench.minilm, *computing.words))
            runs, theirs = bench.rounds([(_ask(ours), load, ours.pid), (other.ask(texts), load, other.pid)])
        note = f"{computing.note}; ours {describe(runs)}; theirs {describe(theirs)}"
        rates = [middle(each, lambda run: run.per_s) for each in (runs, theirs)]
        bar = BARS[key]
        yield claim(
            name, ours=rates[0], rival=rates[1], rival_name=f"{rival.name}, {setting}",
            ratio=rates[0] / max(rates[1], 1e-9), unit="texts/s", op=None if bar is None else ">=", bar=bar,
            num_seeds=len(runs), note=note,
        )  # fmt: skip
        cpu_ms = [middle(each, right_cpu_ms) for each in (runs, theirs)]
        yield claim(
            f"{name}_cpu", ours=cpu_ms[0], rival=cpu_ms[1], rival_name=f"{rival.name}, {setting}",
            ratio=cpu_ms[1] / cpu_ms[0], unit="ms of server CPU per right answer", op=">=", bar=CPU_BAR,
            num_seeds=len(runs),
        )  # fmt: skip


def cold_start(bench: Bench) -> Iterator[dict[str, Any]]:
    """From fork to the first answer, MiniLM."""
    if bench.minilm is not None:
        body = json.dumps({"instances": [{"text": "a text"}]}).encode()
        yield cold("cold_start_text", bench, bench.minilm, body, bar=4.0)
