"""Makes docs/cli.md from the program's own help: `python docs/make_cli.py`. tests/test_docs.py holds it current."""

from __future__ import annotations

import copy
import importlib
from pathlib import Path

import click

from deepseek.cli import VERBS, cli

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
    parent = click.Context(cli, info_name="deepseek", terminal_width=110, help_option_names=["-h", "--help"])
    parts = [HEAD]
    for verb in VERBS:
        command = copy.copy(importlib.import_module(f"deepseek.cli.{verb}").command)
        command._help_option = None
        context = click.Context(command, info_name=verb, parent=parent, terminal_width=110)
        parts.append(f"## deepseek {verb}\n\n```text\n{command.get_help(context)}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
