"""Makes what watches a server from the tables in deepseek.observe: `python docs/make_watch.py`.

Files of the chart (rules, dashboards), docs/runbooks and the table of metrics in the guides. tests/observe holds them
current.
"""

from __future__ import annotations

import re
from pathlib import Path

from deepseek.observe.compat.names import FOREIGN_NAMES, WITHOUT_ANSWER
from deepseek.observe.dashboards.panels import DASHBOARDS
from deepseek.observe.export import ELASTIC, GRAFANA, PROMETHEUS, RUNBOOKS, render_files
from deepseek.observe.metrics_table import METRICS, metrics_in
from deepseek.observe.rules.rule_file import ALERTS
from deepseek.observe.rules.thresholds import THRESHOLDS, read_thresholds
from deepseek.observe.shipping.fields import LOG_FIELDS

ROOT = Path(__file__).resolve().parent.parent
CHART_FILES = "deploy/helm/deepseek-model-server/files"
GUIDES = tuple(f"docs/guides/{folder}{name}.md" for name in ("watching", "logs") for folder in ("", "zh/"))
#: Folders of an export, and where their files lie in the repository.
PLACES = {
    PROMETHEUS: CHART_FILES, GRAFANA: f"{CHART_FILES}/dashboards", RUNBOOKS: "docs/runbooks",
    ELASTIC: "deploy/watch/elastic",
}  # fmt: skip
MARKERS = re.compile(r"(<!-- (\w+): begin -->\n).*?(<!-- \w+: end -->)", re.DOTALL)


def files() -> dict[str, str]:
    """Every generated file by its path in the repository."""
    made = {}
    for name, text in render_files(read_thresholds([]), "docs/runbooks").items():
        folder, _, last = name.rpartition("/")
        if not last.endswith("_test.yml"):
            made[f"{PLACES[folder]}/{last}"] = text
    return made


def guide(text: str) -> str:
    """A guide with its tables made anew between their marks; links to runbooks as seen from the guide."""
    up = "../../runbooks" if "](../watching.md)" in text else "../runbooks"
    tables = {
        "metrics": metrics_table, "alerts": alerts_table, "thresholds": thresholds_table, "compat": compat_table,
        "silent": silent_table, "fields": fields_table,
    }  # fmt: skip

    def renew(found: re.Match[str]) -> str:
        return f"{found[1]}\n{tables[found[2]]()}\n{found[3]}".replace("](RUNBOOKS/", f"]({up}/")

    return MARKERS.sub(renew, text)


def metrics_table() -> str:
    """Each metric: what it is, where it is shown, what it alarms."""
    thresholds = read_thresholds([])
    rows = ["| Metric | Kind | Labels | Meaning | Dashboards | Alerts | Needs |", f"| {' | '.join(['---'] * 7)} |"]
    for metric in METRICS:
        boards = [name for name, board in DASHBOARDS.items() if any(metric in panel.metrics for panel in board.panels)]
        alerts = [alert.name for alert in ALERTS if metric in metrics_in(alert.expression(thresholds))]
        rows.append(
            f"| `{metric.name}` | {metric.kind}, {metric.unit} | {', '.join(metric.labels)} | {metric.meaning} | "
            f"{', '.join(boards)} | {', '.join(alerts)} | {metric.needs} |"
        )
    return "\n".join(rows) + "\n"


def alerts_table() -> str:
    """Each alert: when it fires, how soon, and its runbook."""
    rows = ["| Alert | Severity | Fires within | Thresholds |", "| --- | --- | --- | --- |"]
    rows += [
        f"| [{alert.name}](RUNBOOKS/{alert.name}.md) | {alert.severity} | {alert.fires_within_s} s | "
        f"{', '.join(alert.thresholds)} |"
        for alert in ALERTS
    ]
    return "\n".join(rows) + "\n"


def thresholds_table() -> str:
    """Each threshold with its default and its bounds."""
    rows = ["| Threshold | Default | From | To | Of |", "| --- | --- | --- | --- | --- |"]
    for name, each in THRESHOLDS.items():
        unit = f" {each.unit}" if each.unit else ""
        rows.append(f"| `{name}` | {each.default:g}{unit} | {each.low:g} | {each.high:g} | {each.meaning} |")
    return "\n".join(rows) + "\n"


def compat_table() -> str:
    """Each name of another project, and what it is here."""
    rows = ["| Project | Name | Kind | Here |", "| --- | --- | --- | --- |"]
    rows += [f"| {each.project} | `{each.name}` | {each.kind} | {each.source} |" for each in FOREIGN_NAMES]
    return "\n".join(rows) + "\n"


def silent_table() -> str:
    """Each name of another project that has no answer here."""
    rows = ["| Name | Why |", "| --- | --- |"]
    return "\n".join([*rows, *(f"| `{name}` | {why} |" for name, why in WITHOUT_ANSWER.items())]) + "\n"


def fields_table() -> str:
    """Each field of a log line."""
    rows = ["| Field | Type | Of | Meaning |", "| --- | --- | --- | --- |"]
    rows += [
        f"| `{each.name}` | {each.kind} | {'ECS' if each.is_ecs else 'deepseek'} | {each.meaning} |"
        for each in LOG_FIELDS
    ]
    return "\n".join(rows) + "\n"


def main() -> None:
    for name, text in files().items():
        path = ROOT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    for name in GUIDES:
        path = ROOT / name
        if path.exists():
            path.write_text(guide(path.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
