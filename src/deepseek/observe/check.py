"""Whether every metric, panel and rule is alive: asked of a server, and of the Prometheus that watches it.

    result = check_server("http://127.0.0.1:8000")                      # by what /metrics holds
    result = check_server(url, prometheus="http://127.0.0.1:9090")      # and by what Prometheus answers

What needs something that is not there (a GPU, a certificate, a stream) is "idle", with what it needs; whatever else has
no sample is "dead".
"""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Literal

from deepseek.client.errors import UnreachableError, error_from_body
from deepseek.contracts import JsonObject
from deepseek.errors import InputError
from deepseek.extras import need
from deepseek.observe.dashboards.panel import Panel
from deepseek.observe.dashboards.panels import DASHBOARDS
from deepseek.observe.metrics_table import METRICS, Metric, metrics_in
from deepseek.observe.rules.rule_file import ALERTS
from deepseek.observe.rules.thresholds import read_thresholds

Kind = Literal["metric", "panel", "rule"]
State = Literal["alive", "idle", "dead"]
TIMEOUT_S = 10.0
MAX_BYTES = 64 << 20
WINDOW = "5m"  # of rates
NO_HEADERS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Finding:
    """Of one metric, panel or rule."""

    kind: Kind
    name: str
    state: State
    reason: str = ""  # why it is not alive


@dataclass(frozen=True, slots=True)
class CheckResult:
    """All findings."""

    url: str
    prometheus: str
    findings: tuple[Finding, ...]

    def count(self, kind: Kind, state: State) -> int:
        return sum(finding.kind == kind and finding.state == state for finding in self.findings)

    @property
    def dead(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.state == "dead"]

    def to_dict(self) -> JsonObject:
        """The object of --json."""
        counts = {
            kind: {state: self.count(kind, state) for state in ("alive", "idle", "dead")}
            for kind in ("metric", "panel", "rule")
        }
        return {
            "url": self.url, "prometheus": self.prometheus or None, "counts": counts,
            "findings": [asdict(finding) for finding in self.findings],
        }  # fmt: skip


def check_server(url: str, *, headers: Mapping[str, str] = NO_HEADERS, prometheus: str = "") -> CheckResult:
    """Check a server by its /metrics and, where `prometheus` is given, by what that answers to every panel and rule.
    `headers`: of the requests to the server: its API key. UnreachableError when one of them does not answer, InputError
    when the address is none, and what the server refuses with."""
    url, prometheus = _base(url), prometheus and _base(prometheus)
    samples = read_samples(fetch_text(f"{url}/metrics", headers))
    findings = [_metric_finding(metric, samples) for metric in METRICS]
    states = {finding.name: finding for finding in findings}
    for name, dashboard in DASHBOARDS.items():
        findings += [
            _reader_finding("panel", f"{name}: {panel.title}", panel.metrics, states) for panel in dashboard.panels
        ]
    thresholds = read_thresholds([])
    findings += [
        _reader_finding("rule", alert.name, metrics_in(alert.expression(thresholds)), states) for alert in ALERTS
    ]
    if prometheus:
        findings = [*findings[: len(METRICS)], *_ask_prometheus(prometheus, findings[len(METRICS) :])]
    return CheckResult(url, prometheus, tuple(findings))


def read_samples(text: str) -> Mapping[str, int]:
    """How many samples each family of an exposition has. InputError for what is no exposition."""
    parser = need("prometheus_client.parser", extra="serve")
    try:
        return {family.name: len(family.samples) for family in parser.text_string_to_metric_families(text)}
    except ValueError as error:
        raise InputError(
            f"what /metrics answers is no exposition of Prometheus: {error}", expected="a deepseek model server",
            fix="check the address, and what stands between",
        ) from error  # fmt: skip


def _metric_finding(metric: Metric, samples: Mapping[str, int]) -> Finding:
    if samples.get(metric.family):
        return Finding("metric", metric.name, "alive")
    if metric.needs:
        return Finding("metric", metric.name, "idle", f"needs {metric.needs}")
    if metric.family in samples and set(metric.labels) & {"model_name"}:
        return Finding("metric", metric.name, "idle", "no model has answered yet")
    return Finding("metric", metric.name, "dead", "it has no sample: an older version, or another server")


def _reader_finding(kind: Kind, name: str, metrics: Sequence[Metric], states: Mapping[str, Finding]) -> Finding:
    """Of what reads metrics: as dead as the worst of them."""
    for state in ("dead", "idle"):
        for metric in metrics:
            if (finding := states[metric.name]).state == state:
                return Finding(kind, name, finding.state, f"{metric.name}: {finding.reason}")
    return Finding(kind, name, "alive")


def _ask_prometheus(url: str, findings: Sequence[Finding]) -> Iterator[Finding]:
    """What Prometheus itself says: a panel's query has an answer, a rule is loaded and healthy."""
    panels = {f"{name}: {panel.title}": panel for name, each in DASHBOARDS.items() for panel in each.panels}
    health = _rule_health(url)
    for finding in findings:
        if finding.kind == "panel" and finding.state == "alive":
            empty = _empty_query(url, panels[finding.name])
            yield (
                finding
                if empty is None
                else Finding("panel", finding.name, "dead", f"Prometheus finds nothing (it takes two scrapes): {empty}")
            )
        elif finding.kind == "rule" and finding.name not in health:
            yield Finding("rule", finding.name, "dead", "Prometheus has not loaded it: see rule_files")
        elif finding.kind == "rule" and health[finding.name] not in ("ok", "unknown"):
            yield Finding("rule", finding.name, "dead", f"its evaluation is {health[finding.name]}")
        else:
            yield finding


def _empty_query(url: str, panel: Panel) -> str | None:
    """The first query of a panel that Prometheus has no answer to; None where all have one."""
    for query in panel.queries:
        expression = query.evaluable(WINDOW)
        if not query_prometheus(url, expression):
            return expression
    return None


def query_prometheus(url: str, expression: str) -> list[JsonObject]:
    """The series of an instant query. InputError for one that Prometheus refuses."""
    path = f"{url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
    result: list[JsonObject] = json.loads(fetch_text(path))["data"]["result"]
    return result


def _rule_health(url: str) -> dict[str, str]:
    groups = json.loads(fetch_text(f"{url}/api/v1/rules?type=alert"))["data"]["groups"]
    return {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}


def _base(url: str) -> str:
    try:
        parts = urllib.parse.urlsplit(url if "//" in url else f"http://{url}")
    except ValueError:  # brackets of an address that is none
        parts = urllib.parse.SplitResult("", "", "", "", "")
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise InputError(f"{url!r} is no address", expected="http://HOST:PORT", fix="http://127.0.0.1:8000")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def fetch_text(url: str, headers: Mapping[str, str] = NO_HEADERS) -> str:
    """What a GET answers. UnreachableError when nothing answers; what a server of ours refuses is raised as it was."""
    request = urllib.request.Request(url, headers=dict(headers))  # noqa: S310 - _base() lets http and https alone pass
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310
            return str(response.read(MAX_BYTES).decode("utf-8", "replace"))
    except urllib.error.HTTPError as error:
        raise error_from_body(error.code, error.read(MAX_BYTES), url) from error
    except (OSError, ValueError) as error:
        raise UnreachableError(
            f"{url} does not answer: {getattr(error, 'reason', error)}", expected="a server that runs",
            fix="start it, or check the address",
        ) from error  # fmt: skip
