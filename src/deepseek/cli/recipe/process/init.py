"""`deepseek recipe process init`: a new study."""

from __future__ import annotations

from pathlib import Path

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import FILE, FOLDER

EPILOG = """\b
Examples:
  deepseek recipe process init line3 --example
  deepseek recipe process init line3 --from press.toml
"""


@click.command(epilog=EPILOG, short_help="Begin a study.")
@click.argument("study", type=FOLDER)
@click.option("--from", "source", type=FILE, help="The study file, written before.")
@click.option("--example", is_flag=True, help="A simulated press, with its first trials told.")
@output.json_option
def command(study: Path, source: Path | None, example: bool, as_json: bool) -> None:
    """Make the folder STUDY with its study.toml: parameters with their ranges, objectives, constraints, what is known.
    Without --from and --example it is a file to fill in."""
    if source is not None and example:
        raise click.UsageError("give either --from or --example, not both")
    from deepseek.recipes.process.verbs import init_study

    result = init_study(study, source, is_example=example)
    output.emit(result, as_json, result.summary())
