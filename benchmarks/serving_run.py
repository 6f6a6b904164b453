"""What every server benchmark shares: the models, the server with all that it does, rounds and medians.

bench = Bench.make(folder, quick=True)
with bench.server(path, "--workers", "1") as server:
    found = bench.rounds([lambda: measure(...), ...])
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import serving_texts
from tree_bundle import Made, make

from deepseek.bench import BenchRequest, Load, LoadResult, Server, launch_server, measure, wrk

NUM_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Bench:
    """The models, and how long is measured."""

    folder: Path
    tree: Made
    stump: Made
    minilm: Path | None
    key: str
    seconds: float
    num_rounds: int
    quick: bool
    claim_names: tuple[str, ...] = ()

    @classmethod
    def make(cls, folder: Path, *, quick: bool) -> Bench:
        key = secrets.token_urlsafe(24)
        (folder / "keys").write_text(hashlib.sha256(key.encode()).hexdigest() + "\n")
        places = [folder / "tree", folder / "stump"]
        for place in places:
            place.mkdir()
        stump = make(places[1], num_columns=1, num_trees=1, depth=1)
        seconds, num_rounds = (2.0, 3) if quick else (5.0, 5)
        return cls(folder, make(places[0]), stump, serving_texts.minilm(), key, seconds, num_rounds, quick)

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key}"}

    @contextmanager
    def server(self, path: Path, *words: str) -> Iterator[Server]:
        """Ours, with all that it does."""
        with launch_server(str(path), ["--api-keys", str(self.folder / "keys"), *words], self.headers) as server:
            yield server

    def load(self, num_connections: int, *, by_wrk: bool = False, rate: float | None = None) -> Load:
        client = "wrk" if by_wrk and wrk.is_installed() else "own"
        return Load(num_connections, self.seconds, warmup_s=1.0, rate=rate, client=client)

    def rounds(self, requests: Sequence[tuple[BenchRequest, Load, int | None]]) -> list[list[LoadResult]]:
        """Each load in turn (A, B, A, B, ...); the list of what was measured for each."""
        results: list[list[LoadResult]] = [[] for _ in requests]
        for _ in range(self.num_rounds):
            for at, (ask, load, pid) in enumerate(requests):
                results[at].append(measure(ask, load, pid))
        return results


def middle(runs: Sequence[LoadResult], figure: Callable[[LoadResult], float]) -> float:
    return median(map(figure, runs))


def failed(runs: Sequence[LoadResult]) -> int:
    """Requests that were not answered with 200."""
    return sum(run.num_failed for run in runs)


def right_cpu_ms(run: LoadResult) -> float:
    """Milliseconds of the server's CPU for each request that it answered right; infinite where it answered none."""
    return 1e3 * sum((run.cpu_by_part_s or {}).values()) / run.num_right if run.num_right else float("inf")


def describe(runs: Sequence[LoadResult]) -> str:
    """The rounds, and who else used the machine's CPU."""
    rates = ", ".join(f"{run.per_s:,.0f}" for run in runs)
    own = middle(runs, lambda run: 1e3 * run.cpu_s())
    front = middle(runs, lambda run: 1e3 * run.cpu_s("front_ends"))
    client = middle(runs, lambda run: run.client_cpu_s / run.wall_s)
    lost = f", {failed(runs)} NOT answered with 200" if failed(runs) else ""
    return (
        f"{own:.3f} ms of server CPU a request ({front:.3f} in front ends), client {client:.2f} of {NUM_CORES} cores; "
        f"rounds {rates}/s{lost}"
    )
