"""Inside of a room: groups in an order like the rooms, no circle of modules, and folders that one can look over."""

from __future__ import annotations

import ast
import functools
import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import deepseek
from support.sources import nodes_of, tree_of

SRC = Path(deepseek.__file__).parent
TESTS = Path(__file__).parent
MOST_FILES = 20  # beside each other in a folder
#: Of each room, its groups and the files beside them, lowest first: each imports only what stands before it. What is
#: not named stands above them all.
GROUPS = {
    "automl": "study options constraints evidence evaluate trial blend comparison",
    "citations": "corpus documents retrieval provisions support checklist page review",
    "cli": "support",
    "data": "table features media split samples stream view",
    "dialogue": "phrases slots understanding likeness conversation definition additions references turn store flow "
    "questions manager masking stories",
    "engines": "registry memory lifetime openvino measuring execution_mode graph decide checks first_run onnx parity "
    "export_torch int8 tabular multimodal tolerance onnx_file convert",
    "explain": "records modules shapley media tabular evaluation report",
    "features": "hidden core",
    "learn": "definition grading learner verbs contract certificates page",
    "observe": "lines metrics_table metrics_labels metrics_status metrics_histograms metrics_models "
    "metrics_decisions metrics compat traces rules dashboards shipping predictions "
    "reading system elastic why drift check live history",
    "privacy": "study accounting parties rounds sums listening encrypted bundles owner simulation transport vertical",
    "serve": "core batching models openai protocols openapi repository scoring fleet streams replay",
    "train": "distributed checkpoint run_folder private loop tabular multimodal candidates",
    "compress": "limits timing guard quantize distilling pruning targets edge",
}


def modules() -> dict[str, Path]:
    """Every module of the package, by its dotted name."""
    paths = {}
    for path in sorted(SRC.rglob("*.py")):
        parts = ["deepseek", *path.relative_to(SRC).with_suffix("").parts]
        paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return paths


MODULES = modules()


def imported_by(path: Path) -> Iterator[str]:
    """The modules of this package that a file imports: at its top, inside of functions and for types alone."""
    for node in nodes_of(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                if (name := full if full in MODULES else node.module) in MODULES:
                    yield name


@functools.cache
def imports() -> dict[str, set[str]]:
    """Of each module, the others that it imports. Read by the first test that asks: every worker collects this file."""
    return {name: {other for other in imported_by(path) if other != name} for name, path in MODULES.items()}


def place_in(order: list[str], module: str) -> int:
    """Where a module of a room stands: by its group, or by its own name."""
    inner = module.split(".")[2:]
    return order.index(inner[0]) if inner and inner[0] in order else len(order)


@pytest.mark.parametrize("room", GROUPS)
def test_a_group_imports_only_groups_before_it(room: str) -> None:
    order = GROUPS[room].split()
    assert all((SRC / room / each).is_dir() or (SRC / room / f"{each}.py").is_file() for each in order)
    for name, others in imports().items():
        if name.startswith(f"deepseek.{room}."):
            for other in others:
                if other.startswith(f"deepseek.{room}."):
                    assert place_in(order, other) <= place_in(order, name), f"{name} may not import {other}"


def circles(graph: Mapping[str, set[str]]) -> list[set[str]]:
    """Sets of modules that reach each other (Tarjan 1972), written without recursion."""
    index: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    components: list[set[str]] = []
    for root in graph:
        work = [(root, iter(sorted(graph[root])))] if root not in index else []
        if work:
            index[root] = lowest[root] = len(index)
            stack.append(root)
        while work:
            name, others = work[-1]
            for other in others:
                if other not in index:
                    index[other] = lowest[other] = len(index)
                    stack.append(other)
                    work.append((other, iter(sorted(graph[other]))))
                    break
                if other in stack:
                    lowest[name] = min(lowest[name], index[other])
            else:
                work.pop()
                if work:
                    lowest[work[-1][0]] = min(lowest[work[-1][0]], lowest[name])
                if lowest[name] == index[name]:
                    place = stack.index(name)
                    if len(stack) - place > 1:
                        components.append(set(stack[place:]))
                    del stack[place:]
    return components


def test_circles_are_seen() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [{"a", "b", "c"}]
    assert circles({"a": {"b"}, "b": set()}) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    """A package's own __init__ counts as what it imports at once, not as what it hands out by name."""
    graph = {
        name: {other for other in others if MODULES[other].name != "__init__.py"} for name, others in imports().items()
    }
    assert [sorted(each) for each in circles(graph)] == []


@pytest.mark.parametrize("package", [name for name, path in MODULES.items() if path.name == "__init__.py"])
def test_every_name_that_a_package_hands_out_is_there(package: str) -> None:
    module = importlib.import_module(package)
    for name in getattr(module, "__all__", ()):
        assert getattr(module, name) is not None


def test_a_folder_has_few_files_beside_each_other() -> None:
    for top in (SRC, TESTS):
        for folder in [top, *(path for path in top.rglob("*") if path.is_dir())]:
            if "__pycache__" not in folder.parts:
                assert len(list(folder.glob("*.py"))) <= MOST_FILES, folder
