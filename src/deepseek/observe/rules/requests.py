"""Alerts on requests: errors, lateness, refusals, queues."""

from __future__ import annotations

from deepseek.observe.rules.alert import Alert, Signal, counter, gauge, without_threshold

_MODEL = 'model_name="loans",model_version="1"'
_BY_MODEL = "sum by (model_name)"
_ALL = f"{_BY_MODEL} (rate(deepseek_requests_total[5m]))"
_STEP_REQUESTS = 60.0  # a step, on the series of the tests


def status_signals(threshold: str, status: int) -> tuple[Signal, ...]:
    """Requests of which a quarter of the threshold's share has this status while all is quiet, and in the bad phase
    half of what is left from the threshold to all."""
    return (
        counter(
            f'deepseek_requests_total{{{_MODEL},status="{status}"}}',
            lambda t: _STEP_REQUESTS * t[threshold] / 4,
            lambda t: _STEP_REQUESTS * (1 + t[threshold]) / 2,
        ),
        counter(
            f'deepseek_requests_total{{{_MODEL},status="200"}}',
            lambda t: _STEP_REQUESTS * (1 - t[threshold] / 4),
            lambda t: _STEP_REQUESTS * (1 - t[threshold]) / 2,
        ),
    )


_P99 = f"histogram_quantile(0.99, {_BY_MODEL[:-1]}, le) (rate(deepseek_predict_duration_seconds_bucket[5m])))"

REQUEST_ALERTS = (
    Alert(
        "DeepseekDown",
        expression=without_threshold('up{job="deepseek"} == 0'),
        for_s=60,
        window_s=0,
        severity="critical",
        summary="{{ $labels.instance }} does not answer Prometheus",
        meaning=(
            "The server, its machine or the network between is away. Nobody who asks this instance gets an answer."
        ),
        checks=(
            "whether the process or the container lives, and its last log lines",
            "whether /v2/health/live answers on the machine itself",
            (
                "whether Prometheus may reach the port: a firewall, a NetworkPolicy, an API key of the scraper "
                "that was withdrawn"
            ),
        ),
        actions=(
            "start it again: `docker compose up -d`, or let Kubernetes do it",
            "take the instance out of the balancer meanwhile",
        ),
        signals=(gauge('up{job="deepseek",instance="a:8000"}', 1, 0),),
    ),
    Alert(
        "DeepseekNotReady",
        expression=without_threshold("deepseek_ready == 0"),
        for_s=120,
        window_s=0,
        severity="critical",
        summary="{{ $labels.instance }} lives and takes no requests",
        meaning=(
            "The server answers its metrics and refuses requests with 503: it is draining, no model is "
            "loaded, or no engine process lives."
        ),
        checks=(
            "what /v2/health/ready says: its message names the reason",
            "deepseek_workers and deepseek_process_deaths_total",
        ),
        actions=(
            "where an engine dies of a model, load the version before: `deepseek observe why` names it",
            "where it drains and does not end, look for a request that never ends",
        ),
        signals=(gauge('deepseek_ready{instance="a:8000"}', 1, 0),),
    ),
    Alert(
        "DeepseekErrors",
        expression=lambda t: (
            f'{_BY_MODEL} (rate(deepseek_requests_total{{status=~"5.."}}[5m])) / {_ALL} > {t.text("error_rate")}'
        ),
        for_s=120,
        window_s=300,
        severity="critical",
        summary="{{ $labels.model_name }}: {{ $value | humanizePercentage }} of requests fail",
        meaning="The server answers with 5xx: clients did nothing wrong and get no answer.",
        checks=(
            (
                "deepseek_request_errors_total by code: `non_finite`, `engine_lost`, `deadline`, or the name of "
                "an exception"
            ),
            "the log lines with event.outcome failure; error.stack_trace is there for a bug of ours",
            "which version answers since when",
        ),
        actions=(
            "roll back where one version is at fault",
            "drain the instance where one machine is at fault",
            "report a bug of ours with its trace",
        ),
        signals=status_signals("error_rate", 500),
        thresholds=("error_rate",),
    ),
    Alert(
        "DeepseekLatency",
        expression=lambda t: f"{_P99} > {t.text('latency_p99')}",
        for_s=300,
        window_s=300,
        severity="warning",
        summary="{{ $labels.model_name }}: 99 % of predictions take up to {{ $value | humanizeDuration }}",
        meaning="Predictions are late. Explanations are not counted here.",
        checks=(
            "deepseek_stage_duration_seconds: which part has grown",
            "deepseek_batch_rows and deepseek_queue_rows: more load, or longer inputs",
            "deepseek_explain_duration_seconds, and whether explanations are asked more often",
            "CPU of the processes against the cores",
        ),
        actions=(
            "add workers or replicas where the wait has grown",
            "where computing has grown with the load unchanged, compare versions and machines",
            "limit rows a request (--max-rows) where a few large ones are the cause",
        ),
        signals=(
            counter(f'deepseek_predict_duration_seconds_bucket{{{_MODEL},le="0.00025"}}', 60, 0),
            counter(f'deepseek_predict_duration_seconds_bucket{{{_MODEL},le="10.0"}}', 60, 0),
            counter(f'deepseek_predict_duration_seconds_bucket{{{_MODEL},le="+Inf"}}', 60, 60),
        ),
        thresholds=("latency_p99",),
    ),
    Alert(
        "DeepseekRefusals",
        expression=lambda t: (
            f'{_BY_MODEL} (rate(deepseek_requests_total{{status="429"}}[5m])) / {_ALL} > {t.text("refusal_rate")}'
        ),
        for_s=120,
        window_s=300,
        severity="warning",
        summary="{{ $labels.model_name }}: {{ $value | humanizePercentage }} of requests are refused with 429",
        meaning="More is asked than can be computed in time, or a client is over the rate of its key.",
        checks=(
            "deepseek_request_errors_total: `overloaded` is load, `rate_limited` is one client",
            "deepseek_queue_rows against its limit",
        ),
        actions=("add workers or replicas", "raise the client's rate in the file of keys, or tell it to slow down"),
        signals=status_signals("refusal_rate", 429),
        thresholds=("refusal_rate",),
    ),
    Alert(
        "DeepseekDeadlines",
        expression=lambda t: (
            f'{_BY_MODEL} (rate(deepseek_requests_total{{status="504"}}[5m])) / {_ALL} > {t.text("deadline_rate")}'
        ),
        for_s=120,
        window_s=300,
        severity="critical",
        summary="{{ $labels.model_name }}: {{ $value | humanizePercentage }} of requests pass their deadline",
        meaning="Requests are given up because their deadline passed before they were computed.",
        checks=(
            "deepseek_stage_duration_seconds, wait and compute",
            "whether clients send x-timeout-ms shorter than before",
        ),
        actions=("add workers or replicas", "where one slow model holds the workers, serve it apart"),
        signals=status_signals("deadline_rate", 504),
        thresholds=("deadline_rate",),
    ),
    Alert(
        "DeepseekQueue",
        expression=lambda t: f"deepseek_queue_rows / deepseek_queue_limit_rows > {t.text('queue_fill')}",
        for_s=120,
        window_s=0,
        severity="warning",
        summary="{{ $labels.model_name }}: its queue is {{ $value | humanizePercentage }} full",
        meaning="Rows come faster than they are computed. At 100 % requests are refused.",
        checks=(
            "deepseek_rows_total: has the load grown",
            "deepseek_batch_duration_seconds: has computing become slower",
            "deepseek_workers against deepseek_workers_expected",
        ),
        actions=("add workers or replicas: the chart's autoscaling does so by this metric",),
        signals=(
            gauge(f"deepseek_queue_limit_rows{{{_MODEL}}}", 1_000, 1_000),
            gauge(
                f"deepseek_queue_rows{{{_MODEL}}}",
                lambda t: 250 * t["queue_fill"],
                lambda t: 500 * (1 + t["queue_fill"]),
            ),
        ),
        thresholds=("queue_fill",),
    ),
    Alert(
        "DeepseekExplanations",
        expression=lambda t: (
            f'{_BY_MODEL} (rate(deepseek_explain_requests_total{{status=~"429|5.."}}[10m])) / '
            f"{_BY_MODEL} (rate(deepseek_explain_requests_total[10m])) > {t.text('explain_refusal_rate')}"
        ),
        for_s=300,
        window_s=600,
        severity="warning",
        summary=(
            "{{ $labels.model_name }}: {{ $value | humanizePercentage }} of explanations are refused, late or fail"
        ),
        meaning=(
            "Explanations give way to predictions. Where reasons are owed to people, some do not get them in time."
        ),
        checks=(
            "deepseek_explain_waiting_requests and deepseek_explain_queue_rows",
            "the load of predictions beside them",
        ),
        actions=("explain on a server of its own, with the same bundle", "ask for fewer rows a request"),
        signals=(
            counter(
                f'deepseek_explain_requests_total{{{_MODEL},status="504"}}',
                lambda t: 15 * t["explain_refusal_rate"],
                lambda t: 30 * (1 + t["explain_refusal_rate"]),
            ),
            counter(
                f'deepseek_explain_requests_total{{{_MODEL},status="200"}}',
                lambda t: 60 - 15 * t["explain_refusal_rate"],
                lambda t: 30 * (1 - t["explain_refusal_rate"]),
            ),
        ),
        thresholds=("explain_refusal_rate",),
        needs="explanations that are asked for",
    ),
)
