"""`deepseek federate status`: where a study stands."""

from __future__ import annotations

from pathlib import Path

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import FILE, FOLDER, duration

EPILOG = """\b
Examples:
  deepseek federate status https://hub.example:8443 --study cards --key bank-a
  deepseek federate status https://hub.example:8443 --study cards --key bank-a --json
"""


@click.command(epilog=EPILOG, short_help="Say where a study stands, and who is waited for.")
@click.argument("url")
@click.option("--study", type=FOLDER, required=True, help="The folder of the study, as it was signed.")
@click.option("--key", type=FILE, required=True, help="Private key of a party.")
@click.option("--patience", default="10", show_default=True, type=duration, metavar="SECONDS",
              help="How long the coordinator may be gone.")  # fmt: skip
@output.json_option
def command(url: str, study: Path, key: Path, patience: float, as_json: bool) -> None:
    """Ask the coordinator at URL as one of the parties."""
    from deepseek.privacy.study.definition import open_study
    from deepseek.privacy.transport.party import open_client

    client = open_client(url, open_study(study), key, patience)
    try:
        report = client.request_object("GET", "/v1/status")
    finally:
        client.close()
    output.emit(report, as_json)
