"""`deepseek label people`: who may label."""

from __future__ import annotations

from pathlib import Path

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import FOLDER

ROLES = ("labeler", "reviewer", "owner")
EPILOG = """\b
Examples:
  deepseek label people claims
  deepseek label people claims --add "Ann Li"
  deepseek label people claims --add "Bo" --role reviewer
  deepseek label people claims --remove "Ann Li"
"""


@click.command(epilog=EPILOG, short_help="Say who may label, and give out keys.")
@click.argument("project", type=FOLDER)
@click.option("--add", metavar="NAME", help="Let NAME label; prints a key, which is shown once. Again: a new key.")
@click.option("--role", type=click.Choice(ROLES), help="With --add: what NAME may do.  [default: labeler]")
@click.option("--remove", metavar="NAME", help="NAME's key opens nothing any more; the labels stay.")
@output.json_option
def command(project: Path, add: str | None, role: str | None, remove: str | None, as_json: bool) -> None:
    """List the people of PROJECT. Without any, whoever reaches the page on this machine labels under a name of their
    choice; with people everybody needs a key."""
    if add is not None and remove is not None:
        raise click.UsageError("give either --add or --remove, not both")
    if role is not None and add is None:
        raise click.UsageError("--role goes with --add NAME")
    from deepseek.automl.label.project.people import add_person, list_people, remove_person
    from deepseek.automl.label.project.project import Project

    with Project.open(project) as opened:
        key = None if add is None else add_person(opened.store, add, role or "labeler")  # type: ignore[arg-type]
        if remove is not None:
            remove_person(opened.store, remove)
        people = list_people(opened.store)
    document = {"project": str(project), "people": [{"name": each.name, "role": each.role} for each in people]}
    if key is not None:
        document |= {"key": key}
        output.note("the key is shown once")
    table = output.make_table("name", "role", value_justify="left")
    for person in people:
        table.add_row(output.escape_text(person.name), person.role)
    shown = [table] if people else ["nobody was added: whoever reaches the page on this machine gives a name"]
    output.emit(document, as_json, [*([f"key: {key}"] if key else []), *shown])
