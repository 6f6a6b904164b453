"""The table of dashboards and their panels. Every query reads metrics of the table alone.

DASHBOARDS["latency"].panels[0].queries[0].evaluable("30s")     # as Prometheus itself takes it, without Grafana
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deepseek.observe.metrics_table import Metric, metrics_in

#: Grafana's own words in a query: the range that a rate needs, and the model that a person has chosen.
RANGE, MODEL_VARIABLE = "$__rate_interval", "$model"
_M = f'model_name=~"{MODEL_VARIABLE}"'


@dataclass(frozen=True, slots=True)
class Query:
    """A query with its legend."""

    expression: str
    legend: str = ""

    def evaluable(self, window: str) -> str:
        """The query without Grafana's variables: rates over `window`, all models.

        >>> Query('rate(deepseek_rows_total{model_name=~"$model"}[$__rate_interval])').evaluable("1m")
        'rate(deepseek_rows_total{model_name=~".*"}[1m])'
        """
        return self.expression.replace(RANGE, window).replace(MODEL_VARIABLE, ".*")


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture. Every query has the same unit."""

    title: str
    unit: str  # as Grafana names it: s, bytes, percentunit, reqps, short, dateTimeAsIso
    queries: tuple[Query, ...]
    is_stat: bool = False  # one number instead of a curve

    @property
    def metrics(self) -> list[Metric]:
        """What it reads, each once."""
        return list(dict.fromkeys(metric for query in self.queries for metric in metrics_in(query.expression)))

    @property
    def needs(self) -> str:
        """What must be there for it to show something; "": a model that answers."""
        return next((metric.needs for metric in self.metrics if metric.needs not in ("", "Linux")), "")


@dataclass(frozen=True, slots=True)
class Dashboard:
    """Panels in the order in which they are read, three in a row."""

    title: str
    meaning: str
    panels: tuple[Panel, ...]
    has_model: bool = True  # whether a person chooses among models


def _rate(metric: str, by: str, where: str = _M) -> str:
    return f"sum by ({by}) (rate({metric}{{{where}}}[{RANGE}]))"


def _curve(title: str, unit: str, *queries: tuple[str, str]) -> Panel:
    return Panel(title, unit, tuple(Query(expression, legend) for expression, legend in queries))


def _stat(title: str, unit: str, expression: str, legend: str = "") -> Panel:
    return Panel(title, unit, (Query(expression, legend),), is_stat=True)


def _quantile(share: float, metric: str, by: str = "model_name", where: str = _M) -> str:
    return f"histogram_quantile({share}, sum by ({by}, le) (rate({metric}_bucket{{{where}}}[{RANGE}])))"


def _mean(metric: str, by: str = "model_name") -> str:
    return f"{_rate(f'{metric}_sum', by)} / {_rate(f'{metric}_count', by)}"


_NAME, _VERSION = "{{model_name}}", "{{model_name}} {{model_version}}"
_DURATION = "deepseek_predict_duration_seconds"
_REQUESTS = "deepseek_requests_total"
_SHARES = f"{_rate(_REQUESTS, 'model_name, status')} / on (model_name) group_left {_rate(_REQUESTS, 'model_name')}"

_OVERVIEW = Dashboard(
    "deepseek: overview",
    "Whether the server answers, how many, how well, and what it takes.",
    (
        _stat("Ready", "short", "min(deepseek_ready)"),
        _stat("Requests a second", "reqps", f"sum(rate({_REQUESTS}[{RANGE}]))"),
        _stat(
            "Failed (5xx)",
            "percentunit",
            (f'(sum(rate({_REQUESTS}{{status=~"5.."}}[{RANGE}])) or vector(0)) / sum(rate({_REQUESTS}[{RANGE}]))'),
        ),
        _curve("Requests by model", "reqps", (_rate(_REQUESTS, "model_name"), _NAME)),
        _curve("Share of each status", "percentunit", (_SHARES, "{{model_name}} {{status}}")),
        _curve(
            "Errors by cause", "reqps", (_rate("deepseek_request_errors_total", "code", 'model_name=~".*"'), "{{code}}")
        ),
        _curve(
            "Latency of predictions, 50 % and 99 %",
            "s",
            (_quantile(0.5, _DURATION), f"{_NAME} 50 %"),
            (_quantile(0.99, _DURATION), f"{_NAME} 99 %"),
        ),
        _curve("Rows a second", "short", (_rate("deepseek_rows_total", "model_name"), _NAME)),
        _curve(
            "Queue against its limit",
            "percentunit",
            (f"deepseek_queue_rows{{{_M}}} / deepseek_queue_limit_rows{{{_M}}}", _VERSION),
        ),
        _curve(
            "Engine processes",
            "short",
            ("deepseek_workers", "alive"),
            ("deepseek_workers_busy", "busy"),
            ("deepseek_workers_expected", "expected"),
        ),
        _curve(
            "Deaths and restarts",
            "short",
            (f"sum by (process) (increase(deepseek_process_deaths_total[{RANGE}]))", "{{process}} died"),
            (f"sum by (process) (increase(deepseek_process_restarts_total[{RANGE}]))", "{{process}} restarted"),
        ),
        _curve(
            "Memory by process",
            "bytes",
            ("deepseek_process_resident_bytes", "{{process}} {{index}}"),
            ("deepseek_memory_limit_bytes", "limit"),
        ),
        _curve(
            "Cores by process", "short", (f"rate(deepseek_process_cpu_seconds_total[{RANGE}])", "{{process}} {{index}}")
        ),
        _curve(
            "Memory of the container or machine",
            "percentunit",
            ("deepseek_memory_bytes / deepseek_memory_limit_bytes", "{{instance}}"),
        ),
        _curve("Room on disks", "percentunit", ("deepseek_disk_free_bytes / deepseek_disk_size_bytes", "{{volume}}")),
        _curve(
            "Open files",
            "percentunit",
            ("process_open_fds / process_max_fds", "{{instance}}"),
            (f"increase(deepseek_out_of_files_total[{RANGE}])", "ran out"),
        ),
        _curve(
            "Large bodies in memory", "percentunit", ("deepseek_body_bytes / deepseek_body_limit_bytes", "{{instance}}")
        ),
        _curve("Lines that logs lost", "short", ("deepseek_lost_log_lines", "{{log}}")),
        _stat(
            "Days until the certificate expires",
            "short",
            "(min(deepseek_certificate_expiry_timestamp_seconds) - time()) / 86400",
        ),
        _curve(
            "GPU: utilization and memory",
            "percentunit",
            ("deepseek_gpu_utilization_ratio", "GPU {{gpu}} computes"),
            ("deepseek_gpu_memory_used_bytes / deepseek_gpu_memory_size_bytes", "GPU {{gpu}} memory"),
        ),
    ),
)

_STAGE = "deepseek_stage_duration_seconds"
_LATENCY = Dashboard(
    "deepseek: latency",
    "Where the time of a request goes.",
    (
        _curve(
            "Latency of predictions, 50, 90 and 99 %",
            "s",
            *((_quantile(share, _DURATION), f"{_NAME} {share:.0%}") for share in (0.5, 0.9, 0.99)),
        ),
        _curve("Parts of a prediction, mean", "s", (_mean(_STAGE, "model_name, stage"), "{{model_name}} {{stage}}")),
        _curve(
            "Parts of a prediction, 99 %",
            "s",
            (_quantile(0.99, _STAGE, "model_name, stage"), "{{model_name}} {{stage}}"),
        ),
        _curve("Wait for a batch, 99 %", "s", (_quantile(0.99, "deepseek_queue_duration_seconds"), _NAME)),
        _curve("Until a row that comes now is computed", "s", (f"deepseek_queue_wait_seconds{{{_M}}}", _VERSION)),
        _curve(
            "Computing a batch, 50 and 99 %",
            "s",
            (_quantile(0.5, "deepseek_batch_duration_seconds"), f"{_NAME} 50%"),
            (_quantile(0.99, "deepseek_batch_duration_seconds"), f"{_NAME} 99%"),
        ),
        _curve("Rows in a batch, mean", "short", (_mean("deepseek_batch_rows"), _NAME)),
        _curve(
            "Fill of a batch",
            "percentunit",
            (
                (
                    f"{_mean('deepseek_batch_rows')} / on (model_name) max by (model_name) "
                    f"(deepseek_batch_limit_rows{{{_M}}})"
                ),
                _NAME,
            ),
        ),
        _curve(
            "Answered with another request's result",
            "reqps",
            (_rate("deepseek_coalesced_requests_total", "model_name"), _NAME),
        ),
        _curve(
            "Explaining, 50 and 99 %",
            "s",
            (_quantile(0.5, "deepseek_explain_duration_seconds"), f"{_NAME} 50%"),
            (_quantile(0.99, "deepseek_explain_duration_seconds"), f"{_NAME} 99%"),
        ),
        _curve(
            "Explanations by status",
            "reqps",
            (_rate("deepseek_explain_requests_total", "model_name, status"), "{{model_name}} {{status}}"),
        ),
        _curve(
            "Explanations that wait",
            "short",
            ("deepseek_explain_waiting_requests", "requests"),
            (f"deepseek_explain_queue_rows{{{_M}}}", "{{model_name}} rows"),
        ),
        _curve(
            "All requests, 99 %",
            "s",
            (_quantile(0.99, "deepseek_request_duration_seconds"), _NAME),
        ),
        _curve("Rows explained a second", "short", (_rate("deepseek_explained_rows_total", "model_name"), _NAME)),
        _curve(
            "Tokens a second",
            "short",
            (_rate("deepseek_generation_tokens_total", "model_name, kind"), "{{model_name}} {{kind}}"),
        ),
        _curve("Answers that are being written", "short", (f"deepseek_generating_requests{{{_M}}}", _NAME)),
    ),
)

_SHADOWS, _DIFFERS = "deepseek_shadow_requests_total", f'{_M},same="no"'
_ALL_SHADOWS = _rate(_SHADOWS, "model_name")
_MODELS = Dashboard(
    "deepseek: models",
    "What is loaded, how old it is, and what it answers.",
    (
        _stat("Models loaded", "short", f"sum(deepseek_model_loaded{{{_M}}})"),
        _stat("Age of the model", "s", f"time() - deepseek_model_created_timestamp_seconds{{{_M}}}", _VERSION),
        _stat("Signature", "short", f"deepseek_model_signature_info{{{_M}}}", "{{model_name}}: {{signature}}"),
        _stat("Engines", "short", f"deepseek_model_engines_info{{{_M}}}", "{{model_name}}: {{engines}}"),
        _curve("Requests by version", "reqps", (_rate(_REQUESTS, "model_name, model_version"), _VERSION)),
        _curve(
            "Share of each label",
            "percentunit",
            (
                (
                    f"{_rate('deepseek_answers_total', 'model_name, label')} / on (model_name) group_left "
                    f"{_rate('deepseek_answers_total', 'model_name')}"
                ),
                "{{model_name}} {{label}}",
            ),
        ),
        _curve("Mean confidence", "percentunit", (_mean("deepseek_answer_confidence"), _NAME)),
        _curve("Confidence, lowest tenth", "percentunit", (_quantile(0.1, "deepseek_answer_confidence"), _NAME)),
        _curve(
            "Shadows: answers that differ",
            "percentunit",
            (
                f"({_rate(_SHADOWS, 'model_name', _DIFFERS)} or 0 * {_ALL_SHADOWS}) / {_ALL_SHADOWS}",
                _NAME,
            ),
        ),
    ),
)

_FLAGGED = "deepseek_flagged_values_total"
_BY_LABEL = f"sum by (model_name, label) (rate(deepseek_answers_total{{{_M}}}[1h]))"
_DRIFT = Dashboard(
    "deepseek: drift",
    "Whether the model is asked about what it has learned.",
    (
        _curve(
            "Flagged values a row, by kind",
            "percentunit",
            (
                (
                    f"{_rate(_FLAGGED, 'model_name, what')} / on (model_name) group_left "
                    f"{_rate('deepseek_rows_total', 'model_name')}"
                ),
                "{{model_name}} {{what}}",
            ),
        ),
        _curve(
            "Ten columns with the most flagged values",
            "short",
            (f"topk(10, {_rate(_FLAGGED, 'column, what')})", "{{column}} {{what}}"),
        ),
        _curve(
            "Share of each label, over an hour",
            "percentunit",
            (f"{_BY_LABEL} / on (model_name) group_left sum by (model_name) ({_BY_LABEL})", "{{model_name}} {{label}}"),
        ),
        _curve("Population stability index by column", "short", ("deepseek_column_psi", "{{bundle}} {{column}}")),
        _stat("Since drift was computed", "s", "time() - deepseek_drift_timestamp_seconds", "{{bundle}}"),
    ),
)


def _run(title: str, unit: str, name: str) -> Panel:
    return _curve(title, unit, (f"deepseek_training_{name}", "{{run}}"))


_TRAINING = Dashboard(
    "deepseek: training",
    "How runs of deepseek train get on: from their folders, also after the process has died.",
    (
        _stat("What each run does", "short", "deepseek_training_status_info", "{{run}}: {{run_status}}"),
        _run("Loss", "short", "loss"),
        _run("Loss of validation", "short", "validation_loss"),
        _run("Learning rate", "short", "learning_rate"),
        _run("Norm of the gradient", "short", "gradient_norm"),
        _run("Rows a second", "short", "rows_per_second"),
        _run("Steps", "short", "step"),
        _curve("Since it last logged", "s", ("time() - deepseek_training_logged_timestamp_seconds", "{{run}}")),
        _curve(
            "Age of the newest checkpoint", "s", ("time() - deepseek_training_checkpoint_timestamp_seconds", "{{run}}")
        ),
        _run("Step of the newest checkpoint", "short", "checkpoint_step"),
    ),
    has_model=False,
)

_EVENTS = "deepseek_state_events_total"
_STREAM = Dashboard(
    "deepseek: fraud stream",
    "A stream with a state: what became of events, how far behind it is, what the state takes.",
    (
        _curve(
            "Events a second, by what became of them",
            "short",
            (f"sum by (event_status) (rate({_EVENTS}[{RANGE}]))", "{{event_status}}"),
        ),
        _curve(
            "Share of events that come too late",
            "percentunit",
            (
                (
                    f'sum(rate({_EVENTS}{{event_status="late"}}[{RANGE}])) / '
                    f'sum(rate({_EVENTS}{{event_status!~"label_.*"}}[{RANGE}]))'
                ),
                "late",
            ),
        ),
        _curve(
            "Since the latest event", "s", ("time() - deepseek_state_latest_event_timestamp_seconds", "{{instance}}")
        ),
        _curve("Keys", "short", ("deepseek_state_keys", "{{instance}}")),
        _curve("Memory of the state", "bytes", ("deepseek_state_memory_bytes", "{{instance}}")),
        _curve("Files of the state", "bytes", ("deepseek_state_disk_bytes", "{{kind}}")),
        _curve("Records that are not yet on the disk", "short", ("deepseek_state_unsynced_records", "{{instance}}")),
    ),
    has_model=False,
)

DASHBOARDS: Mapping[str, Dashboard] = {
    "overview": _OVERVIEW,
    "latency": _LATENCY,
    "models": _MODELS,
    "drift": _DRIFT,
    "training": _TRAINING,
    "stream": _STREAM,
}
