"""The rule file of Prometheus, and its unit tests for promtool, from the table of alerts.

    rule_file(read_thresholds(["psi=0.2"]))        # rules.yml as a document
    unit_tests(read_thresholds(["psi=0.2"]))       # rules_test.yml: promtool test rules rules_test.yml

Sources: https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/ and unit_testing_rules/.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from deepseek.contracts import JsonObject
from deepseek.observe.rules.alert import EVALUATION_S, Alert, Signal
from deepseek.observe.rules.machines import MACHINE_ALERTS
from deepseek.observe.rules.models import MODEL_ALERTS
from deepseek.observe.rules.requests import REQUEST_ALERTS
from deepseek.observe.rules.thresholds import Thresholds

GROUPS: Mapping[str, Sequence[Alert]] = {
    "deepseek-requests": REQUEST_ALERTS, "deepseek-machines": MACHINE_ALERTS, "deepseek-models": MODEL_ALERTS,
}  # fmt: skip
ALERTS: tuple[Alert, ...] = tuple(alert for group in GROUPS.values() for alert in group)
RULES_NAME, TESTS_NAME, HISTORY_TESTS_NAME = "rules.yml", "rules_test.yml", "rules_history_test.yml"
HISTORY_STEP_S = 600


def rule_file(thresholds: Thresholds, runbooks: str = "runbooks") -> JsonObject:
    """The document of a rule file. `runbooks`: the folder or the URL where NAME.md of each alert is."""
    return {
        "groups": [
            {"name": name, "rules": [_rule(alert, thresholds, runbooks) for alert in alerts]}
            for name, alerts in GROUPS.items()
        ]
    }


def _rule(alert: Alert, thresholds: Thresholds, runbooks: str) -> JsonObject:
    rule: JsonObject = {"alert": alert.name, "expr": alert.expression(thresholds)}
    if alert.for_s:
        rule["for"] = f"{alert.for_s}s"
    rule["labels"] = {"severity": alert.severity, "service": "deepseek"}
    rule["annotations"] = {
        "summary": alert.summary, "description": alert.meaning,
        "runbook_url": f"{runbooks.rstrip('/')}/{alert.name}.md",
    }  # fmt: skip
    return rule


def unit_tests(thresholds: Thresholds) -> dict[str, JsonObject]:
    """The documents of promtool's unit tests, by the names of their files: each alert is silent on quiet series, fires
    on bad ones within its time, and ends. Alerts that compare with a day ago have a file with longer steps."""
    return {
        name: {
            "rule_files": [RULES_NAME], "evaluation_interval": f"{step_s}s",
            "tests": [
                _unit_test(alert, thresholds, step_s) for alert in ALERTS if bool(alert.history_s) == looks_back
            ],
        }
        for name, looks_back, step_s in ((TESTS_NAME, False, EVALUATION_S), (HISTORY_TESTS_NAME, True, HISTORY_STEP_S))
    }  # fmt: skip


def _unit_test(alert: Alert, thresholds: Thresholds, step_s: int) -> JsonObject:
    bad_s = alert.window_s + alert.for_s + 3 * step_s
    quiet_s = max(alert.history_s, alert.window_s) + bad_s
    ends = [quiet_s // step_s, (quiet_s + bad_s) // step_s, (quiet_s + 2 * bad_s) // step_s]
    silent = [quiet_s, quiet_s + 2 * bad_s]
    if alert.for_s >= 2 * step_s:  # not before its time
        silent.append(quiet_s + step_s)
    expectations = [(at_s, False) for at_s in silent] + [(quiet_s + bad_s, True)]
    return {
        "name": alert.name, "interval": f"{step_s}s",
        "input_series": [
            {"series": signal.series, "values": " ".join(_values(signal, thresholds, ends, step_s))}
            for signal in alert.signals
        ],
        "promql_expr_test": [
            {
                "expr": f'min(ALERTS{{alertname="{alert.name}",alertstate="firing"}})', "eval_time": f"{at_s}s",
                "exp_samples": [{"labels": "{}", "value": 1}] if fires else [],
            }
            for at_s, fires in sorted(expectations)
        ],
    }  # fmt: skip


def _values(signal: Signal, thresholds: Thresholds, ends: Sequence[int], step_s: int) -> Iterator[str]:
    """The samples of a series in promtool's notation: quiet, bad and quiet again, each until a step of `ends`."""
    phases = (signal.quiet(thresholds), signal.bad(thresholds), signal.quiet(thresholds))
    total, start = 0.0, 0
    for value, end in zip(phases, ends, strict=True):
        num_steps = end - start
        if math.isnan(value):
            yield from ["NaN"] * (num_steps + (start == 0))
        elif not signal.is_counter:
            yield f"{_decimal(value)}x{num_steps - (start > 0)}"
        else:
            growth = value * step_s / EVALUATION_S
            yield f"{_decimal(total + (growth if start else 0.0))}+{_decimal(growth)}x{num_steps - (start > 0)}"
            total += growth * num_steps
        start = end


def _decimal(value: float) -> str:
    """A number without an exponent, which promtool would not read there.

    >>> _decimal(1e9), _decimal(-0.25)
    ('1000000000', '-0.25')
    """
    return f"{value:.9f}".rstrip("0").rstrip(".")
