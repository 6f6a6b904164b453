"""Which alerts fire, by the ring alone: the exported rules, with their thresholds, windows and waits.

A rule here is a function of the ring's columns that says for each slot whether it holds; it fires once it has held for
as long as the rule of the same name waits (observe/rules). What a server does not know of itself (drift, labels, other
hosts, runs of training) has no rule here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.client.errors import UnreachableError
from deepseek.look import Text
from deepseek.observe.check import fetch_text
from deepseek.observe.history.history import SLOT_S, Frame
from deepseek.observe.rules.alert import Alert, Severity
from deepseek.observe.rules.rule_file import ALERTS
from deepseek.observe.rules.thresholds import Thresholds

Holds = NDArray[np.bool_]
Rule = Callable[[Frame, Thresholds, int], Holds]  # the ring, and the slots of the rule's window


@dataclass(frozen=True, slots=True)
class FiringAlert:
    """An alert that fires. `since_s`: for how long; None where that is not known."""

    name: str
    severity: Severity
    summary: Text
    since_s: float | None
    runbook_url: str = ""  # where Prometheus says so

    @property
    def alert(self) -> Alert | None:
        """Its entry in the table; None for a rule of somebody else."""
        return ALERT_BY_NAME.get(self.name)


ALERT_BY_NAME: Mapping[str, Alert] = {alert.name: alert for alert in ALERTS}


def _share(part: str, threshold: str) -> Rule:
    """A share of the requests of the window is above a threshold."""

    def holds(frame: Frame, thresholds: Thresholds, window: int) -> Holds:
        parts, wholes = _sums(frame[part], window), _sums(frame["requests"], window)
        return parts > thresholds[threshold] * wholes

    return holds


def _above(name: str, threshold: str) -> Rule:
    return lambda frame, thresholds, _: frame[name] > thresholds[threshold]


def _grows(name: str, threshold: str = "") -> Rule:
    """A count since the start has grown within the window, by more than a threshold where there is one."""

    def holds(frame: Frame, thresholds: Thresholds, window: int) -> Holds:
        values = frame[name]
        # The ring begins with the server, when every count was 0: a death in its first seconds counts.
        before = np.concatenate([np.zeros(min(window, len(values))), values[:-window]])[: len(values)]
        grown: Holds = values - before > (thresholds[threshold] if threshold else 0)
        return grown

    return holds


def _sums(values: NDArray[np.float32], window: int) -> NDArray[np.float64]:
    """Of each slot the sum over the window that ends with it."""
    total = np.cumsum(np.nan_to_num(values.astype(np.float64)))
    sums: NDArray[np.float64] = (
        total - np.concatenate([np.zeros(min(window, len(total))), total[:-window]])[: len(total)]
    )
    return sums


RULES: Mapping[str, Rule] = {
    "DeepseekNotReady": lambda frame, _, __: frame["not_ready"] > 0,
    "DeepseekErrors": _share("failed", "error_rate"),
    "DeepseekLatency": _above("late_p99_s", "latency_p99"),
    "DeepseekRefusals": _share("refused", "refusal_rate"),
    "DeepseekDeadlines": _share("late", "deadline_rate"),
    "DeepseekQueue": _above("queue_fill", "queue_fill"),
    "DeepseekWorkerDied": _grows("deaths"),
    "DeepseekWorkersMissing": lambda frame, _, __: frame["missing_workers"] > 0,
    "DeepseekRestartLoop": _grows("restarts", "restarts"),
    "DeepseekMemory": _above("memory_share", "memory"),
    "DeepseekOutOfFiles": _grows("out_of_files"),
    "DeepseekLogLost": _grows("lost_lines"),
    "DeepseekDiskFull": lambda frame, thresholds, _: frame["disk_free_share"] < thresholds["disk_free"],
    "DeepseekCertificate": lambda frame, t, _: frame["certificate_s"] < 86_400 * t["certificate_days"],
    "DeepseekCertificateExpired": lambda frame, _, __: frame["certificate_s"] < 0,
}
SUMMARIES: Mapping[str, Text] = {
    "DeepseekNotReady": Text("The server takes no requests", "服务器不接受请求"),
    "DeepseekErrors": Text("Requests fail (5xx)", "请求失败（5xx）"),
    "DeepseekLatency": Text("Predictions are late (p99 over five minutes)", "预测延迟过高（五分钟 p99）"),
    "DeepseekRefusals": Text("Requests are refused (429)", "请求被拒绝（429）"),
    "DeepseekDeadlines": Text("Requests pass their deadline (504)", "请求超过截止时间（504）"),
    "DeepseekQueue": Text("A queue is filling up", "队列正在变满"),
    "DeepseekWorkerDied": Text("A process ended before it was told to", "有进程意外结束"),
    "DeepseekWorkersMissing": Text("Engine processes are missing", "引擎进程数量不足"),
    "DeepseekRestartLoop": Text("Processes are started again and again", "进程反复重启"),
    "DeepseekMemory": Text("Memory is nearly used up", "内存即将用尽"),
    "DeepseekOutOfFiles": Text("No file descriptor was free", "文件描述符用尽"),
    "DeepseekLogLost": Text("A log loses lines", "日志正在丢失记录"),
    "DeepseekDiskFull": Text("A disk is nearly full", "磁盘即将写满"),
    "DeepseekCertificate": Text("The certificate expires soon", "证书即将过期"),
    "DeepseekCertificateExpired": Text("The certificate has expired", "证书已过期"),
}


def firing_alerts(frame: Frame, thresholds: Thresholds) -> list[FiringAlert]:
    """The alerts that fire at the end of the ring, the critical ones first."""
    if not frame.num_slots:
        return []
    firing = []
    for name, rule in RULES.items():
        alert = ALERT_BY_NAME[name]
        holds = rule(frame, thresholds, max(1, alert.window_s // SLOT_S))
        num_held = len(holds) - (int(np.flatnonzero(~holds)[-1]) + 1 if not holds.all() else 0)
        num_waited = math.ceil(alert.for_s / SLOT_S)
        if num_held > num_waited:
            firing.append(FiringAlert(name, alert.severity, SUMMARIES[name], float((num_held - num_waited) * SLOT_S)))
    return sorted(firing, key=lambda each: (each.severity != "critical", each.name))


def ask_prometheus(url: str) -> list[FiringAlert]:
    """The alerts that fire there, by `url` (http, https). UnreachableError where it is away, or answers what no
    Prometheus does."""
    text = fetch_text(f"{url.rstrip('/')}/api/v1/alerts")
    try:
        firing = [_from_prometheus(each) for each in json.loads(text)["data"]["alerts"] if each["state"] == "firing"]
    except (ValueError, KeyError, TypeError) as error:
        raise UnreachableError(
            f"{url} does not answer as Prometheus does", expected="a Prometheus", fix="check the address"
        ) from error
    return sorted(firing, key=lambda each: (each.severity != "critical", each.name))


def _from_prometheus(alert: Mapping[str, Any]) -> FiringAlert:
    labels, notes = alert["labels"], alert.get("annotations", {})
    name = str(labels["alertname"])
    alert_words = str(notes.get("summary", name))
    chinese = SUMMARIES[name].zh if name in SUMMARIES else alert_words
    severity: Severity = "critical" if labels.get("severity") == "critical" else "warning"
    translated = alert_words if chinese == alert_words else f"{chinese}（{alert_words}）"
    return FiringAlert(name, severity, Text(alert_words, translated), None, str(notes.get("runbook_url", "")))
