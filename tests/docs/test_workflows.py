"""Workflows and templates of the forge: they parse, and run the Makefile's own commands."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from website.pages import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted(file for file in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if file.name != "config.yml")
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


def read(file: Path) -> dict[str, object]:
    loaded: dict[str, object] = yaml.load(file.read_text("utf-8"), Loader=yaml.BaseLoader)  # `on` stays a word
    return loaded


def test_each_part_has_a_workflow() -> None:
    assert {file.stem for file in WORKFLOWS} == {"lint", "tests", "docs", "wheels", "image"}


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_a_workflow_runs_the_makes_of_a_desk_with_few_rights_and_an_end(file: Path) -> None:
    workflow = read(file)
    assert workflow["permissions"] == {"contents": "read"}
    makes = set()
    for job in workflow["jobs"].values():  # type: ignore[attr-defined]
        assert int(job["timeout-minutes"]) <= 300
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step)
            assert "uses" not in step or re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"])
            makes |= set(re.findall(r"make ([a-z-]+)", step.get("run", "")))
    assert makes
    assert makes <= TARGETS


def test_the_tests_run_on_each_python_that_the_package_admits() -> None:
    admitted = [
        line.rpartition(" ")[2]
        for line in tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["classifiers"]
        if re.search(r":: 3\.\d+$", line)
    ]
    workflow = read(ROOT / ".github" / "workflows" / "tests.yml")
    assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"] == admitted  # type: ignore[index]


@pytest.mark.parametrize("file", FORMS, ids=lambda file: file.name)
def test_a_form_has_a_name_and_fields_with_ids_of_their_own(file: Path) -> None:
    form = read(file)
    assert form["name"]
    assert form["description"]
    fields = [part for part in form["body"] if part["type"] != "markdown"]  # type: ignore[attr-defined]
    identifiers = [part["id"] for part in fields]
    assert len(set(identifiers)) == len(identifiers)
    assert all(part["attributes"]["label"] for part in fields)
