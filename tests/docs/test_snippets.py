"""Code of the docs: commands are read by the program, Python runs here or in another test, or says why it cannot."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from website.pages import ROOT

import deepseek.cli
from deepseek.errors import DeepseekError

GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))
PAGES = [ROOT / "README.md", *GUIDES, ROOT / "docs" / "website" / "home.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: Pages whose Python runs below, one block after the other in one process: seconds, no file of the reader's.
RUN_HERE = {"citations": (0, 1, 2), "explain": (0,), "media": (2, 3, 4), "ecosystem": (6,)}
#: Where else a block is run: page and number of the block -> the test.
RUN_ELSEWHERE = {
    ("README", 0): "tests/test_readme.py::test_the_tour_runs_as_it_is_written",
    ("README", 1): "tests/test_readme.py::test_the_tour_runs_as_it_is_written",
    ("python", 0): "tests/test_docs.py::test_the_python_guide_runs_as_it_is_written",
    ("training", 0): "tests/test_docs.py::test_the_training_guide_runs_as_it_is_written_and_its_file_is_read",
    ("optimizer", 0): "tests/test_docs.py::test_the_optimizer_guide_runs_as_it_is_written",
    ("optimizer", 1): "tests/test_docs.py::test_the_optimizer_guide_runs_as_it_is_written",
    ("pruning", 0): "tests/test_docs.py::test_the_pruning_guide_runs_as_it_is_written",
    ("distributed", 0): "tests/train/distributed/test_data_parallel.py::test_the_guide_runs_as_it_is_written",
    ("distributed", 1): "tests/train/distributed/test_launch.py::test_the_guide_runs_as_it_is_written",
}
#: Why a block is not run; its imports and their names are looked up all the same.
NOT_RUN = {
    ("citations", 3): "needs two wheels of weights, 250 MB",
    ("citations", 4): "goes on from a checklist that takes a minute to train",
    ("compliance", 0): "needs a contract as PDF",
    ("compress", 0): "needs an ONNX file and its rows",
    ("custom-operator", 0): "needs a C++ compiler; tests/examples runs the package's own tests of it",
    ("distill", 0): "needs a teacher of BERT's size",
    ("distill", 1): "goes on from a bundle and a table of the reader",
    ("ecosystem", 0): "a search of 60 CPU seconds; tests/integrations runs it with two trials",
    ("ecosystem", 1): "has [...] where the reader's columns stand",
    ("ecosystem", 2): "needs a model of Keras; tests/engines/test_keras_module.py has one",
    ("ecosystem", 3): "needs a model of Keras; tests/integrations/test_keras_callback.py has one",
    ("ecosystem", 4): "needs an MLflow registry; tests/integrations has one",
    ("ecosystem", 5): "needs a hub; tests/integrations has one",
    ("features", 0): "needs a past of payments",
    ("features", 1): "needs a definition and columns",
    ("features", 2): "goes on from the block before",
    ("features", 3): "needs Flink, see make test-flink",
    ("media", 0): "needs scans of patients",
    ("media", 1): "needs a film",
    ("media", 5): "needs a bundle of scans and reports",
    ("media", 6): "a function for a net and arrays of the reader",
    ("pipeline", 0): "needs torchrun; tests/train/pipeline runs its parts",
    ("quantize", 0): "needs a folder of MiniLM",
    ("quantize", 1): "needs a module and batches of the reader",
    ("quantize", 2): "goes on from the block before",
    ("serving", 0): "needs a server of the reader's model; tests/client asks one",
    ("serving", 1): "needs a server of an ONNX file; tests/serve asks one by tritonclient",
    ("serving", 2): "needs a server with a model that writes; tests/serve asks one by openai",
}


def python_blocks(page: Path) -> list[str]:
    return [body for language, body in FENCE.findall(page.read_text("utf-8")) if language == "python"]


BLOCKS = {(page.stem, index): block for page in PAGES for index, block in enumerate(python_blocks(page))}


def test_each_block_of_python_is_run_or_says_why_not() -> None:
    here = {(page, index) for page, indices in RUN_HERE.items() for index in indices}
    listed = [*here, *RUN_ELSEWHERE, *NOT_RUN]
    assert sorted(set(listed)) == sorted(listed), "listed twice"
    assert set(BLOCKS) - set(listed) == set(), "not listed: add it to RUN_HERE, RUN_ELSEWHERE or NOT_RUN"
    assert set(listed) - set(BLOCKS) == set(), "listed, but not on the page"


@pytest.mark.parametrize("test", sorted(set(RUN_ELSEWHERE.values())))
def test_the_test_that_runs_a_block_is_there(test: str) -> None:
    file, _, name = test.partition("::")
    assert re.search(rf"^def {name}\(", (ROOT / file).read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize("block", sorted(BLOCKS), ids=lambda block: f"{block[0]}-{block[1]}")
def test_a_block_parses_and_what_it_imports_of_this_package_is_there(block: tuple[str, int]) -> None:
    for node in ast.walk(ast.parse(BLOCKS[block])):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "deepseek":
            if "flink" in node.module:
                continue  # not installed here
            module = importlib.import_module(node.module)
            assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN_HERE)
def test_blocks_run_as_they_are_written(page: str, tmp_path: Path) -> None:
    code = "\n".join(BLOCKS[page, index] for index in RUN_HERE[page])
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=280
    )
    assert run.returncode == 0, run.stderr


def commands(page: Path) -> list[str]:
    """Every line of code that begins with `deepseek`, joined where it goes on in the next line."""
    text = page.read_text("utf-8")
    code = "\n".join(body for language, body in FENCE.findall(text) if language in ("bash", "sh", ""))
    if page.name != "cli.md":
        outside = FENCE.sub("", text)
        code += "\n" + "\n".join(line[4:] for line in outside.splitlines() if line.startswith("    "))
    lines = re.sub(r"\\\n\s*", " ", code).splitlines()
    return [line.strip() for line in lines if re.match(r"\s*deepseek\s+\w", line)]


COMMANDS = sorted({(page.stem, line) for page in PAGES for line in commands(page)})


@pytest.mark.parametrize(("page", "line"), COMMANDS, ids=lambda value: value)
def test_a_command_is_one_that_the_program_takes(page: str, line: str) -> None:
    """By its own parser: verbs, options and how many arguments. Files need not be there."""
    line = re.split(r"\s[|<>&]|\s2>|;", line)[0]
    words = [word for word in shlex.split(line, comments=True)[1:] if word != "..."]
    command: click.Command = deepseek.cli.cli
    context = click.Context(command, info_name="deepseek")
    try:
        while isinstance(command, click.Group):
            if not words or words[0].startswith("-"):  # a group that does something on its own
                break
            verb = command.get_command(context, words[0])
            assert verb is not None, f"{page}: there is no {words[0]}"
            command, words = verb, words[1:]
            context = click.Context(command, info_name=command.name, parent=context)
        command.make_context(command.name, list(words), parent=context.parent)
    except click.exceptions.Exit:
        return  # --help
    except (click.BadParameter, DeepseekError):
        return  # a value or a file of the reader
    except click.UsageError as error:
        raise AssertionError(f"{page}: {line}: {error.format_message()}") from error
