"""Alerts on models: their answers, what they are asked, their age, streams and training."""

from __future__ import annotations

from deepseek.observe.rules.alert import Alert, counter, gauge, without_threshold

_MODEL = 'model_name="loans",model_version="1"'
_ROWS = "sum by (model_name) (rate(deepseek_rows_total[15m]))"
_LABEL_SHARE = (
    "sum by (model_name, label) (rate(deepseek_answers_total[1h]{offset})) / on (model_name) "
    "group_left "
    "sum by (model_name) (rate(deepseek_answers_total[1h]{offset}))"
)
_LABEL_SHIFT = f"abs({_LABEL_SHARE.format(offset='')} - {_LABEL_SHARE.format(offset=' offset 1d')})"
_DAY_S = 86_400.0
_STREAM = "deepseek serve --state, or deepseek stream --metrics-port"
_RUN = "deepseek observe expose RUN"

MODEL_ALERTS = (
    Alert(
        "DeepseekFlaggedValues",
        expression=lambda t: (
            f"sum by (model_name, column, what) (rate(deepseek_flagged_values_total[15m])) / on (model_name) "
            f"group_left {_ROWS} "
            f"> {t.text('flagged_rate')}"
        ),
        for_s=600,
        window_s=900,
        severity="warning",
        summary=(
            "{{ $labels.model_name }}: {{ $value | humanizePercentage }} of rows have a value of {{ "
            "$labels.column }} that is {{ $labels.what }}"
        ),
        meaning=(
            "The model is asked about what it did not learn: values are missing (imputed), new (unseen), cut "
            "(truncated), outside of the training range, or rows lie far from every training row. Its "
            "answers are less certain than its evidence says."
        ),
        checks=(
            "the column: since when, and from which client or upstream",
            "whether the upstream has changed a unit, a name of a level or an encoding",
            "`deepseek observe why --since 1h`",
        ),
        actions=(
            "mend the upstream",
            (
                "where the world has changed, train again: `deepseek ship`, then `deepseek compare` with the "
                "version before"
            ),
        ),
        signals=(
            counter(
                f'deepseek_flagged_values_total{{{_MODEL},column="income",what="imputed"}}',
                lambda t: 15 * t["flagged_rate"],
                lambda t: 120 * t["flagged_rate"],
            ),
            counter(f"deepseek_rows_total{{{_MODEL}}}", 60, 60),
        ),
        thresholds=("flagged_rate",),
        needs="a value that was flagged",
    ),
    Alert(
        "DeepseekColumnDrift",
        expression=lambda t: f"max by (bundle, column) (deepseek_column_psi) > {t.text('psi')}",
        for_s=0,
        window_s=0,
        severity="warning",
        summary="{{ $labels.bundle }}: {{ $labels.column }} has drifted (PSI {{ $value | humanize }})",
        meaning="The values of a column are distributed otherwise than in the data card.",
        checks=(
            ("the page of `deepseek observe drift --html`: the histogram, and whether the drift reaches the answers"),
        ),
        actions=("mend the upstream, or train again",),
        signals=(
            gauge(
                'deepseek_column_psi{bundle="loans",column="income"}', lambda t: t["psi"] / 2, lambda t: t["psi"] * 1.5
            ),
        ),
        thresholds=("psi",),
        needs="deepseek observe expose DRIFT.json",
    ),
    Alert(
        "DeepseekConfidence",
        expression=lambda t: (
            "sum by (model_name) (rate(deepseek_answer_confidence_sum[15m])) / "
            f"sum by (model_name) (rate(deepseek_answer_confidence_count[15m])) < {t.text('confidence')}"
        ),
        for_s=600,
        window_s=900,
        severity="warning",
        summary="{{ $labels.model_name }}: the mean confidence is {{ $value | humanizePercentage }}",
        meaning=(
            "The model is less certain than it should be. Where its evidence has a lower figure, set the "
            "threshold for it."
        ),
        checks=(
            "deepseek_flagged_values_total of the same time",
            "which version answers since when",
            "`deepseek observe drift`",
        ),
        actions=("as for drift: mend the upstream, roll back, or train again",),
        signals=(
            counter(
                f"deepseek_answer_confidence_sum{{{_MODEL}}}",
                lambda t: 30 * (1 + t["confidence"]),
                lambda t: 30 * t["confidence"],
            ),
            counter(f"deepseek_answer_confidence_count{{{_MODEL}}}", 60, 60),
        ),
        thresholds=("confidence",),
        needs="a classifier",
    ),
    Alert(
        "DeepseekLabelShift",
        expression=lambda t: f"{_LABEL_SHIFT} > {t.text('label_shift')}",
        for_s=1_800,
        window_s=3_600,
        severity="warning",
        summary=(
            "{{ $labels.model_name }}: the share of {{ $labels.label }} has moved by {{ $value | "
            "humanizePercentage }} since yesterday"
        ),
        meaning=(
            "The model answers otherwise than a day ago: other people ask, something upstream has changed, "
            "or another version answers."
        ),
        checks=(
            "deepseek_model_loaded: has the version changed",
            "deepseek_flagged_values_total",
            "whether another client asks",
        ),
        actions=(
            "roll back where the version is the cause",
            "tell who relies on the rate of answers where the world has changed",
        ),
        signals=(
            counter(
                f'deepseek_answers_total{{{_MODEL},label="yes"}}',
                6,
                lambda t: 60 * (0.1 + t["label_shift"] + (0.9 - t["label_shift"]) / 2),
            ),
            counter(f'deepseek_answers_total{{{_MODEL},label="no"}}', 54, lambda t: 60 * (0.9 - t["label_shift"]) / 2),
        ),
        thresholds=("label_shift",),
        needs="a classifier",
        history_s=90_000,
    ),
    Alert(
        "DeepseekShadowDiffers",
        expression=lambda t: (
            'sum by (model_name, model_version) (rate(deepseek_shadow_requests_total{same="no"}[15m])) / '
            f"sum by (model_name, model_version) (rate(deepseek_shadow_requests_total[15m])) > "
            f"{t.text('shadow_difference')}"
        ),
        for_s=300,
        window_s=900,
        severity="warning",
        summary=(
            "{{ $labels.model_name }} {{ $labels.model_version }}: {{ $value | humanizePercentage }} of a "
            "shadow's answers differ"
        ),
        meaning="The version that answers in the shadow would answer otherwise.",
        checks=("`deepseek compare` of both versions on labelled rows",),
        actions=("do not promote the shadow before the difference is understood",),
        signals=(
            counter(
                f'deepseek_shadow_requests_total{{{_MODEL},same="no"}}',
                lambda t: 15 * t["shadow_difference"],
                lambda t: 30 * (1 + t["shadow_difference"]),
            ),
            counter(
                f'deepseek_shadow_requests_total{{{_MODEL},same="yes"}}',
                lambda t: 60 - 15 * t["shadow_difference"],
                lambda t: 30 * (1 - t["shadow_difference"]),
            ),
        ),
        thresholds=("shadow_difference",),
        needs="a --route with a shadow",
    ),
    Alert(
        "DeepseekSignature",
        expression=without_threshold('deepseek_model_signature_info{signature="not checked"} == 1'),
        for_s=0,
        window_s=0,
        severity="warning",
        summary="{{ $labels.model_name }} {{ $labels.model_version }}: the signature was not checked",
        meaning="The bundle is signed, and the server was given no public key: nobody has proven who made it.",
        checks=("how the server was started: --key FILE",),
        actions=("serve with --key and the maker's public key",),
        signals=(gauge(f'deepseek_model_signature_info{{{_MODEL},signature="not checked"}}', 0, 1),),
        thresholds=(),
        needs="a signed bundle, without --key",
    ),
    Alert(
        "DeepseekModelOld",
        expression=lambda t: f"time() - deepseek_model_created_timestamp_seconds > {t.text('model_age_days')} * 86400",
        for_s=0,
        window_s=0,
        severity="warning",
        summary=("{{ $labels.model_name }} {{ $labels.model_version }} was made {{ $value | humanizeDuration }} ago"),
        meaning="A model that is not trained again falls behind the world.",
        checks=("`deepseek evaluate` on recent labels", "`deepseek observe drift`"),
        actions=("train again, or say in writing why it may stay and set model_age_days",),
        signals=(
            gauge(
                f"deepseek_model_created_timestamp_seconds{{{_MODEL}}}",
                1e9,
                lambda t: -(t["model_age_days"] + 1) * _DAY_S,
            ),
        ),
        thresholds=("model_age_days",),
    ),
    Alert(
        "DeepseekStreamLag",
        expression=lambda t: f"time() - deepseek_state_latest_event_timestamp_seconds > {t.text('stream_lag')}",
        for_s=120,
        window_s=0,
        severity="critical",
        summary="{{ $labels.instance }}: the latest event is {{ $value | humanizeDuration }} old",
        meaning="No recent event is scored: the source is silent, the stream is stuck, or it cannot keep up.",
        checks=(
            "whether the source has new events",
            "deepseek_state_unsynced_records: the disk may be slow",
            "the log of the stream",
        ),
        actions=(
            "restart the stream: it goes on behind the last answer",
            "split the keys over more streams where it cannot keep up",
        ),
        signals=(
            gauge(
                'deepseek_state_latest_event_timestamp_seconds{instance="a:9109"}', 1e9, lambda t: -2 * t["stream_lag"]
            ),
        ),
        thresholds=("stream_lag",),
        needs=_STREAM,
    ),
    Alert(
        "DeepseekPromiseBroken",
        expression=without_threshold(
            'deepseek_decision_false_positive_rate{end="low"} > on (model_name, model_version) '
            'deepseek_decision_max_false_positive_rate{end="value"}'
        ),
        for_s=0,
        window_s=0,
        severity="critical",
        summary="{{ $labels.model_name }}: at least {{ $value | humanizePercentage }} of genuine events are alerts",
        meaning=(
            "More genuine events are alerts than the bundle promises, by more than chance: even the lower end of the "
            "exact interval is above the promise."
        ),
        checks=("deepseek_decision_feature_psi: which feature has moved", "whether verdicts come late or are wrong"),
        actions=("raise the threshold, or go back to the version before", "train again on recent events"),
        signals=(
            gauge(f'deepseek_decision_max_false_positive_rate{{{_MODEL},end="value"}}', 0.01, 0.01),
            gauge(f'deepseek_decision_false_positive_rate{{{_MODEL},end="low"}}', 0.005, 0.02),
        ),
        needs="verdicts on scored events (deepseek serve --state)",
    ),
    Alert(
        "DeepseekStreamLate",
        expression=lambda t: (
            'sum by (instance) (rate(deepseek_state_events_total{event_status="late"}[10m])) / '
            f'sum by (instance) (rate(deepseek_state_events_total{{event_status!~"label_.*"}}[10m])) > '
            f"{t.text('late_rate')}"
        ),
        for_s=300,
        window_s=600,
        severity="warning",
        summary="{{ $labels.instance }}: {{ $value | humanizePercentage }} of events come too late to be scored",
        meaning="Events are further behind the latest one than the definition allows: they get no answer.",
        checks=(
            "which upstream is behind: a partition, a clock",
            "one event far in the future makes all others late: look for it",
        ),
        actions=(
            "mend the upstream or its clock",
            "raise `lateness` in the definition of features, which takes memory",
        ),
        signals=(
            counter(
                'deepseek_state_events_total{event_status="late",instance="a:9109"}',
                lambda t: 15 * t["late_rate"],
                lambda t: 30 * (1 + t["late_rate"]),
            ),
            counter(
                'deepseek_state_events_total{event_status="accepted",instance="a:9109"}',
                lambda t: 60 - 15 * t["late_rate"],
                lambda t: 30 * (1 - t["late_rate"]),
            ),
        ),
        thresholds=("late_rate",),
        needs=_STREAM,
    ),
    Alert(
        "DeepseekStateLog",
        expression=lambda t: f'deepseek_state_disk_bytes{{kind="log"}} > {t.text("log_gib")} * 1073741824',
        for_s=300,
        window_s=0,
        severity="warning",
        summary="{{ $labels.instance }}: the log of the state has {{ $value | humanize1024 }}B",
        meaning="The state has written no snapshot for long: it will open slowly, and the disk fills.",
        checks=("whether snapshots fail for want of room: the log of the stream says so",),
        actions=("make room; the next snapshot begins the log anew",),
        signals=(
            gauge(
                'deepseek_state_disk_bytes{kind="log",instance="a:9109"}',
                lambda t: t["log_gib"] * 2**29,
                lambda t: t["log_gib"] * 2**31,
            ),
        ),
        thresholds=("log_gib",),
        needs=_STREAM,
    ),
    Alert(
        "DeepseekTrainingSilent",
        expression=lambda t: (
            f"time() - deepseek_training_logged_timestamp_seconds > {t.text('training_silence')} "
            'and on (run) deepseek_training_status_info{run_status="running"} == 1'
        ),
        for_s=120,
        window_s=0,
        severity="warning",
        summary="{{ $labels.run }}: nothing was logged for {{ $value | humanizeDuration }}",
        meaning="A run that says that it runs has logged nothing for long: it hangs, or it was killed.",
        checks=("whether its process lives", "its rows a second before", "with several ranks, which one waits"),
        actions=("go on from the newest checkpoint: `deepseek train RUN.toml --resume`",),
        signals=(
            gauge('deepseek_training_status_info{run="first",run_status="running"}', 1, 1),
            gauge('deepseek_training_logged_timestamp_seconds{run="first"}', 1e9, lambda t: -2 * t["training_silence"]),
        ),
        thresholds=("training_silence",),
        needs=_RUN,
    ),
    Alert(
        "DeepseekTrainingDiverged",
        expression=without_threshold("deepseek_training_loss != deepseek_training_loss"),
        for_s=0,
        window_s=0,
        severity="critical",
        summary="{{ $labels.run }}: the loss is not finite",
        meaning="The run computes nothing of use any more.",
        checks=("the gradient's norm before", "the rows of the last steps: an infinite or a huge value"),
        actions=("stop it, lower the learning rate or clip the gradient, and go on from the checkpoint before",),
        signals=(gauge('deepseek_training_loss{run="first"}', 0.5, float("nan")),),
        thresholds=(),
        needs=_RUN,
    ),
    Alert(
        "DeepseekCheckpointOld",
        expression=lambda t: (
            f"time() - deepseek_training_checkpoint_timestamp_seconds > {t.text('checkpoint_age')} "
            'and on (run) deepseek_training_status_info{run_status="running"} == 1'
        ),
        for_s=0,
        window_s=0,
        severity="warning",
        summary="{{ $labels.run }}: the newest checkpoint is {{ $value | humanizeDuration }} old",
        meaning="A kill of the process loses all work since then.",
        checks=("room and rights in the run's folder", "checkpoint.every of the run"),
        actions=("make room, or save more often",),
        signals=(
            gauge('deepseek_training_status_info{run="first",run_status="running"}', 1, 1),
            gauge(
                'deepseek_training_checkpoint_timestamp_seconds{run="first"}', 1e9, lambda t: -2 * t["checkpoint_age"]
            ),
        ),
        thresholds=("checkpoint_age",),
        needs=_RUN,
    ),
)
