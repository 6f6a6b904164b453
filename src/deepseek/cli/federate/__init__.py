"""`deepseek federate`: one model of several owners' rows. `federate NAME` imports cli/federate/NAME.py alone."""

from __future__ import annotations

import click

from deepseek.cli.support.lazy_group import LazyGroup

COMMANDS = {
    "init": "Make a study: schema, model, rounds, protection, parties.",
    "sign": "Put a party's signature under a study, and make its certificate.",
    "serve": "Coordinate a study until it is over, and write its bundle.",
    "join": "Take part in a study with local rows, which stay here.",
    "status": "Say where a study stands, and who is waited for.",
    "page": "Show a study as a page: parties, rounds, curves, what left each house.",
    "simulate": "Run a study with all its parties here, from one table.",
}

EPILOG = """\b
Examples:
  deepseek federate init cards --sample sample.csv --target fraud --drop CUSTOMER_ID --model config.toml
  deepseek federate sign cards --key bank-a
  deepseek federate serve cards --key hub --port 8443 --out bundle
  deepseek federate join https://hub.example:8443 --study cards --data payments.csv --key bank-a
  deepseek federate simulate cards --data payments.csv --parties 10 --split by:CUSTOMER_ID --json
"""


@click.group(
    cls=LazyGroup,
    package="deepseek.cli.federate",
    subcommands=COMMANDS,
    noun="command",
    heading="Commands",
    subcommand_metavar="COMMAND ...",
    epilog=EPILOG,
    short_help="Learn one model from several owners' rows.",
)
def command() -> None:
    """Learn one model from the rows of several owners, which stay where they are. What leaves a house, and who took
    part, stands in the evidence of the bundle."""
