"""`deepseek operator new` writes a package that computes at once, under its own names."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from deepseek.cli import main
from deepseek.errors import InputError, MissingError
from deepseek.integrations.operators import find_example, new_operator

ROOT = Path(__file__).resolve().parents[2]
#: Held to a value that was worked out by hand: knots at -1, 0 and 1 with slopes of 1.
USE = """
import torch
from robust_gate.operator import robust_gate_operator
from robust_gate.part import OPERATOR, RobustGate
slopes = torch.ones(1, 3, dtype=torch.float64, requires_grad=True)
x = torch.tensor([[-9.0], [-1.0], [0.5], [9.0]], dtype=torch.float64, requires_grad=True)
assert robust_gate_operator(x, slopes, first=-1, step=1).ravel().tolist() == [-1.5, -1.0, 0.5, 1.5]
assert torch.autograd.gradcheck(lambda *a: robust_gate_operator(*a, first=-1, step=1), (x, slopes))
assert (OPERATOR, RobustGate.kind) == ("RobustGateOperator", "robust_gate")
"""


def test_a_new_package_has_its_own_names_everywhere(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "gate"
    assert main(["operator", "new", "robust_gate", "--out", str(out), "--json"]) == 0
    result = json.loads(capfd.readouterr().out)
    example = find_example()
    assert "robust_gate/operator.cpp" in result["files"]
    assert len(result["files"]) == sum(
        path.suffix in (".py", ".cpp", ".h", ".md", ".toml") or path.name == "LICENSE" for path in example.rglob("*")
    )
    texts = [(out / name).read_text("utf-8") for name in result["files"]]
    assert not any(word in text.lower() for text in texts for word in ("monotone_spline", "monotone-spline"))
    assert not any("MonotoneSpline" in text for text in texts)
    project = tomllib.loads((out / "pyproject.toml").read_text())["project"]
    assert project["name"] == "robust-gate"
    assert project["entry-points"]["deepseek.parts"] == {"robust_gate": "robust_gate.part:RobustGate"}


@pytest.mark.slow
def test_a_new_package_computes(tmp_path: Path) -> None:
    new_operator("robust_gate", tmp_path / "gate")
    done = subprocess.run(
        [sys.executable, "-c", USE], cwd=tmp_path / "gate", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["Gate", "my-gate", "1gate", "class", "../gate", "monotone_splines", ""])
def test_a_name_that_no_package_can_have_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot name a package"):
        new_operator(name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_not_empty_and_a_missing_example_are_said(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="is not empty"):
        new_operator("robust_gate", tmp_path / "out")
    with pytest.raises(MissingError, match="there is no example"):
        new_operator("robust_gate", tmp_path / "other", example=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
