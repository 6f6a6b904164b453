"""Prometheus metrics of a server, as a Sink.

    metrics = Metrics()
    create_app(models, sinks=[metrics], pages=Pages(metrics=metrics.exposition))

Names end in their unit (_seconds, _rows, _total); labels are model_name, model_version and status. A request for a
model that does not exist counts under an empty model_name, so that no client can make labels.

What every request touches is counted here and handed over when Prometheus asks: prometheus_client's own counters cost
more CPU per request than decoding and checking a row.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter as Counts
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Protocol

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from deepseek.contracts import Event, JsonObject

MODEL_LABELS = ("model_name", "model_version")
DURATION_BOUNDS_S = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
MAX_PENDING_EVENTS = 512  # requests that are counted at once
PROCESS_KINDS = ("engine", "front_end")
ROW_BOUNDS = (1, 2, 4, 8, 16, 32, 64, 128, 1_024, 16_384)
#: Fields of ModelCounts, the ends of their names, and what they are.
HISTOGRAMS = (
    ("request_duration", "_seconds", "From headers to answer"),
    ("queue_duration", "_seconds", "Rows waiting for their batch"),
    ("batch_rows", "", "Rows computed together"),
    ("batch_duration", "_seconds", "Computing a batch"),
)


class LossyLog(Protocol):
    """A log that may lose lines, and counts them."""

    @property
    def num_lost(self) -> int: ...


class Metrics:
    """Counts and times. One registry per instance, so that two servers in one process do not mix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._models: dict[tuple[str, str], ModelCounts] = {}
        self._pending: list[Event] = []  # requests that are not counted yet: together they cost a tenth
        self.registry.register(RequestCollector(self._count_pending))
        self.explained_rows = Counter("deepseek_explained_rows", "Rows explained", MODEL_LABELS, registry=self.registry)
        self.explain_duration = Histogram(
            "deepseek_explain_duration_seconds", "Explaining the rows of a request", MODEL_LABELS,
            buckets=DURATION_BOUNDS_S,
            registry=self.registry,
        )  # fmt: skip
        self.flagged_values = Counter(
            "deepseek_flagged_values",
            "Values imputed, cut, unseen in training or outside its range, and rows far from every training row",
            (*MODEL_LABELS, "column", "what"), registry=self.registry,
        )  # fmt: skip
        self.model_loaded = Gauge(
            "deepseek_model_loaded", "1 while the model is loaded", (*MODEL_LABELS, "digest"), registry=self.registry
        )
        self.shadow_requests = Counter(
            "deepseek_shadow_requests", "Requests that a shadow answered too, and whether its answer was the same",
            (*MODEL_LABELS, "same"), registry=self.registry,
        )  # fmt: skip
        self.coalesced_requests = Counter(
            "deepseek_coalesced_requests", "Requests that were answered with what was computed for another one",
            MODEL_LABELS, registry=self.registry,
        )  # fmt: skip
        self.process_deaths = Counter(
            "deepseek_process_deaths", "Processes that ended before they were told to", ("process",),
            registry=self.registry,
        )  # fmt: skip
        self.process_restarts = Counter(
            "deepseek_process_restarts", "Processes that were started in the place of others", ("process",),
            registry=self.registry,
        )  # fmt: skip
        for process in PROCESS_KINDS:  # a rate needs the zero before the first
            self.process_deaths.labels(process)
            self.process_restarts.labels(process)
        self.out_of_files = Counter(
            "deepseek_out_of_files", "Times that no file descriptor was free for a connection", registry=self.registry
        )
        self.lost_lines = Gauge(
            "deepseek_lost_log_lines", "Lines that a log could not write", ("log",), registry=self.registry
        )
        self._count_event = {
            "batch": self._count_batch, "explain": self._count_explanation, "model": self._show_model,
            "shadow": self._count_shadow, "coalesced": self._count_coalesced, "server": self._count_change,
        }  # fmt: skip

    def emit(self, event: Event) -> None:
        if event.kind == "request":
            self._pending.append(event)
            if len(self._pending) >= MAX_PENDING_EVENTS:
                self._count_pending()
        elif (count := self._count_event.get(event.kind)) is not None:
            count(event)

    def watch_lost(self, name: str, log: LossyLog) -> None:
        """Show how many lines a log could not write."""
        self.lost_lines.labels(name).set_function(lambda: log.num_lost)

    def watch_decisions(self, model: tuple[str, str], figures: Callable[[], JsonObject]) -> None:
        """Show what became of the decisions of a model, by name and version, as deepseek.serve.scoring counts them."""
        self.registry.register(DecisionCollector(model, figures))

    def exposition(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self.registry)

    def _counts_of(self, event: Event) -> ModelCounts:
        key = event.model_name, event.model_version
        counts = self._models.get(key)
        if counts is None:
            counts = self._models[key] = ModelCounts()
        return counts

    def _count_pending(self) -> Mapping[tuple[str, str], ModelCounts]:
        """Count the requests that wait for it. The counts of all models, by name and version."""
        pending, self._pending = self._pending, []
        by_model: dict[tuple[str, str], list[Event]] = {}
        for event in pending:
            by_model.setdefault((event.model_name, event.model_version), []).append(event)
            if "flags" in event.fields:
                for (column, what), num_values in event.fields["flags"].items():
                    labels = event.model_name, event.model_version, column, what
                    self.flagged_values.labels(*labels).inc(num_values)
        for events in by_model.values():
            self._counts_of(events[0]).add_requests(events)
        return self._models

    def _count_batch(self, event: Event) -> None:
        counts = self._counts_of(event)
        counts.batch_rows.observe(event.num_rows)
        counts.batch_duration.observe(event.duration_s)

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


class HistogramBuckets:
    """The counts of one histogram, by the bounds that values do not exceed.

    >>> buckets = HistogramBuckets((1, 2, 4))
    >>> for value in (1, 3, 9):
    ...     buckets.observe(value)
    >>> buckets.cumulative()
    [('1.0', 1), ('2.0', 1), ('4.0', 2), ('+Inf', 3)]
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def observe_all(self, values: Sequence[float]) -> None:
        counts = np.bincount(np.searchsorted(self.bounds, values), minlength=len(self.counts)).tolist()
        self.counts = [before + more for before, more in zip(self.counts, counts, strict=True)]
        self.total += sum(values)

    def cumulative(self) -> list[tuple[str, int]]:
        """How many values did not exceed each bound, as Prometheus writes it."""
        bounds = (str(float(bound)) for bound in self.bounds)
        return list(zip((*bounds, "+Inf"), accumulate(self.counts), strict=True))


class ModelCounts:
    """The counts of one model. Not for several threads."""

    __slots__ = ("batch_duration", "batch_rows", "num_rows", "queue_duration", "request_duration", "requests")

    def __init__(self) -> None:
        self.requests: Counts[int] = Counts()  # by status
        self.num_rows = 0
        self.request_duration = HistogramBuckets(DURATION_BOUNDS_S)
        self.queue_duration = HistogramBuckets(DURATION_BOUNDS_S)
        self.batch_rows = HistogramBuckets(ROW_BOUNDS)
        self.batch_duration = HistogramBuckets(DURATION_BOUNDS_S)

    def add_requests(self, events: Sequence[Event]) -> None:
        """Count requests that were answered."""
        self.requests.update([event.status for event in events])
        self.request_duration.observe_all([event.duration_s for event in events])
        computed = [event for event in events if event.num_rows and event.status == 200]
        self.num_rows += sum([event.num_rows for event in computed])
        self.queue_duration.observe_all([event.queue_s for event in computed])


#: Figures of decisions, what they are, and whether they have an interval. Of days whose verdicts are out.
DECISION_FIGURES = (
    ("num_scored", "scored_events", "Events of days whose verdicts are out", False),
    ("num_alerts", "alerts", "Of these, alerts", False),
    ("num_frauds", "frauds", "Of these, frauds by their verdicts", False),
    ("num_caught", "caught_frauds", "Of the frauds, alerts", False),
    ("false_positive_rate", "false_positive_rate", "Share of alerts among the genuine ones", True),
    ("max_fpr", "max_false_positive_rate", "What the bundle promises", False),
    ("recall", "recall", "Share of alerts among the frauds", True),
    ("precision", "precision", "Share of frauds among the alerts", True),
    ("fraud_share", "fraud_share", "Share of frauds", True),
    ("mean_chance", "mean_chance", "Mean chance: of a calibrated model the share of frauds", False),
    ("alerts_per_day", "alerts_per_day", "Alerts a day, of the last seven days", True),
    ("chance_psi", "chance_psi", "Population stability index of the chances of the last seven days", False),
)


class DecisionCollector(Collector):
    """Gauges deepseek_decision_*: `end` is "value", and "low" and "high" of an exact 95 % interval."""

    def __init__(self, model: tuple[str, str], figures: Callable[[], JsonObject]) -> None:
        self._model, self._figures = model, figures

    def collect(self) -> Iterator[Metric]:
        figures = self._figures()
        for field, name, text, has_interval in DECISION_FIGURES:
            value = figures[field]
            if value is None:
                continue
            gauge = GaugeMetricFamily(f"deepseek_decision_{name}", text, labels=(*MODEL_LABELS, "end"))
            for end, number in value.items() if has_interval else (("value", value),):
                gauge.add_metric((*self._model, end), number)
            yield gauge
        moved = GaugeMetricFamily(
            "deepseek_decision_feature_psi", "Population stability index of a feature", labels=(*MODEL_LABELS, "column")
        )
        for column, number in figures["feature_psi"].items():
            moved.add_metric((*self._model, column), number)
        yield moved

    def describe(self) -> Iterator[Metric]:
        """Nothing: what there is follows from what was scored."""
        return iter(())


class RequestCollector(Collector):
    """Hands the ModelCounts to Prometheus. Registered before the other metrics, which `count_pending` adds to."""

    def __init__(self, count_pending: Callable[[], Mapping[tuple[str, str], ModelCounts]]) -> None:
        self._count_pending = count_pending

    def collect(self) -> Iterator[Metric]:
        models = self._count_pending()
        requests = CounterMetricFamily("deepseek_requests", "Requests answered", labels=(*MODEL_LABELS, "status"))
        rows = CounterMetricFamily("deepseek_rows", "Rows of requests that were answered with 200", labels=MODEL_LABELS)
        for key, counts in models.items():
            rows.add_metric(key, counts.num_rows)
            for status, number in counts.requests.items():
                requests.add_metric((*key, str(status)), number)
        yield requests
        yield rows
        for field, unit, text in HISTOGRAMS:
            family = HistogramMetricFamily(f"deepseek_{field}{unit}", text, labels=MODEL_LABELS)
            for key, counts in models.items():
                buckets: HistogramBuckets = getattr(counts, field)
                family.add_metric(key, buckets.cumulative(), buckets.total)
            yield family
