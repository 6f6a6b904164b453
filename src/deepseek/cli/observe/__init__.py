"""`deepseek observe`: what watches a server. `deepseek observe NAME` imports cli/observe/NAME.py alone."""

from __future__ import annotations

import importlib

import click

#: Each sub-command and its line of help, in the order in which a user meets them.
SUBCOMMANDS: dict[str, str] = {
    "why": "Which slice of the requests explains the bad answers of a window?",
    "drift": "Is what comes in still what the model was trained on, and does it matter?",
    "export": "Write dashboards, alert rules, runbooks and log shipping, to put into one's own stack.",
    "expose": "Metrics of training runs and of drift, for Prometheus.",
    "check": "Ask a server whether every metric, panel and rule is alive.",
}

EPILOG = """\b
Examples:
  deepseek observe why predictions --since 10m --html why.html
  deepseek observe drift loans predictions --html drift.html
  deepseek observe export watching --set latency_p99=0.8 --set psi=0.2
  deepseek observe check http://127.0.0.1:8000
"""


class Subcommands(click.Group):
    """Imports a sub-command only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in SUBCOMMANDS:
            return None
        command: click.Command = importlib.import_module(f"deepseek.cli.observe.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in SUBCOMMANDS and not args[0].startswith("-"):
            from deepseek.plugins import did_you_mean

            raise click.UsageError(f"there is no observe {args[0]!r}.{did_you_mean(args[0], SUBCOMMANDS)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Sub-commands"):
            formatter.write_dl(list(SUBCOMMANDS.items()))


@click.group(
    cls=Subcommands, subcommand_metavar="NAME ...", epilog=EPILOG, short_help="Watch a server: metrics, alerts, causes."
)
def command() -> None:
    """Watch a server: dashboards and tested alert rules for its metrics, and whether all of them are alive.
    Each sub-command takes --json."""
