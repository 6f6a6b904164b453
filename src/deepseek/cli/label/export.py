"""`deepseek label export`: the labels in the formats of others."""

from __future__ import annotations

from pathlib import Path

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import FILE, FOLDER

FORMATS = ("csv", "label-studio", "conll", "coco", "yolo")
EPILOG = """\b
Examples:
  deepseek label export claims labels.csv
  deepseek label export claims labels.json --format label-studio
  deepseek label export parts-labels boxes.json --format coco
  deepseek label export notes-labels notes.conll --format conll
"""


@click.command(epilog=EPILOG, short_help="Write the labels in a format of others.")
@click.argument("project", type=FOLDER)
@click.argument("out", type=FILE)
@click.option("--format", "form", default="csv", show_default=True, type=click.Choice(FORMATS), help="Of OUT.")
@output.json_option
def command(project: Path, out: Path, form: str, as_json: bool) -> None:
    """Write the labels of PROJECT to OUT (for YOLO a folder): one label of each item; of Label Studio's JSON those of
    each person. CSV says which rows are of the test."""
    from deepseek.automl.label.formats.verbs import export_labels
    from deepseek.automl.label.project.project import Project
    from deepseek.files import check_writable

    if form != "yolo":
        check_writable(out)
    with Project.open(project) as opened:
        num = export_labels(opened, out, form)  # type: ignore[arg-type]
    output.emit({"out": str(out), "num_items": num}, as_json, f"{num:,} labeled items are in {out}")
