"""Triton's names, of counts that are kept anyway, and of the machine."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from prometheus_client.metrics_core import Metric

from deepseek.observe.compat.families import histogram_family, number_family
from deepseek.observe.metrics_models import ModelCounts, ModelKey
from deepseek.observe.metrics_status import GpuCollector, MemoryCollector

US, MS = 1e6, 1e3
Models = Mapping[ModelKey, ModelCounts]
#: Name -> a figure of one model.
FIGURES: Mapping[str, Callable[[ModelCounts], float]] = {
    "nv_inference_request_success": lambda counts: sum(counts.predict_duration.counts),
    "nv_inference_count": lambda counts: counts.num_rows,
    "nv_inference_exec_count": lambda counts: sum(counts.batch_rows.counts),
    "nv_inference_request_duration_us": lambda counts: US * counts.predict_duration.total,
    "nv_inference_queue_duration_us": lambda counts: US * counts.queue_duration.total,
    "nv_inference_compute_input_duration_us": lambda counts: US * _stages_s(counts, "decode", "prepare"),
    "nv_inference_compute_infer_duration_us": lambda counts: US * _stages_s(counts, "compute"),
    "nv_inference_compute_output_duration_us": lambda counts: US * _stages_s(counts, "encode"),
}
#: HTTP status -> Triton's reason of a failure; other server errors are BACKEND, everything else OTHER.
REASONS = {429: "REJECTED", 503: "REJECTED", 504: "REJECTED", 408: "CANCELED", 499: "CANCELED"}
ALL_REASONS = ("REJECTED", "CANCELED", "BACKEND", "OTHER")


def _stages_s(counts: ModelCounts, *stages: str) -> float:
    return sum(counts.stages[stage].total for stage in stages)


def model_families(models: Models) -> Iterator[Metric]:
    """Of requests to models that exist; a request for any other counts nowhere, as with Triton."""
    named = {key: counts for key, counts in models.items() if key[0]}
    for name, figure in FIGURES.items():
        yield number_family(name, [(key, figure(counts)) for key, counts in named.items()])
    yield number_family(
        "nv_inference_request_failure",
        [((*key, reason), number) for key, counts in named.items() for reason, number in _failures(counts).items()],
    )
    rows = [(key, counts.predict_duration) for key, counts in named.items()]
    yield histogram_family("nv_inference_first_response_histogram_ms", rows, scale=MS)


def _failures(counts: ModelCounts) -> Counter[str]:
    failures = Counter(dict.fromkeys(ALL_REASONS, 0))  # a rate needs the zero before the first
    for status, number in counts.requests.items():
        if status != 200:
            failures[REASONS.get(status, "BACKEND" if status >= 500 else "OTHER")] += number
    return failures


class MachineFigures:
    """Processors, memory and GPUs by Triton's names. What cannot be read is left out."""

    def __init__(self, stat: Path = Path("/proc/stat")) -> None:
        self._stat = stat
        self._memory = MemoryCollector()
        self._gpus = GpuCollector.find()
        self._ticks = self._read_ticks()

    def collect(self) -> Iterator[Metric]:
        before, self._ticks = self._ticks, self._read_ticks()
        if before is not None and self._ticks is not None and self._ticks[1] > before[1]:
            share = (self._ticks[0] - before[0]) / (self._ticks[1] - before[1])
            yield number_family("nv_cpu_utilization", [((), min(1.0, max(0.0, share)))])
        memory = {family.name: family.samples[0].value for family in self._memory.collect()}
        for name, own in (("used", "deepseek_memory_bytes"), ("total", "deepseek_memory_limit_bytes")):
            if own in memory:
                yield number_family(f"nv_cpu_memory_{name}_bytes", [((), memory[own])])
        gpus = {family.name: family.samples for each in self._gpus for family in each.collect()}
        for name, own in (
            ("utilization", "utilization_ratio"), ("memory_used_bytes", "memory_used_bytes"),
            ("memory_total_bytes", "memory_size_bytes"),
        ):  # fmt: skip
            rows = [((sample.labels["gpu"],), sample.value) for sample in gpus.get(f"deepseek_gpu_{own}", [])]
            yield number_family(f"nv_gpu_{name}", rows)

    def _read_ticks(self) -> tuple[int, int] | None:
        """Ticks of all processors that were busy, and all ticks."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            ticks = [int(word) for word in self._stat.read_text().split("\n", 1)[0].split()[1:9]]
            return sum(ticks) - ticks[3] - ticks[4], sum(ticks)  # idle, and waiting for a disk
        return None
