"""The pre-commit hook and the GitHub Action: every bundle that a path belongs to is verified, once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from deepseek.bundle.sign import generate_keys
from deepseek.integrations.verify_files import command, find_bundles

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def repository(cancer_bundle: Path, tmp_path: Path) -> Path:
    """A folder with two bundles, one of them deeper, and a file of no bundle."""
    shutil.copytree(cancer_bundle, tmp_path / "loans")
    shutil.copytree(cancer_bundle, tmp_path / "models" / "cards")
    (tmp_path / "README.md").write_text("text")
    return tmp_path


def test_files_lead_to_their_bundles_and_folders_to_all_in_them(repository: Path) -> None:
    loans, cards = repository / "loans", repository / "models" / "cards"
    assert find_bundles([loans / "model.onnx", loans / "evidence" / "metrics.json"]) == [loans]
    assert find_bundles([repository]) == [loans, cards]
    assert find_bundles([cards / "was-deleted.json"]) == [cards]
    assert find_bundles([repository / "README.md"]) == []


def test_a_changed_byte_fails_the_commit_and_is_named(repository: Path) -> None:
    run = CliRunner().invoke
    assert run(command, [str(repository / "loans/model.onnx")]).exit_code == 0
    (repository / "loans/decision.json").write_text("{}")
    failed = run(command, [str(repository / "loans/decision.json")])
    assert failed.exit_code == 3
    assert "decision.json" in failed.output
    assert run(command, [str(repository / "models/cards/model.onnx")]).exit_code == 0, "the other bundle is whole"
    assert run(command, [str(repository)]).exit_code == 3
    assert run(command, [str(repository / "nowhere" / "x")]).exit_code == 2


def test_a_key_asks_for_a_signature_and_require_for_a_bundle(repository: Path) -> None:
    _, public, _ = generate_keys(repository / "release")
    run = CliRunner().invoke
    assert run(command, ["--key", str(public), str(repository / "loans")]).exit_code == 3
    assert run(command, ["--require", str(repository / "README.md")]).exit_code == 3


def test_the_hook_and_the_action_run_what_they_say(repository: Path) -> None:
    yaml = pytest.importorskip("yaml")
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))
    python, *words = hook["entry"].split()
    assert python == "python"
    path = {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, *words, repository / "loans/model.onnx"], env=os.environ | path, check=False)
    assert done.returncode == 0
    action = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))
    step = action["runs"]["steps"][-1]
    script = step["run"].replace("python ", f"{sys.executable} ", 1)
    for key, code in (("", 0), (str(repository / "absent.pub"), 2)):
        variables = path | {"BUNDLES": str(repository), "KEY": key}
        done = subprocess.run(["bash", "-c", script], env=os.environ | variables, check=False, capture_output=True)
        assert done.returncode == code, done.stderr
