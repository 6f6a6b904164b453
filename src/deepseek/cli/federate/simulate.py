"""`deepseek federate simulate`: a study with all its parties in this process."""

from __future__ import annotations

from pathlib import Path

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import FILE, FOLDER

EPILOG = """\b
Examples:
  deepseek federate simulate cards --data payments.csv --parties 10 --split by:CUSTOMER_ID
  deepseek federate simulate cards --data payments.parquet --parties 5 --out bundle --key release-key
  deepseek federate simulate speech --data digits.npz --parties 6 --split by:speaker --json
  deepseek federate simulate loans --data both.csv --out halves
"""


@click.command(epilog=EPILOG, short_help="Run a study with all its parties here, from one table.")
@click.argument("study", type=FOLDER)
@click.option("--data", type=FILE, required=True, help="A table in the schema of the study.")
@click.option("--parties", "num_parties", default=10, show_default=True, type=click.IntRange(2, 1000),
              help="How many owners the rows are cut into.")  # fmt: skip
@click.option("--split", default="rows", show_default=True, metavar="rows|by:COL",
              help="Deal rows, or all rows of a value of COL to one party.")  # fmt: skip
@click.option("--out", type=FOLDER, help="Write the bundle there.")
@click.option("--key", type=FILE, help="Private key that signs the bundle.")
@click.option("--overwrite", is_flag=True, help="Replace a bundle at --out.")
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0, 2**31 - 1), help="Of the cut into parties."
)
@click.option("--module", metavar="FILE.py:NAME", help="Your own copy of the torch module that the study learns.")
@output.json_option
def command(
    study: Path, data: Path, num_parties: int, split: str, out: Path | None, key: Path | None, overwrite: bool,
    seed: int, module: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Run STUDY with the rows of DATA cut into parties of uneven size. The model is measured on a fifth of the rows,
    which no party has, beside each party alone and all data in one place.

    Of a vertical study DATA has the columns of both houses: --parties and --split do not apply, and --out is a folder
    with the half of each."""
    from deepseek.bundle import check_target
    from deepseek.data import read_table
    from deepseek.privacy.parties.module_source import provide_module
    from deepseek.privacy.simulation.simulate import SimulationOptions, simulate
    from deepseek.privacy.study.definition import open_study

    if out is not None:
        check_target(out, overwrite=overwrite, key=key)
    options = SimulationOptions(num_parties, split, seed, out, key, overwrite)
    folder = open_study(study)
    if folder.study.vertical is not None:
        from deepseek.privacy.vertical.halves import HalfTarget
        from deepseek.privacy.vertical.simulation import simulate_vertical

        halves = None if out is None else HalfTarget(out, key, overwrite)
        vertical = simulate_vertical(folder.study, read_table(data), halves)
        output.emit(vertical, as_json, vertical.summary_parts)
        return
    provide_module(folder.study, module)
    simulation = simulate(folder.study, read_table(data), options)
    output.emit(simulation, as_json, simulation.summary_parts)
