"""The settings of a server, and the only place that reads its environment.

    settings = Settings.read(os.environ, port=8123)      # options override the environment

MODEL_PATH, BATCH_SIZE, PORT, GRPC_PORT, HOST, WORKERS, FRONT_ENDS, TLS_CERT, TLS_KEY, COALESCE,
ALLOWED_HOSTS (names, between commas), PREDICTION_LOG, UNSURE_TO, PROMETHEUS_URL, METRICS_COMPAT, OTLP, CONVERSATIONS,
KEEP_DAYS, HAND_OVER, HAND_OVER_SECRET, ALLOW_OPERATORS, DEEPSEEK_API_KEYS_FILE and DEEPSEEK_LOG_LEVEL are read; an
empty variable counts as unset.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepseek.cores import num_cores
from deepseek.errors import InputError
from deepseek.serve.core.hosts import parse_host_names

MIB = 1 << 20
AUTO = "auto"
LOG_LEVELS = ("debug", "info", "warning", "error", "off")

#: Variable of the environment -> field of Settings.
ENVIRONMENT = {
    "MODEL_PATH": "model_path",
    "HOST": "host",
    "PORT": "port",
    "GRPC_PORT": "grpc_port",
    "BATCH_SIZE": "batch_size",
    "WORKERS": "workers",
    "FRONT_ENDS": "front_ends",
    "DEEPSEEK_API_KEYS_FILE": "api_keys_file",
    "TLS_CERT": "tls_cert",
    "TLS_KEY": "tls_key",
    "COALESCE": "coalesce",
    "PREDICTION_LOG": "prediction_log",
    "UNSURE_TO": "unsure_to",
    "PROMETHEUS_URL": "prometheus_url",
    "METRICS_COMPAT": "metrics_compat",
    "OTLP": "otlp",
    "CONVERSATIONS": "conversations_url",
    "KEEP_DAYS": "keep_days",
    "HAND_OVER": "hand_over_url",
    "HAND_OVER_SECRET": "hand_over_secret",
    "ALLOWED_HOSTS": "allowed_hosts",
    "ALLOW_OPERATORS": "allow_operators",
    "DEEPSEEK_LOG_LEVEL": "log_level",
}
#: Words for true and false in the environment.
BOOLEAN_WORDS = {
    "1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False,
}  # fmt: skip
#: Field with a whole number -> its lowest and highest value.
INTEGER_RANGES = {
    "port": (0, 65_535),
    "grpc_port": (0, 65_535),
    "batch_size": (1, 65_536),
    "workers": (0, 1_024),
    "front_ends": (1, 64),
    "max_body_bytes": (1_024, 1_024 * MIB),
    "max_rows": (1, 1_000_000),
    "max_explain_rows": (1, 1_000_000),
    "max_queued_rows": (1, 10_000_000),
    "max_connections": (1, 1_000_000),
    "keep_days": (1, 36_500),
}
RANGE_HINTS = {
    "port": "0 picks a free one",
    "grpc_port": "0 picks a free one",
    "workers": "0 computes in the front end itself",
}


@dataclass(frozen=True, slots=True)
class Settings:
    """How a server answers. InputError, which names the field, for a value out of range."""

    model_path: str | None = None
    host: str = "127.0.0.1"  # by default reachable from this machine alone
    port: int = 8000  # 0 picks a free one
    grpc_port: int | None = None  # None: no gRPC
    batch_size: int = 32  # rows of different requests that are computed together at most
    workers: int = 0  # engine processes of a front end; 0 computes in this process
    front_ends: int = 1  # processes that take requests
    api_keys_file: str | None = None  # one sha256 (hex) of an accepted key per line, see keys.py
    log_level: str = "info"
    prediction_log: str | None = None  # FOLDER[,NAME=VALUE]: keep rows and answers there, see observe/predictions
    unsure_to: str | None = None  # PROJECT[,NAME=VALUE]: send rows there to be labeled, see automl/label/collect
    metrics_compat: str | None = None  # projects whose names of metrics are told, too, see observe/compat
    prometheus_url: str | None = None  # where the console asks which alerts fire
    otlp: str | None = None  # URL[,NAME=VALUE]: send traces there, see observe/traces
    conversations_url: str | None = None  # of a Redis that keeps an assistant's conversations; None: a file
    keep_days: int | None = None  # of a conversation without a message; None: for ever
    hand_over_url: str | None = None  # where an assistant sends what a person is to go on with
    hand_over_secret: str | None = None  # by which it signs that
    max_body_bytes: int = 32 * MIB
    max_rows: int = 16_384  # rows of one request
    max_explain_rows: int = 1_024  # rows of one request for explanations or reasons
    max_queued_rows: int = 32_768  # rows that wait for one model; above it 429
    timeout_s: float = 30.0  # a request that was not computed by then is answered with 504
    body_timeout_s: float = 30.0  # a body that has not arrived by then is answered with 408
    engine_timeout_s: float = 60.0  # an engine process that has not answered a batch by then is killed and replaced
    max_connections: int = 4_096  # of HTTP, at a time; further ones are answered with 503 and closed
    tls_cert: str | None = None  # file of a certificate and its chain, PEM; None: not encrypted
    tls_key: str | None = None  # file of its key, PEM
    allowed_hosts: tuple[str, ...] = ()  # host names of the server, see core/hosts.py; (): those that are safe
    allow_operators: str | None = None  # file of a public key: whose operators in machine code may be run
    coalesce: bool = False  # whether identical requests that wait at the same time are computed once
    drain_s: float = 30.0  # how long a stopping server waits for the requests that it accepted

    def __post_init__(self) -> None:
        for name, (low, high) in INTEGER_RANGES.items():
            if getattr(self, name) is not None:
                _check_range(name, getattr(self, name), low, high)
        for name in ("timeout_s", "body_timeout_s", "engine_timeout_s", "drain_s"):
            if not 0 < getattr(self, name) <= 3_600:
                raise InputError(
                    f"{name} is {getattr(self, name)}",
                    expected="seconds, above 0 and at most 3600",
                    fix="give a value in that range, or leave it out",
                )
        if self.log_level not in LOG_LEVELS:
            raise InputError(
                f"log_level is {self.log_level!r}",
                expected=", ".join(LOG_LEVELS),
                fix="take one of these, or leave it out",
            )
        if bool(self.tls_cert) != bool(self.tls_key):
            raise InputError(
                f"{'tls_key' if self.tls_cert else 'tls_cert'} is missing",
                expected="a certificate and its key, or neither",
                fix="give both: --tls-cert FILE --tls-key FILE",
            )
        if self.port and self.port == self.grpc_port:
            raise InputError(
                f"port and grpc_port are both {self.port}",
                expected="a port for each",
                fix="give gRPC another; 0 picks a free one",
            )
        if self.prometheus_url and not self.prometheus_url.startswith(("http://", "https://")):
            raise InputError(
                f"prometheus_url is {self.prometheus_url!r}", expected="a URL of http or https",
                fix="--prometheus http://127.0.0.1:9090",
            )  # fmt: skip
        if not self.host.strip():
            raise InputError("host is empty", expected="an address", fix="127.0.0.1, or 0.0.0.0 for every interface")

    @property
    def operators_key(self) -> Path | None:
        """The public key of whom operators in machine code are taken from."""
        return None if self.allow_operators is None else Path(self.allow_operators)

    @classmethod
    def read(cls, environ: Mapping[str, str], *, auto_workers: int | None = None, **options: Any) -> Settings:
        """Settings from the environment, overridden by the options that are not None.

        WORKERS is one process a core by default, divided among the front ends; or `auto_workers`.

        >>> Settings.read({"PORT": "8123", "BATCH_SIZE": ""}).port
        8123
        >>> Settings.read({"PORT": "eight"})  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        deepseek.errors.InputError: PORT is 'eight'. Expected: a whole number from 0 to 65535 (0 picks a free one)...
        """
        values: dict[str, Any] = {}
        for variable, name in ENVIRONMENT.items():
            text = environ.get(variable, "").strip()
            if text:
                is_number = name in INTEGER_RANGES and (name, text) != ("workers", AUTO)
                values[name] = _parse_integer(variable, name, text) if is_number else text
        if "allowed_hosts" in values:
            values["allowed_hosts"] = parse_host_names(values["allowed_hosts"].split(","))
        if "coalesce" in values:
            values["coalesce"] = _parse_boolean("COALESCE", values["coalesce"])
        if isinstance(options.get("allowed_hosts"), str):
            options["allowed_hosts"] = parse_host_names(options["allowed_hosts"].split(","))
        values |= {name: value for name, value in options.items() if value is not None}
        if values.get("workers", AUTO) == AUTO:
            values["workers"] = auto_workers or max(1, num_cores() // values.get("front_ends", 1))
        if "log_level" in values:
            values["log_level"] = values["log_level"].lower()
        return cls(**values)


def _describe_range(name: str) -> str:
    low, high = INTEGER_RANGES[name]
    hint = f" ({RANGE_HINTS[name]})" if name in RANGE_HINTS else ""
    return (f"a whole number from {low} to {high}" if low < high else f"{low}") + hint


def _parse_boolean(variable: str, text: str) -> bool:
    if text.lower() not in BOOLEAN_WORDS:
        raise InputError(
            f"{variable} is {text!r}", expected=", ".join(BOOLEAN_WORDS), fix=f"set {variable} to 1 or 0, or unset it"
        )
    return BOOLEAN_WORDS[text.lower()]


def _parse_integer(variable: str, name: str, text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        raise InputError(
            f"{variable} is {text!r}",
            expected=_describe_range(name),
            fix=f"set {variable} to such a number, or unset it",
        ) from None
    low, high = INTEGER_RANGES[name]
    _check_range(variable, value, low, high, name)
    return value


def _check_range(shown: str, value: int, low: int, high: int, name: str = "") -> None:
    if not low <= value <= high:
        raise InputError(
            f"{shown} is {value}",
            expected=_describe_range(name or shown),
            fix="give a value in that range, or leave it out",
        )
