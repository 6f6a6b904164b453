"""A folder that is no lab is refused by what is wrong with it; the matrix is whole, or says what is missing."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import shutil
import tomllib
from importlib.metadata import Distribution
from pathlib import Path

import pytest

from deepseek.errors import ExtraError, InputError, IntegrityError, MissingError
from deepseek.learn.definition.catalog import read_catalog
from deepseek.learn.definition.installed import check_unchanged
from deepseek.learn.definition.lab import LAYERS, MODULES, CriterionTable, Lab, lab_files, lab_problems, read_lab
from deepseek.learn.definition.matrix import read_matrix
from deepseek.learn.definition.mistakes import COMMON_MISTAKES
from deepseek.learn.definition.needs import EXTRA_MODULES, check_installed, install_problems
from learn.conftest import EXAMPLES


@pytest.mark.parametrize(
    ("file", "before", "after", "problem"),
    [
        ("lab.toml", "weight = 40", "weight = 41", "do not sum to 100"),
        ("lab.toml", "essential = true\n", "", "no check is essential"),
        ("lab.toml", 'id = "read"', 'id = "empty"', "two checks have one id"),
        ("lab.toml", "data.expert", "data.master", "no cells of the matrix"),
        ("lab.toml", "[mistakes.unlucky]", "[mistakes.lucky]", "raises the mistake 'unlucky'"),
        ("lab.toml", "and {said} is given", "and {says} is given", "'wrong_sum' name says"),
        ("lab.toml", "hours = 1", "hours = '1'", "hours is '1'"),
        ("lab.toml", "hours = 1", "hour = 1", "hour is not known. Did you mean 'hours'"),
        ("checks.py", "def check_read", "def check_reads", "has no function check_read"),
        ("checks.py", "def make(", "def make((", "is no Python"),
    ],
)
def test_a_folder_that_is_no_lab_is_refused(tmp_path: Path, file: str, before: str, after: str, problem: str) -> None:
    folder = tmp_path / "counting"
    shutil.copytree(EXAMPLES / "counting", folder)
    text = (folder / file).read_text("utf-8")
    assert before in text
    (folder / file).write_text(text.replace(before, after), encoding="utf-8")
    with pytest.raises(InputError, match="the lab counting: ") as caught:
        read_lab(folder, COMMON_MISTAKES)
    assert problem in str(caught.value)


def test_labs_of_an_organization_stand_beside_the_built_in_ones() -> None:
    catalog = read_catalog([EXAMPLES])
    assert catalog.lab("counting").id not in catalog.built_in
    assert len(catalog.built_in) == len(catalog.labs) - 1
    with pytest.raises(MissingError, match="Did you mean 'counting'"):
        catalog.lab("countin")


def test_labs_come_after_what_they_require() -> None:
    places = {lab.id: place for place, lab in enumerate(read_catalog(()).labs)}
    for lab in read_catalog(()).labs:
        assert all(places[before] < places[lab.id] for before in lab.table.requires)


def test_checks_that_were_changed_after_they_were_installed_are_told(tmp_path: Path) -> None:
    """By the record that an installer writes."""
    folder = tmp_path / "labs" / "counting"
    shutil.copytree(EXAMPLES / "counting", folder, ignore=shutil.ignore_patterns("__pycache__"))
    lab = read_lab(folder, COMMON_MISTAKES)
    digests = {
        path: base64.urlsafe_b64encode(hashlib.sha256(path.read_bytes()).digest()).rstrip(b"=").decode()
        for path in lab_files(folder)
    }
    lines = [f"{path.relative_to(tmp_path)},sha256={digest},{path.stat().st_size}" for path, digest in digests.items()]
    info = tmp_path / "example-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: example\nVersion: 1.0\n")
    (info / "RECORD").write_text("\n".join(lines) + "\n")
    check_unchanged(lab, Distribution.at(info))
    (folder / "checks.py").write_text((folder / "checks.py").read_text() + "# passes now\n")
    with pytest.raises(IntegrityError, match=r"the lab counting were changed .* checks\.py"):
        check_unchanged(lab, Distribution.at(info))


def test_two_labs_of_one_name_are_refused(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES / "counting", tmp_path / "counting")
    with pytest.raises(InputError, match="two labs are called counting"):
        read_catalog([EXAMPLES, tmp_path])


def test_the_matrix_has_each_cell_and_says_which_no_lab_proves() -> None:
    catalog = read_catalog(())
    matrix = read_matrix(catalog)
    assert len(matrix.cells) == len(MODULES) * len(LAYERS) == 24
    proved = {skill for lab in catalog.labs for skill in lab.table.skills}
    assert {cell.name for cell in matrix.without_labs()} == {cell.name for cell in matrix.cells} - proved
    assert all(cell.can.en and cell.can.zh for cell in matrix.cells)


def test_the_rubric_that_a_reviewer_fills_in_has_the_criteria_of_its_lab() -> None:
    labs = [lab for lab in read_catalog(()).labs if lab.table.rubric]
    assert labs
    for lab in labs:
        rubric = tomllib.loads((lab.folder / "start" / "rubric.toml").read_text("utf-8"))
        assert [each["id"] for each in rubric["criteria"]] == [each.id for each in lab.table.rubric]
        assert "author.pub" in lab.table.submits


def test_a_date_that_is_none_and_a_rubric_that_cannot_be_signed_are_refused() -> None:
    lab = read_lab(EXAMPLES / "counting", COMMON_MISTAKES)
    criterion = CriterionTable("a", lab.table.title)
    with_key = (*lab.table.submits, "author.pub")
    for table, words in (
        (dataclasses.replace(lab.table, since="30.11.2026"), "since is '30.11.2026'"),
        (dataclasses.replace(lab.table, rubric=(criterion, criterion), submits=with_key), "have one id"),
        (dataclasses.replace(lab.table, rubric=(criterion,)), "author.pub is not among"),
    ):
        (problem,) = lab_problems(dataclasses.replace(lab, table=table), COMMON_MISTAKES)
        assert words in problem


def test_the_hours_of_the_labs_of_a_level_are_those_that_it_promises() -> None:
    catalog = read_catalog(())
    for level, table in catalog.levels.items():
        labs = catalog.of_level(level)
        assert len(labs) <= table.num_labs
        if len(labs) == table.num_labs:
            assert sum(lab.table.hours for lab in labs) == table.hours


def test_code_of_a_lab_imports_what_its_extras_bring() -> None:
    """So that no lab begins on an install on which it cannot be graded."""
    assert {lab.id: problems for lab in read_catalog(()).labs if (problems := list(install_problems(lab)))} == {}


def test_an_import_that_no_extra_brings_and_an_extra_that_nobody_knows_are_told(tmp_path: Path) -> None:
    folder = tmp_path / "counting"
    shutil.copytree(EXAMPLES / "counting", folder)
    checks = folder / "checks.py"
    checks.write_text(
        checks.read_text("utf-8") + "\n\ndef load():\n    from sklearn import datasets\n", encoding="utf-8"
    )
    lab = read_lab(folder, COMMON_MISTAKES)
    assert list(install_problems(lab)) == ["checks.py imports sklearn, which no extra in its installs brings"]
    strange = dataclasses.replace(lab, table=dataclasses.replace(lab.table, installs=("tabular", "tabula")))
    assert [problem[:38] for problem in install_problems(strange)] == ["installs names the extra 'tabula'; kno"]
    with pytest.raises(InputError, match="installs names the extra 'tabula'"):
        check_installed(strange)


def test_all_extras_that_are_not_there_are_named_at_once(counting: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXTRA_MODULES, "serve", ("msgspec", "no_such_module"))
    monkeypatch.setitem(EXTRA_MODULES, "train", ("no_such_module_either",))
    lab = dataclasses.replace(counting, table=dataclasses.replace(counting.table, installs=("serve", "train")))
    with pytest.raises(ExtraError, match=r"the lab counting needs parts .* not installed: serve, train") as caught:
        check_installed(lab)
    assert "[serve,train]" in caught.value.fix
    check_installed(counting)
