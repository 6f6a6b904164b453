"""An assistant that the first line of its guide has made."""

from __future__ import annotations

from contextlib import ExitStack

from deepseek.cli import main
from support.readers.reader import Reader


def prepare(stack: ExitStack) -> Reader:
    assert main(["recipe", "assistant", "--example", "--out", "help"]) == 0
    return Reader()
