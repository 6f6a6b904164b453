"""Makes docs/cli.md from the program's own help: `python docs/make_cli.py`. tests/test_docs.py holds it current."""

from __future__ import annotations

import copy
import importlib
from pathlib import Path

import click

from deepseek.cli import VERBS, cli
from deepseek.cli.federate import COMMANDS
from deepseek.cli.learn import SUBCOMMANDS as LEARN_COMMANDS
from deepseek.cli.observe import SUBCOMMANDS
from deepseek.cli.operator import SUBCOMMANDS as OPERATOR_COMMANDS
from deepseek.cli.recipe.process import SUBCOMMANDS as STEPS
from deepseek.recipes.registry import RECIPES

HELP = ["-h", "--help"]
PAGE = Path(__file__).with_name("cli.md")
HEAD = """# The command line

Made by `make docs` from the program's own help. With `--json` a verb prints one object on stdout, all else on stderr.

| Exit code | Meaning |
| --- | --- |
| 0 | done |
| 1 | a bug of ours; `DEEPSEEK_TRACEBACK=1` shows where |
| 2 | bad usage or input |
| 3 | a stated limit or check is not met |
| 130 | interrupted |

With `--json` a failure prints `{"error": {"code", "message", "expected", "fix"}}`.
"""


def page() -> str:
    """The whole page as Markdown."""
    # the group's own names of the help option: a command keeps the first that it was asked with
    parent = click.Context(cli, info_name="deepseek", terminal_width=110, help_option_names=HELP)
    parts = [HEAD]
    for verb in VERBS:
        parts.append(f"## deepseek {verb}\n\n```text\n{help_text(verb, parent)}\n```\n")
        for name in {
            "recipe": RECIPES,
            "observe": SUBCOMMANDS,
            "operator": OPERATOR_COMMANDS,
            "federate": COMMANDS,
            "learn": LEARN_COMMANDS,
        }.get(verb, ()):
            above = click.Context(cli, info_name=f"deepseek {verb}", terminal_width=110, help_option_names=HELP)
            parts.append(f"### deepseek {verb} {name}\n\n```text\n{help_text(f'{verb}.{name}', above)}\n```\n")
            for command in STEPS if (verb, name) == ("recipe", "process") else ():
                info = f"deepseek {verb} {name}"
                below = click.Context(cli, info_name=info, terminal_width=110, help_option_names=HELP)
                text = help_text(f"{verb}.{name}.{command}", below)
                parts.append(f"#### {info} {command}\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


def help_text(module: str, parent: click.Context) -> str:
    """What --help of a command in cli/ prints."""
    command = copy.copy(importlib.import_module(f"deepseek.cli.{module}").command)
    command._help_option = None
    context = click.Context(command, info_name=module.rpartition(".")[2], parent=parent, terminal_width=110)
    text: str = command.get_help(context)
    return text


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
