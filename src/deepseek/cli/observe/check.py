"""`deepseek observe check`: is every metric, panel and rule alive? The work is in observe/check.py."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import FILE

if TYPE_CHECKING:
    from deepseek.observe.check import CheckResult

EPILOG = """\b
Examples:
  deepseek observe check http://127.0.0.1:8000
  deepseek observe check http://127.0.0.1:8000 --prometheus http://127.0.0.1:9090
"""


@click.command(epilog=EPILOG, short_help="Is every metric, panel and rule alive?")
@click.argument("url")
@click.option(
    "--prometheus", default="", metavar="URL", help="Ask it, too: is every rule loaded, has every panel an answer?"
)
@click.option("--api-key-file", type=FILE, help="Holds an API key of the server.")
@output.json_option
def command(url: str, prometheus: str, api_key_file: Path | None, as_json: bool) -> None:
    """Check the server at URL: which metrics have samples, and which panels and rules can therefore work. What needs
    something that is not there (a GPU, a certificate, a stream) is idle; what else is silent is dead: exit code 3."""
    from deepseek.bench.server import key_header
    from deepseek.errors import CheckError
    from deepseek.observe.check import check_server

    result = check_server(url, headers=key_header(api_key_file) if api_key_file else {}, prometheus=prometheus)
    if result.dead:
        error = CheckError(
            f"{len(result.dead)} of {len(result.findings)} are dead, first {result.dead[0].kind} {result.dead[0].name}",
            expected="metrics, panels and rules that are alive or idle", fix=result.dead[0].reason,
        )  # fmt: skip
        output.emit_unmet(result.to_dict(), error, as_json, lambda: describe(result))
    output.emit(result.to_dict(), as_json, lambda: describe(result))


def describe(result: CheckResult) -> list[object]:
    """Counts of each kind, then what is not alive, and why."""
    counts = output.make_table("", "alive", "idle", "dead")
    for kind in ("metric", "panel", "rule"):
        counts.add_row(f"{kind}s", *(f"{result.count(kind, state):,}" for state in ("alive", "idle", "dead")))
    quiet = output.make_table("", "name", "state", "why", value_justify="left")
    for finding in sorted(result.findings, key=lambda finding: finding.state):
        if finding.state != "alive" and (finding.kind == "metric" or finding.state == "dead"):
            quiet.add_row(finding.kind, finding.name, finding.state, finding.reason)
    return [counts, quiet] if quiet.row_count else [counts]
