"""The thresholds of the alerts: what they are, between which bounds, and a user's own.

read_thresholds(["latency_p99=0.8"]).latency_p99      # 0.8; every other one has its default
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deepseek.errors import InputError
from deepseek.plugins import did_you_mean


@dataclass(frozen=True, slots=True)
class Threshold:
    """One number that decides whether an alert fires."""

    default: float
    low: float  # the smallest and the largest that make sense; outside, the alert could never fire, or always
    high: float
    unit: str  # s, days, "share" (0 to 1), "" for a number
    meaning: str


THRESHOLDS: Mapping[str, Threshold] = {
    "error_rate": Threshold(0.01, 1e-5, 0.9, "share", "requests answered with 5xx, of all"),
    "latency_p99": Threshold(1.0, 0.001, 9.0, "s", "99 % of predictions are answered within"),
    "refusal_rate": Threshold(0.05, 1e-5, 0.9, "share", "requests refused with 429, of all"),
    "deadline_rate": Threshold(0.01, 1e-5, 0.9, "share", "requests whose deadline passed, of all"),
    "queue_fill": Threshold(0.5, 0.01, 0.99, "share", "rows that wait, of those that may"),
    "memory": Threshold(0.9, 0.1, 0.99, "share", "memory used, of the container's or the machine's"),
    "disk_free": Threshold(0.1, 0.001, 0.9, "share", "room left on a disk"),
    "restarts": Threshold(3, 1, 100, "", "processes started again within 15 minutes"),
    "certificate_days": Threshold(14, 1, 365, "days", "until the certificate expires"),
    "model_age_days": Threshold(180, 1, 3_650, "days", "since the bundle was made"),
    "flagged_rate": Threshold(0.2, 1e-4, 10, "", "flagged values of one column and kind, a row"),
    "confidence": Threshold(0.6, 0.01, 0.99, "share", "mean confidence of the answers"),
    "label_shift": Threshold(0.2, 0.01, 0.8, "share", "change of a label's share against the day before"),
    "psi": Threshold(0.2, 0.01, 5, "", "population stability index of a column against the data card"),
    "shadow_difference": Threshold(0.05, 1e-4, 0.9, "share", "answers of a shadow that differ, of all"),
    "explain_refusal_rate": Threshold(0.1, 1e-4, 0.9, "share", "explanations refused or late, of all"),
    "gpu_memory": Threshold(0.95, 0.1, 0.99, "share", "memory of a GPU used"),
    "stream_lag": Threshold(300, 1, 1e7, "s", "since the latest event of a stream"),
    "late_rate": Threshold(0.01, 1e-5, 0.9, "share", "events that come too late, of all"),
    "log_gib": Threshold(8, 0.1, 10_000, "GiB", "log of a state since its snapshot"),
    "training_silence": Threshold(900, 30, 1e6, "s", "since a run last logged"),
    "checkpoint_age": Threshold(7_200, 60, 1e7, "s", "since the newest checkpoint"),
}


@dataclass(frozen=True, slots=True)
class Thresholds:
    """A value for each of THRESHOLDS, by name."""

    values: Mapping[str, float]

    def __getitem__(self, name: str) -> float:
        return self.values[name]

    def text(self, name: str) -> str:
        """The value as a query has it.

        >>> read_thresholds([]).text("latency_p99"), read_thresholds(["psi=0.25"]).text("psi")
        ('1', '0.25')
        """
        return f"{self.values[name]:.12g}"


def read_thresholds(assignments: Sequence[str]) -> Thresholds:
    """From NAME=VALUE. InputError for a name that is none, a value that is no number or beyond its bounds, and a name
    that stands twice."""
    values: dict[str, float] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        name = name.strip()
        if not equals or name not in THRESHOLDS:
            raise InputError(
                f"there is no threshold {name!r}.{did_you_mean(name, THRESHOLDS)}" if equals
                else f"{assignment!r} sets nothing",
                expected="NAME=VALUE with one of " + ", ".join(THRESHOLDS), fix="--set latency_p99=0.8",
            )  # fmt: skip
        if name in values:
            raise InputError(f"{name} is set twice", expected="each threshold once", fix=f"leave one --set {name} out")
        values[name] = _parse_value(name, text)
    return Thresholds({name: values.get(name, threshold.default) for name, threshold in THRESHOLDS.items()})


def _parse_value(name: str, text: str) -> float:
    threshold = THRESHOLDS[name]
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not threshold.low <= value <= threshold.high:
        unit = f" {threshold.unit}" if threshold.unit else ""
        raise InputError(
            f"{name} is {text.strip()!r}", expected=f"a number from {threshold.low:g} to {threshold.high:g}{unit}",
            fix=f"--set {name}={threshold.default:g}, which is the default, or leave it out",
        )  # fmt: skip
    return value
