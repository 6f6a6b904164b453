"""`deepseek operator`: operators of one's own. One file for each command."""

from __future__ import annotations

import click

from deepseek.cli.support.lazy_group import LazyGroup

SUBCOMMANDS = {"new": "Begin a package for an operator: torch, C++, ONNX, training, explanation."}

EPILOG = """\b
Examples:
  deepseek operator new robust_gate
  pip install -e robust_gate
  deepseek ship --example cancer --candidates robust_gate --out cancer
"""


@click.group(
    cls=LazyGroup, package="deepseek.cli.operator", subcommands=SUBCOMMANDS, noun="operator", heading="Commands",
    subcommand_metavar="COMMAND ...", epilog=EPILOG, short_help="Begin an operator of your own.",
)  # fmt: skip
def command() -> None:
    """Operators of your own, from the formula to a served bundle.

    `new` takes --json.
    """
