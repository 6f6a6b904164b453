"""The sources of the package as syntax trees, each parsed once in a process and only when a test looks at it."""

from __future__ import annotations

import ast
import functools
import gc
from collections.abc import Iterator
from pathlib import Path


@functools.cache
def tree_of(path: Path) -> ast.Module:
    """The syntax tree of a file. Tests that share it must not change it."""
    tree = parse(path)
    gc.freeze()  # kept for good: each collection would walk through a million nodes
    return tree


def nodes_of(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node of a tree in no promised order, in a third of the time of ast.walk."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        for field in node._fields:
            value = getattr(node, field, None)
            if isinstance(value, list):
                waiting += [each for each in value if isinstance(each, ast.AST)]
            elif isinstance(value, ast.AST) and value._fields:  # without fields: Load, Add and the like
                waiting.append(value)


def parse(path: Path) -> ast.Module:
    """The syntax tree of a file that is looked at once. Collections of garbage, which a tree has none of, took three
    quarters of the time."""
    gc.disable()
    try:
        return ast.parse(path.read_text("utf-8"))
    finally:
        gc.enable()
