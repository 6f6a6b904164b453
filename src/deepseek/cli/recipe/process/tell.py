"""`deepseek recipe process tell`: what a trial has measured."""

from __future__ import annotations

from pathlib import Path

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import FILE, FOLDER

EPILOG = """\b
Examples:
  deepseek recipe process tell line3 7 material_yield=81.2 bond=0.71 blister=0.2 tear=0.18
  deepseek recipe process tell line3 8 --failed --reason "the die jammed"
  deepseek recipe process tell line3 --csv results.csv
  deepseek recipe process tell line3 --csv last_year.csv --history
"""


@click.command(epilog=EPILOG, short_help="Tell what a trial has measured.")
@click.argument("study", type=FOLDER)
@click.argument("trial", type=click.IntRange(1), required=False)
@click.argument("values", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--csv", "table", type=FILE, help="A table with the column trial, and one for each measured quantity.")
@click.option("--history", is_flag=True, help="The table holds recipes that were measured outside of the study.")
@click.option("--failed", is_flag=True, help="The trial has ended without a result.")
@click.option("--reason", default="", help="Why it has failed.")
@click.option("--correct", is_flag=True, help="What was told before of this trial was wrong.")
@output.json_option
def command(
    study: Path, trial: int | None, values: tuple[str, ...], table: Path | None, history: bool, failed: bool,
    reason: str, correct: bool, as_json: bool,
) -> None:  # fmt: skip
    """Tell what TRIAL of STUDY has measured: a value for each objective and each constraint. Nothing that was answered
    is lost: it is on the disk before this ends."""
    if (trial is None) == (table is None):
        raise click.UsageError("give either TRIAL with its values, or --csv")
    if failed and (values or table is not None):
        raise click.UsageError("a failed trial has no values")
    if history and table is None:
        raise click.UsageError("--history needs --csv")
    pairs = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not equals:
            raise click.UsageError(f"{value!r} is not NAME=VALUE")
        if name in pairs:
            raise click.UsageError(f"{name} is given twice")
        pairs[name] = text
    from deepseek.recipes.process.verbs import tell_study, tell_table

    if table is not None:
        result = tell_table(study, table, is_history=history, correct=correct)
    else:
        result = tell_study(study, trial or 0, pairs, has_failed=failed, reason=reason, correct=correct)
    output.warn(result.warnings)
    output.emit(result, as_json, result.summary())
