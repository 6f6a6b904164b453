"""`deepseek label`: from rows without labels to a model. One file for each command."""

from __future__ import annotations

import click

from deepseek.cli.support.lazy_group import LazyGroup

SUBCOMMANDS = {
    "new": "Begin a project: rows or files to label, and which labels there are.",
    "serve": "Serve the page where people label.",
    "people": "Say who may label, and give out keys.",
    "rules": "Label by keywords, expressions and functions, and say how right they are.",
    "next": "Choose what to label next.",
    "export": "Write the labels as CSV, Label Studio's JSON, CoNLL, COCO or YOLO.",
    "import": "Take over labels from Label Studio's JSON, CoNLL, COCO or YOLO.",
    "release": "Release a model of the labels where it is better than the one that serves.",
    "status": "Say how good the labels make a model, and what an hour more would bring.",
}

EPILOG = """\b
Examples:
  deepseek label new claims.csv --task multiclass --labels fire,theft,water --out claims
  deepseek label serve claims
  deepseek label status claims
"""


@click.group(
    cls=LazyGroup, package="deepseek.cli.label", subcommands=SUBCOMMANDS, noun="label", heading="Commands",
    subcommand_metavar="COMMAND ...", epilog=EPILOG, short_help="Label rows, and what to label next.",
)  # fmt: skip
def command() -> None:
    """Label rows, texts, pictures and sounds in a page; each next example is chosen by what its label would bring.
    Each command takes --json."""
