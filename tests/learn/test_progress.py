"""Progress is kept, put aside when it cannot be read, and filled again by what can be graded again."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from deepseek.errors import InputError, IntegrityError, MissingError
from deepseek.learn.learner.place import LearnerPlace, read_learner
from deepseek.learn.learner.progress import Progress
from deepseek.learn.learner.workspace import find_workspace
from deepseek.learn.verbs import Checked, LearningPath, begin, check, check_all, next_hint, overview
from learn.conftest import solve


@pytest.fixture
def folder(learning_path: LearningPath, tmp_path: Path) -> Path:
    begin(learning_path, "counting", tmp_path / "counting")
    solve(tmp_path / "counting")
    return tmp_path / "counting"


@pytest.mark.slow
def test_a_lab_that_was_moved_is_known_by_its_note(learning_path: LearningPath, folder: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere" / "my lab"
    moved.parent.mkdir()
    folder.rename(moved)
    with pytest.raises(MissingError, match="is no longer there"):
        check(learning_path, "counting")
    assert check(learning_path, str(moved)).grade.is_passed
    assert check(learning_path, "counting").folder == moved  # it is remembered


def test_a_folder_of_another_learner_is_refused(learning_path: LearningPath, folder: Path, tmp_path: Path) -> None:
    place = LearnerPlace(tmp_path / "other")
    other = LearningPath(learning_path.catalog, place, read_learner(place))
    with pytest.raises(InputError, match="begun by another learner"):
        check(other, str(folder))


def test_a_note_that_was_changed_is_told(folder: Path) -> None:
    (folder / ".lab.json").write_text("{")
    with pytest.raises(IntegrityError, match="cut or changed"):
        find_workspace(folder)


def test_starting_again_overwrites_nothing_and_restore_keeps_what_was_written(
    learning_path: LearningPath, folder: Path
) -> None:
    with pytest.raises(InputError, match="exists"):
        begin(learning_path, "counting", folder)
    data = (folder / "numbers.csv").read_text()
    (folder / "numbers.csv").write_text("number\n1\n")
    own = (folder / "solution.py").read_text()
    begin(learning_path, "counting", restore=True)
    assert (folder / "numbers.csv").read_text() == data
    assert (folder / "solution.py").read_text() == own


@pytest.mark.slow
def test_hints_come_in_steps_and_are_counted(learning_path: LearningPath, folder: Path) -> None:
    (folder / "answer.json").unlink()
    result = check(learning_path, "counting")
    assert result.hint is not None
    assert result.hint.en == "Sum up."
    texts = [next_hint(learning_path, "counting").text.en for _ in range(2)]
    assert texts == ["All rows.", "All rows."]
    solve(folder)
    check(learning_path, "counting")
    with Progress.open(learning_path.place) as progress:
        assert progress.best_gradings()["counting"].num_hints == 2


@pytest.mark.slow
def test_a_progress_file_that_is_broken_is_kept_aside_and_filled_by_grading_again(
    learning_path: LearningPath, folder: Path
) -> None:
    assert check(learning_path, "counting").grade.is_passed
    file = learning_path.place.progress_file
    for path in (file.with_name(file.name + "-wal"), file.with_name(file.name + "-shm")):
        path.unlink(missing_ok=True)
    file.write_bytes(b"no database at all" * 100)
    aside = overview(learning_path).set_aside
    assert aside is not None
    assert aside.read_bytes().startswith(b"no database")
    assert overview(learning_path).states[0].passed is None
    results = list(check_all(learning_path))
    assert [isinstance(each, Checked) and each.grade.is_passed for each in results] == [True]
    assert overview(learning_path).states[0].passed is not None


def test_a_database_of_another_program_is_kept_aside(tmp_path: Path) -> None:
    place = LearnerPlace(tmp_path)
    connection = sqlite3.connect(place.progress_file)
    connection.execute("CREATE TABLE songs (name TEXT)")
    connection.commit()
    connection.close()
    with Progress.open(place) as progress:
        assert progress.set_aside is not None
        assert progress.best_gradings() == {}


def test_a_learner_whose_number_was_changed_is_told(tmp_path: Path) -> None:
    place = LearnerPlace(tmp_path)
    first = read_learner(place)
    assert read_learner(place) == first
    place.learner_file.write_text('{"id": "12"}')
    with pytest.raises(IntegrityError, match="cut or changed"):
        read_learner(place)


def test_progress_is_exported(learning_path: LearningPath, folder: Path) -> None:
    check(learning_path, "counting")
    with Progress.open(learning_path.place) as progress:
        (grading,) = progress.export()["gradings"]
    assert (grading["lab"], grading["score"], grading["passed"]) == ("counting", 100, True)


def test_the_path_of_a_learner_without_anything_begins_with_its_first_lab(learning_path: LearningPath) -> None:
    result = overview(learning_path)
    assert result.next_lab is not None
    assert result.next_lab.id == "counting"
    shutil.rmtree(learning_path.place.folder)
    assert overview(learning_path).next_lab is not None
