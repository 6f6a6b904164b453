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
  deepseek federate join https://hub.example:8443 --study cards --data payments.csv --key bank-a --module net.py:build
  deepseek federate join https://bank.example:8443 --study loans --data shop.csv --key shop --out shop-half
"""


@click.command(epilog=EPILOG, short_help="Take part in a study with local rows, which stay here.")
@click.argument("url")
@click.option("--study", type=FOLDER, required=True, help="The folder of the study, as it was signed.")
@click.option("--data", type=FILE, required=True, help="The party's rows, in the schema of the study.")
@click.option("--key", type=FILE, required=True, help="The party's private key.")
@click.option("--patience", default="600", show_default=True, type=duration, metavar="SECONDS",
              help="How long the coordinator may be gone.")  # fmt: skip
@click.option("--module", metavar="FILE.py:NAME", help="Your own copy of the torch module that the study learns.")
@click.option("--out", type=FOLDER, help="Of a vertical study: write this house's half there, signed by the key.")
@click.option("--overwrite", is_flag=True, help="Replace a bundle at --out.")
@output.json_option
def command(
    url: str, study: Path, data: Path, key: Path, patience: float, module: str | None, out: Path | None,
    overwrite: bool, as_json: bool,
) -> None:  # fmt: skip
    """Answer the coordinator at URL until the study is over. What leaves this machine is what study.json says: with
    secure sums, numbers under masks that only the sum of all parties is free of.

    Of a study of two houses with other columns of the same people the house without the target joins, and writes its
    half of the model."""
    from deepseek.bundle import check_target
    from deepseek.data import read_table
    from deepseek.privacy.parties.module_source import provide_module
    from deepseek.privacy.study.definition import open_study
    from deepseek.privacy.transport.party import JoinOptions, join_study

    if out is not None:
        check_target(out, overwrite=overwrite, key=key)
    options = JoinOptions(key, patience, report=lambda text: output.note(f"answered: {text}"))
    folder = open_study(study)
    if folder.study.vertical is not None:
        from deepseek.privacy.vertical.halves import HalfTarget
        from deepseek.privacy.vertical.party import join_house

        half = None if out is None else HalfTarget(out, key, overwrite)
        output.emit(join_house(url, folder, read_table(data), options, half), as_json)
        return
    if out is not None:
        raise click.UsageError("--out is for a vertical study; the coordinator of another writes the bundle")
    provide_module(folder.study, module)
    output.emit(join_study(url, folder, read_table(data), options), as_json)
