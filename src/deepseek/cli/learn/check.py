"""`deepseek learn check`: what holds, what does not, and a hint."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from deepseek.cli.learn.language import language_option, pick, resolve_language, warn_set_aside
from deepseek.cli.support import output

if TYPE_CHECKING:
    from deepseek.learn.definition.lab import Language
    from deepseek.learn.grading.records import CheckResult
    from deepseek.learn.verbs import Checked

NOT_MET_EXIT_CODE = 3
EPILOG = """\b
Examples:
  deepseek learn check
  deepseek learn check first_bundle
  deepseek learn check work/first --json
  deepseek learn check --all
"""


@click.command(epilog=EPILOG, short_help="Grade a lab.")
@click.argument("lab", required=False)
@click.option("--all", "every", is_flag=True, help="Grade every lab that was begun.")
@language_option
@output.json_option
@click.pass_context
def command(ctx: click.Context, lab: str | None, every: bool, language: str | None, as_json: bool) -> None:
    """Grade LAB (its name or its folder; the folder one stands in, where none is named) on inputs that it has not seen.
    A copy is graded, in a process of its own. Exit code 3 when it is not passed."""
    if every and lab is not None:
        raise click.UsageError("give either LAB or --all, not both")
    from deepseek.learn.verbs import check, open_path

    chosen = resolve_language(language)
    path = open_path()
    if every:
        _check_every(ctx, as_json)
        return

    def show(result: CheckResult) -> None:
        if not as_json and sys.stderr.isatty():
            output.note(f"  {'ok  ' if result.is_passed else 'no  '} {pick(result.title, chosen)}")

    result = check(path, lab, on_check=show)
    warn_set_aside(result.set_aside)
    output.emit(result, as_json, lambda: report(result, chosen))
    if not result.grade.is_passed:
        ctx.exit(NOT_MET_EXIT_CODE)


def report(result: Checked, language: Language) -> list[object]:
    """The verdict, a line for each check with its words, then what to do."""
    grade = result.grade
    parts: list[object] = [grade.summary()]
    if grade.changed_data:
        names = ", ".join(grade.changed_data)
        parts.append(f"data was changed and put back for the grading: {names} (deepseek learn start LAB --restore)")
    table = output.make_table("", "points", "check", value_justify="left")
    for each in grade.checks:
        again = " (at the second run)" if each.is_passed and each.num_runs > 1 else ""
        table.add_row(
            "ok" if each.is_passed else "no", f"{each.weight if each.is_passed else 0} of {each.weight}",
            output.escape_text(pick(each.title, language)) + again,
        )  # fmt: skip
        if each.mistake is not None:
            table.add_row("", "", output.escape_text(f"  {pick(each.mistake, language)}"))
    parts += ["", table, ""]
    if result.hint is not None:
        parts.append(f"hint: {pick(result.hint, language)}")
        parts.append(f"more: deepseek learn hints {grade.lab}")
    elif result.next_lab is not None:
        parts.append(f"next: deepseek learn start {result.next_lab.id}")
    return parts


def _check_every(ctx: click.Context, as_json: bool) -> None:
    from deepseek.errors import DeepseekError
    from deepseek.learn.verbs import check_all, open_path

    documents, lines = [], []
    for result in check_all(open_path()):
        if isinstance(result, DeepseekError):
            documents.append({"error": result.to_dict()})
            lines.append(str(result))
        else:
            documents.append(result.to_dict())
            lines.append(result.summary())
            if not as_json:
                output.note(result.summary())
    output.emit({"labs": documents}, as_json, lines or ["no lab was begun yet: deepseek learn start LAB"])
    if any(not document.get("passed") for document in documents):
        ctx.exit(NOT_MET_EXIT_CODE)
