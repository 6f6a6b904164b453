"""`deepseek recipe process ask`: the next recipes to try."""

from __future__ import annotations

from pathlib import Path

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import FOLDER

EPILOG = """\b
Examples:
  deepseek recipe process ask line3
  deepseek recipe process ask line3 --num 4 --json
"""


@click.command(epilog=EPILOG, short_help="Ask for the next recipes to try.")
@click.argument("study", type=FOLDER)
@click.option("--num", default=1, show_default=True, type=click.IntRange(1, 50), help="How many, to be tried at once.")
@output.json_option
def command(study: Path, num: int, as_json: bool) -> None:
    """Ask for the next recipes of STUDY. They count as pending until their results are told; two people who ask at once
    get different ones."""
    from deepseek.recipes.process.verbs import ask_study

    result = ask_study(study, num)
    output.warn(result.warnings)
    names = [parameter.name for parameter in result.definition.parameters]
    heads = [f"{each.name} [{each.unit}]" if each.unit else each.name for each in result.definition.parameters]
    table = output.make_table("trial", *heads, "holds", "why", value_justify="right")
    for trial in result.trials:
        chance = "" if trial.chance is None else f"{100 * trial.chance:.1f} %"
        table.add_row(str(trial.number), *(_cell(trial.recipe[name]) for name in names), chance, trial.reason)
    output.emit(result, as_json, [table, result.summary()])


def _cell(value: float | str) -> str:
    return output.escape_text(value) if isinstance(value, str) else f"{value:.6g}"
