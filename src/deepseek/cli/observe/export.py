"""`deepseek observe export`: dashboards, alert rules and runbooks. The work is in observe/export.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import FOLDER
from deepseek.observe.rules.thresholds import THRESHOLDS, read_thresholds

if TYPE_CHECKING:
    from deepseek.observe.export import Export

EPILOG = """\b
Examples:
  deepseek observe export watching
  deepseek observe export watching --set latency_p99=0.8 --set psi=0.2
  deepseek observe export watching --runbooks https://wiki.bank.com/runbooks
  deepseek observe export --list
"""


@click.command(epilog=EPILOG, short_help="Write dashboards, alert rules and runbooks.")
@click.argument("folder", type=FOLDER, required=False)
@click.option(
    "--set", "assignments", multiple=True, metavar="NAME=VALUE", help="A threshold of the alerts; --list says which."
)
@click.option(
    "--runbooks", default="runbooks", metavar="URL", help="Where NAME.md of each alert will be.  [default: runbooks]"
)
@click.option("--list", "is_list", is_flag=True, help="Say what thresholds there are.")
@output.json_option
def command(folder: Path | None, assignments: tuple[str, ...], runbooks: str, is_list: bool, as_json: bool) -> None:
    """Write into FOLDER: dashboards for Grafana, alert rules for Prometheus with their unit tests, a runbook for each
    alert, and what ships log lines into Elasticsearch and shows them in Kibana. Where promtool is installed, the unit
    tests are run with your thresholds before anything is written."""
    thresholds = read_thresholds(assignments)
    if is_list:
        rows = {name: {"value": thresholds[name], **asdict(each)} for name, each in THRESHOLDS.items()}
        output.emit({"thresholds": rows}, as_json, lambda: threshold_table(thresholds.values))
        return
    if folder is None:
        raise click.UsageError("give a FOLDER, or --list")
    from deepseek.observe.export import export

    result = export(folder, thresholds, runbooks)
    output.emit(result.to_dict(), as_json, lambda: describe(result))


def threshold_table(values: Mapping[str, float]) -> object:
    """The table of --list."""
    table = output.make_table("threshold", "value", "from", "to", "unit", "what", value_justify="left")
    for name, each in THRESHOLDS.items():
        table.add_row(name, f"{values[name]:g}", f"{each.low:g}", f"{each.high:g}", each.unit, each.meaning)
    return table


def describe(result: Export) -> list[object]:
    """What was written, and whether the rules were tested."""
    return [
        f"{result.folder}: {result.num_dashboards} dashboards, {result.num_rules} alert rules, each with a runbook",
        f"  unit tests of the rules: {result.unit_tests}",
        "  prometheus/rules.yml goes under rule_files; dashboards/ into Grafana; runbooks/ where your team reads",
        "  elastic/setup.sh puts template, pipeline and Kibana's objects in place; filebeat.yml or rsyslog.conf ship",
    ]
