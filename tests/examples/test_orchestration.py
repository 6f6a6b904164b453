"""examples/orchestration: a verb as a function, and a flow that publishes a model unless it is worse."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "orchestration"
sys.path.insert(0, str(EXAMPLE))

from verbs import VerbError, check_not_worse, replace_bundle, run_verb  # noqa: E402


@pytest.fixture(autouse=True)
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`deepseek` of this Python."""
    script = tmp_path / "deepseek"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m deepseek "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("DEEPSEEK", str(script))


def test_a_verb_gives_its_json_or_says_what_failed(tmp_path: Path) -> None:
    assert run_verb("doctor")["python"].startswith("3.")
    with pytest.raises(VerbError, match=r"deepseek verify ended with 2: there is no bundle at .*absent") as failure:
        run_verb("verify", str(tmp_path / "absent"))
    assert failure.value.code == 2


def test_a_model_that_is_worse_stops_the_flow() -> None:
    comparison = {"verdict": "worse", "headline": {"en": "loans-new is worse"}}
    with pytest.raises(VerbError, match="loans-new is worse"):
        check_not_worse({"digest": "d", "against": {"comparisons": [comparison]}})
    comparison["verdict"] = "same"
    assert check_not_worse({"digest": "d", "against": {"comparisons": [comparison]}}) == "d"


def test_a_bundle_takes_the_place_of_another_as_a_whole(tmp_path: Path) -> None:
    for name in ("new", "current", "current.next"):  # the last is what a killed run has left
        (tmp_path / name).mkdir()
        (tmp_path / name / "bundle.json").write_text(name)
    replace_bundle(str(tmp_path / "new"), str(tmp_path / "current"))
    assert (tmp_path / "current" / "bundle.json").read_text() == "new"
    assert sorted(each.name for each in tmp_path.iterdir() if each.is_dir()) == ["current", "new"]


@pytest.mark.parametrize(("name", "module"), [("airflow_loans.py", "airflow.sdk"), ("prefect_loans.py", "prefect")])
def test_the_flows_import_their_orchestrator_and_the_verbs_alone(name: str, module: str) -> None:
    tree = ast.parse((EXAMPLE / name).read_text("utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported - {"__future__", "typing"} == {module, "verbs"}


@pytest.mark.slow
def test_a_flow_ships_verifies_compares_and_publishes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the tasks as plain functions, where Prefect is not installed."""
    monkeypatch.chdir(tmp_path)
    ship = ("ship", "--example", "cancer", "--trials", "1", "--candidates", "linear")
    first = run_verb(*ship, "--out", "current")
    second = run_verb(*ship, "--out", "new", "--against", "current")
    assert run_verb("verify", "new")["ok"]
    assert check_not_worse(second) == second["digest"] == first["digest"]
    replace_bundle("new", "current")
    assert run_verb("verify", "current")["ok"]
