"""`deepseek recipe process`: the settings of a process, improved trial by trial. One file for each command."""

from __future__ import annotations

from pathlib import Path

import click

from deepseek.cli.support import output
from deepseek.cli.support.lazy_group import LazyGroup
from deepseek.cli.support.options import FILE
from deepseek.files import atomic_file, check_writable

SUBCOMMANDS = {
    "init": "Begin a study: a folder with a file that says what may be set and what is measured.",
    "ask": "Ask for the next recipes to try.",
    "tell": "Tell what a trial has measured.",
    "undo": "Take back what was said of a trial last.",
    "report": "See what was gained, at what risk, and what to try next.",
    "serve": "Serve the study's page, where operators ask and tell.",
}

EPILOG = """\b
Examples:
  deepseek recipe process --example --html press.html
  deepseek recipe process init line3 --example
  deepseek recipe process ask line3
  deepseek recipe process tell line3 1 material_yield=78.4 bond=0.79 blister=0.12 tear=0.1
  deepseek recipe process report line3 --html line3.html
"""


@click.group(
    cls=LazyGroup, package="deepseek.cli.recipe.process", subcommands=SUBCOMMANDS, noun="process",
    heading="Commands", invoke_without_command=True, subcommand_metavar="COMMAND ...", epilog=EPILOG,
    short_help="The settings of a process, improved trial by trial.",
)  # fmt: skip
@click.option("--example", is_flag=True, help="Run a study of a simulated press, in the safe mode.")
@click.option("--html", type=FILE, help="With --example: write its page there.")
@output.json_option
@click.pass_context
def command(context: click.Context, example: bool, html: Path | None, as_json: bool) -> None:
    """Improve the settings of a process: describe it once, then ask for the next recipe to try and tell what came out.
    In the safe mode the trials start from a recipe that is known to hold, and few of them break a limit."""
    from deepseek.extras import need

    if context.invoked_subcommand is not None:
        if example or html is not None or as_json:
            raise click.UsageError("these options go without a command, or after it", context)
        need("scipy", extra="tabular")
        return
    if not example:
        raise click.UsageError(f"give --example or a command: {', '.join(SUBCOMMANDS)}", context)
    need("scipy", extra="tabular")
    if html is not None:
        check_writable(html)
    from deepseek.recipes.process.verbs import run_example

    result = run_example()
    if html is not None:
        from deepseek.recipes.process.page import render_page

        with atomic_file(html) as part:
            part.write_text(render_page(result), encoding="utf-8")
        output.note(f"the page is in {html}")
    output.emit(result, as_json, result.summary())
