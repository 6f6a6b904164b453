"""The metrics of several front ends as one exposition for Prometheus.

>>> one = b'# HELP rows_total Rows\\n# TYPE rows_total counter\\nrows_total{model="a"} 3.0\\n'
>>> print(merge_expositions([one, one]).decode().splitlines()[-1])
rows_total{model="a"} 6.0
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import ALLOWUTF8
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

from deepseek.observe.compat.names import FOREIGN_MERGED_BY_MAX
from deepseek.observe.metrics_table import METRICS

SeriesKey = tuple[str, tuple[tuple[str, str], ...]]  # name and labels of a sample

#: Families of which the largest counts; all others are added up.
MERGED_BY_MAX = FOREIGN_MERGED_BY_MAX | {metric.family for metric in METRICS if metric.is_merged_by_max}


def merge_expositions(texts: Sequence[bytes], ended: Sequence[bytes] = ()) -> bytes:
    """One exposition, whose samples are the sums of those of `texts`. Processes that have `ended` add their counters
    and histograms, but no gauges."""
    registry = CollectorRegistry()
    registry.register(MergedCollector(texts, ended))
    return generate_latest(registry)


def merge_openmetrics(own: CollectorRegistry, texts: Sequence[bytes], ended: Sequence[bytes] = ()) -> bytes:
    """The same as OpenMetrics: of this process by its registry, of others by their `texts`. Exemplars are those of this
    process, which one scrape in so many reaches."""
    exemplars = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.exemplar
        for family in own.collect()
        for sample in family.samples
        if sample.exemplar is not None
    }
    registry = CollectorRegistry()
    registry.register(MergedCollector([generate_latest(own), *texts], ended, exemplars))
    text: bytes = generate_openmetrics(registry, ALLOWUTF8)  # type: ignore[no-untyped-call]
    return text


class MergedCollector(Collector):
    """The metric families of several expositions, added up."""

    def __init__(
        self,
        texts: Sequence[bytes],
        ended: Sequence[bytes],
        exemplars: Mapping[SeriesKey, Exemplar] | None = None,
    ) -> None:
        """`exemplars`: for OpenMetrics, by the series that they stand beside."""
        self._texts = texts
        self._ended = ended
        self._exemplars = exemplars

    def collect(self) -> Iterator[Metric]:
        families: dict[str, Metric] = {}
        values: dict[str, dict[SeriesKey, float]] = {}
        for text, is_alive in [*((text, True) for text in self._texts), *((text, False) for text in self._ended)]:
            for family in text_string_to_metric_families(text.decode()):
                if family.type == "gauge" and not is_alive:
                    continue
                if self._exemplars is not None and family.name.endswith("_created"):
                    continue  # in OpenMetrics these are samples of the counter's own family, and nobody reads them
                families.setdefault(family.name, family)
                totals = values.setdefault(family.name, {})
                for sample in family.samples:
                    key = sample.name, tuple(sample.labels.items())
                    if key in totals and (family.name in MERGED_BY_MAX or family.name.endswith("_created")):
                        totals[key] = max(totals[key], sample.value)
                    else:
                        totals[key] = totals.get(key, 0.0) + sample.value
        for name, family in families.items():
            merged, exemplars = Metric(name, family.documentation, family.type), self._exemplars or {}
            for (sample_name, labels), value in values[name].items():
                exemplar = exemplars.get((sample_name, tuple(sorted(labels))))
                merged.add_sample(sample_name, dict(labels), value, exemplar=exemplar)
            yield merged
