"""Alerts on models: their answers, what they are asked, their age, streams and training."""

from __future__ import annotations

from deepseek.observe.rules.alert import Alert, counter, gauge

_MODEL = 'model_name="loans",model_version="1"'
_ROWS = "sum by (model_name) (rate(deepseek_rows_total[15m]))"
_LABEL_SHARE = (
    "sum by (model_name, label) (rate(deepseek_answers_total[1h]{offset})) / on (model_name) group_left "
    "sum by (model_name) (rate(deepseek_answers_total[1h]{offset}))"
)
_LABEL_SHIFT = f"abs({_LABEL_SHARE.format(offset='')} - {_LABEL_SHARE.format(offset=' offset 1d')})"
_DAY_S = 86_400.0
_STREAM = "deepseek serve --state, or deepseek stream --metrics-port"
_RUN = "deepseek observe expose RUN"

MODEL_ALERTS = (
    Alert(
        "DeepseekFlaggedValues",
        lambda t: (
            f"sum by (model_name, column, what) (rate(deepseek_flagged_values_total[15m])) / on (model_name) group_left {_ROWS} "
            f"> {t.text('flagged_rate')}"
        ),
        600, 900, "warning", "{{ $labels.model_name }}: {{ $value | humanizePercentage }} of rows have a value of {{ $labels.column }} that is {{ $labels.what }}",
        "The model is asked about what it did not learn: values are missing (imputed), new (unseen), cut (truncated), outside of the training range, or rows lie far from every training row. Its answers are less certain than its evidence says.",
        ("the column: since when, and from which client or upstream", "whether the upstream has changed a unit, a name of a level or an encoding",
         "`deepseek observe why --since 1h`"),
        ("mend the upstream", "where the world has changed, train again: `deepseek ship`, then `deepseek compare` with the version before"),
        (
            counter(f'deepseek_flagged_values_total{{{_MODEL},column="income",what="imputed"}}', lambda t: 15 * t["flagged_rate"], lambda t: 120 * t["flagged_rate"]),
            counter(f"deepseek_rows_total{{{_MODEL}}}", 60, 60),
        ), ("flagged_rate",), "a value that was flagged",
    ),
    Alert(
        "DeepseekColumnDrift", lambda t: f"max by (bundle, column) (deepseek_column_psi) > {t.text('psi')}", 0, 0, "warning",
        "{{ $labels.bundle }}: {{ $labels.column }} has drifted (PSI {{ $value | humanize }})",
        "The values of a column are distributed otherwise than in the data card.",
        ("the page of `deepseek observe drift --html`: the histogram, and whether the drift reaches the answers",),
        ("mend the upstream, or train again",),
        (gauge('deepseek_column_psi{bundle="loans",column="income"}', lambda t: t["psi"] / 2, lambda t: t["psi"] * 1.5),),
        ("psi",), "deepseek observe expose DRIFT.json",
    ),
    Alert(
        "DeepseekConfidence",
        lambda t: (
            "sum by (model_name) (rate(deepseek_answer_confidence_sum[15m])) / "
            f"sum by (model_name) (rate(deepseek_answer_confidence_count[15m])) < {t.text('confidence')}"
        ),
        600, 900, "warning", "{{ $labels.model_name }}: the mean confidence is {{ $value | humanizePercentage }}",
        "The model is less certain than it should be. Where its evidence has a lower figure, set the threshold for it.",
        ("deepseek_flagged_values_total of the same time", "which version answers since when", "`deepseek observe drift`"),
        ("as for drift: mend the upstream, roll back, or train again",),
        (
            counter(f"deepseek_answer_confidence_sum{{{_MODEL}}}", lambda t: 30 * (1 + t["confidence"]), lambda t: 30 * t["confidence"]),
            counter(f"deepseek_answer_confidence_count{{{_MODEL}}}", 60, 60),
        ), ("confidence",), "a classifier",
    ),
    Alert(
        "DeepseekLabelShift", lambda t: f"{_LABEL_SHIFT} > {t.text('label_shift')}", 1_800, 3_600, "warning",
        "{{ $labels.model_name }}: the share of {{ $labels.label }} has moved by {{ $value | humanizePercentage }} since yesterday",
        "The model answers otherwise than a day ago: other people ask, something upstream has changed, or another version answers.",
        ("deepseek_model_loaded: has the version changed", "deepseek_flagged_values_total", "whether another client asks"),
        ("roll back where the version is the cause", "tell who relies on the rate of answers where the world has changed"),
        (
            counter(f'deepseek_answers_total{{{_MODEL},label="yes"}}', 6, lambda t: 60 * (0.1 + t["label_shift"] + (0.9 - t["label_shift"]) / 2)),
            counter(f'deepseek_answers_total{{{_MODEL},label="no"}}', 54, lambda t: 60 * (0.9 - t["label_shift"]) / 2),
        ), ("label_shift",), "a classifier", 90_000,
    ),
    Alert(
        "DeepseekShadowDiffers",
        lambda t: (
            'sum by (model_name, model_version) (rate(deepseek_shadow_requests_total{same="no"}[15m])) / '
            f"sum by (model_name, model_version) (rate(deepseek_shadow_requests_total[15m])) > {t.text('shadow_difference')}"
        ),
        300, 900, "warning", "{{ $labels.model_name }} {{ $labels.model_version }}: {{ $value | humanizePercentage }} of a shadow's answers differ",
        "The version that answers in the shadow would answer otherwise.", ("`deepseek compare` of both versions on labelled rows",),
        ("do not promote the shadow before the difference is understood",),
        (
            counter(f'deepseek_shadow_requests_total{{{_MODEL},same="no"}}', lambda t: 15 * t["shadow_difference"], lambda t: 30 * (1 + t["shadow_difference"])),
            counter(f'deepseek_shadow_requests_total{{{_MODEL},same="yes"}}', lambda t: 60 - 15 * t["shadow_difference"], lambda t: 30 * (1 - t["shadow_difference"])),
        ), ("shadow_difference",), "a --route with a shadow",
    ),
    Alert(
        "DeepseekSignature", lambda t: 'deepseek_model_signature_info{signature="not checked"} == 1', 0, 0, "warning",
        "{{ $labels.model_name }} {{ $labels.model_version }}: the signature was not checked",
        "The bundle is signed, and the server was given no public key: nobody has proven who made it.",
        ("how the server was started: --key FILE",), ("serve with --key and the maker's public key",),
        (gauge(f'deepseek_model_signature_info{{{_MODEL},signature="not checked"}}', 0, 1),), (), "a signed bundle, without --key",
    ),
    Alert(
        "DeepseekModelOld", lambda t: f"time() - deepseek_model_created_timestamp_seconds > {t.text('model_age_days')} * 86400", 0, 0, "warning",
        "{{ $labels.model_name }} {{ $labels.model_version }} was made {{ $value | humanizeDuration }} ago",
        "A model that is not trained again falls behind the world.", ("`deepseek evaluate` on recent labels", "`deepseek observe drift`"),
        ("train again, or say in writing why it may stay and set model_age_days",),
        (gauge(f"deepseek_model_created_timestamp_seconds{{{_MODEL}}}", 1e9, lambda t: -(t["model_age_days"] + 1) * _DAY_S),),
        ("model_age_days",),
    ),
    Alert(
        "DeepseekStreamLag", lambda t: f"time() - deepseek_state_latest_event_timestamp_seconds > {t.text('stream_lag')}", 120, 0, "critical",
        "{{ $labels.instance }}: the latest event is {{ $value | humanizeDuration }} old",
        "No recent event is scored: the source is silent, the stream is stuck, or it cannot keep up.",
        ("whether the source has new events", "deepseek_state_unsynced_records: the disk may be slow", "the log of the stream"),
        ("restart the stream: it goes on behind the last answer", "split the keys over more streams where it cannot keep up"),
        (gauge('deepseek_state_latest_event_timestamp_seconds{instance="a:9109"}', 1e9, lambda t: -2 * t["stream_lag"]),),
        ("stream_lag",), _STREAM,
    ),
    Alert(
        "DeepseekStreamLate",
        lambda t: (
            'sum by (instance) (rate(deepseek_state_events_total{event_status="late"}[10m])) / '
            f'sum by (instance) (rate(deepseek_state_events_total{{event_status!~"label_.*"}}[10m])) > {t.text("late_rate")}'
        ),
        300, 600, "warning", "{{ $labels.instance }}: {{ $value | humanizePercentage }} of events come too late to be scored",
        "Events are further behind the latest one than the definition allows: they get no answer.",
        ("which upstream is behind: a partition, a clock", "one event far in the future makes all others late: look for it"),
        ("mend the upstream or its clock", "raise `lateness` in the definition of features, which takes memory"),
        (
            counter('deepseek_state_events_total{event_status="late",instance="a:9109"}', lambda t: 15 * t["late_rate"], lambda t: 30 * (1 + t["late_rate"])),
            counter('deepseek_state_events_total{event_status="accepted",instance="a:9109"}', lambda t: 60 - 15 * t["late_rate"], lambda t: 30 * (1 - t["late_rate"])),
        ), ("late_rate",), _STREAM,
    ),
    Alert(
        "DeepseekStateLog", lambda t: f'deepseek_state_disk_bytes{{kind="log"}} > {t.text("log_gib")} * 1073741824', 300, 0, "warning",
        "{{ $labels.instance }}: the log of the state has {{ $value | humanize1024 }}B",
        "The state has written no snapshot for long: it will open slowly, and the disk fills.",
        ("whether snapshots fail for want of room: the log of the stream says so",), ("make room; the next snapshot begins the log anew",),
        (gauge('deepseek_state_disk_bytes{kind="log",instance="a:9109"}', lambda t: t["log_gib"] * 2**29, lambda t: t["log_gib"] * 2**31),),
        ("log_gib",), _STREAM,
    ),
    Alert(
        "DeepseekTrainingSilent",
        lambda t: (
            f"time() - deepseek_training_logged_timestamp_seconds > {t.text('training_silence')} "
            'and on (run) deepseek_training_status_info{run_status="running"} == 1'
        ),
        120, 0, "warning", "{{ $labels.run }}: nothing was logged for {{ $value | humanizeDuration }}",
        "A run that says that it runs has logged nothing for long: it hangs, or it was killed.",
        ("whether its process lives", "its rows a second before", "with several ranks, which one waits"),
        ("go on from the newest checkpoint: `deepseek train RUN.toml --resume`",),
        (
            gauge('deepseek_training_status_info{run="first",run_status="running"}', 1, 1),
            gauge('deepseek_training_logged_timestamp_seconds{run="first"}', 1e9, lambda t: -2 * t["training_silence"]),
        ), ("training_silence",), _RUN,
    ),
    Alert(
        "DeepseekTrainingDiverged", lambda t: "deepseek_training_loss != deepseek_training_loss", 0, 0, "critical",
        "{{ $labels.run }}: the loss is not finite", "The run computes nothing of use any more.",
        ("the gradient's norm before", "the rows of the last steps: an infinite or a huge value"),
        ("stop it, lower the learning rate or clip the gradient, and go on from the checkpoint before",),
        (gauge('deepseek_training_loss{run="first"}', 0.5, float("nan")),), (), _RUN,
    ),
    Alert(
        "DeepseekCheckpointOld",
        lambda t: (
            f"time() - deepseek_training_checkpoint_timestamp_seconds > {t.text('checkpoint_age')} "
            'and on (run) deepseek_training_status_info{run_status="running"} == 1'
        ),
        0, 0, "warning", "{{ $labels.run }}: the newest checkpoint is {{ $value | humanizeDuration }} old",
        "A kill of the process loses all work since then.", ("room and rights in the run's folder", "checkpoint.every of the run"),
        ("make room, or save more often",),
        (
            gauge('deepseek_training_status_info{run="first",run_status="running"}', 1, 1),
            gauge('deepseek_training_checkpoint_timestamp_seconds{run="first"}', 1e9, lambda t: -2 * t["checkpoint_age"]),
        ), ("checkpoint_age",), _RUN,
    ),
)  # fmt: skip
