"""What is counted of one model: requests, errors, parts of their time, batches, answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from prometheus_client.metrics_core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from deepseek.contracts import Event, Float64
from deepseek.observe.metrics_histograms import HistogramBuckets
from deepseek.observe.metrics_labels import MAX_ANSWER_LABELS, OTHER_LABEL
from deepseek.observe.metrics_status import counter_family
from deepseek.observe.metrics_table import find_metric

DURATION_BOUNDS_S = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
STAGE_BOUNDS_S = (0.00005, 0.00025, 0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0)
ROW_BOUNDS = (1, 2, 4, 8, 16, 32, 64, 128, 1_024, 16_384)
CONFIDENCE_BOUNDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
#: Parts of a prediction's time, each between two of Event.marks; the last one ends with the request.
STAGES = ("decode", "prepare", "wait", "compute", "encode")
#: Stages together, as other servers tell them: before, in and after the model.
STEPS = {"preprocess": slice(0, 2), "predict": slice(2, 4), "postprocess": slice(4, 5)}
MAX_PENDING_BATCHES, MAX_PENDING_ROWS = 512, 16_384  # whose answers are counted at once
#: Fields of ModelCounts and the metrics that they are.
HISTOGRAMS = {
    "request_duration": "deepseek_request_duration_seconds",
    "predict_duration": "deepseek_predict_duration_seconds",
    "queue_duration": "deepseek_queue_duration_seconds",
    "batch_rows": "deepseek_batch_rows",
    "batch_duration": "deepseek_batch_duration_seconds",
    "confidence": "deepseek_answer_confidence",
}
ModelKey = tuple[str, str]  # name and version


class AnswerCounts:
    """The answers of one classifier. Batches wait until there are many: together they cost a hundredth."""

    __slots__ = ("_classes", "_pending", "_rows", "by_class", "confidence", "labels")

    def __init__(self, labels: Sequence[str], classes: Callable[[NDArray[Any]], NDArray[np.int64]]) -> None:
        """`classes`: the class number (N,) of each row of probabilities (N, C)."""
        self.labels = labels
        self.by_class = np.zeros(len(labels), np.int64)
        self.confidence = HistogramBuckets(CONFIDENCE_BOUNDS)
        self._classes = classes
        self._pending: list[NDArray[Any]] = []
        self._rows = 0

    def add(self, probabilities: NDArray[Any]) -> None:
        """Take the answers (N, C) of a batch."""
        self._pending.append(probabilities)
        self._rows += len(probabilities)
        if len(self._pending) >= MAX_PENDING_BATCHES or self._rows >= MAX_PENDING_ROWS:
            self.count()

    def count(self) -> None:
        """Count what waits."""
        if not self._pending:
            return
        pending, self._pending, self._rows = self._pending, [], 0
        probabilities = np.concatenate(pending)
        probabilities = probabilities[np.isfinite(probabilities).all(axis=1)]  # the others are refused, not answered
        self.by_class += np.bincount(self._classes(probabilities), minlength=len(self.labels))
        self.confidence.observe_all(probabilities.max(axis=1, initial=0.0))

    def by_label(self) -> Iterator[tuple[str, int]]:
        """How many rows were answered with each label, those behind the first MAX_ANSWER_LABELS together."""
        yield from zip(self.labels[:MAX_ANSWER_LABELS], self.by_class[:MAX_ANSWER_LABELS].tolist(), strict=True)
        if len(self.labels) > MAX_ANSWER_LABELS:
            yield OTHER_LABEL, int(self.by_class[MAX_ANSWER_LABELS:].sum())


class ModelCounts:
    """The counts of one model. Not for several threads."""

    __slots__ = (
        "answers", "batch_duration", "batch_rows", "errors", "explanations", "num_rows", "predict_duration",
        "queue_duration", "request_duration", "requests", "stages", "steps",
    )  # fmt: skip

    def __init__(self, *, with_steps: bool = False) -> None:
        self.requests: Counter[int] = Counter()  # by status
        self.errors: Counter[str] = Counter()  # by code
        self.explanations: Counter[int] = Counter()  # by status
        self.num_rows = 0
        self.request_duration = HistogramBuckets(DURATION_BOUNDS_S)
        self.predict_duration = HistogramBuckets(DURATION_BOUNDS_S)
        self.queue_duration = HistogramBuckets(DURATION_BOUNDS_S)
        self.stages = {stage: HistogramBuckets(STAGE_BOUNDS_S) for stage in STAGES}
        self.steps = {step: HistogramBuckets(DURATION_BOUNDS_S) for step in STEPS} if with_steps else {}
        self.batch_rows = HistogramBuckets(ROW_BOUNDS)
        self.batch_duration = HistogramBuckets(DURATION_BOUNDS_S)
        self.answers: AnswerCounts | None = None

    @property
    def confidence(self) -> HistogramBuckets | None:
        return None if self.answers is None else self.answers.confidence

    def add_requests(self, events: Sequence[Event]) -> None:
        """Count requests that were answered."""
        self.requests.update([event.status for event in events])
        durations_s = np.array([event.duration_s for event in events], np.float64)
        self._observe(self.request_duration, durations_s, events)
        computed = [event for event in events if event.status == 200 and event.num_rows]
        self.num_rows += sum([event.num_rows for event in computed])
        self.queue_duration.observe_all([event.queue_s for event in computed])
        # An explainer that opens takes seconds, and would be the 99 % of a thousand predictions.
        predicted = [event for event in computed if "explains" not in event.fields]
        if len(predicted) < len(events):  # nearly always they are the same, and their times are there
            durations_s = np.array([event.duration_s for event in predicted], np.float64)
            self.errors.update([event.fields["error"] for event in events if "error" in event.fields])
            self.explanations.update([event.status for event in events if "explains" in event.fields])
        self._observe(self.predict_duration, durations_s, predicted)
        self._add_stages(computed)

    @staticmethod
    def _observe(buckets: HistogramBuckets, durations_s: Float64, events: Sequence[Event]) -> None:
        """Count how long these requests took, and keep some as exemplars."""
        buckets.observe_all(durations_s)
        buckets.keep_exemplars(durations_s, events, _list_traced(events))

    def _add_stages(self, computed: Sequence[Event]) -> None:
        marked = [event for event in computed if event.marks]
        if not marked:
            return
        moments = np.empty((len(marked), len(STAGES) + 1))  # from the first byte to the answer
        moments[:, :-1] = np.fromiter(chain.from_iterable([event.marks for event in marked]), float).reshape(
            -1, len(STAGES)
        )
        moments[:, -1] = moments[:, 0] + [event.duration_s for event in marked]
        durations_s = np.maximum(np.diff(moments, axis=1), 0.0)  # (N, stages)
        width = len(STAGE_BOUNDS_S) + 1
        places = np.searchsorted(STAGE_BOUNDS_S, durations_s) + np.arange(len(STAGES)) * width
        counts = np.bincount(places.ravel(), minlength=len(STAGES) * width).reshape(-1, width)  # of all at once
        traced = _list_traced(marked)
        for column, (buckets, row) in enumerate(zip(self.stages.values(), counts, strict=True)):
            buckets.add(row, float(durations_s[:, column].sum()))
            buckets.keep_exemplars(durations_s[:, column], marked, traced)
        for step, buckets in self.steps.items():
            buckets.observe_all(durations_s[:, STEPS[step]].sum(axis=1))


def _list_traced(events: Sequence[Event]) -> list[int]:
    """Which of these requests came with a trace."""
    return [index for index, event in enumerate(events) if "traceparent" in event.fields]


class ModelCollector(Collector):
    """Hands the ModelCounts to Prometheus. Registered before the other metrics, which `count_pending` adds to."""

    def __init__(self, count_pending: Callable[[], Mapping[ModelKey, ModelCounts]]) -> None:
        self._count_pending = count_pending

    def collect(self) -> Iterator[Metric]:
        models = self._count_pending()
        yield from self._counters(models)
        for field, name in HISTOGRAMS.items():
            family = histogram_family(name)
            for key, counts in models.items():
                buckets: HistogramBuckets | None = getattr(counts, field)
                if buckets is not None:
                    family.add_metric(key, buckets.buckets(), buckets.total)
            yield family
        stages = histogram_family("deepseek_stage_duration_seconds")
        for key, counts in models.items():
            for stage, buckets in counts.stages.items() if counts.num_rows else ():
                stages.add_metric((*key, stage), buckets.buckets(), buckets.total)
        yield stages

    @staticmethod
    def _counters(models: Mapping[ModelKey, ModelCounts]) -> Iterator[Metric]:
        requests, rows = counter_family("deepseek_requests_total"), counter_family("deepseek_rows_total")
        errors, answers = counter_family("deepseek_request_errors_total"), counter_family("deepseek_answers_total")
        explanations = counter_family("deepseek_explain_requests_total")
        for key, counts in models.items():
            rows.add_metric(key, counts.num_rows)
            for family, numbers in (
                (requests, counts.requests), (errors, counts.errors), (explanations, counts.explanations)
            ):  # fmt: skip
                for value, number in numbers.items():
                    family.add_metric((*key, str(value)), number)
            if counts.answers is not None:
                counts.answers.count()
                for label, number in counts.answers.by_label():
                    answers.add_metric((*key, label), number)
        yield from (requests, rows, errors, answers, explanations)


def histogram_family(name: str) -> HistogramMetricFamily:
    """An empty family of the table's metric."""
    metric = find_metric(name)
    return HistogramMetricFamily(metric.family, metric.meaning, labels=metric.labels)
