"""`deepseek observe`: what watches a server. `deepseek observe NAME` imports cli/observe/NAME.py alone."""

from __future__ import annotations

import click

from deepseek.cli.support.lazy_group import LazyGroup

#: Each sub-command and its line of help, in the order in which a user meets them.
SUBCOMMANDS: dict[str, str] = {
    "why": "Which slice of the requests explains the bad answers of a window?",
    "drift": "Is what comes in still what the model was trained on, and does it matter?",
    "export": "Write dashboards, alert rules, runbooks and log shipping, to put into one's own stack.",
    "expose": "Metrics of training runs and of drift, for Prometheus.",
    "check": "Ask a server whether every metric, panel and rule is alive.",
}

EPILOG = """\b
Examples:
  deepseek observe why predictions --since 10m --html why.html
  deepseek observe drift loans predictions --html drift.html
  deepseek observe export watching --set latency_p99=0.8 --set psi=0.2
  deepseek observe check http://127.0.0.1:8000
"""


@click.group(
    cls=LazyGroup,
    package="deepseek.cli.observe",
    subcommands=SUBCOMMANDS,
    noun="observe",
    heading="Sub-commands",
    subcommand_metavar="NAME ...",
    epilog=EPILOG,
    short_help="Watch a server: metrics, alerts, causes.",
)
def command() -> None:
    """Watch a server: dashboards and tested alert rules for its metrics, and whether all of them are alive.
    Each sub-command takes --json."""
