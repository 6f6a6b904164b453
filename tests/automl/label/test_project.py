"""A project of labels: what is drawn for the test, what is kept, what is refused, what the audit proves."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from automl.label.conftest import MakeProject, write_claims
from deepseek.automl.label.project.people import add_person, identify, remove_person
from deepseek.automl.label.project.project import Project, ProjectOptions
from deepseek.automl.label.project.records import LabelConflictError, NewChange, QueuedItem
from deepseek.automl.label.project.schema import FILE_NAME
from deepseek.automl.label.verbs import new_project
from deepseek.errors import InputError, IntegrityError, MissingError
from deepseek.http_errors import UnauthorizedError

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a4944415478da63640000000400023ffe00000000"
    "49454e44ae426082"
)


def change(identity: str, item: int, value: Any = "fire", person: str = "ann", **more: Any) -> NewChange:
    return NewChange(identity, person, item, more.pop("action", "label"), value, **more)


def test_what_is_tested_on_is_drawn_by_the_seed_and_copies_go_with_it(make_project: MakeProject) -> None:
    parts = [
        [item.is_test for item in project.store.items()]
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
        for project in [make_project(name, seed=seed)]
    ]
    assert parts[0] == parts[1] != parts[2]
    assert sum(parts[0][:-1]) == 7  # a fifth of 39 different rows
    assert parts[0][2] == parts[0][-1]
    with make_project("d") as project:
        assert [item.same_as for item in project.store.items() if item.same_as] == [3]
        assert project.counts().num_copies == 1


def test_the_strategy_cannot_choose_what_is_tested_on(make_project: MakeProject) -> None:
    with make_project() as project:
        test, train = (
            next(item.number for item in project.store.items() if item.is_test == is_test) for is_test in (True, False)
        )
        with pytest.raises(InputError, match="is to be tested on"):
            project.store.set_queue([QueuedItem(train, 1.0, "uncertain"), QueuedItem(test, 2.0, "uncertain")], [])
        project.store.set_queue([QueuedItem(train, 1.0, "uncertain")], [])
        assert train in [item.number for item in project.store.next_items("ann", 2)]


def test_one_in_three_that_are_asked_is_tested_on_until_all_are(make_project: MakeProject) -> None:
    with make_project() as project:
        items = project.store.next_items("ann", 39)
        assert len({item.number for item in items}) == 39
        assert [item.is_test for item in items[:21]].count(True) == 7


def test_a_change_that_is_sent_again_is_kept_once(make_project: MakeProject) -> None:
    with make_project() as project:
        first = project.store.record(change("c1", 1))
        again = project.store.record(change("c1", 1))
        assert (first.is_repeat, again.is_repeat, again.number) == (False, True, first.number)
        with pytest.raises(InputError, match="was used for another change"):
            project.store.record(change("c1", 2))
        assert len(project.store.labels()) == project.verify() == 1


def test_a_second_tab_does_not_overwrite_what_it_has_not_seen(make_project: MakeProject) -> None:
    with make_project() as project:
        first = project.store.record(change("c1", 1, seen=0))
        with pytest.raises(LabelConflictError, match='it is label "fire" now') as refusal:
            project.store.record(change("c2", 1, "water", seen=0))
        assert refusal.value.status == 409
        project.store.record(change("c3", 1, "water", seen=first.number))
        assert [label.value for label in project.store.labels(1)] == ["water"]


def test_undo_goes_back_step_by_step_and_the_audit_keeps_all(make_project: MakeProject) -> None:
    with make_project() as project:
        store = project.store
        store.record(change("c1", 1))
        store.record(change("c2", 1, "water", comment="no smoke"))
        store.record(change("c3", 2, None, action="skip"))
        store.record(change("b1", 2, "fire", person="bo"))
        assert store.undo("u1", "ann").item == 2
        assert store.undo("u1", "ann").is_repeat
        assert [label.person for label in store.labels(2)] == ["bo"]
        store.undo("u2", "ann")
        assert [(label.value, label.comment) for label in store.labels(1)] == [("fire", "")]
        store.undo("u3", "ann")
        assert store.labels(1) == []
        with pytest.raises(InputError, match="nothing left to take back"):
            store.undo("u4", "ann")
        assert project.verify() == 7


def test_the_audit_cannot_be_changed_and_a_change_by_hand_is_seen(make_project: MakeProject) -> None:
    with make_project() as project:
        project.store.record(change("c1", 1))
        project.store.record(change("c2", 2))
        for statement in ("UPDATE changes SET person = 'bo'", "DELETE FROM changes"):
            with pytest.raises(sqlite3.IntegrityError, match="audit is"):
                project.store.connection.execute(statement)
        project.store.connection.execute("UPDATE labels SET value = '\"water\"' WHERE item = 2")
        with pytest.raises(IntegrityError, match="item 2 by 'ann'"):
            project.verify()
        project.store.connection.execute("DROP TRIGGER changes_stay")
        project.store.connection.execute("UPDATE changes SET after = before WHERE number = 1")
        with pytest.raises(IntegrityError, match="line 1"):
            project.verify()


def test_two_people_get_different_items_and_some_are_asked_of_both(make_project: MakeProject) -> None:
    with make_project("one") as project:
        ann, bo = (project.store.next_items(name, 10, now_s=0.0) for name in ("ann", "bo"))
        assert not {item.number for item in ann} & {item.number for item in bo}
        later = project.store.next_items("cy", 30, now_s=1e6)  # the leases are over
        assert {item.number for item in ann} & {item.number for item in later}
    with make_project("both", overlap=1.0) as project:
        ann, bo, cy = (project.store.next_items(name, 39) for name in ("ann", "bo", "cy"))
        assert (len(ann), len(bo), len(cy)) == (39, 39, 0)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"labels": ("a",)}, "1 labels were named for binary"),
        ({"labels": ("a", "a")}, "named twice"),
        ({"labels": ("a", "\x00")}, "is no label"),
        ({"task": "regression", "labels": ("a",)}, "0 labels"),
        ({"task": "boxes"}, "one column of the kind image"),
        ({"task": "stars"}, "task is 'stars'"),
        ({"num_test": 39}, "39 items are to be tested on, of 39"),
        ({"overlap": 10.0}, "overlap is 10.0"),
        ({"target": "amount"}, "has a column 'amount'"),
    ],
)
def test_a_project_that_cannot_be_is_refused_in_words(
    make_project: MakeProject, tmp_path: Path, options: dict[str, Any], expected: str
) -> None:
    with pytest.raises(InputError, match=expected):
        make_project(**options)
    assert not (tmp_path / "project").exists()
    assert list(tmp_path.glob(".project*")) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\n1\n", "1 row"),
        ("a\n1\n1\n1\n", "all 3 rows"),
        ("a,y\n1,fire\n2,smoke\n3,\n", "1 rows have labels that do not fit: row 2: 'smoke' is not a label"),
        ("y\nfire\nwater\n", "no column left"),
    ],
)
def test_rows_that_cannot_be_labeled_are_refused_in_words(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "rows.csv").write_text(text)
    has_target = "y" in text.splitlines()[0]
    options = ProjectOptions("binary", ("fire", "water"), "y")
    with pytest.raises(InputError, match=expected):
        new_project(tmp_path / "rows.csv", tmp_path / "out", options, has_target=has_target)


def test_a_folder_has_no_columns(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    for name in ("a.txt", "b.txt"):
        (tmp_path / "notes" / name).write_text(f"note {name}")
    options = ProjectOptions("binary", ("a", "b"))
    with pytest.raises(InputError, match="is a folder, which has no columns"):
        new_project(tmp_path / "notes", tmp_path / "out", options, has_target=True)
    assert new_project(tmp_path / "notes", tmp_path / "out", options).counts.num_items == 2


def test_labels_outside_of_the_list_are_refused(make_project: MakeProject) -> None:
    with make_project() as project:
        with pytest.raises(InputError, match="'fier' is not a label of this project"):
            project.store.record(change("c1", 1, "fier"))
        with pytest.raises(MissingError, match="no item 99"):
            project.store.record(change("c1", 99))
        assert project.store.labels() == []


def test_spans_and_numbers_are_checked(tmp_path: Path) -> None:
    data = write_claims(tmp_path / "claims.csv")
    new_project(data, tmp_path / "spans", ProjectOptions("spans", ("place",)), drop=("amount",))
    new_project(data, tmp_path / "numbers", ProjectOptions("regression", ()), drop=("amount",))
    with Project.open(tmp_path / "spans") as project:
        project.store.record(change("c1", 1, [{"label": "place", "start": 4, "end": 11}]))
        for odd in ([{"label": "place", "start": 4, "end": 999}], [{"label": "x", "start": 0, "end": 1}], "text", [3]):
            with pytest.raises(InputError):
                project.store.record(change("c2", 1, odd))
    with Project.open(tmp_path / "numbers") as project:
        project.store.record(change("c1", 1, 3))
        for odd in (True, float("nan"), "3"):
            with pytest.raises(InputError, match="is no number"):
                project.store.record(change("c2", 2, odd))


def test_a_project_of_another_version_or_program_is_refused(make_project: MakeProject, tmp_path: Path) -> None:
    make_project().close()
    with sqlite3.connect(tmp_path / "project" / FILE_NAME) as file:
        file.execute("PRAGMA user_version = 7")
    file.close()
    with pytest.raises(InputError, match="is of version 7, and this program reads 1"):
        Project.open(tmp_path / "project")
    with pytest.raises(MissingError, match="holds no project"):
        Project.open(tmp_path / "nowhere")
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / FILE_NAME).write_text("not a database, by far" * 100)
    with pytest.raises(IntegrityError, match="is no project"):
        Project.open(tmp_path / "text")
    with sqlite3.connect(tmp_path / "text" / "other") as other:
        other.execute("CREATE TABLE a (b)")
    other.close()
    (tmp_path / "text" / "other").replace(tmp_path / "text" / FILE_NAME)
    with pytest.raises(InputError, match="of another program"):
        Project.open(tmp_path / "text")


def test_files_that_vanish_are_set_aside_until_they_are_back(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(5):
        (pictures / f"{number}.png").write_bytes(PIXEL + bytes([number]))
    new_project(pictures, tmp_path / "project", ProjectOptions("multiclass", ("a", "b", "c")))
    with Project.open(tmp_path / "project") as project:
        (pictures / "1.png").rename(tmp_path / "away.png")
        (pictures / "2.png").write_bytes(PIXEL)
        faults = {item.key: item.fault for item in project.check_files()}
        assert faults == {
            "1.png": "1.png cannot be read: No such file or directory",
            "2.png": "2.png has changed since the project was made",
        }
        assert project.counts().num_faulty == 2
        assert len(project.store.next_items("ann", 5)) == 3
        (tmp_path / "away.png").rename(pictures / "1.png")
        assert [item.key for item in project.check_files()] == ["2.png"]
    (tmp_path / "rows.csv").write_text("file\npictures/0.png\npictures/9.png\n")
    with pytest.raises(MissingError, match=r"1 files that rows\.csv names cannot be read: row 2: pictures/9\.png"):
        new_project(tmp_path / "rows.csv", tmp_path / "other", ProjectOptions("binary", ("a", "b")))


def test_keys_open_a_project_and_only_their_digests_are_kept(make_project: MakeProject, tmp_path: Path) -> None:
    with make_project() as project:
        assert identify(project.store, None, " ann ").name == "ann"
        with pytest.raises(InputError, match="no name of a person"):
            identify(project.store, None, "")
        key = add_person(project.store, "Ann Li", "labeler")
        assert identify(project.store, key, "somebody else").name == "Ann Li"
        for wrong in (None, "", "guess"):
            with pytest.raises(UnauthorizedError):
                identify(project.store, wrong, "Ann Li")
        with pytest.raises(InputError, match="the last person"):
            remove_person(project.store, "Ann Li")
        assert key.encode() not in (tmp_path / "project" / FILE_NAME).read_bytes()


def test_the_definition_is_json(make_project: MakeProject) -> None:
    with make_project() as project:
        row = project.store.connection.execute("SELECT value FROM meta").fetchone()
        assert json.loads(row[0])["labels"] == ["fire", "water"]
