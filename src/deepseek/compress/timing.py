"""Speed of several variants, measured in interleaved rounds: CPU time on one thread, wall time for the latency.

    found = compare_speed({"given": run_a, "int8": run_b}, rows_of, batch=16, budget_s=5.0)
    timings["int8"].speedup               # over the first, as a Figure: median of the rounds and their middle 95 %

Every round calls each variant once or more with the same new rows, in a rotating order (A B C, B C A, ...), so that
other load on the machine affects all of them alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter, process_time
from typing import Any

import numpy as np

from deepseek.contracts import Figure

BATCH_SIZES = (1, 16)
MIN_ROUNDS, MAX_ROUNDS = 7, 200
#: Shorter calls are repeated within a round until they take this long, because the CPU-time clock is coarse.
MIN_ROUND_S = 0.004

RunFunction = Callable[[Any], object]


@dataclass(frozen=True, slots=True)
class Timing:
    """Latency and speedup of one variant at one batch size."""

    cpu_ms: float  # median CPU time of a call
    p50_ms: float  # median wall time of a call
    p99_ms: float  # 99th percentile of the wall time of a call
    speedup: Figure  # CPU time of the first variant over this one's, by rounds
    num_rounds: int


def compare_speed(
    runs: Mapping[str, RunFunction], rows_of: Callable[[int, int], Any], *, batch: int, budget_s: float = 5.0
) -> dict[str, Timing]:
    """Timings by name, relative to the first of `runs`. `rows_of(number, batch)` returns inputs of `batch` rows,
    different ones for each number. Stops after `budget_s` seconds, but not before MIN_ROUNDS rounds."""
    names = list(runs)
    repeats = {name: _calls_per_round(runs[name], rows_of, batch) for name in names}
    cpu: dict[str, list[float]] = {name: [] for name in names}
    wall: dict[str, list[float]] = {name: [] for name in names}
    started_s, row_number = perf_counter(), 0
    for round_index in range(MAX_ROUNDS):
        for name in names[round_index % len(names) :] + names[: round_index % len(names)]:
            calls = [rows_of(row_number + call, batch) for call in range(repeats[name])]
            start_cpu_s = process_time()
            for rows in calls:
                start_s = perf_counter()
                runs[name](rows)
                wall[name].append(perf_counter() - start_s)
            cpu[name].append((process_time() - start_cpu_s) / repeats[name])
        row_number += max(repeats.values())
        if round_index + 1 >= MIN_ROUNDS and perf_counter() - started_s > budget_s:
            break
    first = np.array(cpu[names[0]])
    return {name: _summarize(np.array(cpu[name]), np.array(wall[name]), first) for name in names}


def _calls_per_round(run: RunFunction, rows_of: Callable[[int, int], Any], batch: int) -> int:
    """Number of calls per round so that a round takes MIN_ROUND_S, measured after one warm-up call."""
    run(rows_of(0, batch))
    start_s = perf_counter()
    run(rows_of(1, batch))
    return int(np.clip(np.ceil(MIN_ROUND_S / max(perf_counter() - start_s, 1e-6)), 1, 1_000))


def _summarize(cpu: np.ndarray[Any, Any], wall: np.ndarray[Any, Any], first: np.ndarray[Any, Any]) -> Timing:
    ratios = first / cpu
    low, middle, high = np.quantile(ratios, [0.025, 0.5, 0.975])
    return Timing(
        cpu_ms=float(np.median(cpu)) * 1e3,
        p50_ms=float(np.median(wall)) * 1e3,
        p99_ms=float(np.quantile(wall, 0.99)) * 1e3,
        speedup=Figure(float(middle), float(low), float(high)),
        num_rounds=len(cpu),
    )
