"""What ship() returns: the bundle that was made and its figures."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deepseek.contracts import Figure, Task


@dataclass(frozen=True)
class ShipResult:
    """The bundle, and the figures that `ship --json` prints."""

    path: Path
    digest: str
    task: Task
    target: str
    model: str  # the parts of the blend by name
    engine: str
    metrics: dict[str, Figure]
    baseline: dict[str, Figure]  # HistGradientBoosting with its defaults on the same rows
    size_bytes: int
    cpu_s: float
    wall_s: float
    seed: int
    num_trials: int
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The object that --json prints."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "path"}
        plain["bundle"] = str(self.path)
        plain["warnings"] = list(self.warnings)
        for name in ("metrics", "baseline"):
            plain[name] = {key: asdict(found) for key, found in getattr(self, name).items()}
        return plain
