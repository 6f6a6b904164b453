"""The table of dashboards and their panels. Every query reads metrics of the table alone.

DASHBOARDS["latency"].panels[0].queries[0].evaluable("30s")     # as Prometheus itself takes it, without Grafana
"""

from __future__ import annotations

from collections.abc import Mapping

from deepseek.observe.dashboards.panel import MODEL, RANGE, Dashboard, Panel, curves, mean, number, quantile, rate_by

_NAME, _VERSION = "{{model_name}}", "{{model_name}} {{model_version}}"
_DURATION = "deepseek_predict_duration_seconds"
_REQUESTS = "deepseek_requests_total"
_SHARES = f"{rate_by(_REQUESTS, 'model_name, status')} / on (model_name) group_left {rate_by(_REQUESTS, 'model_name')}"

_OVERVIEW = Dashboard(
    "deepseek: overview",
    "Whether the server answers, how many, how well, and what it takes.",
    (
        number("Ready", "short", "min(deepseek_ready)"),
        number("Requests a second", "reqps", f"sum(rate({_REQUESTS}[{RANGE}]))"),
        number(
            "Failed (5xx)",
            "percentunit",
            (f'(sum(rate({_REQUESTS}{{status=~"5.."}}[{RANGE}])) or vector(0)) / sum(rate({_REQUESTS}[{RANGE}]))'),
        ),
        curves("Requests by model", "reqps", (rate_by(_REQUESTS, "model_name"), _NAME)),
        curves("Share of each status", "percentunit", (_SHARES, "{{model_name}} {{status}}")),
        curves(
            "Errors by cause",
            "reqps",
            (rate_by("deepseek_request_errors_total", "code", 'model_name=~".*"'), "{{code}}"),
        ),
        curves(
            "Latency of predictions, 50 % and 99 %",
            "s",
            (quantile(0.5, _DURATION), f"{_NAME} 50 %"),
            (quantile(0.99, _DURATION), f"{_NAME} 99 %"),
        ),
        curves("Rows a second", "short", (rate_by("deepseek_rows_total", "model_name"), _NAME)),
        curves(
            "Queue against its limit",
            "percentunit",
            (f"deepseek_queue_rows{{{MODEL}}} / deepseek_queue_limit_rows{{{MODEL}}}", _VERSION),
        ),
        curves(
            "Engine processes",
            "short",
            ("deepseek_workers", "alive"),
            ("deepseek_workers_busy", "busy"),
            ("deepseek_workers_expected", "expected"),
        ),
        curves(
            "Deaths and restarts",
            "short",
            (f"sum by (process) (increase(deepseek_process_deaths_total[{RANGE}]))", "{{process}} died"),
            (f"sum by (process) (increase(deepseek_process_restarts_total[{RANGE}]))", "{{process}} restarted"),
        ),
        curves(
            "Memory by process",
            "bytes",
            ("deepseek_process_resident_bytes", "{{process}} {{index}}"),
            ("deepseek_memory_limit_bytes", "limit"),
        ),
        curves(
            "Cores by process", "short", (f"rate(deepseek_process_cpu_seconds_total[{RANGE}])", "{{process}} {{index}}")
        ),
        curves(
            "Memory of the container or machine",
            "percentunit",
            ("deepseek_memory_bytes / deepseek_memory_limit_bytes", "{{instance}}"),
        ),
        curves("Room on disks", "percentunit", ("deepseek_disk_free_bytes / deepseek_disk_size_bytes", "{{volume}}")),
        curves(
            "Open files",
            "percentunit",
            ("process_open_fds / process_max_fds", "{{instance}}"),
            (f"increase(deepseek_out_of_files_total[{RANGE}])", "ran out"),
        ),
        curves(
            "Large bodies in memory", "percentunit", ("deepseek_body_bytes / deepseek_body_limit_bytes", "{{instance}}")
        ),
        curves("Lines that logs lost", "short", ("deepseek_lost_log_lines", "{{log}}")),
        number(
            "Days until the certificate expires",
            "short",
            "(min(deepseek_certificate_expiry_timestamp_seconds) - time()) / 86400",
        ),
        curves(
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
        curves(
            "Latency of predictions, 50, 90 and 99 %",
            "s",
            *((quantile(share, _DURATION), f"{_NAME} {share:.0%}") for share in (0.5, 0.9, 0.99)),
        ),
        curves("Parts of a prediction, mean", "s", (mean(_STAGE, "model_name, stage"), "{{model_name}} {{stage}}")),
        curves(
            "Parts of a prediction, 99 %",
            "s",
            (quantile(0.99, _STAGE, "model_name, stage"), "{{model_name}} {{stage}}"),
        ),
        curves("Wait for a batch, 99 %", "s", (quantile(0.99, "deepseek_queue_duration_seconds"), _NAME)),
        curves("Until a row that comes now is computed", "s", (f"deepseek_queue_wait_seconds{{{MODEL}}}", _VERSION)),
        curves(
            "Computing a batch, 50 and 99 %",
            "s",
            (quantile(0.5, "deepseek_batch_duration_seconds"), f"{_NAME} 50%"),
            (quantile(0.99, "deepseek_batch_duration_seconds"), f"{_NAME} 99%"),
        ),
        curves("Rows in a batch, mean", "short", (mean("deepseek_batch_rows"), _NAME)),
        curves(
            "Fill of a batch",
            "percentunit",
            (
                (
                    f"{mean('deepseek_batch_rows')} / on (model_name) max by (model_name) "
                    f"(deepseek_batch_limit_rows{{{MODEL}}})"
                ),
                _NAME,
            ),
        ),
        curves(
            "Answered with another request's result",
            "reqps",
            (rate_by("deepseek_coalesced_requests_total", "model_name"), _NAME),
        ),
        curves(
            "Explaining, 50 and 99 %",
            "s",
            (quantile(0.5, "deepseek_explain_duration_seconds"), f"{_NAME} 50%"),
            (quantile(0.99, "deepseek_explain_duration_seconds"), f"{_NAME} 99%"),
        ),
        curves(
            "Explanations by status",
            "reqps",
            (rate_by("deepseek_explain_requests_total", "model_name, status"), "{{model_name}} {{status}}"),
        ),
        curves(
            "Explanations that wait",
            "short",
            ("deepseek_explain_waiting_requests", "requests"),
            (f"deepseek_explain_queue_rows{{{MODEL}}}", "{{model_name}} rows"),
        ),
        curves(
            "All requests, 99 %",
            "s",
            (quantile(0.99, "deepseek_request_duration_seconds"), _NAME),
        ),
        curves("Rows explained a second", "short", (rate_by("deepseek_explained_rows_total", "model_name"), _NAME)),
        curves(
            "Tokens a second",
            "short",
            (rate_by("deepseek_generation_tokens_total", "model_name, kind"), "{{model_name}} {{kind}}"),
        ),
        curves("Answers that are being written", "short", (f"deepseek_generating_requests{{{MODEL}}}", _NAME)),
    ),
)

_SHADOWS, _DIFFERS = "deepseek_shadow_requests_total", f'{MODEL},same="no"'
_ALL_SHADOWS = rate_by(_SHADOWS, "model_name")
_MODELS = Dashboard(
    "deepseek: models",
    "What is loaded, how old it is, and what it answers.",
    (
        number("Models loaded", "short", f"sum(deepseek_model_loaded{{{MODEL}}})"),
        number("Age of the model", "s", f"time() - deepseek_model_created_timestamp_seconds{{{MODEL}}}", _VERSION),
        number("Signature", "short", f"deepseek_model_signature_info{{{MODEL}}}", "{{model_name}}: {{signature}}"),
        number("Engines", "short", f"deepseek_model_engines_info{{{MODEL}}}", "{{model_name}}: {{engines}}"),
        curves("Requests by version", "reqps", (rate_by(_REQUESTS, "model_name, model_version"), _VERSION)),
        curves(
            "Share of each label",
            "percentunit",
            (
                (
                    f"{rate_by('deepseek_answers_total', 'model_name, label')} / on (model_name) group_left "
                    f"{rate_by('deepseek_answers_total', 'model_name')}"
                ),
                "{{model_name}} {{label}}",
            ),
        ),
        curves("Mean confidence", "percentunit", (mean("deepseek_answer_confidence"), _NAME)),
        curves("Confidence, lowest tenth", "percentunit", (quantile(0.1, "deepseek_answer_confidence"), _NAME)),
        curves(
            "Shadows: answers that differ",
            "percentunit",
            (
                f"({rate_by(_SHADOWS, 'model_name', _DIFFERS)} or 0 * {_ALL_SHADOWS}) / {_ALL_SHADOWS}",
                _NAME,
            ),
        ),
    ),
)

_FLAGGED = "deepseek_flagged_values_total"
_BY_LABEL = f"sum by (model_name, label) (rate(deepseek_answers_total{{{MODEL}}}[1h]))"
_DRIFT = Dashboard(
    "deepseek: drift",
    "Whether the model is asked about what it has learned.",
    (
        curves(
            "Flagged values a row, by kind",
            "percentunit",
            (
                (
                    f"{rate_by(_FLAGGED, 'model_name, what')} / on (model_name) group_left "
                    f"{rate_by('deepseek_rows_total', 'model_name')}"
                ),
                "{{model_name}} {{what}}",
            ),
        ),
        curves(
            "Ten columns with the most flagged values",
            "short",
            (f"topk(10, {rate_by(_FLAGGED, 'column, what')})", "{{column}} {{what}}"),
        ),
        curves(
            "Share of each label, over an hour",
            "percentunit",
            (f"{_BY_LABEL} / on (model_name) group_left sum by (model_name) ({_BY_LABEL})", "{{model_name}} {{label}}"),
        ),
        curves("Population stability index by column", "short", ("deepseek_column_psi", "{{bundle}} {{column}}")),
        number("Since drift was computed", "s", "time() - deepseek_drift_timestamp_seconds", "{{bundle}}"),
    ),
)


def _run(title: str, unit: str, name: str) -> Panel:
    return curves(title, unit, (f"deepseek_training_{name}", "{{run}}"))


_TRAINING = Dashboard(
    "deepseek: training",
    "How runs of deepseek train get on: from their folders, also after the process has died.",
    (
        number("What each run does", "short", "deepseek_training_status_info", "{{run}}: {{run_status}}"),
        _run("Loss", "short", "loss"),
        _run("Loss of validation", "short", "validation_loss"),
        _run("Learning rate", "short", "learning_rate"),
        _run("Norm of the gradient", "short", "gradient_norm"),
        _run("Rows a second", "short", "rows_per_second"),
        _run("Steps", "short", "step"),
        curves("Since it last logged", "s", ("time() - deepseek_training_logged_timestamp_seconds", "{{run}}")),
        curves(
            "Age of the newest checkpoint", "s", ("time() - deepseek_training_checkpoint_timestamp_seconds", "{{run}}")
        ),
        _run("Step of the newest checkpoint", "short", "checkpoint_step"),
        curves("Rounds of federated studies", "short", ("deepseek_federated_rounds", "{{study}}")),
        curves(
            "Parties of the last task",
            "short",
            ("deepseek_federated_parties", "{{study}}"),
            ("deepseek_federated_dropped_parties", "{{study}}: dropped"),
        ),
        curves("Attempts of the last task", "short", ("deepseek_federated_attempts", "{{study}}")),
        curves("Sent by its parties", "bytes", ("deepseek_federated_sent_bytes", "{{study}}")),
        curves("Since the last task", "s", ("time() - deepseek_federated_task_timestamp_seconds", "{{study}}")),
    ),
    has_model=False,
)

_EVENTS = "deepseek_state_events_total"
_STREAM = Dashboard(
    "deepseek: fraud stream",
    "A stream with a state: what became of events, how far behind it is, what the state takes.",
    (
        curves(
            "Events a second, by what became of them",
            "short",
            (f"sum by (event_status) (rate({_EVENTS}[{RANGE}]))", "{{event_status}}"),
        ),
        curves(
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
        curves(
            "Since the latest event", "s", ("time() - deepseek_state_latest_event_timestamp_seconds", "{{instance}}")
        ),
        curves("Keys", "short", ("deepseek_state_keys", "{{instance}}")),
        curves("Memory of the state", "bytes", ("deepseek_state_memory_bytes", "{{instance}}")),
        curves("Files of the state", "bytes", ("deepseek_state_disk_bytes", "{{kind}}")),
        curves(
            "False positives against the promise",
            "percentunit",
            ("deepseek_decision_false_positive_rate", "{{model_name}} {{end}}"),
            ("deepseek_decision_max_false_positive_rate", "{{model_name}} promised"),
        ),
        curves(
            "Recall and precision",
            "percentunit",
            ("deepseek_decision_recall", "recall {{end}}"),
            ("deepseek_decision_precision", "precision {{end}}"),
        ),
        curves("Alerts a day", "short", ("deepseek_decision_alerts_per_day", "{{model_name}} {{end}}")),
        curves(
            "Share of frauds, and mean chance",
            "percentunit",
            ("deepseek_decision_fraud_share", "frauds {{end}}"),
            ("deepseek_decision_mean_chance", "mean chance"),
        ),
        curves(
            "Stability of chances and features",
            "short",
            ("deepseek_decision_chance_psi", "chances"),
            ("topk(10, deepseek_decision_feature_psi)", "{{column}}"),
        ),
        curves(
            "Events whose verdicts are out",
            "short",
            ("deepseek_decision_scored_events", "scored"),
            ("deepseek_decision_alerts", "alerts"),
            ("deepseek_decision_frauds", "frauds"),
            ("deepseek_decision_caught_frauds", "caught"),
        ),
        curves("Records that are not yet on the disk", "short", ("deepseek_state_unsynced_records", "{{instance}}")),
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
