"""The contract that every lab keeps: its reference gets all points, wrong solutions are refused with the words that
name the mistake, and what another learner has handed in is not taken. Each level has a file that runs it, so that they
run beside each other; conftest.py names its labs."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

import pytest

from deepseek.learn.contract import data_problems, text_problems
from deepseek.learn.definition.catalog import read_catalog
from deepseek.learn.definition.lab import Lab
from deepseek.learn.grading.grade import grade_folder
from deepseek.learn.grading.records import CheckResult
from deepseek.learn.learner.place import Learner, lab_seed
from deepseek.learn.learner.workspace import begin_lab
from learn.solutions.tools import solutions_of

LABS = {lab.id: lab for lab in read_catalog(()).labs}
#: Three learners, whose data differs.
LEARNERS = tuple(Learner(digits * 32) for digits in "1a7")


class MistakeNamedError(Exception):
    """A check has refused what was handed in for the mistake that it has."""


@cache
def begun(base: Path, name: str, learner: Learner) -> Path:
    """A folder that the reference has filled, made once."""
    lab, folder = LABS[name], base / f"{name}-{learner.id[0]}"
    begin_lab(lab, folder, learner, lab_seed(learner.id, lab.data_seed_name))
    solutions_of(name).reference(folder)
    return folder


def seed_of(lab: Lab, learner: Learner) -> int:
    return lab_seed(learner.id, lab.data_seed_name)


def test_a_lab_has_its_words_in_both_languages(name: str) -> None:
    assert text_problems(LABS[name]) == []


def test_a_lab_has_two_to_five_wrong_solutions(name: str) -> None:
    assert 2 <= len(solutions_of(name).WRONG) <= 5
    known = LABS[name].table.mistakes.keys()
    assert known & set(solutions_of(name).WRONG.values()), "none of them makes a mistake of the lab's own"


@pytest.mark.slow
def test_data_of_a_lab_follows_from_the_learner_and_differs_between_learners(name: str) -> None:
    assert data_problems(LABS[name]) == []


@pytest.mark.slow
def test_the_reference_gets_all_points(base: Path, name: str, learner: Learner) -> None:
    folder, lab = begun(base, name, learner), LABS[name]
    grade = grade_folder(lab, folder, seed_of(lab, learner), fresh_seed=int(learner.id[0], 16))
    assert [(check.id, check.mistake) for check in grade.checks if not check.is_passed] == []
    assert grade.score == 100
    assert not grade.changed_data


@pytest.mark.slow
def test_a_wrong_solution_is_refused_with_its_mistake(base: Path, tmp_path: Path, name: str, wrong: str) -> None:
    lab, learner, folder = LABS[name], LEARNERS[0], tmp_path / "wrong"
    shutil.copytree(begun(base, name, learner), folder)
    getattr(solutions_of(name), wrong)(folder)

    def end_at_mistake(check: CheckResult) -> None:
        assert check.code != solutions_of(name).WRONG[wrong] or not check.is_passed
        if check.code == solutions_of(name).WRONG[wrong]:
            raise MistakeNamedError

    with pytest.raises(MistakeNamedError):  # the checks behind it need not be waited for
        grade_folder(lab, folder, seed_of(lab, learner), fresh_seed=3, on_check=end_at_mistake)


@pytest.mark.slow
def test_what_another_learner_handed_in_is_refused(base: Path, tmp_path: Path, name: str) -> None:
    """All that the first learner hands in, beside the second learner's data."""
    lab, (first, second) = LABS[name], LEARNERS[:2]
    folder = tmp_path / "copied"
    begin_lab(lab, folder, second, seed_of(lab, second))
    for item in lab.table.submits:
        source, target = begun(base, name, first) / item, folder / item
        shutil.copytree(source, target, dirs_exist_ok=True) if source.is_dir() else shutil.copyfile(source, target)
    grade = grade_folder(lab, folder, seed_of(lab, second), fresh_seed=3)
    assert not grade.is_passed, [check.id for check in grade.checks]
    assert all(check.mistake for check in grade.checks if check.code)
