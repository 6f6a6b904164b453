"""What a search for a smaller model has tried, as records."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepseek.compress.guard import VariantMeasurement
from deepseek.compress.limits import Limits


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One line of the table: what was measured, and the guard's word on it."""

    measured: VariantMeasurement
    refused: str  # why; "" when it is accepted

    def to_dict(self) -> dict[str, Any]:
        return {**self.measured.to_dict(), "speedup": self.measured.speedup,
                "verdict": "refused" if self.refused else "accepted", "reason": self.refused}  # fmt: skip


@dataclass(frozen=True, slots=True)
class CompressionResult:
    """What came of it."""

    given: tuple[
        VariantMeasurement, ...
    ]  # the given model in each exact engine; the first is what the others are held against
    rows: tuple[ResultRow, ...]
    chosen: VariantMeasurement | None
    bundle: Path | None
    limits: Limits
    metric: str
    num_rows: int
    seed: int
    digest: str = ""  # of the bundle
    cpu_s: float = 0.0
    wall_s: float = 0.0
    warnings: tuple[str, ...] = ()
