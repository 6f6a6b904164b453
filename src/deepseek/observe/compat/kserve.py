"""KServe's names: histograms by the model's name alone, all its versions together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client import Histogram
from prometheus_client.metrics_core import Metric

from deepseek.observe.compat.families import add_up, histogram_family
from deepseek.observe.metrics_histograms import HistogramBuckets
from deepseek.observe.metrics_models import DURATION_BOUNDS_S, STEPS, ModelCounts, ModelKey


def step_families(models: Mapping[ModelKey, ModelCounts]) -> Iterator[Metric]:
    """Pre- and postprocessing and predictions, of models whose counts have steps."""
    for step in STEPS:
        parts: dict[str, list[HistogramBuckets]] = {}
        for (name, _), counts in models.items():
            if name and step in counts.steps:
                parts.setdefault(name, []).append(counts.steps[step])
        yield histogram_family(f"request_{step}_seconds", [((name,), add_up(each)) for name, each in parts.items()])


def explain_family(durations: Histogram) -> Metric:
    """Explanations, of the server's own histogram by model and version."""
    by_model: dict[str, HistogramBuckets] = {}
    cumulative: dict[str, list[float]] = {}
    for family in durations.collect():
        for sample in family.samples:
            name = sample.labels["model_name"]
            buckets = by_model.setdefault(name, HistogramBuckets(DURATION_BOUNDS_S))
            if sample.name.endswith("_sum"):
                buckets.total += sample.value
            elif sample.name.endswith("_bucket"):
                cumulative.setdefault(name, [0.0] * len(buckets.counts))[_place(sample.labels["le"])] += sample.value
    for name, counts in cumulative.items():
        by_model[name].counts = [round(count - before) for before, count in zip([0.0, *counts], counts, strict=False)]
    return histogram_family("request_explain_seconds", [((name,), buckets) for name, buckets in by_model.items()])


def _place(bound: str) -> int:
    return len(DURATION_BOUNDS_S) if bound == "+Inf" else DURATION_BOUNDS_S.index(float(bound))
