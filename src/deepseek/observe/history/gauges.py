"""What a front end reads of itself and its machine each 10 s: what rules look at that is no count of requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from deepseek.observe.metrics_status import CertificateCollector, DiskCollector, MemoryCollector

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from deepseek.serve.status import ServerStatus


NEVER_S = 1e12  # until a certificate that there is not expires: JSON has no infinity


@dataclass(frozen=True, slots=True)
class Gauges:
    """Figures of one moment. Of several front ends: sums, or the worst."""

    queue_rows: float = 0.0
    queue_fill: float = 0.0  # of the fullest queue, 0..1
    memory_bytes: float = 0.0  # of the processes of the server
    memory_share: float = 0.0  # of the container's or the machine's memory that is used, 0..1
    disk_free_share: float = 1.0  # of the fullest disk, 0..1
    missing_workers: float = 0.0
    not_ready: float = 0.0  # front ends that take no requests
    lost_lines: float = 0.0  # of all logs since the start
    certificate_s: float = NEVER_S  # until the certificate expires

    @classmethod
    def merge(cls, parts: Sequence[Gauges]) -> Gauges:
        """Of several front ends together."""
        sums = {"queue_rows", "memory_bytes", "missing_workers", "not_ready", "lost_lines"}
        least = {"disk_free_share", "certificate_s"}
        columns = dict(zip(GAUGE_NAMES, zip(*map(astuple, parts), strict=True), strict=True))
        return cls(
            **{name: sum(of) if name in sums else (min if name in least else max)(of) for name, of in columns.items()}
        )


GAUGE_NAMES = tuple(each.name for each in fields(Gauges))


class LossyLog(Protocol):
    """A log that may lose lines, and counts them."""

    @property
    def num_lost(self) -> int: ...


@dataclass(frozen=True, slots=True)
class GaugeReader:
    """Reads the gauges of one front end."""

    read_status: Callable[[], ServerStatus]
    volumes: Mapping[str, Path]
    logs: Sequence[LossyLog]
    certificate: Path | None = None

    def __call__(self, now_s: float) -> Gauges:
        """The gauges now, in seconds since 1970."""
        status = self.read_status()
        fills = [model.queue_rows / max(1, model.queue_limit_rows) for model in status.models]
        disks = list(DiskCollector(self.volumes).collect())
        free, size = (_values(family) for family in disks)
        memory = [_values(family)[0] for family in MemoryCollector().collect()]
        expiry = [] if self.certificate is None else list(CertificateCollector(self.certificate).collect())
        expiries_s = [value for family in expiry for value in _values(family)]
        return Gauges(
            queue_rows=sum(model.queue_rows for model in status.models), queue_fill=max(fills, default=0.0),
            memory_bytes=sum(process.resident_bytes for process in status.processes),
            memory_share=memory[0] / memory[1] if len(memory) == 2 and memory[1] else 0.0,
            disk_free_share=min((part / whole for part, whole in zip(free, size, strict=True) if whole), default=1.0),
            missing_workers=max(0, status.num_workers_expected - status.num_workers),
            not_ready=float(not status.is_ready), lost_lines=sum(log.num_lost for log in self.logs),
            certificate_s=min((value - now_s for value in expiries_s), default=NEVER_S),
        )  # fmt: skip


def _values(family: Metric) -> list[float]:
    return [sample.value for sample in family.samples]
