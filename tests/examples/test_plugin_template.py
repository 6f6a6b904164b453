"""examples/plugin_template: pip installs it, and it passes the contract of every plugin."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deepseek.plugins import TABLES

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "examples" / "plugin_template"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process that has the template, installed by pip into a folder of its own."""
    pytest.importorskip("setuptools")  # its build backend; nothing is loaded from the network
    site = tmp_path_factory.mktemp("site")
    source = tmp_path_factory.mktemp("source") / "template"  # a build leaves files beside what it builds
    shutil.copytree(TEMPLATE, source, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--no-build-isolation", "--quiet"]
    run = subprocess.run(
        [*command, "--target", str(site), str(source)], capture_output=True, text=True, check=False, timeout=280
    )
    assert run.returncode == 0, run.stderr
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(site), str(ROOT / "src"), str(ROOT / "tests")])}


def run(environ: dict[str, str], *words: str, folder: Path = ROOT) -> str:
    command = [sys.executable, "-m", *words]
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_passes_the_contract_of_plugins(installed: dict[str, str]) -> None:
    printed = run(
        installed, "pytest", "-q", "-p", "no:cacheprovider", "tests/test_plugins_contract.py",
        "-k", "class_distances or slow_requests",
    )  # fmt: skip
    assert "4 passed" in printed  # three tasks of the candidate, and the sink


def test_its_own_tests_pass_and_it_ships(installed: dict[str, str], tmp_path: Path) -> None:
    assert "2 passed" in run(
        installed, "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(TEMPLATE), str(TEMPLATE / "tests")
    )
    ship = ["ship", "--example", "cancer", "--candidates", "class_distances", "--trials", "2", "--out", "cancer"]
    run(installed, "deepseek", *ship, "--json", folder=tmp_path)
    assert '"ok": true' in run(installed, "deepseek", "verify", "cancer", "--json", folder=tmp_path)


def test_the_groups_that_its_readme_names_are_there() -> None:
    text = (TEMPLATE / "README.md").read_text("utf-8")
    assert [group for group in TABLES if f"deepseek.{group}`" not in text] == ["candidates", "sinks"]
