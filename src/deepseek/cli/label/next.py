"""`deepseek label next`: what to label next."""

from __future__ import annotations

from pathlib import Path

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import FOLDER

EPILOG = """\b
Examples:
  deepseek label next claims
  deepseek label next claims --num 40 --json
"""


@click.command(epilog=EPILOG, short_help="Choose what to label next.")
@click.argument("project", type=FOLDER)
@click.option("--num", default=100, show_default=True, type=click.IntRange(1, 10_000), help="Items of the queue.")
@output.json_option
def command(project: Path, num: int, as_json: bool) -> None:
    """Choose the items of PROJECT whose labels should bring most: typical ones of each region first, then what a model
    of the labels is unsure of, spread out. `label serve` does it by itself. Items to test on are never chosen."""
    from deepseek.automl.label.choose.verbs import next_batch
    from deepseek.automl.label.project.project import Project
    from deepseek.extras import need

    need("sklearn", extra="tabular")
    with Project.open(project) as opened:
        result = next_batch(opened, num)
    output.emit(result, as_json, result.summary())
