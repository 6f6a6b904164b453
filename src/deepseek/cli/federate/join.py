"""`deepseek federate join`: a party of a study, in its own house."""

from __future__ import annotations

from pathlib import Path

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import FILE, FOLDER, duration

EPILOG = """\b
Examples:
  deepseek federate join https://hub.example:8443 --study cards --data payments.csv --key bank-a
  deepseek federate join https://hub.example:8443 --study cards --data payments.csv --key bank-a --patience 2h --json
"""


@click.command(epilog=EPILOG, short_help="Take part in a study with local rows, which stay here.")
@click.argument("url")
@click.option("--study", type=FOLDER, required=True, help="The folder of the study, as it was signed.")
@click.option("--data", type=FILE, required=True, help="The party's rows, in the schema of the study.")
@click.option("--key", type=FILE, required=True, help="The party's private key.")
@click.option("--patience", default="600", show_default=True, type=duration, metavar="SECONDS",
              help="How long the coordinator may be gone.")  # fmt: skip
@output.json_option
def command(url: str, study: Path, data: Path, key: Path, patience: float, as_json: bool) -> None:
    """Answer the coordinator at URL until the study is over. What leaves this machine is what study.json says: with
    secure sums, numbers under masks that only the sum of all parties is free of."""
    from deepseek.data import read_table
    from deepseek.privacy.study.definition import open_study
    from deepseek.privacy.transport.party import JoinOptions, join_study

    options = JoinOptions(key, patience, report=lambda text: output.note(f"answered: {text}"))
    output.emit(join_study(url, open_study(study), read_table(data), options), as_json)
