"""`deepseek recipe maintenance`: sensor rows of machines to a bundle that tells how long each has left."""

from __future__ import annotations

import shlex
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import BUNDLE, FILE, duration, share
from deepseek.cli.support.progress import Progress

EXAMPLE_BUDGET_S = 60.0  # CPU seconds at most: it shows the way

EPILOG = """\b
Examples:
  deepseek recipe maintenance --example --out engines
  deepseek recipe maintenance sensors.parquet --unit engine --time cycle --out engines
  deepseek recipe maintenance sensors.csv --unit pump --time when --failure broke --out pumps
  deepseek recipe maintenance train.parquet --unit unit --time cycle --rul rul --test test.parquet --out engines
  deepseek predict engines today.parquet --out rul.csv
"""


@click.command(epilog=EPILOG, short_help="Sensors of machines become their remaining life.")
@click.argument("sensors", type=FILE, required=False)
@click.option("--example", is_flag=True, help="Run on machines that are simulated.")
@click.option("--out", type=BUNDLE, required=True, help="Folder of the bundle.")
@click.option("--unit", default="unit", show_default=True, metavar="COL", help="Which machine.")
@click.option("--time", default="time", show_default=True, metavar="COL", help="When: dates, or numbers that rise.")
@click.option("--failure", metavar="COL", help="1 in the row of a failure, else 0. A machine without a 1 is censored.")
@click.option("--rul", metavar="COL", help="Remaining life, in units of time. A machine without a value is censored.")
@click.option("--cap", type=click.FloatRange(min=0, min_open=True), metavar="LIFE",
              help="Tell remaining life up to here.  [default: 5/8 of the median life]")  # fmt: skip
@click.option("--test", type=FILE, help="Machines to test on, with the same columns.  [default: a tenth of them]")
@click.option("--interval", default="0.9", show_default=True, type=share, metavar="SHARE", help="What intervals hold.")
@click.option(
    "--budget",
    "budget_s",
    default="10m",
    show_default=True,
    type=duration,
    help="CPU time of the search; at most 1m with --example.",
)
@click.option("--trials", type=click.IntRange(1), help="Run exactly so many trials, whatever they cost.")
@click.option("--nets/--no-nets", default=True, show_default=True, help="Let an LSTM with attention and a TCN compete.")
@click.option("--drop", multiple=True, metavar="COL", help="Leave a column out.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**31 - 1), help="Of draws.")
@click.option("--overwrite", is_flag=True, help="Replace a bundle that is there.")
@output.json_option
def command(
    sensors: Path | None, example: bool, out: Path, unit: str, time: str, test: Path | None, as_json: bool,
    **choices: Any,
) -> None:  # fmt: skip
    """Learn how long machines have left from SENSORS (CSV, Parquet or Arrow): one row for each moment of a machine.
    Without --failure and --rul each machine's last row is its failure."""
    if (sensors is None) == (not example):
        raise click.UsageError("give either SENSORS or --example, not both and not neither")
    if choices["failure"] and choices["rul"]:
        raise click.UsageError("give --failure or --rul, not both")
    from deepseek.bundle import check_target
    from deepseek.data import read_table
    from deepseek.features.machines.history import MachineColumns
    from deepseek.recipes.maintenance.example import EXAMPLE_COLUMNS, make_example
    from deepseek.recipes.maintenance.run import MaintenanceOptions, run_maintenance

    check_target(out, overwrite=choices["overwrite"])
    if example:
        choices["budget_s"] = min(choices["budget_s"], EXAMPLE_BUDGET_S)
    columns = EXAMPLE_COLUMNS if example else MachineColumns(unit, time)
    with closing(Progress()) as progress:
        table = make_example(choices["seed"]) if sensors is None else read_table(sensors)
        options = MaintenanceOptions(
            columns, out, test=None if test is None else read_table(test), progress=progress,
            command=shlex.join(["deepseek", *sys.argv[1:]]), **choices,
        )  # fmt: skip
        result = run_maintenance(table, options)
    output.warn(list(result.shipped.warnings))
    output.emit(result, as_json, result.summary_parts)
