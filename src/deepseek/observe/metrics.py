"""Prometheus metrics of a server, as a Sink.

    metrics = Metrics()
    create_app(models, sinks=[metrics], pages=Pages(metrics=metrics.exposition, openmetrics=metrics.openmetrics))

What there is stands in metrics_table. Names end in their unit (_seconds, _rows, _total). A request for a model that
does not exist counts under an empty model_name, so that no client can make labels.

What every request touches is counted in metrics_models and handed over when Prometheus asks: prometheus_client's own
counters cost more CPU per request than decoding and checking a row. What is known without counting (queues, processes,
disks) is read when Prometheus asks: watch() adds the collectors of metrics_status.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.openmetrics.exposition import ALLOWUTF8
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector

from deepseek.contracts import Event, JsonObject
from deepseek.observe.metrics_decisions import DecisionCollector
from deepseek.observe.metrics_models import (
    DURATION_BOUNDS_S,
    AnswerCounts,
    ModelCollector,
    ModelCounts,
    ModelKey,
)
from deepseek.observe.metrics_table import find_metric

MAX_PENDING_EVENTS = 512  # requests that are counted at once
PROCESS_KINDS = ("engine", "front_end")


class LossyLog(Protocol):
    """A log that may lose lines, and counts them."""

    @property
    def num_lost(self) -> int: ...


class Metrics:
    """Counts and times. One registry per instance, so that two servers in one process do not mix."""

    def __init__(self, *, with_steps: bool = False) -> None:
        """`with_steps`: count pre- and postprocessing, too, for names of other servers (compat)."""
        self._with_steps = with_steps
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._models: dict[ModelKey, ModelCounts] = {}
        self._pending: list[Event] = []  # requests that are not counted yet: together they cost a tenth
        self.registry.register(ModelCollector(self.model_counts))
        self.explained_rows = self._counter("deepseek_explained_rows_total")
        explaining = find_metric("deepseek_explain_duration_seconds")
        self.explain_duration = Histogram(
            explaining.name, explaining.meaning, explaining.labels, buckets=DURATION_BOUNDS_S, registry=self.registry
        )
        self.flagged_values = self._counter("deepseek_flagged_values_total")
        self.model_loaded = self._gauge("deepseek_model_loaded")
        self.shadow_requests = self._counter("deepseek_shadow_requests_total")
        self.coalesced_requests = self._counter("deepseek_coalesced_requests_total")
        self.process_deaths = self._counter("deepseek_process_deaths_total")
        self.process_restarts = self._counter("deepseek_process_restarts_total")
        for process in PROCESS_KINDS:  # a rate needs the zero before the first
            self.process_deaths.labels(process)
            self.process_restarts.labels(process)
        self.out_of_files = self._counter("deepseek_out_of_files_total")
        self.lost_lines = self._gauge("deepseek_lost_log_lines")
        self._count_event = {
            "batch": self._count_batch, "explain": self._count_explanation,
            "model": self._show_model, "shadow": self._count_shadow, "coalesced": self._count_coalesced,
            "server": self._count_change,
        }  # fmt: skip

    def _counter(self, name: str) -> Counter:
        metric = find_metric(name)
        return Counter(metric.family, metric.meaning, metric.labels, registry=self.registry)

    def _gauge(self, name: str) -> Gauge:
        metric = find_metric(name)
        return Gauge(metric.family, metric.meaning, metric.labels, registry=self.registry)

    def emit(self, event: Event) -> None:
        if event.kind == "request":
            self._pending.append(event)
            if len(self._pending) >= MAX_PENDING_EVENTS:
                self._count_pending()
        elif (count := self._count_event.get(event.kind)) is not None:
            count(event)

    def watch(self, *collectors: Collector) -> None:
        """Show what these find whenever Prometheus asks."""
        for collector in collectors:
            self.registry.register(collector)

    def watch_lost(self, name: str, log: LossyLog) -> None:
        """Show how many lines a log could not write."""
        self.lost_lines.labels(name).set_function(lambda: log.num_lost)

    def watch_decisions(self, model: tuple[str, str], figures: Callable[[], JsonObject]) -> None:
        """Show what became of the decisions of a model, by name and version, as deepseek.serve.scoring counts them."""
        self.registry.register(DecisionCollector(model, figures))

    def exposition(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self.registry)

    def openmetrics(self) -> bytes:
        """The same as OpenMetrics, with exemplars."""
        # Without ALLOWUTF8 it turns the colon of a name into _.
        text: bytes = generate_openmetrics(self.registry, ALLOWUTF8)  # type: ignore[no-untyped-call]
        return text

    def _counts_of(self, event: Event) -> ModelCounts:
        key = event.model_name, event.model_version
        counts = self._models.get(key)
        if counts is None:
            counts = self._models[key] = ModelCounts(with_steps=self._with_steps)
        return counts

    def model_counts(self) -> Mapping[ModelKey, ModelCounts]:
        """The counts of all models, by name and version."""
        self._count_pending()
        return self._models

    def _count_pending(self) -> None:
        """Count the requests that wait for it."""
        pending, self._pending = self._pending, []
        by_model: defaultdict[ModelKey, list[Event]] = defaultdict(list)
        for event in pending:
            by_model[event.model_name, event.model_version].append(event)
        for events in by_model.values():
            self._counts_of(events[0]).add_requests(events)
        for event in [event for event in pending if "flags" in event.fields]:
            for (column, what), num_values in event.fields["flags"].items():
                self.flagged_values.labels(event.model_name, event.model_version, column, what).inc(num_values)

    def _count_batch(self, event: Event) -> None:
        counts = self._counts_of(event)
        counts.batch_rows.observe(event.num_rows)
        counts.batch_duration.observe(event.duration_s)
        if "output" not in event.fields:
            return
        if counts.answers is None:
            counts.answers = AnswerCounts(event.fields["labels"], event.fields["classes"])
        counts.answers.add(event.fields["output"])

    def _count_explanation(self, event: Event) -> None:
        self.explained_rows.labels(event.model_name, event.model_version).inc(event.num_rows)
        self.explain_duration.labels(event.model_name, event.model_version).observe(event.duration_s)

    def _count_shadow(self, event: Event) -> None:
        self.shadow_requests.labels(event.model_name, event.model_version, event.fields["same"]).inc()

    def _count_coalesced(self, event: Event) -> None:
        self.coalesced_requests.labels(event.model_name, event.model_version).inc(event.fields["requests"])

    def _count_change(self, event: Event) -> None:
        change = event.fields.get("change")
        if change == "out_of_files":
            self.out_of_files.inc()
        elif change in ("died", "restarted"):
            counter = self.process_deaths if change == "died" else self.process_restarts
            counter.labels(event.fields["process"]).inc()

    def _show_model(self, event: Event) -> None:
        digest = event.fields.get("digest", "")
        self.model_loaded.labels(event.model_name, event.model_version, digest).set(
            float(event.fields.get("loaded", 0))
        )
