"""Which engine for how many rows: measured here, in bounded time, among those that passed the parity check.

Timings differ from run to run, so the result stays outside a bundle's digest; every engine gives the same answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from time import perf_counter, thread_time
from typing import cast

import numpy as np

from deepseek.bundle import EngineEntry
from deepseek.contracts import Float32, JsonObject
from deepseek.engines.execution_mode import COMPILE_FACTOR
from deepseek.engines.measuring import EngineMeasurement, lower_quartile_s
from deepseek.engines.parity import EngineParity, ParityReport, check_engine
from deepseek.engines.registry import LATE_KINDS, REFERENCE, OpenEngines, Source, engine_file, use_engine

BATCH_SIZES = (1, 8, 32, 64, 96, 256, 1_024, 16_384)  # rows of one call
MAX_CELLS = 8_000_000  # rows x features of one call: 32 MB
#: A second engine costs memory and a first call of its own, so it must be clearly faster.
MIN_SPEEDUP = 1.15


@dataclass(frozen=True, slots=True)
class Tuning:
    """The engine for each range of rows, and what was measured."""

    entries: tuple[EngineEntry, ...]  # in rising order of from_rows, the first from 1
    seconds: dict[str, dict[int, float]]  # of one call, by kind and number of rows; sizes that did not fit are left out
    late: dict[str, EngineParity] = field(default_factory=dict)  # of the kinds that were tried after the others

    def to_dict(self) -> JsonObject:
        """For evidence/parity.json."""
        timings = {kind: {str(size): s for size, s in by_size.items()} for kind, by_size in self.seconds.items()}
        document: JsonObject = {"entries": [asdict(entry) for entry in self.entries], "seconds": timings}
        if self.late:
            document["parity"] = {kind: parity.to_dict() for kind, parity in self.late.items()}
        return document


def autotune(
    source: Source,
    parity: ParityReport,
    features: Float32,
    *,
    budget_s: float = 2.0,
    engines: OpenEngines | None = None,
) -> Tuning:
    """Measure the engines that pass in `parity` on tiled `features` (N, F), for about `budget_s`. `engines`: those of
    `source` that are open already.

    >>> choose_engines({"onnxruntime": {1: 1e-5, 1024: 3e-3}, "trees": {1: 8e-5, 1024: 2e-3}})
    [('onnxruntime', 1), ('trees', 1024)]
    """
    passing = [kind for kind, engine in parity.engines.items() if engine.passes]
    seconds = {kind: measure_engine(kind, source, features, budget_s / len(passing), engines) for kind in passing}
    late = _tune_late_kinds(source, parity.num_rows, features, seconds, budget_s / len(passing))
    checked = {**parity.engines, **late}
    entries = tuple(
        EngineEntry(kind, engine_file(kind), cast("float", checked[kind].output_difference), parity.num_rows, from_rows)
        for kind, from_rows in choose_engines(seconds)
    )
    return Tuning(entries, seconds, late)


def _tune_late_kinds(
    source: Source, num_rows: int, features: Float32, seconds: dict[str, dict[int, float]], budget_s: float
) -> dict[str, EngineParity]:
    """The parity of those LATE_KINDS that may win, and, of those that pass, their seconds added to `seconds`."""
    parity_by_kind: dict[str, EngineParity] = {}
    for kind, base_kind in LATE_KINDS.items():
        best = {size: min(by_size.get(size, np.inf) for by_size in seconds.values()) for size in BATCH_SIZES}
        if not any(s <= COMPILE_FACTOR * best[size] for size, s in seconds.get(base_kind, {}).items()):
            continue
        model, rows = source.load_model(), features[:num_rows]
        parity_by_kind[kind] = check_engine(model, model.score(rows), rows, kind, source)
        if parity_by_kind[kind].passes:
            seconds[kind] = measure_engine(kind, source, features, budget_s)
    return parity_by_kind


def choose_measured(table: Sequence[EngineMeasurement], reference: str) -> list[tuple[str, int]]:
    """choose_engines() among those of `table` that pass, beginning with the fastest for one row; the `reference` stays
    the first where no other is clearly faster."""
    seconds = {row.kind: row.seconds for row in table if row.passes}
    first = min(seconds, key=lambda kind: seconds[kind][1] / (MIN_SPEEDUP if kind == reference else 1.0))
    return choose_engines(seconds, first)


def choose_engines(seconds: Mapping[str, Mapping[int, float]], first: str = REFERENCE) -> list[tuple[str, int]]:
    """Pairs (kind, first number of rows), beginning with the engine `first` for one row: another takes over where it is
    MIN_SPEEDUP times faster."""
    chosen = [(first, 1)]
    for size in sorted(seconds[first]):
        now = chosen[-1][0]
        seconds_now = {kind: by_size[size] for kind, by_size in seconds.items() if size in by_size}
        best = min(seconds_now, key=lambda kind: seconds_now[kind])
        if size > 1 and best != now and seconds_now[best] * MIN_SPEEDUP < seconds_now.get(now, np.inf):
            chosen.append((best, size))
    return chosen


def measure_engine(
    kind: str, source: Source, features: Float32, budget_s: float, engines: OpenEngines | None = None
) -> dict[int, float]:
    """Seconds of a call for each size that fits into the budget, going by the cost of the size before."""
    # A call on one thread runs in the caller's; its CPU time is the same whatever else the machine does.
    clock = thread_time if source.num_threads == 1 else perf_counter
    with use_engine(kind, source, engines) as engine:
        started_s, seconds = perf_counter(), dict[int, float]()
        for size in BATCH_SIZES:
            left_s = budget_s - (perf_counter() - started_s)
            smaller = max(seconds, default=0)
            if smaller and (2 * seconds[smaller] * size / smaller > left_s or size * features.shape[1] > MAX_CELLS):
                break
            limit_s = left_s / (len(BATCH_SIZES) - len(seconds))
            seconds[size] = lower_quartile_s(partial(_tiled_window, features, size=size), engine.score, limit_s, clock)
    return seconds


def _tiled_window(features: Float32, number: int, *, size: int) -> Float32:
    """The `number`-th `size` rows of `features`, which begin again at their end.

    >>> _tiled_window(np.arange(5, dtype=np.float32)[:, None], 1, size=3)[:, 0].tolist()
    [3.0, 4.0, 0.0]
    """
    return features[np.arange(number * size, (number + 1) * size) % len(features)]
