"""Names are the field's: words of a private vocabulary do not come back, and few rows travel as dicts of anything."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import deepseek
from support.sources import nodes_of, parse, tree_of

SRC = Path(deepseek.__file__).parent
ROOT = SRC.parents[1]
#: They say that something happened, not what there is. Twice as many lines of code may not bring more of them.
VAGUE_VARIABLES = frozenset(("found", "given", "told", "asked", "made"))
MOST_VAGUE_VARIABLES = 30
#: Of functions, methods and files: what only its author understood. docs/glossary.md has the word to use.
BANNED_NAMES = frozenset(
    [
        "alike",
        "asked",
        "begun",
        "beside",
        "chances",
        "face",
        "gaps",
        "given",
        "judge",
        "knobs",
        "lanes",
        "leading",
        "made",
        "mirror",
        "pace",
        "pairs",
        "pupil",
        "sent",
        "shuffled",
        "subject",
        "taught",
        "there",
        "thin",
        "together",
        "told",
        "towers",
        "turns",
        "vain",
        "voices",
        "way",
    ]
)
PARTICIPLE = re.compile(r"_*(?:[a-z]+(?:ed|wn|ght)|begun|built|found|given|held|kept|left|made|put|sent|taken|told)")
#: End like participles and are none, or are words that torch and the standard library use.
NO_PARTICIPLES = frozenset(("embed", "feed", "need", "put", "seed", "speed", "weight"))
#: Properties that stand for a state, as `Future.cancelled` does, and are public.
STATES = frozenset(("caused", "closed", "created", "dropped", "ignored", "left", "mixed", "unsupported"))
#: Aliases of the last release, which go with the next.
DEPRECATED = frozenset(("constrained",))
MOST_OPEN_DICTS = 100
OPEN_DICT = re.compile(r"\b(?:dict|Mapping)\[str, Any\]")
FILES = sorted(SRC.rglob("*.py"))


def variables(tree: ast.Module) -> Iterator[str]:
    """The names that are assigned to and the parameters."""
    for node in nodes_of(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg


def functions(tree: ast.Module) -> Iterator[str]:
    return (node.name for node in nodes_of(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def is_participle(name: str) -> bool:
    return bool(PARTICIPLE.fullmatch(name)) and name.strip("_") not in NO_PARTICIPLES | STATES | DEPRECATED


@pytest.mark.parametrize("folder", ["src", "tests", "benchmarks"])
def test_variables_say_what_they_hold(folder: str) -> None:
    counts: Counter[str] = Counter()
    for path in sorted((ROOT / folder).rglob("*.py")):
        tree = tree_of(path) if folder == "src" else parse(path)
        counts[path.relative_to(ROOT).as_posix()] = sum(name in VAGUE_VARIABLES for name in variables(tree))
    assert counts.total() < MOST_VAGUE_VARIABLES, counts.most_common(10)


@pytest.mark.slow
def test_functions_say_what_they_do() -> None:
    vague = [
        f"{path.relative_to(SRC)}: {name}" for path in FILES for name in functions(tree_of(path))
        if name.strip("_") in BANNED_NAMES or is_participle(name)
    ]  # fmt: skip
    assert vague == []


@pytest.mark.parametrize("kind", ["module", "class"])
def test_modules_and_classes_have_words_of_the_field(kind: str) -> None:
    if kind == "module":
        names = [path.stem for path in FILES] + [path.parent.name for path in FILES]
    else:
        names = [node.name for path in FILES for node in nodes_of(tree_of(path)) if isinstance(node, ast.ClassDef)]
    assert sorted(name for name in set(names) if name.strip("_").lower() in BANNED_NAMES) == []


def test_few_rows_travel_as_dicts_of_anything() -> None:
    counts = Counter(
        {path.relative_to(SRC).as_posix(): len(OPEN_DICT.findall(path.read_text("utf-8"))) for path in FILES}
    )
    assert counts.total() < MOST_OPEN_DICTS, counts.most_common(10)


def test_the_glossary_names_what_there_is() -> None:
    rows = re.findall(
        r"^\| (.+?) \| .+ \| (.+?) \|$", (SRC.parents[1] / "docs" / "glossary.md").read_text("utf-8"), re.M
    )
    rows = [(term, where) for term, where in rows if "`" in where]
    assert len(rows) > 100
    for term, where in rows:
        paths = [SRC / path for path in re.findall(r"`([^`]+)`", where)]
        assert all(path.exists() for path in paths), where
        files = [file for path in paths for file in ([path] if path.is_file() else path.rglob("*.py"))]
        text = "\n".join(file.read_text("utf-8") for file in files)
        for name in re.findall(r"\b[A-Z][a-z]+[A-Z]\w+", term):
            assert re.search(rf"^(?:class {name}\b|{name}\b.* = )", text, re.M), f"{name} is not defined in {where}"
