"""The metrics of several front ends as one exposition for Prometheus.

>>> one = b'# HELP rows_total Rows\\n# TYPE rows_total counter\\nrows_total{model="a"} 3.0\\n'
>>> print(merge_expositions([one, one]).decode().splitlines()[-1])
rows_total{model="a"} 6.0
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from deepseek.observe.metrics_table import METRICS

#: Families of which the largest counts; all others are added up.
MERGED_BY_MAX = frozenset(metric.family for metric in METRICS if metric.is_merged_by_max)


def merge_expositions(texts: Sequence[bytes], ended: Sequence[bytes] = ()) -> bytes:
    """One exposition, whose samples are the sums of those of `texts`. Processes that have `ended` add their counters
    and histograms, but no gauges."""
    registry = CollectorRegistry()
    registry.register(MergedCollector(texts, ended))
    return generate_latest(registry)


class MergedCollector(Collector):
    """The metric families of several expositions, added up."""

    def __init__(self, texts: Sequence[bytes], ended: Sequence[bytes]) -> None:
        self._texts = texts
        self._ended = ended

    def collect(self) -> Iterator[Metric]:
        families: dict[str, Metric] = {}
        values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
        for text, is_alive in [*((text, True) for text in self._texts), *((text, False) for text in self._ended)]:
            for family in text_string_to_metric_families(text.decode()):
                if family.type == "gauge" and not is_alive:
                    continue
                families.setdefault(family.name, family)
                totals = values.setdefault(family.name, {})
                for sample in family.samples:
                    key = sample.name, tuple(sample.labels.items())
                    if key in totals and (family.name in MERGED_BY_MAX or family.name.endswith("_created")):
                        totals[key] = max(totals[key], sample.value)
                    else:
                        totals[key] = totals.get(key, 0.0) + sample.value
        for name, family in families.items():
            merged = Metric(name, family.documentation, family.type)
            for (sample_name, labels), value in values[name].items():
                merged.add_sample(sample_name, dict(labels), value)
            yield merged
