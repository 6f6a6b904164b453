"""`deepseek learn start`: a folder with the task and data of one's own."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from deepseek.cli.learn.language import language_option, resolve_language
from deepseek.cli.support import output
from deepseek.cli.support.options import FOLDER

EPILOG = """\b
Examples:
  deepseek learn start first_bundle
  deepseek learn start first_bundle --out work/first --lang zh
  deepseek learn start first_bundle --restore
"""


@click.command(epilog=EPILOG, short_help="Begin a lab.")
@click.argument("lab")
@click.option("--out", type=FOLDER, help="Folder to make.  [default: LAB]")
@click.option("--restore", is_flag=True, help="Put task and data of a folder back; what you have written stays.")
@language_option
@output.json_option
def command(lab: str, out: Path | None, restore: bool, language: str | None, as_json: bool) -> None:
    """Make a folder for LAB: the task, data that is yours alone, and files to begin with."""
    from deepseek.learn.definition.lab import TASKS
    from deepseek.learn.verbs import begin, open_path

    path = open_path()
    workspace = begin(path, lab, out, restore=restore)
    definition = path.catalog.lab(lab)
    table = definition.table
    document = {
        "lab": definition.id, "folder": str(workspace.folder), "data": list(workspace.data),
        "submits": list(table.submits),
        "hours": table.hours, "seconds": table.seconds, "installs": list(table.installs),
    }  # fmt: skip
    task = workspace.folder / TASKS[resolve_language(language)]
    facts = [
        ("task", str(task)), ("data", ", ".join(workspace.data)), ("hand in", ", ".join(table.submits)),
        ("takes about", f"{table.hours:g} hours"), ("a check takes", f"at most {table.seconds:g} s of a processor"),
        ("needs", ", ".join(f"the extra {extra}" for extra in table.installs) or "no extra"),
    ]  # fmt: skip
    output.emit(
        document, as_json,
        lambda: [
            f"{definition.id}: {table.title.en}", output.fact_table(facts),
            f"then: cd {shlex.quote(str(workspace.folder))}  (the commands of the task are typed in this folder)",
            "and, as often as you like: deepseek learn check",
        ],
    )  # fmt: skip
