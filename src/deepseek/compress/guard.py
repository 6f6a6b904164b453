"""The guard: decides whether a variant's measurements meet the limits, and says why not.

    refusal_reason(measured, limits, original_bytes=98_000_000)     # "", or why it is refused and by how much

A variant that is slower or larger than the original model is refused whatever the limits are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from deepseek.compress.limits import SAME_SPEED_RATIO, Limits
from deepseek.compress.timing import Timing
from deepseek.contracts import Figure, JsonObject


@dataclass(frozen=True, slots=True)
class VariantMeasurement:
    """Measurements of one variant in one engine. Fields are None where an earlier, cheaper check had already failed."""

    variant: str
    engine: str
    size_bytes: int
    score: Figure | None = None
    kept: Figure | None = None  # share of the original model's score
    timings: Mapping[int, Timing] | None = None  # by batch size
    failed: str = ""  # error message where the variant could not be built or run
    notes: tuple[str, ...] = ()
    num_rows: int = 0  # rows that the score was computed on

    @property
    def speedup(self) -> float | None:
        """Geometric mean over the batch sizes of the speedup over the original model; None without timings."""
        if not self.timings:
            return None
        return math.exp(sum(math.log(timing.speedup.value) for timing in self.timings.values()) / len(self.timings))

    def to_dict(self) -> JsonObject:
        """The fields as JSON; `timings` by the batch size as a string, {} without any."""
        return asdict(self) | {
            "timings": {str(batch): asdict(timing) for batch, timing in (self.timings or {}).items()}
        }

    @classmethod
    def from_dict(cls, document: JsonObject) -> VariantMeasurement:
        """The inverse of to_dict(). KeyError, TypeError or ValueError for any other document."""
        timings = {
            int(batch): Timing(**{**timing, "speedup": Figure(**timing["speedup"])})
            for batch, timing in document["timings"].items()
        }
        figures = {name: Figure(**document[name]) if document[name] else None for name in ("score", "kept")}
        return cls(**{**document, **figures, "timings": timings or None, "notes": tuple(document["notes"])})


def refusal_reason(measured: VariantMeasurement, limits: Limits, *, original_bytes: int) -> str:
    """Why the variant is refused and by how much, or "" when it is accepted. Only limits that were measured are
    checked.

    >>> small = VariantMeasurement("int8", "openvino-f32", 30_000_000)
    >>> refusal_reason(small, Limits(max_mb=20), original_bytes=90_000_000)
    '30.0 MB, 10.0 MB over the limit of 20 MB'
    """
    if measured.failed:
        return measured.failed
    reasons = [
        *_size_reasons(measured, limits, original_bytes),
        *_score_reasons(measured, limits),
        *_speed_reasons(measured, limits),
    ]
    return "; ".join(reasons)


def _size_reasons(measured: VariantMeasurement, limits: Limits, original_bytes: int) -> list[str]:
    size_mb = measured.size_bytes / 1e6
    if limits.max_mb is not None and size_mb > limits.max_mb:
        return [f"{size_mb:.1f} MB, {size_mb - limits.max_mb:.1f} MB over the limit of {limits.max_mb:g} MB"]
    if measured.size_bytes > original_bytes:
        return [f"{size_mb:.1f} MB, larger than the {original_bytes / 1e6:.1f} MB of the given model"]
    return []


def _score_reasons(measured: VariantMeasurement, limits: Limits) -> list[str]:
    if measured.kept is None or measured.kept.value >= limits.keep:
        return []
    kept = measured.kept.value
    if not math.isfinite(kept):
        return ["its answers are not numbers"]
    return [f"{kept:.2%} of the score is left, {limits.keep - kept:.2%} below the limit of {limits.keep:.2%}"]


def _speed_reasons(measured: VariantMeasurement, limits: Limits) -> list[str]:
    if measured.timings is None or measured.speedup is None:
        return []
    slower = [
        f"slower at batch {batch} ({timing.speedup.value:.2f}x)"
        for batch, timing in measured.timings.items()
        if timing.speedup.value < SAME_SPEED_RATIO
    ]
    if slower:
        return slower
    if limits.min_speedup is not None and measured.speedup < limits.min_speedup:
        short = limits.min_speedup - measured.speedup
        return [f"{measured.speedup:.2f}x as fast, {short:.2f}x below the limit of {limits.min_speedup:g}x"]
    return []


def choose_best(accepted: Sequence[VariantMeasurement]) -> VariantMeasurement:
    """The smallest of the measurements whose speedup is within 3 % of the fastest one's."""
    fastest = max(measurement.speedup or 0.0 for measurement in accepted)
    close_to_fastest = [measurement for measurement in accepted if (measurement.speedup or 0.0) >= 0.97 * fastest]
    return min(close_to_fastest, key=lambda measurement: (measurement.size_bytes, -(measurement.speedup or 0.0)))
