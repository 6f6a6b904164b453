"""`deepseek label new`: a project of labels."""

from __future__ import annotations

from pathlib import Path

import click

from deepseek.cli.ship import KINDS
from deepseek.cli.support import output
from deepseek.cli.support.options import FILE, FOLDER, assignment_of, names

TASKS = ("binary", "multiclass", "regression", "boxes", "masks", "spans")
EPILOG = """\b
Examples:
  deepseek label new claims.csv --task multiclass --labels fire,theft,water --out claims
  deepseek label new parts --task boxes --labels scratch,dent --out parts-labels
  deepseek label new loans.csv --task binary --labels no,yes --target default --out loans-labels
  deepseek label new notes.csv --task spans --labels name,date --drop author --overlap 0.1 --out notes-labels
"""


@click.command(epilog=EPILOG, short_help="Begin a project.")
@click.argument("data", type=FILE)
@click.option("--task", required=True, type=click.Choice(TASKS), help="What a label is.")
@click.option("--labels", type=names, default="", help="Names with commas between them, or a JSON list.")
@click.option("--out", required=True, type=FOLDER, help="Folder of the project.")
@click.option("--target", metavar="COL", help="A column of DATA that has labels of some rows already.")
@click.option("--as", "column", default="label", show_default=True, metavar="NAME",
              help="Without --target: the column that labels become.")  # fmt: skip
@click.option("--drop", multiple=True, metavar="COL", help="A column that is not shown and not learned from.")
@click.option("--files", type=FOLDER, help="Folder that paths in DATA lie below.  [default: that of DATA]")
@click.option("--kind", "kinds", multiple=True, metavar="COL=KIND", type=assignment_of(KINDS),
              help=f"Kind of a column: {', '.join(KINDS)}.")  # fmt: skip
@click.option("--test", "num_test", type=click.IntRange(1), metavar="N",
              help="Items drawn at random to be tested on.  [default: a fifth, at most 200]")  # fmt: skip
@click.option("--overlap", default=0.0, show_default=True, type=click.FloatRange(0, 1), metavar="SHARE",
              help="Share of the items that two people label.")  # fmt: skip
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**31 - 1), help="Of what is drawn.")
@output.json_option
def command(
    data: Path,
    task: str,
    labels: tuple[str, ...],
    out: Path,
    target: str | None,
    column: str,
    drop: tuple[str, ...],
    files: Path | None,
    kinds: tuple[tuple[str, str], ...],
    num_test: int | None,
    overlap: float,
    seed: int,
    as_json: bool,
) -> None:
    """Make the project OUT of the rows of DATA (CSV, Parquet or Arrow), or of the files of a folder (pictures, sounds,
    texts). What is tested on is drawn now, at random, and is never chosen by what looks useful."""
    from deepseek.automl.label.project.project import ProjectOptions
    from deepseek.automl.label.verbs import new_project

    options = ProjectOptions(task, tuple(filter(None, labels)), target or column, num_test, overlap, seed)  # type: ignore[arg-type]
    result = new_project(data, out, options, has_target=target is not None, drop=drop, files=files, kinds=dict(kinds))
    output.emit(result, as_json, result.summary())
