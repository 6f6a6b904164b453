"""`deepseek evaluate`: the figures of a bundle on rows that it has not seen."""

from __future__ import annotations

from pathlib import Path

import click

from deepseek.cli import output
from deepseek.cli.options import BUNDLE, FILE

EPILOG = """\b
Examples:
  deepseek evaluate loans later.csv
  deepseek evaluate loans later.parquet --json
"""


@click.command(epilog=EPILOG, short_help="Measure a bundle on labelled data.")
@click.argument("bundle", type=BUNDLE)
@click.argument("data", type=FILE)
@output.json_option
def command(bundle: Path, data: Path, as_json: bool) -> None:
    """Measure BUNDLE on the labelled rows of DATA, with bootstrap intervals."""
    from deepseek.train.evaluate import evaluate_bundle

    result = evaluate_bundle(bundle, data)
    output.emit(
        result,
        as_json,
        lambda: [
            f"{result['bundle']} on {output.word(result['num_rows'])} rows",
            output.figures(result["metrics"], {}),
        ],
    )
