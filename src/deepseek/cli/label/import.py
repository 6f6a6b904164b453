"""`deepseek label import`: labels in the formats of others."""

# ruff: noqa: N999  (the verb is called so)

from __future__ import annotations

from pathlib import Path

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import FILE, FOLDER

FORMATS = ("label-studio", "conll", "coco", "yolo")
EPILOG = """\b
Examples:
  deepseek label import claims export.json --format label-studio
  deepseek label import parts-labels boxes.json --format coco --person "old team"
"""


@click.command(epilog=EPILOG, short_help="Take over labels from a format of others.")
@click.argument("project", type=FOLDER)
@click.argument("labels", type=FILE)
@click.option("--format", "form", required=True, type=click.Choice(FORMATS), help="Of LABELS.")
@click.option("--person", default="", help="Who gave them, where LABELS does not say.  [default: the file's name]")
@output.json_option
def command(project: Path, labels: Path, form: str, person: str, as_json: bool) -> None:
    """Take over LABELS of the items of PROJECT: all of them, or none where one does not fit. What speaks of examples
    that PROJECT does not have is counted. The same file again changes nothing."""
    from deepseek.automl.label.formats.verbs import import_labels
    from deepseek.automl.label.project.project import Project

    with Project.open(project) as opened:
        done = import_labels(opened, labels, form, person)  # type: ignore[arg-type]
    unknown = f"; {done.num_unknown:,} are of examples that are not here" if done.num_unknown else ""
    document = {"num_labels": done.num_labels, "num_unknown": done.num_unknown}
    output.emit(document, as_json, f"{done.num_labels:,} labels were taken over{unknown}")
