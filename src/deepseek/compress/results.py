"""What a search for a smaller model has tried, as records."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deepseek.compress.guard import VariantMeasurement
from deepseek.compress.limits import Limits
from deepseek.contracts import JsonObject


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One line of the result table: a variant's measurement and the guard's decision."""

    measured: VariantMeasurement
    refused: str  # the guard's reason; "" when the variant is accepted

    def to_dict(self) -> JsonObject:
        """An entry of "variants" in evidence/compression.json."""
        return {**self.measured.to_dict(), "speedup": self.measured.speedup,
                "verdict": "refused" if self.refused else "accepted", "reason": self.refused}  # fmt: skip


@dataclass(frozen=True, slots=True)
class CompressionResult:
    """Outcome of a search: every measurement, the chosen variant and where its bundle was written."""

    #: The original model in each exact engine; speedups are over the first, the fastest.
    originals: tuple[VariantMeasurement, ...]
    rows: tuple[ResultRow, ...]
    chosen: VariantMeasurement | None
    bundle: Path | None
    limits: Limits
    metric: str
    num_rows: int  # evaluation rows
    seed: int
    digest: str = ""  # of the bundle
    cpu_s: float = 0.0
    wall_s: float = 0.0
    warnings: tuple[str, ...] = ()
