"""What a search for a smaller model has tried, as records, as JSON and as text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deepseek.compress.guard import VariantMeasurement
from deepseek.compress.limits import Limits
from deepseek.compress.timing import BATCH_SIZES, Timing
from deepseek.contracts import Figure, JsonObject
from deepseek.look import numbers
from deepseek.look.summary import fact_table, html_table, make_table, render_text
from deepseek.results import Result


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One line of the result table: a variant's measurement and the guard's decision."""

    measured: VariantMeasurement
    refused: str  # the guard's reason; "" when the variant is accepted

    def to_dict(self) -> JsonObject:
        """An entry of "variants" in evidence/compression.json."""
        return {**self.measured.to_dict(), "speedup": self.measured.speedup,
                "verdict": "refused" if self.refused else "accepted", "reason": self.refused}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class CompressionResult(Result):
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

    def evidence(self) -> JsonObject:
        """evidence/compression.json: metric, limits, original model, every variant and the chosen one."""
        chosen = self.chosen
        return {
            "metric": self.metric,
            "num_rows": self.num_rows,
            "seed": self.seed,
            "limits": {name: getattr(self.limits, name) for name in ("keep", "max_mb", "min_speedup")},
            "given": [original.to_dict() | {"speedup": original.speedup} for original in self.originals],
            "variants": [row.to_dict() for row in self.rows],
            "chosen": None if chosen is None else {"variant": chosen.variant, "engine": chosen.engine},
        }

    def to_dict(self) -> JsonObject:
        """The object that `deepseek compress --json` prints."""
        chosen, baseline = self.chosen, self.originals[0].score
        score = {} if chosen is None or chosen.score is None else {self.metric: chosen.score.to_dict()}
        return {
            "bundle": None if self.bundle is None else str(self.bundle),
            "digest": self.digest or None,
            "task": None,
            "target": None,
            "model": None if chosen is None else chosen.variant,
            "engine": None if chosen is None else chosen.engine,
            "metrics": score,
            "baseline": {} if baseline is None else {self.metric: baseline.to_dict()},
            "size_bytes": None if chosen is None else chosen.size_bytes,
            "cpu_s": self.cpu_s,
            "wall_s": self.wall_s,
            "seed": self.seed,
            "warnings": list(self.warnings),
            **self.evidence(),
        }

    def summary(self) -> str:
        """What `deepseek compress` prints: the table, then what was chosen."""
        return render_text(self.summary_parts())

    def summary_parts(self) -> list[object]:
        """The lines and tables of summary(), for a terminal that wraps them to its width."""
        header, rows = self._table()
        table = make_table(*header)
        for row in rows:
            table.add_row(*row)
        if self.chosen is None:
            return [table]
        facts = [
            ("chosen", f"{self.chosen.variant} in {self.chosen.engine}"),
            ("judged on", f"{self.num_rows:,} rows"),
            *([("wrote", str(self.bundle)), ("digest", self.digest)] if self.bundle else []),
        ]
        last = f"deepseek serve {self.bundle}" if self.bundle else "give --out DIR to write it"
        return [table, fact_table(facts), last]

    def _repr_html_(self) -> str:
        header, rows = self._table()
        caption = "nothing meets the limits" if self.chosen is None else f"chosen: {self.chosen.variant}"
        return html_table(header, rows, caption=caption)

    def _table(self) -> tuple[tuple[str, ...], list[list[str]]]:
        latencies = [f"p50 / p99 ms at {batch}" for batch in BATCH_SIZES]
        header = ("variant", "engine", "MB", self.metric, "left", "x", *latencies, "verdict")
        rows = [[*measurement_cells(original), "given"] for original in self.originals]
        return header, rows + [[*measurement_cells(row.measured), row.refused or "accepted"] for row in self.rows]


def measurement_cells(measurement: VariantMeasurement) -> list[str]:
    """Cells of one table row, on the page and on the terminal: variant, engine, MB, score, share of the score, speedup,
    latencies."""
    return [
        measurement.variant,
        measurement.engine or numbers.UNKNOWN,
        f"{measurement.size_bytes / 1e6:.2f}" if measurement.size_bytes else numbers.UNKNOWN,
        _score_cell(measurement.score),
        f"{measurement.kept.value:.2%}"
        if measurement.kept and math.isfinite(measurement.kept.value)
        else numbers.UNKNOWN,
        f"{measurement.speedup:.2f}" if measurement.speedup else numbers.UNKNOWN,
        *(_latency_cell(measurement.timings, batch) for batch in BATCH_SIZES),
    ]


def _score_cell(score: Figure | None) -> str:
    if score is None or not math.isfinite(score.value):
        return numbers.UNKNOWN
    return f"{score.value:.4f} [{score.low:.4f}, {score.high:.4f}]"


def _latency_cell(timings: Mapping[int, Timing] | None, batch: int) -> str:
    if not timings or batch not in timings:
        return numbers.UNKNOWN
    return f"{numbers.number(timings[batch].p50_ms)} / {numbers.number(timings[batch].p99_ms)}"
