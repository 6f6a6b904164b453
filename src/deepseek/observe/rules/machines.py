"""Alerts on processes, memory, disks, certificates and logs."""

from __future__ import annotations

from deepseek.observe.rules.alert import Alert, counter, gauge, without_threshold

_DAY_S = 86_400.0

MACHINE_ALERTS = (
    Alert(
        "DeepseekWorkerDied",
        expression=without_threshold("sum by (process, instance) (increase(deepseek_process_deaths_total[5m])) > 0"),
        for_s=0,
        window_s=300,
        severity="warning",
        summary="{{ $labels.instance }}: a process ({{ $labels.process }}) ended before it was told to",
        meaning=(
            "A process of the server was killed or crashed. It is started again; the requests that it "
            "computed are computed once more."
        ),
        checks=(
            "the kernel's log: `dmesg | grep -i oom` says whether it ran out of memory",
            "the server's line with engine_pid and exit code",
            "deepseek_process_resident_bytes before the death",
        ),
        actions=(
            "raise the memory limit, or serve fewer models",
            "where the same request kills it twice, it is answered with 503: find it by its request id",
        ),
        signals=(counter('deepseek_process_deaths_total{process="engine",instance="a:8000"}', 0, 1),),
    ),
    Alert(
        "DeepseekWorkersMissing",
        expression=without_threshold("deepseek_workers < deepseek_workers_expected"),
        for_s=120,
        window_s=0,
        severity="warning",
        summary="{{ $labels.instance }}: {{ $value }} engine processes live, and there should be more",
        meaning="Fewer engines compute than were asked for: the others are late, and each batch waits longer.",
        checks=(
            "deepseek_process_deaths_total and _restarts_total",
            "the server's log: an engine that cannot be started says why",
        ),
        actions=(
            ("where a model cannot be opened again (a file that is gone, too little memory), mend that and restart"),
        ),
        signals=(
            gauge('deepseek_workers_expected{instance="a:8000"}', 2, 2),
            gauge('deepseek_workers{instance="a:8000"}', 2, 1),
        ),
    ),
    Alert(
        "DeepseekRestartLoop",
        expression=lambda t: (
            f"sum by (process, instance) (increase(deepseek_process_restarts_total[15m])) > {t.text('restarts')}"
        ),
        for_s=0,
        window_s=900,
        severity="critical",
        summary="{{ $labels.instance }}: processes ({{ $labels.process }}) are started again and again",
        meaning="A process dies soon after each start. What it serves is not served for long.",
        checks=("the server's log around the deaths", "which version was loaded last"),
        actions=("roll back to the version before", "raise the memory limit where the kernel killed it"),
        signals=(
            counter('deepseek_process_restarts_total{process="engine",instance="a:8000"}', 0, lambda t: t["restarts"]),
        ),
        thresholds=("restarts",),
    ),
    Alert(
        "DeepseekMemory",
        expression=lambda t: f"deepseek_memory_bytes / deepseek_memory_limit_bytes > {t.text('memory')}",
        for_s=300,
        window_s=0,
        severity="warning",
        summary="{{ $labels.instance }}: {{ $value | humanizePercentage }} of the memory is used",
        meaning="The kernel ends a process when there is none left.",
        checks=(
            "deepseek_process_resident_bytes: which process",
            "deepseek_body_bytes: large bodies that are held",
            "whether it has grown since the start (a leak) or with the load",
        ),
        actions=(
            "raise the limit, serve fewer models, or lower --max-body",
            "restart the instance where it grows without load, and report it",
        ),
        signals=(
            gauge('deepseek_memory_limit_bytes{instance="a:8000"}', 1e9, 1e9),
            gauge(
                'deepseek_memory_bytes{instance="a:8000"}',
                lambda t: 0.5e9 * t["memory"],
                lambda t: 0.5e9 * (1 + t["memory"]),
            ),
        ),
        thresholds=("memory",),
        needs="Linux",
    ),
    Alert(
        "DeepseekOutOfFiles",
        expression=without_threshold("increase(deepseek_out_of_files_total[5m]) > 0"),
        for_s=0,
        window_s=300,
        severity="critical",
        summary="{{ $labels.instance }}: no file descriptor is free, connections are cut off",
        meaning="The process may open no further file or connection. Clients are cut off, or wait.",
        checks=("process_open_fds against process_max_fds", "how many connections clients hold open"),
        actions=("raise the limit (ulimit -n, LimitNOFILE)", "lower --max-connections below it"),
        signals=(counter('deepseek_out_of_files_total{instance="a:8000"}', 0, 1),),
    ),
    Alert(
        "DeepseekLogLost",
        expression=without_threshold("delta(deepseek_lost_log_lines[10m]) > 0"),
        for_s=0,
        window_s=600,
        severity="critical",
        summary="{{ $labels.instance }}: {{ $labels.log }} loses lines",
        meaning=(
            "A log cannot write: its disk is full, or its reader has gone. Requests are answered, and their "
            "lines are missing. Where the audit log is owed to somebody, this counts as an incident."
        ),
        checks=("deepseek_disk_free_bytes of the volume `log`", "whether the reader of the pipe lives"),
        actions=(
            "make room, or give the log another disk",
            "note the gap: the count of lines that were lost stands in deepseek_lost_log_lines",
        ),
        signals=(counter('deepseek_lost_log_lines{log="AuditLog",instance="a:8000"}', 0, 5),),
    ),
    Alert(
        "DeepseekDiskFull",
        expression=lambda t: f"deepseek_disk_free_bytes / deepseek_disk_size_bytes < {t.text('disk_free')}",
        for_s=60,
        window_s=0,
        severity="warning",
        summary=(
            "{{ $labels.instance }}: {{ $value | humanizePercentage }} of the disk of `{{ $labels.volume }}` is free"
        ),
        meaning=("When it is full, logs lose lines, and a stream with a state stops (its events would not be safe)."),
        checks=("what grows: logs, snapshots, the log of a state", "whether an old snapshot is kept by somebody"),
        actions=("make room, or enlarge the volume", "rotate and ship the logs"),
        signals=(
            gauge('deepseek_disk_size_bytes{volume="log",instance="a:8000"}', 1e9, 1e9),
            gauge(
                'deepseek_disk_free_bytes{volume="log",instance="a:8000"}',
                lambda t: 0.5e9 * (1 + t["disk_free"]),
                lambda t: 0.5e9 * t["disk_free"],
            ),
        ),
        thresholds=("disk_free",),
    ),
    Alert(
        "DeepseekCertificate",
        expression=lambda t: (
            f"deepseek_certificate_expiry_timestamp_seconds - time() < {t.text('certificate_days')} * 86400"
        ),
        for_s=0,
        window_s=0,
        severity="warning",
        summary="{{ $labels.instance }}: the certificate expires in {{ $value | humanizeDuration }}",
        meaning="After that, clients that check certificates refuse to connect.",
        checks=(
            "who renews it, and when that last went well",
            "whether the new file was written and the server was told (SIGHUP)",
        ),
        actions=("renew it, then `kill -HUP` the server: it reads the files again without a break",),
        signals=(
            gauge(
                'deepseek_certificate_expiry_timestamp_seconds{instance="a:8000"}',
                lambda t: (2 * t["certificate_days"] + 2) * _DAY_S,
                lambda t: 0.5 * t["certificate_days"] * _DAY_S,
            ),
        ),
        thresholds=("certificate_days",),
        needs="--tls-cert",
    ),
    Alert(
        "DeepseekCertificateExpired",
        expression=without_threshold("deepseek_certificate_expiry_timestamp_seconds < time()"),
        for_s=0,
        window_s=0,
        severity="critical",
        summary="{{ $labels.instance }}: the certificate has expired",
        meaning="Clients that check certificates refuse to connect.",
        checks=("the log: the server says so at each start and reload",),
        actions=("renew it, then `kill -HUP` the server",),
        signals=(gauge('deepseek_certificate_expiry_timestamp_seconds{instance="a:8000"}', 1e9, 1.0),),
        thresholds=(),
        needs="--tls-cert",
    ),
    Alert(
        "DeepseekGpuMemory",
        expression=lambda t: (
            f"deepseek_gpu_memory_used_bytes / deepseek_gpu_memory_size_bytes > {t.text('gpu_memory')}"
        ),
        for_s=300,
        window_s=0,
        severity="warning",
        summary=(
            "{{ $labels.instance }}: {{ $value | humanizePercentage }} of the memory of GPU {{ $labels.gpu }} is used"
        ),
        meaning="The next model or the next long request may not fit.",
        checks=("which process uses it: `nvidia-smi`",),
        actions=("serve fewer models on this GPU, or in a lower precision (`--lossy`, `--llm-precision`)",),
        signals=(
            gauge('deepseek_gpu_memory_size_bytes{gpu="0",instance="a:8000"}', 1e9, 1e9),
            gauge(
                'deepseek_gpu_memory_used_bytes{gpu="0",instance="a:8000"}',
                lambda t: 0.5e9 * t["gpu_memory"],
                lambda t: 0.5e9 * (1 + t["gpu_memory"]),
            ),
        ),
        thresholds=("gpu_memory",),
        needs="a GPU and nvidia-ml-py",
    ),
)
