"""Prometheus metrics of a server, as a Sink.

    metrics = Metrics()
    create_app(models, sinks=[metrics], pages=Pages(metrics=metrics.exposition))

Names end in their unit (_seconds, _rows, _total); labels are model_name, model_version and status. A request for a
model that does not exist counts under an empty model_name, so that no client can make labels.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from deepseek.contracts import Event

MODEL = ("model_name", "model_version")
DURATION_S = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 1_024, 16_384)


class Losing(Protocol):
    """A log that may lose lines, and counts them."""

    @property
    def num_lost(self) -> int: ...


class Metrics:
    """Counts and times. One registry per instance, so that two servers in one process do not mix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        count = partial(Counter, registry=self.registry)
        measure = partial(Histogram, registry=self.registry)
        self.requests = count("deepseek_requests", "Requests answered", (*MODEL, "status"))
        self.rows = count("deepseek_rows", "Rows of requests that were answered with 200", MODEL)
        self.request_duration = measure(
            "deepseek_request_duration_seconds", "From headers to answer", MODEL, buckets=DURATION_S
        )
        self.queue_duration = measure(
            "deepseek_queue_duration_seconds", "Rows waiting for their batch", MODEL, buckets=DURATION_S
        )
        self.batch_rows = measure("deepseek_batch_rows", "Rows computed together", MODEL, buckets=ROWS)
        self.batch_duration = measure("deepseek_batch_duration_seconds", "Computing a batch", MODEL, buckets=DURATION_S)
        self.explained_rows = count("deepseek_explained_rows", "Rows explained", MODEL)
        self.explain_duration = measure(
            "deepseek_explain_duration_seconds", "Explaining the rows of a request", MODEL, buckets=DURATION_S
        )
        self.flagged_values = count(
            "deepseek_flagged_values",
            "Values that were imputed or unseen in training",
            (*MODEL, "column", "what"),
        )
        self.model_loaded = Gauge(
            "deepseek_model_loaded", "1 while the model is loaded", (*MODEL, "digest"), registry=self.registry
        )
        self.lost_lines = Gauge(
            "deepseek_lost_log_lines", "Lines that a log could not write", ("log",), registry=self.registry
        )
        self._bound: dict[tuple[str, str], _Bound] = {}
        self._take = {"request": self._request, "batch": self._batch, "explain": self._explain, "model": self._model}

    def emit(self, event: Event) -> None:
        take = self._take.get(event.kind)
        if take is not None:
            take(event)

    def watch_lost(self, name: str, log: Losing) -> None:
        """Show how many lines a log could not write."""
        self.lost_lines.labels(name).set_function(lambda: log.num_lost)

    def exposition(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self.registry)

    def _of(self, event: Event) -> _Bound:
        """The children for the labels of an event. Looking labels up costs more than counting, so it is done once."""
        key = event.model_name, event.model_version
        bound = self._bound.get(key)
        if bound is None:
            bound = self._bound[key] = _Bound(self, key)
        return bound

    def _request(self, event: Event) -> None:
        bound = self._of(event)
        counter = bound.requests.get(event.status)
        if counter is None:
            counter = bound.requests[event.status] = self.requests.labels(*bound.key, str(event.status))
        counter.inc()
        bound.request_duration.observe(event.duration_s)
        if event.num_rows and event.status == 200:
            bound.rows.inc(event.num_rows)
            bound.queue_duration.observe(event.queue_s)
        for (column, what), num_values in event.fields.get("flags", {}).items():
            self.flagged_values.labels(*bound.key, column, what).inc(num_values)

    def _batch(self, event: Event) -> None:
        bound = self._of(event)
        bound.batch_rows.observe(event.num_rows)
        bound.batch_duration.observe(event.duration_s)

    def _explain(self, event: Event) -> None:
        self.explained_rows.labels(event.model_name, event.model_version).inc(event.num_rows)
        self.explain_duration.labels(event.model_name, event.model_version).observe(event.duration_s)

    def _model(self, event: Event) -> None:
        digest = event.fields.get("digest", "")
        self.model_loaded.labels(event.model_name, event.model_version, digest).set(
            float(event.fields.get("loaded", 0))
        )


class _Bound:
    """The children of one model's labels that every request touches."""

    __slots__ = ("batch_duration", "batch_rows", "key", "queue_duration", "request_duration", "requests", "rows")

    def __init__(self, metrics: Metrics, key: tuple[str, str]) -> None:
        self.key = key
        self.requests: dict[int, Any] = {}
        self.rows = metrics.rows.labels(*key)
        self.request_duration = metrics.request_duration.labels(*key)
        self.queue_duration = metrics.queue_duration.labels(*key)
        self.batch_rows = metrics.batch_rows.labels(*key)
        self.batch_duration = metrics.batch_duration.labels(*key)
