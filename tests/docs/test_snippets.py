"""Code of the docs: commands are read by the program, Python runs here or in another test, or says why it cannot.

A comment before a block says who runs it (website/snippets.py); what a page takes as known, support/readers makes.
"""

from __future__ import annotations

import ast
import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from website.pages import ROOT
from website.snippets import blocks

import deepseek.cli
from deepseek.errors import DeepseekError

GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))
PAGES = [ROOT / "README.md", *GUIDES, ROOT / "docs" / "website" / "home.md", *sorted((ROOT / "docs").glob("*.md")),
         *sorted((ROOT / "docs" / "gallery").glob("*.md"))]  # fmt: skip
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: Pages that a test runs as a whole, with its commands.
WHOLE = {
    "docs/gallery/": "tests/docs/test_gallery.py::test_all_code_of_a_page_runs_as_it_is_written",
    "README.md": "tests/test_readme.py::test_the_tour_runs_as_it_is_written",
}


def whole(page: Path) -> str:
    """The test that runs the whole page; empty where there is none."""
    return next((test for path, test in WHOLE.items() if page.relative_to(ROOT).as_posix().startswith(path)), "")


BLOCKS = {
    (page.stem, index): (block, whole(page))
    for page in PAGES
    for index, block in enumerate(part for part in blocks(page.read_text("utf-8")) if part.language == "python")
}
RUN_HERE = sorted({page for (page, _), (block, test) in BLOCKS.items() if not (block.run_by or block.not_run or test)})


def test_nine_of_ten_blocks_of_python_are_run_and_the_others_say_why_not() -> None:
    """A block without a comment is run below, so each block is run or has its reason; reasons are kept rare."""
    reasons = [block.not_run for block, _ in BLOCKS.values() if block.not_run]
    assert len(BLOCKS) >= 60, "blocks are no longer found"
    assert len(reasons) <= 0.2 * len(BLOCKS)
    assert all(len(reason) > 10 for reason in reasons)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_code_stands_between_fences_so_that_it_is_seen(page: Path) -> None:
    """An indented block that is Python would be run by nothing."""
    outside = FENCE.sub("", page.read_text("utf-8"))
    imports = re.findall(r"^    (?:from [\w.]+ )?import .*$", outside, re.MULTILINE)
    assert imports == []


TESTS = {block.run_by for block, _ in BLOCKS.values() if block.run_by} | set(WHOLE.values())


@pytest.mark.parametrize("test", sorted(TESTS))
def test_the_test_that_runs_a_block_is_there(test: str) -> None:
    file, _, name = test.partition("::")
    assert re.search(rf"^def {name}\(", (ROOT / file).read_text("utf-8"), re.MULTILINE)


def test_the_tests_that_a_reason_names_are_there() -> None:
    named = {path for block, _ in BLOCKS.values() for path in re.findall(r"tests/[\w./]*\w", block.not_run)}
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("block", sorted(BLOCKS), ids=lambda block: f"{block[0]}-{block[1]}")
def test_a_block_parses_and_what_it_imports_of_this_package_is_there(block: tuple[str, int]) -> None:
    part, _ = BLOCKS[block]
    if part.not_run.startswith("has ... "):
        return
    for node in ast.walk(ast.parse(part.body)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "deepseek":
            if "flink" in node.module or "stream_ray" in node.module:
                continue  # not installed here
            module = importlib.import_module(node.module)
            assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN_HERE)
def test_blocks_run_as_they_are_written(page: str, tmp_path: Path) -> None:
    paths = [ROOT / "tests", ROOT / "docs", ROOT / "src"]
    run = subprocess.run(
        [sys.executable, "-m", "support.readers.reader", str(ROOT / "docs" / "guides" / f"{page}.md")],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))},
        capture_output=True, text=True, check=False, timeout=280,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr


@pytest.mark.slow
def test_the_pipeline_runs_on_two_ranks(tmp_path: Path) -> None:
    (block,) = blocks((ROOT / "docs" / "guides" / "pipeline.md").read_text("utf-8"))
    (tmp_path / "train.py").write_text(block.body)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "train.py"]
    environ = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")}
    run = subprocess.run(
        command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False, timeout=280
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert "loss 0." in run.stdout


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
