"""The guides: the generated page is current, and each guide exists in both languages with the same parts."""

from __future__ import annotations

import importlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
GUIDES = sorted(path.name for path in (ROOT / "docs" / "guides").glob("*.md"))


def script(name: str) -> ModuleType:
    """A script of docs/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_command_line_page_is_current() -> None:
    make_cli = script("make_cli")
    # Words, not spaces: another release of click wraps a line elsewhere.
    assert make_cli.PAGE.read_text("utf-8").split() == make_cli.page().split(), "To mend it: make docs"


def test_the_map_is_current_and_names_only_files_that_are_there() -> None:
    make_map = script("make_map")
    text = make_map.PAGE.read_text("utf-8")
    assert text == make_map.page(), "To mend it: make docs"
    assert make_map.PICTURE.read_text("utf-8") == make_map.picture(), "To mend it: make docs"
    source = ROOT / "src" / "deepseek"
    (table,) = re.findall(r"^## Twenty questions.*?\n(.*?)^## ", text, re.M | re.S)
    for path in re.findall(r"`([a-z_0-9/]+(?:\.py|/))`", table):
        assert (source / path).exists(), path


def test_the_list_of_first_issues_is_current() -> None:
    make_first_issues = importlib.import_module("make_first_issues")
    text = make_first_issues.PAGE.read_text("utf-8")
    assert text == make_first_issues.page(make_first_issues.LOG.read_text("utf-8")), "To mend it: make docs-pages"
    assert text.count("\n- ") >= 20


def test_every_guide_stands_in_both_languages() -> None:
    assert sorted(path.name for path in (ROOT / "docs" / "guides" / "zh").glob("*.md")) == GUIDES
    assert GUIDES


@pytest.mark.parametrize("name", GUIDES)
def test_a_guide_has_the_same_code_and_the_same_parts_in_both_languages(name: str) -> None:
    english = (ROOT / "docs" / "guides" / name).read_text("utf-8")
    chinese = (ROOT / "docs" / "guides" / "zh" / name).read_text("utf-8")
    for pattern in (r"^    .*$", r"^\| `[^`]+`", r"^#+ ", r"^```\w*$"):
        matches = [re.findall(pattern, text, flags=re.MULTILINE) for text in (english, chinese)]
        assert matches[0] == matches[1], pattern


@pytest.mark.slow
def test_the_python_guide_runs_as_it_is_written(tmp_path: Path) -> None:
    (block,) = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs/guides/python.md").read_text("utf-8"), re.M | re.S)
    done = subprocess.run(
        [sys.executable, "-c", block],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "raises the log-odds" in done.stdout or "lowers the log-odds" in done.stdout
    assert "<svg" in (tmp_path / "why.html").read_text("utf-8")


@pytest.mark.slow
def test_the_training_guide_runs_as_it_is_written_and_its_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (ROOT / "docs/guides/training.md").read_text("utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)
    done = subprocess.run(
        [sys.executable, "-c", block],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("160 ")
    monkeypatch.chdir(tmp_path)
    exec(block, {"__name__": "__main__"})  # goes on from the first, which has nothing left to do
    assert capsys.readouterr().out == done.stdout
    from deepseek.train.loop.job import read_job

    (file,) = re.findall(r"^```toml\n(.*?)^```$", text, re.M | re.S)
    (tmp_path / "run.toml").write_text(file, encoding="utf-8")
    assert read_job(tmp_path / "run.toml", ()).optimizer.args["momentum"] == 0.9


@pytest.mark.slow
def test_the_optimizer_guide_runs_as_it_is_written(tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs/guides/optimizer.md").read_text("utf-8"), re.M | re.S)
    for block, least, most in zip(blocks, (0.0, 0.8), (0.3, 1.0), strict=True):  # of a loss; of an accuracy
        done = subprocess.run(
            [sys.executable, "-c", block],
            cwd=tmp_path, capture_output=True, text=True, check=False, timeout=280,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        rate, quality = map(float, done.stdout.split())
        assert rate > 0.001
        assert least < quality <= most
    assert {path.name for path in tmp_path.iterdir()} == {"trace.png", "model.keras"}


@pytest.mark.slow
def test_the_pruning_guide_runs_as_it_is_written(tmp_path: Path) -> None:
    (block,) = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs/guides/pruning.md").read_text("utf-8"), re.M | re.S)
    done = subprocess.run(
        [sys.executable, "-c", block],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    gone, right = re.findall(r"0\.\d+", done.stdout)[-2:]
    assert 0.30 <= float(gone) < 0.40
    assert float(right) > 0.6  # by chance: a third
