"""A group of commands each of which is imported when it is called, so that help stays fast."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click


class LazyGroup(click.Group):
    """The module `package`.NAME has the command NAME as `command`."""

    def __init__(
        self, *args: Any, package: str, subcommands: Mapping[str, str], noun: str, heading: str, **kwargs: Any
    ) -> None:
        """`subcommands`: the line of help of each, by name, in the order of the help; `noun`: what errors call one;
        `heading`: of their list."""
        super().__init__(*args, **kwargs)
        self._package, self._subcommands, self._noun, self._heading = package, subcommands, noun, heading

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._subcommands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._subcommands:
            return None
        command: click.Command = importlib.import_module(f"{self._package}.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self._subcommands and not args[0].startswith("-"):
            from deepseek.plugins import did_you_mean  # reads what is installed, which only an error is worth

            near = did_you_mean(args[0], list(self._subcommands))
            raise click.UsageError(f"there is no {self._noun} {args[0]!r}.{near}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section(self._heading):
            formatter.write_dl(list(self._subcommands.items()))
