"""`deepseek label status`: how good it is, what an hour more would bring, whether to stop."""

from __future__ import annotations

from pathlib import Path

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import FOLDER

EPILOG = """\b
Examples:
  deepseek label status claims
  deepseek label status claims --worth 0.01 --pace 400 --json
"""


@click.command(epilog=EPILOG, short_help="Say how good it is and what an hour more would bring.")
@click.argument("project", type=FOLDER)
@click.option("--worth", default=0.005, show_default=True, type=click.FloatRange(0, 1), metavar="SHARE",
              help="Accuracy that an hour more should bring; below, the advice is to stop.")  # fmt: skip
@click.option("--pace", type=click.FloatRange(1, 100_000), metavar="N",
              help="Labels an hour of one person.  [default: as they were given so far]")  # fmt: skip
@click.option("--audit", is_flag=True, help="Check that no line of the audit was changed; exit code 3 where one was.")
@output.json_option
def command(project: Path, worth: float, pace: float | None, audit: bool, as_json: bool) -> None:
    """Say how far PROJECT is, how well a linear model of its labels does on the items to test on, which were drawn at
    random, what an hour more would bring, and the most that is left to win."""
    from deepseek.automl.label.choose.verbs import status
    from deepseek.automl.label.project.project import Project
    from deepseek.extras import need

    need("sklearn", extra="tabular")
    with Project.open(project) as opened:
        num_changes = opened.verify() if audit else None
        result = status(opened, worth, pace)
    document = dict(result.to_dict()) | ({"num_changes": num_changes} if audit else {})
    checked = [f"the audit of {num_changes:,} changes is whole"] if audit else []
    parts: list[object] = [result.summary(), *checked]
    if result.by_label and len(result.by_label) <= 30:
        table = output.make_table("label", "items")
        for name, count in result.by_label.items():
            table.add_row(output.escape_text(name), f"{count:,}")
        parts += ["", table]
    output.emit(document, as_json, parts)
