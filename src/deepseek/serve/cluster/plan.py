"""The configuration of a cluster: how many replicas, where requests come in, how much each takes.

    plan = ClusterPlan(models, settings, ReplicaRange(1, 4), "deepseek.cli.support.cluster:build")
    to_yaml(plan.config())          # a file for `serve deploy`
    read_replica_settings(args["settings"])   # in a replica: the same settings again

A replica takes in what keeps its engines busy. While a batch of BATCH_SIZE rows is computed, the next one gathers: so
twice as many requests of a row each are worked on at most, and BATCH_SIZE of them on average is what Ray Serve scales
for. What is above that waits at the proxy, where a replica that is started later can take it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from deepseek.contracts import JsonObject
from deepseek.errors import InputError
from deepseek.plugins import did_you_mean
from deepseek.serve.core.config import Settings
from deepseek.serve.core.hosts import parse_host_names

APPLICATION = "deepseek"  # its name in Ray Serve
DEPLOYMENT = "Replica"
MAX_REPLICAS = 10_000
KEEP_ALIVE_S = 75  # as our own front end keeps idle connections
RESPONSE_MARGIN_S = 1.0  # for the way of a response, beyond the server's own limit
#: Settings of a replica; the others are for the proxies, or do not apply on a cluster.
REPLICA_SETTINGS = (
    "batch_size", "workers", "api_keys_file", "log_level", "max_body_bytes", "max_rows", "max_explain_rows",
    "max_queued_rows", "timeout_s", "body_timeout_s", "engine_timeout_s", "coalesce", "drain_s",
    "host", "allowed_hosts",
)  # fmt: skip
LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class ReplicaRange:
    """The smallest and the largest number of replicas."""

    least: int = 1
    most: int = 1

    @classmethod
    def parse(cls, text: str) -> ReplicaRange:
        """MIN:MAX, or a number that stays.

        >>> ReplicaRange.parse("1:4"), ReplicaRange.parse("2")
        (ReplicaRange(least=1, most=4), ReplicaRange(least=2, most=2))
        """
        words = text.split(":")
        if len(words) > 2 or not all(word.isascii() and word.isdigit() and len(word) < 6 for word in words):
            raise _replicas_error(text)
        least, most = int(words[0]), int(words[-1])
        if not 1 <= least <= most <= MAX_REPLICAS:
            raise _replicas_error(text)
        return cls(least, most)


def _replicas_error(text: str) -> InputError:
    return InputError(
        f"{text[:40]!r} is not a number of replicas",
        expected=f"MIN:MAX or one number, from 1 to {MAX_REPLICAS}",
        fix="write for example --replicas 1:4",
    )


@dataclass(frozen=True, slots=True)
class PlannedModel:
    """A model of the plan. Every node has it at the same place."""

    name: str
    path: str  # absolute
    digest: str


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """What runs on a cluster. `build`: what makes the application in a replica, as MODULE:FUNCTION."""

    models: Sequence[PlannedModel]
    settings: Settings
    replicas: ReplicaRange
    build: str

    def config(self) -> JsonObject:
        """The configuration for `serve deploy`, to be written as YAML."""
        settings = self.settings
        application = {
            "name": APPLICATION,
            "route_prefix": "/",
            "import_path": self.build,
            "args": {
                "models": [asdict(model) for model in self.models],
                "settings": {name: _to_json_value(getattr(settings, name)) for name in REPLICA_SETTINGS},
            },
            "deployments": [{"name": DEPLOYMENT} | self.deployment()],
        }
        return {"proxy_location": self.proxies, "http_options": self.http(), "applications": [application]}

    @property
    def proxies(self) -> str:
        """On which nodes proxies run. At a loopback address each is reachable from its own node alone."""
        return "HeadOnly" if self.settings.host in LOOPBACK_HOSTS else "EveryNode"

    def http(self) -> JsonObject:
        """The HTTP options of the proxies."""
        settings = self.settings
        return {
            "host": settings.host,
            "port": settings.port,
            # Above the server's own limit, whose error is better; this one includes the wait at the proxy.
            "request_timeout_s": settings.timeout_s + RESPONSE_MARGIN_S,
            "keep_alive_timeout_s": KEEP_ALIVE_S,
        }

    def deployment(self) -> JsonObject:
        """The options of the replicas' deployment."""
        num_engines = max(1, self.settings.workers)
        target = self.settings.batch_size * num_engines
        return {
            "max_ongoing_requests": 2 * target,
            "max_queued_requests": self.settings.max_queued_rows,
            "autoscaling_config": {
                "min_replicas": self.replicas.least,
                "max_replicas": self.replicas.most,
                "target_ongoing_requests": target,
            },
            "health_check_period_s": 5.0,
            "health_check_timeout_s": 15.0,
            "graceful_shutdown_timeout_s": self.settings.drain_s,
            "ray_actor_options": {"num_cpus": num_engines},
        }


def read_replica_settings(config: JsonObject) -> Settings:
    """The settings of a replica, from a configuration that may have been edited. InputError names the field."""
    for name in config:
        if name not in REPLICA_SETTINGS:
            raise InputError(
                f"settings.{name} is not known.{did_you_mean(name, REPLICA_SETTINGS)}",
                expected=", ".join(REPLICA_SETTINGS),
                fix="correct the configuration, or write it again with --config-out",
            )
    kinds = {field.name: str(field.type) for field in fields(Settings)}
    for name, value in config.items():
        kind = kinds[name]
        good = {
            "int": type(value) is int,
            "bool": type(value) is bool,
            "float": type(value) in (int, float),
            "str": isinstance(value, str),
            "str | None": value is None or isinstance(value, str),
            "tuple[str, ...]": isinstance(value, list) and all(isinstance(item, str) for item in value),
        }[kind]
        if not good:
            raise InputError(
                f"settings.{name} is {value!r}", expected=kind.replace("None", "null"), fix="correct the configuration"
            )
    plain = {name: value for name, value in config.items() if name != "allowed_hosts"}
    return Settings(**plain, allowed_hosts=parse_host_names(config.get("allowed_hosts", ())))


def _to_json_value(value: Any) -> Any:
    """A setting as a JSON value."""
    return list(value) if isinstance(value, tuple) else value


def to_yaml(value: Any) -> str:
    r"""YAML of what JSON can hold. Each scalar is written as JSON has it, which YAML reads the same way.

    >>> print(to_yaml({"port": 8000, "applications": [{"name": "deepseek", "args": {}}, 2]}), end="")
    port: 8000
    applications:
    - name: "deepseek"
      args: {}
    - 2
    """
    return "".join(line + "\n" for line in _yaml_lines(value))


def _yaml_lines(value: Any) -> list[str]:
    if isinstance(value, dict) and value:
        lines = []
        for key, item in value.items():
            lines += _yaml_entry(f"{key}:", item, "  " if isinstance(item, dict) else "")
        return lines
    if isinstance(value, list) and value:
        lines = []
        for item in value:
            first, *rest = _yaml_lines(item)
            lines += [f"- {first}", *(f"  {line}" for line in rest)]
        return lines
    text = json.dumps(value, ensure_ascii=False)
    # YAML takes no character that cannot be printed, and has no pairs of \\u for one character.
    return ["".join(letter if letter.isprintable() else f"\\U{ord(letter):08x}" for letter in text)]


def _yaml_entry(key: str, value: Any, indent: str) -> list[str]:
    lines = _yaml_lines(value)
    if not isinstance(value, (dict, list)) or not value:
        return [f"{key} {lines[0]}"]
    return [key, *(indent + line for line in lines)]
