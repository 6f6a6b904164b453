"""What a person may ask of a stream."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """What a person may ask of a stream."""

    bundle: Path
    state: Path
    source: str
    sink: str
    stop_when_idle_s: float | None
    reasons: bool
    key: Path | None
    metrics_port: int | None = None  # where Prometheus is answered, on this machine alone
    turn_s: float | None = None  # what comes within so long is answered together; None: as the kind of bundle likes
    html: Path | None = None  # of a bundle of machines: the page of the fleet
