"""The runbook of an alert as a page: what it means, what to look at, what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator

from deepseek.observe.metrics_table import metrics_in
from deepseek.observe.rules.alert import Alert
from deepseek.observe.rules.thresholds import THRESHOLDS, Thresholds


def runbook(alert: Alert, thresholds: Thresholds) -> str:
    """The page in Markdown."""
    return "\n".join(_lines(alert, thresholds))


def _lines(alert: Alert, thresholds: Thresholds) -> Iterator[str]:
    expression = alert.expression(thresholds)
    yield f"# {alert.name}\n"
    yield f"{alert.meaning}\n"
    yield (
        f"Severity: {alert.severity}. It fires when this holds for {alert.for_s} s, at the latest "
        f"{alert.fires_within_s} s after it began to:\n"
    )
    yield f"```promql\n{expression}\n```\n"
    for name in alert.thresholds:
        threshold = THRESHOLDS[name]
        unit = f" {threshold.unit}" if threshold.unit else ""
        yield (
            f"Threshold: `--set {name}={thresholds.text(name)}` of `deepseek observe export` "
            f"({threshold.meaning}; "
            f"{threshold.low:g} to {threshold.high:g}{unit}).\n"
        )
    if alert.needs:
        yield f"Needs: {alert.needs}.\n"
    yield "## What to look at\n"
    yield from (f"{number}. {capital_sentence(check)}" for number, check in enumerate(alert.checks, start=1))
    yield "\n## What to do\n"
    yield from (f"- {capital_sentence(action)}" for action in alert.actions)
    if read := [metric for metric in metrics_in(expression) if not metric.name.startswith("process_")]:
        yield "\n## The metrics that it reads\n"
        yield from (f"- `{metric.name}`: {metric.meaning}." for metric in read)
    yield ""


def capital_sentence(text: str) -> str:
    """With a capital, a point, and metrics as code.

    >>> capital_sentence("deepseek_workers against the cores"), capital_sentence("start it again")
    ('`deepseek_workers` against the cores.', 'Start it again.')
    """
    marked = re.sub(r"(?<!`)\b(?:deepseek|process)_[a-z_]+\b", r"`\g<0>`", text)
    return f"{marked[0].upper()}{marked[1:]}."
