"""The floors of `make check`: every dependency has one, the installed versions stand on it, and code stays readable.

Exits 1 with one line for each thing that is below its floor (or above its ceiling).
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
MAX_FILE_LINES, MAX_CLASS_LINES, MAX_FUNCTION_LINES = 400, 300, 60
#: Neither `all` nor `dev` brings them: what is not installed cannot be too old.
APART = frozenset(
    [
        "apache-flink", "catboost", "ipykernel", "jax", "jupytext", "mkdocstrings-python", "nbclient", "onnxmltools",
        "openmined-psi", "rapidocr", "ray", "tensorflow-cpu", "tensorflow", "tf2onnx", "timm", "zensical",
    ]
)  # fmt: skip
OLDEST_TORCH = Version("2.13")  # what a CPU machine gets; a floor above it would lock those out


def requirements() -> Iterator[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for line in [
        *project["dependencies"],
        *(line for extra in project["optional-dependencies"].values() for line in extra),
    ]:
        requirement = Requirement(line)
        if requirement.name != "deepseek" and (requirement.marker is None or requirement.marker.evaluate()):
            yield requirement


def dependency_problems() -> Iterator[str]:
    for requirement in requirements():
        operators = {part.operator for part in requirement.specifier}
        if ">=" not in operators or operators & {"==", "==="}:
            yield f"pyproject.toml: {requirement} is not a range with a floor"
        if requirement.name == "torch" and not requirement.specifier.contains(OLDEST_TORCH):
            yield f"pyproject.toml: {requirement} shuts out torch {OLDEST_TORCH}"
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            if requirement.name not in APART:
                yield f"{requirement.name} is not installed"
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            yield f"{requirement.name} {installed} is installed; pyproject.toml asks for {requirement.specifier}"


def code_problems() -> Iterator[str]:
    for path in sorted((ROOT / "src").rglob("*.py")):
        text, name = path.read_text("utf-8"), path.relative_to(ROOT)
        if (length := text.count("\n")) > MAX_FILE_LINES:
            yield f"{name}: {length} lines; is there a room missing?"
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                continue
            limit = MAX_CLASS_LINES if isinstance(node, ast.ClassDef) else MAX_FUNCTION_LINES
            if (length := (node.end_lineno or node.lineno) - node.lineno + 1) > limit:
                yield f"{name}:{node.lineno}: {node.name} has {length} lines, more than {limit}"


def workplace_problems() -> Iterator[str]:
    """Paths of somebody's machine have no business in code, docs or tests."""
    machine = re.compile(r"(?<![\w.])/(?:home|root|Users)/\w")
    for folder in ("src", "docs", "tests", "benchmarks"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".py", ".md", ".json", ".sh") and machine.search(path.read_text("utf-8")):
                yield f"{path.relative_to(ROOT)}: a path of one machine"


def main() -> int:
    problems = [*dependency_problems(), *code_problems(), *workplace_problems()]
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"floors: {len(problems)} problems" if problems else "floors: all stand")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
