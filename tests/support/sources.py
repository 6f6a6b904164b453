"""The sources of the package as syntax trees, each parsed once in a process and only when a test looks at it."""

from __future__ import annotations

import ast
import functools
from pathlib import Path


@functools.cache
def tree_of(path: Path) -> ast.Module:
    """The syntax tree of a file. Tests that share it must not change it."""
    return ast.parse(path.read_text("utf-8"))
