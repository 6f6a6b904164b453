"""Runs the Python of a page, one block after the other in one process: `python -m support.readers.reader PAGE.md`.

A page whose code begins with files or names of the reader has a module beside this one, whose `prepare` makes them.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from website.snippets import blocks


@dataclass(frozen=True, slots=True)
class Reader:
    """Names that the page takes as known, words of it that stand for the reader's own, and what is asked at the end."""

    names: Mapping[str, object] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)
    finish: Callable[[Mapping[str, object]], None] | None = None


def run_page(page: Path) -> None:
    """Every block that does not say who else runs it, or why nobody does."""
    reader = Reader()
    with ExitStack() as stack:
        if importlib.util.find_spec(f"support.readers.{page.stem}") is not None:
            reader = importlib.import_module(f"support.readers.{page.stem}").prepare(stack)
        names = {"__name__": "__main__", **reader.names}
        for number, block in enumerate(blocks(page.read_text("utf-8"))):
            if block.language == "python" and not block.run_by and not block.not_run:
                code = block.body
                for word, own in reader.words.items():
                    code = code.replace(word, own)
                exec(compile(code, f"{page.name}, block {number}", "exec"), names)
        if reader.finish is not None:
            reader.finish(names)


if __name__ == "__main__":
    run_page(Path(sys.argv[1]))
