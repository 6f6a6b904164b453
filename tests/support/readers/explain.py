"""A folder with a classifier of texts."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from support.readers.reader import Reader
from support.rows.moods import make_moods


def prepare(stack: ExitStack) -> Reader:
    make_moods(Path("my-classifier"))
    return Reader()
