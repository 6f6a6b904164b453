"""`deepseek recipe process undo`: what was said of a trial last is taken back."""

from __future__ import annotations

from pathlib import Path

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import FOLDER

EPILOG = """\b
Examples:
  deepseek recipe process undo line3 7
  deepseek recipe process undo line3 8 --json
"""


@click.command(epilog=EPILOG, short_help="Take back what was said of a trial last.")
@click.argument("study", type=FOLDER)
@click.argument("trial", type=click.IntRange(1))
@output.json_option
def command(study: Path, trial: int, as_json: bool) -> None:
    """Take back what was said of TRIAL of STUDY last: a result, after which the trial is open again, or that it was
    asked for, after which it is withdrawn. The log keeps both; a result can be told again."""
    from deepseek.recipes.process.verbs import undo_trial

    result = undo_trial(study, trial)
    output.warn(result.warnings)
    output.emit(result, as_json, result.summary())
