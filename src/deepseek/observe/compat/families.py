"""Families of prometheus_client for the names of the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    UnknownMetricFamily,
)

from deepseek.observe.compat.names import find_foreign_name
from deepseek.observe.metrics_histograms import HistogramBuckets

_NumberFamily = CounterMetricFamily | GaugeMetricFamily | UnknownMetricFamily
_FAMILIES: Mapping[str, Callable[..., _NumberFamily]] = {
    "counter": CounterMetricFamily, "gauge": GaugeMetricFamily, "unknown": UnknownMetricFamily
}  # fmt: skip


def number_family(name: str, rows: Sequence[tuple[Sequence[str], float]]) -> Metric:
    """A counter, gauge or unknown of these label values and numbers."""
    foreign = find_foreign_name(name)
    family = _FAMILIES[foreign.kind](foreign.family, foreign.source, labels=foreign.labels)
    for labels, value in rows:
        family.add_metric(labels, value)
    return family


def histogram_family(name: str, rows: Sequence[tuple[Sequence[str], HistogramBuckets]], scale: float = 1.0) -> Metric:
    """A histogram; `scale`: from our unit to the name's."""
    foreign = find_foreign_name(name)
    family = HistogramMetricFamily(foreign.family, foreign.source, labels=foreign.labels)
    for labels, buckets in rows:
        scaled = HistogramBuckets([float(f"{bound * scale:.9g}") for bound in buckets.bounds])
        scaled.counts = buckets.counts
        family.add_metric(labels, scaled.cumulative(), buckets.total * scale)
    return family


def add_up(parts: Sequence[HistogramBuckets]) -> HistogramBuckets:
    """Histograms of the same bounds as one; at least one."""
    result = HistogramBuckets(parts[0].bounds)
    result.counts = [sum(counts) for counts in zip(*(part.counts for part in parts), strict=True)]
    result.total = sum(part.total for part in parts)
    return result
