"""`deepseek recipe process`: the settings of a process, improved trial by trial. Each sub-verb is a file of its name."""

from __future__ import annotations

import importlib

import click

SUBCOMMANDS = {
    "init": "Begin a study: a folder with a file that says what may be set and what is measured.",
    "ask": "Ask for the next recipes to try.",
    "tell": "Tell what a trial has measured.",
    "report": "See what was gained, at what risk, and what to try next.",
    "serve": "Serve the study's page, where operators ask and tell.",
}

EPILOG = """\b
Examples:
  deepseek recipe process init line3 --example
  deepseek recipe process ask line3
  deepseek recipe process tell line3 1 material_yield=78.4 bond=0.79 blister=0.12 tear=0.1
  deepseek recipe process report line3 --html line3.html
"""


class Subcommands(click.Group):
    """Imports a sub-verb only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in SUBCOMMANDS:
            return None
        command: click.Command = importlib.import_module(f"deepseek.cli.recipe.process.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in SUBCOMMANDS and not args[0].startswith("-"):
            from deepseek.plugins import did_you_mean

            raise click.UsageError(f"there is no process {args[0]!r}.{did_you_mean(args[0], SUBCOMMANDS)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(SUBCOMMANDS.items()))


@click.group(cls=Subcommands, epilog=EPILOG, short_help="The settings of a process, improved trial by trial.")
def command() -> None:
    """Improve the settings of a process: describe it once, then ask for the next recipe to try and tell what came out.
    In the safe mode the trials start from a recipe that is known to hold, and few of them break a limit."""
    from deepseek.extras import need

    need("scipy", extra="tabular")
