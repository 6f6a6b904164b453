"""Labels of a project as rows for `ship`: weights, the test that was drawn beforehand, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sklearn")

from automl.label.conftest import MakeProject
from automl.label.test_choose import label_all
from automl.label.test_project import change
from deepseek.automl.label.training import training_rows
from deepseek.cli import main
from deepseek.errors import InputError


def test_what_was_drawn_for_the_test_is_the_test_and_copies_have_the_label(make_project: MakeProject) -> None:
    with make_project() as project:
        label_all(project, 39)
        rows = training_rows(project.folder)
        tests = {item.number for item in project.store.items() if item.is_test}
    assert (rows.train.num_rows, rows.test.num_rows) == (40 - len(tests), len(tests))
    assert rows.weights is None
    assert rows.kinds == {"story": "text"}
    stories = rows.train.column("story").tolist() + rows.test.column("story").tolist()
    assert stories.count("the kitchen burned and smoke number 2 of the house") == 2
    assert "labels of 39 items by 1 (ann 39)" in rows.train.notes[0]


def test_labels_that_people_disagree_on_weigh_less(make_project: MakeProject) -> None:
    with make_project(overlap=1.0) as project:
        label_all(project, 39, "ann")
        label_all(project, 39, "bo")
        label_all(project, 39, "cy")
        odd = next(item for item in project.store.items() if not item.is_test)
        truth = next(label.value for label in project.store.labels(odd.number))
        other = "water" if truth == "fire" else "fire"
        project.store.record(change("odd", odd.number, other, "bo"))
        rows = training_rows(project.folder)
    assert rows.weights == "label_confidence"
    weights = rows.train.column("label_confidence")
    assert weights.min() == weights[0] < weights[1:].min()
    assert (rows.test.column("label_confidence") == 1).all()


@pytest.mark.parametrize(
    ("num", "options", "expected"),
    [
        (3, {}, "items to learn from are labeled"),
        (39, {"task": "spans", "labels": ("a",)}, "holds spans"),
    ],
)
def test_too_few_labels_and_other_tasks_are_refused(
    make_project: MakeProject, num: int, options: dict[str, Any], expected: str
) -> None:
    with make_project(**options) as project:
        if not options:
            label_all(project, num)
    with pytest.raises(InputError, match=expected):
        training_rows(project.folder)


def test_one_class_alone_is_refused_in_words(make_project: MakeProject) -> None:
    with make_project() as project:
        for item in project.store.next_items("ann", 39):
            project.store.record(change(f"c{item.number}", item.number, "fire"))
    with pytest.raises(InputError, match="all labels to learn from are 'fire'"):
        training_rows(project.folder)


@pytest.mark.slow
def test_a_project_becomes_a_bundle(
    make_project: MakeProject, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with make_project(num_rows=120) as project:
        label_all(project, 119)
    words = ["--out", str(tmp_path / "bundle"), "--trials", "1", "--candidates", "linear", "--json"]
    assert main(["ship", str(project.folder), *words]) == 0
    shipped = json.loads(capsys.readouterr().out)
    assert (shipped["target"], shipped["task"]) == ("label", "binary")
    assert any("labels of 119 items by 1 (ann 119)" in text for text in shipped["warnings"])
    assert main(["ship", str(project.folder), "--target", "label"]) == 2
