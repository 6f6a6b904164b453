"""The guard: what was measured of a variant against the limits, in one verdict with its reason.

    verdict(measured, limits, given_bytes=98_000_000)     # "", or why it is refused and by how much

A variant that is slower or larger than what was given is refused whatever the limits are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from deepseek.compress.limits import SAME_SPEED_RATIO, Limits
from deepseek.compress.timing import Timing
from deepseek.contracts import Figure


@dataclass(frozen=True, slots=True)
class VariantMeasurement:
    """A variant in an engine. What a cheaper proof made needless is None."""

    variant: str
    engine: str
    size_bytes: int
    score: Figure | None = None
    kept: Figure | None = None  # share of the given model's score that is left
    timings: Mapping[int, Timing] | None = None  # by batch size
    failed: str = ""  # why it could not be made or run
    notes: tuple[str, ...] = ()
    num_rows: int = 0  # that it was judged on

    @property
    def speedup(self) -> float | None:
        """Over the given model: geometric mean over the batch sizes."""
        if not self.timings:
            return None
        return math.exp(sum(math.log(one.speedup.value) for one in self.timings.values()) / len(self.timings))

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"timings": {str(batch): asdict(one) for batch, one in (self.timings or {}).items()}}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> VariantMeasurement:
        """What to_dict() gave. KeyError, TypeError or ValueError for anything else."""
        timings = {
            int(batch): Timing(**{**one, "speedup": Figure(**one["speedup"])})
            for batch, one in found["timings"].items()
        }
        figures = {name: Figure(**found[name]) if found[name] else None for name in ("score", "kept")}
        return cls(**{**found, **figures, "timings": timings or None, "notes": tuple(found["notes"])})


def refusal_reason(measured: VariantMeasurement, limits: Limits, *, given_bytes: int) -> str:
    """Why it is refused, with by how much; "" when it is accepted. Limits that were not measured because a cheaper one
    failed are not spoken of.

    >>> small = VariantMeasurement("int8", "openvino-f32", 30_000_000)
    >>> verdict(small, Limits(max_mb=20), given_bytes=90_000_000)
    '30.0 MB, 10.0 MB over the limit of 20 MB'
    """
    if measured.failed:
        return measured.failed
    reasons = [
        *_size_reasons(measured, limits, given_bytes),
        *_score_reasons(measured, limits),
        *_speed_reasons(measured, limits),
    ]
    return "; ".join(reasons)


def _size_reasons(measured: VariantMeasurement, limits: Limits, given_bytes: int) -> list[str]:
    found = measured.size_bytes / 1e6
    if limits.max_mb is not None and found > limits.max_mb:
        return [f"{found:.1f} MB, {found - limits.max_mb:.1f} MB over the limit of {limits.max_mb:g} MB"]
    if measured.size_bytes > given_bytes:
        return [f"{found:.1f} MB, larger than the {given_bytes / 1e6:.1f} MB of the given model"]
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
        f"slower at batch {batch} ({one.speedup.value:.2f}x)"
        for batch, one in measured.timings.items()
        if one.speedup.value < SAME_SPEED_RATIO
    ]
    if slower:
        return slower
    if limits.min_speedup is not None and measured.speedup < limits.min_speedup:
        short = limits.min_speedup - measured.speedup
        return [f"{measured.speedup:.2f}x as fast, {short:.2f}x below the limit of {limits.min_speedup:g}x"]
    return []


def choose_best(accepted: Sequence[VariantMeasurement]) -> VariantMeasurement:
    """The fastest; of those within 3 % of it, the smallest."""
    fastest = max(one.speedup or 0.0 for one in accepted)
    near = [one for one in accepted if (one.speedup or 0.0) >= 0.97 * fastest]
    return min(near, key=lambda one: (one.size_bytes, -(one.speedup or 0.0)))
