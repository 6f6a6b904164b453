"""What is known of a server without counting: read when Prometheus asks, so that no request pays for it.

    metrics.watch(StatusCollector(lambda: read_status(app)), DiskCollector({"log": Path("/var/log")}))

Each collector yields families of the table (metrics_table). One that finds nothing yields nothing.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from deepseek.observe.metrics_table import find_metric

if TYPE_CHECKING:
    from deepseek.serve.status import ModelStatus, ServerStatus

_CGROUP = Path("/sys/fs/cgroup")


def gauge_family(name: str, value: float | None = None) -> GaugeMetricFamily:
    """A family of the table's gauge: with one sample, or empty, to be filled."""
    metric = find_metric(name)
    family = GaugeMetricFamily(metric.family, metric.meaning, labels=metric.labels)
    if value is not None:
        family.add_metric([], value)
    return family


def counter_family(name: str) -> CounterMetricFamily:
    """An empty family of the table's counter."""
    metric = find_metric(name)
    return CounterMetricFamily(metric.family, metric.meaning, labels=metric.labels)


class StatusCollector(Collector):
    """Queues, workers, processes and models of a front end."""

    def __init__(self, read: Callable[[], ServerStatus]) -> None:
        self._read = read

    def describe(self) -> Iterator[Metric]:
        """Nothing: the server is not there yet when this is registered."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        status = self._read()
        for name, value in (
            ("deepseek_ready", float(status.is_ready)),
            ("deepseek_front_ends", 1.0),
            ("deepseek_workers", status.num_workers),
            ("deepseek_workers_expected", status.num_workers_expected),
            ("deepseek_workers_busy", status.num_workers_busy),
            ("deepseek_explain_waiting_requests", status.explanations_waiting),
            ("deepseek_body_bytes", status.body_bytes),
            ("deepseek_body_limit_bytes", status.body_limit_bytes),
        ):
            yield gauge_family(name, value)
        yield from _model_families(status.models)
        yield from _process_families(status)
        yield from _generator_families(status)


def _model_families(models: tuple[ModelStatus, ...]) -> Iterator[Metric]:
    figures: dict[str, Callable[[ModelStatus], float | None]] = {
        "deepseek_batch_limit_rows": lambda model: model.batch_limit_rows,
        "deepseek_queue_rows": lambda model: model.queue_rows,
        "deepseek_queue_limit_rows": lambda model: model.queue_limit_rows,
        "deepseek_queue_wait_seconds": lambda model: model.wait_s,
        "deepseek_explain_queue_rows": lambda model: model.explanation_rows,
        "deepseek_model_created_timestamp_seconds": lambda model: model.created_s,
    }
    for name, figure in figures.items():
        family = gauge_family(name)
        for model in models:
            if (value := figure(model)) is not None:
                family.add_metric([model.name, model.version], value)
        yield family
    engines, signatures = gauge_family("deepseek_model_engines_info"), gauge_family("deepseek_model_signature_info")
    for model in models:
        engines.add_metric([model.name, model.version, model.engines], 1.0)
        signatures.add_metric([model.name, model.version, model.signature], 1.0)
    yield from (engines, signatures)


def _process_families(status: ServerStatus) -> Iterator[Metric]:
    memory, cpu = gauge_family("deepseek_process_resident_bytes"), counter_family("deepseek_process_cpu_seconds_total")
    for process in status.processes:
        labels = [process.kind, str(process.index)]
        memory.add_metric(labels, process.resident_bytes)
        cpu.add_metric(labels, process.cpu_s)
    yield from (memory, cpu)


def _generator_families(status: ServerStatus) -> Iterator[Metric]:
    running, tokens = gauge_family("deepseek_generating_requests"), counter_family("deepseek_generation_tokens_total")
    for model in status.generators:
        labels = [model.name, model.version]
        running.add_metric(labels, model.num_generating)
        tokens.add_metric([*labels, "prompt"], model.prompt_tokens)
        tokens.add_metric([*labels, "written"], model.written_tokens)
    yield from (running, tokens)


class DiskCollector(Collector):
    """Room on the disks of folders, by the name of each. A folder that is gone is left out."""

    def __init__(self, volumes: Mapping[str, Path]) -> None:
        self._volumes = volumes

    def collect(self) -> Iterator[Metric]:
        free, size = gauge_family("deepseek_disk_free_bytes"), gauge_family("deepseek_disk_size_bytes")
        for name, folder in self._volumes.items():
            with contextlib.suppress(OSError):
                disk = os.statvfs(folder)
                free.add_metric([name], disk.f_bavail * disk.f_frsize)
                size.add_metric([name], disk.f_blocks * disk.f_frsize)
        yield from (free, size)


class MemoryCollector(Collector):
    """Memory of the container, where it has a limit, or of the machine."""

    def __init__(self, cgroup: Path = _CGROUP, meminfo: Path = Path("/proc/meminfo")) -> None:
        self._cgroup, self._meminfo = cgroup, meminfo

    def collect(self) -> Iterator[Metric]:
        figures = self._read_container() or self._read_machine()
        if figures is not None:
            yield gauge_family("deepseek_memory_bytes", figures[0])
            yield gauge_family("deepseek_memory_limit_bytes", figures[1])

    def _read_container(self) -> tuple[int, int] | None:
        """Used and allowed bytes; files that the kernel keeps and would give back are not used."""
        try:
            limit = (self._cgroup / "memory.max").read_text().strip()
            used = int((self._cgroup / "memory.current").read_text())
            kept = dict(line.split() for line in (self._cgroup / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):
            return None
        return None if limit == "max" else (max(0, used - int(kept.get("inactive_file", 0))), int(limit))

    def _read_machine(self) -> tuple[int, int] | None:
        try:
            lines = (line.split() for line in self._meminfo.read_text().splitlines())
            kib = {words[0].rstrip(":"): int(words[1]) for words in lines}
            return (kib["MemTotal"] - kib["MemAvailable"]) * 1_024, kib["MemTotal"] * 1_024
        except (OSError, ValueError, LookupError):
            return None


class CertificateCollector(Collector):
    """When the first certificate of the server's chain expires. The file is read again when it has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changed_ns: int | None = None
        self._expiry_s: float | None = None

    def collect(self) -> Iterator[Metric]:
        with contextlib.suppress(OSError, ValueError):
            changed_ns = self._path.stat().st_mtime_ns
            if changed_ns != self._changed_ns:
                self._expiry_s, self._changed_ns = _first_expiry_s(self._path.read_bytes()), changed_ns
        if self._expiry_s is not None:
            yield gauge_family("deepseek_certificate_expiry_timestamp_seconds", self._expiry_s)


def _first_expiry_s(pem: bytes) -> float:
    """Seconds since 1970. ValueError for what is no certificate."""
    from cryptography import x509

    return min(link.not_valid_after_utc.timestamp() for link in x509.load_pem_x509_certificates(pem))


class StateStore(Protocol):
    """What is told of a state: that of events, or of a fleet of machines."""

    folder: Path | None

    @property
    def counts(self) -> Mapping[str, int]: ...
    @property
    def latest_event_s(self) -> float | None: ...
    @property
    def num_keys(self) -> int: ...
    @property
    def size_bytes(self) -> Mapping[str, int]: ...
    @property
    def sequence(self) -> int: ...
    @property
    def synced_sequence(self) -> int: ...


class StateCollector(Collector):
    """The state of a stream: events by what became of them, the latest one, and what all of it takes."""

    def __init__(self, store: StateStore) -> None:
        self._store = store

    def collect(self) -> Iterator[Metric]:
        store = self._store
        events = counter_family("deepseek_state_events_total")
        for status, number in store.counts.items():
            events.add_metric([status], number)
        yield events
        if (latest_s := store.latest_event_s) is not None:
            yield gauge_family("deepseek_state_latest_event_timestamp_seconds", latest_s)
        yield gauge_family("deepseek_state_keys", store.num_keys)
        yield gauge_family("deepseek_state_memory_bytes", store.size_bytes["total"])
        yield gauge_family("deepseek_state_unsynced_records", store.sequence - store.synced_sequence)
        if store.folder is not None:
            disk = gauge_family("deepseek_state_disk_bytes")
            for kind, pattern in (("log", "log-*"), ("snapshot", "snapshot-*/*")):
                disk.add_metric([kind], _file_bytes(store.folder, pattern))
            yield disk


def _file_bytes(folder: Path, pattern: str) -> int:
    """The size of the files; one that is deleted meanwhile counts nothing."""
    total = 0
    for path in folder.glob(pattern):
        with contextlib.suppress(OSError):
            total += path.stat().st_size
    return total


class GpuCollector(Collector):
    """Utilization and memory of the GPUs, by NVML. Not registered where there is no driver or no nvidia-ml-py."""

    def __init__(self) -> None:
        import pynvml

        self._nvml = pynvml

    @classmethod
    def find(cls) -> list[Collector]:
        """A collector, where NVML finds a GPU."""
        if find_spec("pynvml") is None:
            return []
        collector = cls()
        try:
            collector._nvml.nvmlInit()
            return [collector] if collector._nvml.nvmlDeviceGetCount() else []
        except collector._nvml.NVMLError:
            return []

    def collect(self) -> Iterator[Metric]:
        names = ("utilization_ratio", "memory_used_bytes", "memory_size_bytes")
        families = [gauge_family(f"deepseek_gpu_{name}") for name in names]
        for index in range(self._nvml.nvmlDeviceGetCount()):
            with contextlib.suppress(self._nvml.NVMLError):
                handle = self._nvml.nvmlDeviceGetHandleByIndex(index)
                memory = self._nvml.nvmlDeviceGetMemoryInfo(handle)
                share = self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100
                for family, value in zip(families, (share, memory.used, memory.total), strict=True):
                    family.add_metric([str(index)], value)
        yield from families
