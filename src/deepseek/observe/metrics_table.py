"""The table of all metrics: exporter, dashboards, alert rules, the check and the guide are made from it.

    find_metric("deepseek_requests_total").labels     # ('model_name', 'model_version', 'status')

Each metric names its labels, and metrics_labels says what bounds the values of each: loaded models, columns of a
bundle, codes of our own errors. No label takes a value from a request, so a client can make no series.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

MetricKind = Literal["counter", "gauge", "histogram"]
Source = Literal["server", "stream", "training", "federation", "drift"]
MODEL = ("model_name", "model_version")


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric as it stands in an exposition."""

    name: str  # as in a query; a histogram's without _bucket, _sum and _count
    kind: MetricKind
    unit: str  # s, bytes, rows, ...; "1" for a state and for a share
    meaning: str
    labels: tuple[str, ...] = ()
    needs: str = ""  # what must be there for it to have a sample; "": a model that has answered
    source: Source = "server"
    is_merged_by_max: bool = False  # over the front ends of a group; else their values are added up

    @property
    def family(self) -> str:
        """The name that the client library wants: a counter's without _total.

        >>> find_metric("deepseek_rows_total").family
        'deepseek_rows'
        """
        return self.name.removesuffix("_total") if self.kind == "counter" else self.name


def _counter(name: str, unit: str, meaning: str, labels: tuple[str, ...] = (), **more: str) -> Metric:
    return Metric(name, "counter", unit, meaning, labels, needs=more.get("needs", ""))


def _gauge(
    name: str, unit: str, meaning: str, labels: tuple[str, ...] = (), *, needs: str = "", by_max: bool = False
) -> Metric:
    return Metric(name, "gauge", unit, meaning, labels, needs, is_merged_by_max=by_max)


def _histogram(name: str, unit: str, meaning: str, labels: tuple[str, ...] = MODEL, needs: str = "") -> Metric:
    return Metric(name, "histogram", unit, meaning, labels, needs)


_REQUESTS = (
    _counter("deepseek_requests_total", "requests", "Requests answered", (*MODEL, "status")),
    _counter(
        "deepseek_request_errors_total",
        "requests",
        "Requests refused or failed, by the code of the error",
        (*MODEL, "code"),
        needs="a request that was refused",
    ),
    _counter("deepseek_rows_total", "rows", "Rows of requests that were answered with 200", MODEL),
    _histogram("deepseek_request_duration_seconds", "s", "From headers to answer"),
    _histogram("deepseek_predict_duration_seconds", "s", "From headers to answer, of predictions that were answered"),
    _histogram("deepseek_queue_duration_seconds", "s", "Rows waiting for their batch"),
    _histogram(
        "deepseek_stage_duration_seconds",
        "s",
        ("Parts of a prediction's time: decode the body, prepare the rows, wait for an engine, compute, encode"),
        (*MODEL, "stage"),
    ),
    _histogram("deepseek_batch_rows", "rows", "Rows computed together"),
    _histogram("deepseek_batch_duration_seconds", "s", "Computing a batch"),
    _counter(
        "deepseek_coalesced_requests_total",
        "requests",
        "Requests that were answered with what was computed for another one",
        MODEL,
        needs="--coalesce",
    ),
    _counter(
        "deepseek_shadow_requests_total",
        "requests",
        "Requests that a shadow answered too, and whether its answer was the same",
        (*MODEL, "same"),
        needs="a --route with a shadow",
    ),
)
_QUEUES = (
    _gauge("deepseek_batch_limit_rows", "rows", "Rows that a batch may have", MODEL, by_max=True),
    _gauge("deepseek_queue_rows", "rows", "Rows that wait or are computed", MODEL),
    _gauge("deepseek_queue_limit_rows", "rows", "Rows that may wait; further ones are refused with 429", MODEL),
    _gauge("deepseek_queue_wait_seconds", "s", "Until a row that comes now would be computed", MODEL, by_max=True),
    _gauge("deepseek_body_bytes", "bytes", "Large bodies that are held in memory"),
    _gauge("deepseek_body_limit_bytes", "bytes", "Large bodies that may be held at a time; further ones get 503"),
)
_ANSWERS = (
    _counter(
        "deepseek_answers_total", "rows", "Rows answered with each label", (*MODEL, "label"), needs="a classifier"
    ),
    _histogram("deepseek_answer_confidence", "1", "The largest probability of a row's answer", needs="a classifier"),
    _counter(
        "deepseek_flagged_values_total",
        "values",
        ("Values imputed, cut, unseen in training or outside its range, and rows far from every training row"),
        (*MODEL, "column", "what"),
        needs="a value that was flagged",
    ),
    _gauge("deepseek_model_loaded", "1", "1 while the model is loaded", (*MODEL, "digest"), by_max=True),
    _gauge(
        "deepseek_model_engines_info",
        "1",
        "1, with the engines that may compute the model",
        (*MODEL, "engines"),
        by_max=True,
    ),
    _gauge(
        "deepseek_model_signature_info",
        "1",
        "1, with the state of the bundle's signature",
        (*MODEL, "signature"),
        by_max=True,
    ),
    _gauge(
        "deepseek_model_created_timestamp_seconds",
        "s",
        "When the bundle was made, since 1970",
        MODEL,
        by_max=True,
        needs="a bundle that says when it was made",
    ),
)
_EXPLANATIONS = (
    _counter("deepseek_explained_rows_total", "rows", "Rows explained", MODEL, needs="an explanation"),
    _histogram("deepseek_explain_duration_seconds", "s", "Explaining the rows of a request", needs="an explanation"),
    _counter(
        "deepseek_explain_requests_total",
        "requests",
        "Requests for explanations, by status",
        (*MODEL, "status"),
        needs="an explanation",
    ),
    _gauge("deepseek_explain_waiting_requests", "requests", "Explanations that give way to predictions now"),
    _gauge("deepseek_explain_queue_rows", "rows", "Rows that wait to be explained, or are being explained", MODEL),
)
_PROCESSES = (
    _gauge("deepseek_ready", "1", "1 while the server takes requests"),
    _gauge("deepseek_front_ends", "processes", "Front ends that count here"),
    _gauge("deepseek_workers", "processes", "Engine processes that live"),
    _gauge("deepseek_workers_expected", "processes", "Engine processes that should live"),
    _gauge("deepseek_workers_busy", "processes", "Engine processes that compute now"),
    _counter(
        "deepseek_process_deaths_total", "processes", "Processes that ended before they were told to", ("process",)
    ),
    _counter(
        "deepseek_process_restarts_total",
        "processes",
        "Processes that were started in the place of others",
        ("process",),
    ),
    _gauge("deepseek_process_resident_bytes", "bytes", "Memory of a process", ("process", "index"), needs="Linux"),
    _counter("deepseek_process_cpu_seconds_total", "s", "CPU time of a process", ("process", "index"), needs="Linux"),
    _gauge(
        "deepseek_memory_bytes", "bytes", "Memory that the container or the machine uses", needs="Linux", by_max=True
    ),
    _gauge(
        "deepseek_memory_limit_bytes",
        "bytes",
        "Memory that the container or the machine has",
        needs="Linux",
        by_max=True,
    ),
    _counter("deepseek_out_of_files_total", "times", "Times that no file descriptor was free for a connection"),
    _gauge("deepseek_lost_log_lines", "lines", "Lines that a log could not write", ("log",)),
    _gauge("deepseek_disk_free_bytes", "bytes", "Room on the disk of a folder", ("volume",), by_max=True),
    _gauge("deepseek_disk_size_bytes", "bytes", "Size of the disk of a folder", ("volume",), by_max=True),
    _gauge(
        "deepseek_certificate_expiry_timestamp_seconds",
        "s",
        "When the first certificate of the chain expires, since 1970",
        needs="--tls-cert",
        by_max=True,
    ),
    _gauge(
        "deepseek_gpu_utilization_ratio",
        "1",
        "Share of the last second that the GPU computed",
        ("gpu",),
        needs="a GPU and nvidia-ml-py",
        by_max=True,
    ),
    _gauge(
        "deepseek_gpu_memory_used_bytes",
        "bytes",
        "Memory of the GPU that is used",
        ("gpu",),
        needs="a GPU and nvidia-ml-py",
        by_max=True,
    ),
    _gauge(
        "deepseek_gpu_memory_size_bytes",
        "bytes",
        "Memory of the GPU",
        ("gpu",),
        needs="a GPU and nvidia-ml-py",
        by_max=True,
    ),
)
_GENERATION = (
    _gauge(
        "deepseek_generating_requests",
        "answers",
        "Answers that are written, or wait for it",
        MODEL,
        needs="a model that writes",
    ),
    _counter(
        "deepseek_generation_tokens_total",
        "tokens",
        "Tokens of prompts and of what was written",
        (*MODEL, "kind"),
        needs="a model that writes",
    ),
)
_STREAM_NEEDS = "deepseek serve --state, or deepseek stream --metrics-port"


def _state(kind: MetricKind, name: str, unit: str, meaning: str, *labels: str) -> Metric:
    return Metric(name, kind, unit, meaning, labels, _STREAM_NEEDS, "stream", is_merged_by_max=True)


_STREAM = (
    _state(
        "counter", "deepseek_state_events_total", "events", "Events and verdicts by what became of them", "event_status"
    ),
    _state("gauge", "deepseek_state_latest_event_timestamp_seconds", "s", "Time of the latest event, since 1970"),
    _state("gauge", "deepseek_state_keys", "keys", "Keys that something is kept of"),
    _state("gauge", "deepseek_state_memory_bytes", "bytes", "Memory of the state"),
    _state("gauge", "deepseek_state_disk_bytes", "bytes", "Files of the state on the disk", "kind"),
    _state("gauge", "deepseek_state_unsynced_records", "records", "Records of the log that are not yet on the disk"),
)
_VERDICTS = "verdicts on scored events (deepseek serve --state)"
_PROMISE = "a bundle of deepseek recipe fraud that scores events"
_DECISIONS = (
    *(
        Metric(f"deepseek_decision_{name}", "gauge", "1", meaning, (*MODEL, "end"), needs, "stream")
        for needs, name, meaning in (
            (_VERDICTS, "scored_events", "Events of days whose verdicts are out"),
            (_VERDICTS, "alerts", "Of these, alerts"),
            (_VERDICTS, "frauds", "Of these, frauds by their verdicts"),
            (_VERDICTS, "caught_frauds", "Of the frauds, alerts"),
            (_VERDICTS, "false_positive_rate", "Share of alerts among the genuine ones"),
            (_PROMISE, "max_false_positive_rate", "What the bundle promises"),
            (_VERDICTS, "recall", "Share of alerts among the frauds"),
            (_VERDICTS, "precision", "Share of frauds among the alerts"),
            (_VERDICTS, "fraud_share", "Share of frauds"),
            (_VERDICTS, "mean_chance", "Mean chance: of a calibrated model the share of frauds"),
            (_VERDICTS, "alerts_per_day", "Alerts a day, of the last seven days"),
            (_PROMISE, "chance_psi", "Population stability index of the chances of the last seven days"),
        )
    ),
    Metric(
        "deepseek_decision_feature_psi", "gauge", "1", "Population stability index of a feature", (*MODEL, "column"),
        _PROMISE, "stream",
    ),
)  # fmt: skip
_TRAINING_NEEDS = "deepseek observe expose RUN"
_TRAINING = tuple(
    Metric(name, "gauge", unit, meaning, labels, _TRAINING_NEEDS, "training")
    for name, unit, meaning, labels in (
        ("deepseek_training_status_info", "1", "1, with what the run does", ("run", "run_status")),
        ("deepseek_training_step", "steps", "Steps so far", ("run",)),
        (
            "deepseek_training_loss",
            "1",
            "Loss over the last steps that were logged; NaN where it was not finite",
            ("run",),
        ),
        ("deepseek_training_validation_loss", "1", "Loss of the last validation", ("run",)),
        ("deepseek_training_learning_rate", "1", "Learning rate", ("run",)),
        ("deepseek_training_gradient_norm", "1", "Norm of the gradient", ("run",)),
        ("deepseek_training_rows_per_second", "rows/s", "Rows a second", ("run",)),
        ("deepseek_training_logged_timestamp_seconds", "s", "When the run last logged, since 1970", ("run",)),
        (
            "deepseek_training_checkpoint_timestamp_seconds",
            "s",
            "When the newest checkpoint was written, since 1970",
            ("run",),
        ),
        ("deepseek_training_checkpoint_step", "steps", "Step of the newest checkpoint", ("run",)),
    )
)
_FEDERATION = tuple(
    Metric(
        f"deepseek_federated_{name}", "gauge", unit, meaning, ("study",), "deepseek observe expose STUDY", "federation"
    )
    for name, unit, meaning in (
        ("rounds", "rounds", "Training rounds that are over"),
        ("parties", "parties", "Parties whose answers are in the last task"),
        ("dropped_parties", "parties", "Parties that began the last task and did not end it"),
        ("attempts", "attempts", "Attempts that the last task took"),
        ("sent_bytes", "bytes", "Bytes that the parties of the last task sent"),
        ("task_timestamp_seconds", "s", "When the last task was over, since 1970"),
    )
)
_DRIFT = (
    Metric(
        "deepseek_column_psi",
        "gauge",
        "1",
        "Population stability index of a column against the data card",
        ("bundle", "column"),
        "deepseek observe expose DRIFT.json",
        "drift",
    ),
    Metric(
        "deepseek_drift_timestamp_seconds",
        "gauge",
        "s",
        "When drift was last computed, since 1970",
        ("bundle",),
        "deepseek observe expose DRIFT.json",
        "drift",
    ),
)
_PYTHON = (  # of prometheus_client itself
    Metric("process_resident_memory_bytes", "gauge", "bytes", "Memory of the front ends", needs="Linux"),
    Metric("process_virtual_memory_bytes", "gauge", "bytes", "Address space of the front ends", needs="Linux"),
    Metric("process_cpu_seconds_total", "counter", "s", "CPU time of the front ends", needs="Linux"),
    Metric("process_open_fds", "gauge", "files", "Open files of the front ends", needs="Linux"),
    Metric(
        "process_max_fds", "gauge", "files", "Files that a front end may open", needs="Linux", is_merged_by_max=True
    ),
    Metric(
        "process_start_time_seconds",
        "gauge",
        "s",
        "Start of the newest front end, since 1970",
        needs="Linux",
        is_merged_by_max=True,
    ),
)

METRICS: tuple[Metric, ...] = (
    *_REQUESTS,
    *_QUEUES,
    *_ANSWERS,
    *_EXPLANATIONS,
    *_PROCESSES,
    *_GENERATION,
    *_STREAM,
    *_DECISIONS,
    *_TRAINING,
    *_FEDERATION,
    *_DRIFT,
    *_PYTHON,
)
_BY_NAME = {metric.name: metric for metric in METRICS}
_NAME = re.compile(r"\b(?:deepseek|process)_[a-z_]+\b")
_HISTOGRAM_ENDS = ("_bucket", "_sum", "_count")


def find_metric(name: str) -> Metric:
    """The metric of this name, also by the name of a histogram's series. KeyError for any other.

    >>> find_metric("deepseek_batch_rows_bucket").name
    'deepseek_batch_rows'
    """
    if name not in _BY_NAME:
        for end in _HISTOGRAM_ENDS:
            base = _BY_NAME.get(name.removesuffix(end))
            if name.endswith(end) and base is not None and base.kind == "histogram":
                return base
    return _BY_NAME[name]


def metrics_in(expression: str) -> list[Metric]:
    """The metrics that a query reads, each once. KeyError where one is none of ours.

    >>> [metric.name for metric in metrics_in("sum(rate(deepseek_rows_total[5m]))")]
    ['deepseek_rows_total']
    """
    return list(dict.fromkeys(find_metric(name) for name in _NAME.findall(expression)))
