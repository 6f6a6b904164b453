"""Labels to the formats of others and back: what goes out comes in as it was."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from automl.label.test_project import change
from deepseek.automl.label.formats.coco_masks import to_coco
from deepseek.automl.label.formats.conll import find_spans, read_documents, write_conll
from deepseek.automl.label.formats.verbs import export_labels, import_labels
from deepseek.automl.label.project.project import Project, ProjectOptions
from deepseek.automl.label.verbs import new_project
from deepseek.cli import main
from deepseek.errors import InputError

SPANS = [{"label": "who", "start": 0, "end": 3}, {"label": "place", "start": 10, "end": 12}]


@pytest.fixture
def notes(tmp_path: Path) -> Any:
    """Twelve texts, of which two are marked by ann and one by bo as well."""
    rows = [f"Ann saw 😀 北京 and number {n}" for n in range(12)]
    (tmp_path / "notes.csv").write_text("\n".join(["note", *rows]) + "\n", encoding="utf-8")
    options = ProjectOptions("spans", ("who", "place"), overlap=1.0)
    new_project(tmp_path / "notes.csv", tmp_path / "notes", options, kinds={"note": "text"})
    with Project.open(tmp_path / "notes") as project:
        project.store.record(change("a1", 1, SPANS))
        project.store.record(change("a2", 2, []))
        project.store.record(change("b1", 1, SPANS[:1], "bo"))
        yield project


def make_pictures(tmp_path: Path) -> Path:
    image = pytest.importorskip("PIL.Image")
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(4):
        image.fromarray(np.full((40, 80), 10 * number, np.uint8)).save(folder / f"{number}.png")
    return folder


def empty_copy(project: Project, folder: Path, data: Path, **options: Any) -> Project:
    definition = project.definition
    kinds = None if data.is_dir() else dict(definition.kinds)
    new_project(data, folder, ProjectOptions(definition.task, definition.labels, **options), kinds=kinds)
    return Project.open(folder)


def values_of(project: Project) -> dict[tuple[int, str], Any]:
    return {(label.item, label.person): label.value for label in project.store.labels()}


def test_label_studio_and_back_keeps_people_and_places(notes: Project, tmp_path: Path) -> None:
    assert export_labels(notes, tmp_path / "out.json", "label-studio") == 2
    [first, _] = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    place = first["annotations"][0]["result"][1]["value"]
    assert (place["start"], place["end"], place["text"]) == (11, 13, "北京")  # in UTF-16 the face is two
    with empty_copy(notes, tmp_path / "copy", tmp_path / "notes.csv") as copy:
        assert import_labels(copy, tmp_path / "out.json", "label-studio").num_labels == 3
        assert values_of(copy) == values_of(notes)
        import_labels(copy, tmp_path / "out.json", "label-studio")
        assert copy.verify() == 3


def test_conll_and_back(notes: Project, tmp_path: Path) -> None:
    notes.store.record(change("b2", 1, SPANS, "bo"))
    assert export_labels(notes, tmp_path / "out.conll", "conll") == 2
    lines = (tmp_path / "out.conll").read_text(encoding="utf-8").splitlines()
    assert lines[:6] == ["Ann\tB-who", "saw\tO", "😀\tO", "北\tB-place", "京\tI-place", "and\tO"]
    with empty_copy(notes, tmp_path / "copy", tmp_path / "notes.csv") as copy:
        done = import_labels(copy, tmp_path / "out.conll", "conll", person="old team")
        assert (done.num_labels, done.num_unknown) == (2, 0)
        assert values_of(copy) == {(1, "old team"): SPANS, (2, "old team"): []}


def test_neighbors_of_one_label_stay_two_spans() -> None:
    spans = [{"label": "a", "start": 0, "end": 2}, {"label": "a", "start": 3, "end": 5}]
    lines = write_conll("ab cd", spans)
    [document] = read_documents("\n".join(lines))
    assert find_spans("ab cd", document) == spans


@pytest.mark.parametrize("form", ["coco", "yolo", "label-studio"])
def test_boxes_and_back(tmp_path: Path, form: Any) -> None:
    pictures = make_pictures(tmp_path)
    new_project(pictures, tmp_path / "boxes", ProjectOptions("boxes", ("dent", "scratch")))
    boxes = [
        {"label": "dent", "left": 8.0, "top": 4.0, "right": 40.0, "bottom": 20.0},
        {"label": "scratch", "left": 0.0, "top": 0.0, "right": 80.0, "bottom": 40.0},
    ]
    with Project.open(tmp_path / "boxes") as project:
        project.store.record(change("a1", 1, boxes, "team"))
        for number in (2, 3, 4):
            project.store.record(change(f"a{number}", number, [], "team"))
        out = tmp_path / ("out" if form == "yolo" else "out.json")
        assert export_labels(project, out, form) == 4
        with empty_copy(project, tmp_path / "copy", pictures) as copy:
            assert import_labels(copy, out, form, person="team").num_labels == 4
            values = values_of(copy)
            assert [values[number, "team"] for number in (2, 3, 4)] == [[], [], []]
            for box, expected in zip(values[1, "team"], boxes, strict=True):
                assert box["label"] == expected["label"]
                assert [box[k] for k in ("left", "top", "right", "bottom")] == pytest.approx(
                    [expected[k] for k in ("left", "top", "right", "bottom")], abs=1e-3
                )


def test_csv_says_which_rows_are_of_the_test(notes: Project, tmp_path: Path) -> None:
    assert main(["label", "export", str(notes.folder), str(tmp_path / "out.csv")]) == 0
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()))
    tests = {item.key for item in notes.store.items() if item.is_test}
    assert [row["key"] for row in rows] == ["row 1", "row 2"]
    assert all((row["part"] == "test") == (row["key"] in tests) for row in rows)


@pytest.mark.parametrize(
    ("form", "text", "expected"),
    [
        ("coco", "{}", "coco holds boxes or masks, and this project has spans"),
        ("label-studio", "{}", "no export of Label Studio"),
        ("label-studio", '[{"data": {"note": "x"}}, 3]', "no export of Label Studio"),
        ("conll", "Ann\n", "line 1 is 'Ann'"),
        ("conll", "Ann\tB-when\nsaw\tO\n😀\tO\n北\tO\n京\tO\nand\tO\nnumber\tO\n3\tO\n", "'when' is not a label"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_taken(
    notes: Project, tmp_path: Path, form: Any, text: str, expected: str
) -> None:
    (tmp_path / "in").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=expected):
        import_labels(notes, tmp_path / "in", form)
    assert notes.verify() == 3


def test_unknown_examples_are_counted(notes: Project, tmp_path: Path) -> None:
    (tmp_path / "in.json").write_text('[{"data": {"note": "elsewhere"}, "annotations": []}]')
    assert main(["label", "import", str(notes.folder), str(tmp_path / "in.json"), "--format", "label-studio"]) == 0
    assert import_labels(notes, tmp_path / "in.json", "label-studio").num_unknown == 1


MASKS = [
    {"label": "dent", "points": [[1.0, 2.0], [30.0, 2.0], [30.0, 20.5]]},
    {"label": "crack", "points": [[40.0, 5.0], [60.0, 5.0], [60.0, 25.0], [40.0, 25.0]]},
]


@pytest.mark.parametrize("form", ["coco", "label-studio", "yolo"])
def test_masks_go_out_and_come_in_as_they_were(tmp_path: Path, form: Any) -> None:
    folder = make_pictures(tmp_path)
    new_project(folder, tmp_path / "masks", ProjectOptions("masks", ("dent", "crack")))
    with Project.open(tmp_path / "masks") as project:
        project.store.record(change("a", 1, MASKS))
        project.store.record(change("b", 2, []))
        out = tmp_path / ("out" if form == "yolo" else "out.json")
        assert export_labels(project, out, form) == 2
        with empty_copy(project, tmp_path / "copy", folder) as copy:
            done = import_labels(copy, out, form)
            assert (done.num_labels, done.num_unknown) == (2, 0)
            values = {item: value for (item, _), value in values_of(copy).items()}
    assert values[2] == []
    for own, kept in zip(MASKS, values[1], strict=True):
        assert kept["label"] == own["label"]
        assert np.array(kept["points"]) == pytest.approx(np.array(own["points"]))


def test_outlines_of_yolo_are_shares_of_the_sides(tmp_path: Path) -> None:
    folder = make_pictures(tmp_path)
    new_project(folder, tmp_path / "masks", ProjectOptions("masks", ("dent", "crack")))
    with Project.open(tmp_path / "masks") as project:
        project.store.record(change("a", 1, MASKS[1:]))
        export_labels(project, tmp_path / "out", "yolo")
        assert (tmp_path / "out" / "0.txt").read_text() == "1 0.5 0.125 0.75 0.125 0.75 0.625 0.5 0.625\n"
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0.txt", "classes.txt"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("0 0.5 0.5 0.25 0.1", "line 1 of 0.txt is a box"),
        ("0 0.1 0.1 0.4", "line 1 of 0.txt is '0 0.1"),
        ("2 0.1 0.1 0.4 0.1 0.4 0.3", "a class below 2"),
        ("0 0.1 0.1 0.4 0.1 nan 0.3", "line 1 of 0.txt is"),
        ("0 0.1 0.1 1.4 0.1 0.4 0.3", "lies 32 pixels outside"),
        ("0 0.1 0.1 0.2 0.2 0.3 0.3", "is empty"),
    ],
)
def test_lines_of_yolo_that_are_no_masks_are_refused_and_none_comes_in(
    tmp_path: Path, line: str, expected: str
) -> None:
    new_project(make_pictures(tmp_path), tmp_path / "masks", ProjectOptions("masks", ("dent", "crack")))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "classes.txt").write_text("dent\ncrack\n")
    (tmp_path / "in" / "0.txt").write_text(f"{line}\n")
    (tmp_path / "in" / "1.txt").write_text("0 0.1 0.1 0.4 0.1 0.4 0.3\n")
    with Project.open(tmp_path / "masks") as project:
        with pytest.raises(InputError, match=expected):
            import_labels(project, tmp_path / "in", "yolo")
        assert values_of(project) == {}
        with pytest.raises(InputError, match="is no folder"):
            import_labels(project, tmp_path / "in" / "0.txt", "yolo")


@pytest.mark.parametrize("form", ["coco", "yolo"])
def test_pictures_that_the_labels_do_not_name_stay_without_one(tmp_path: Path, form: Any) -> None:
    pictures = make_pictures(tmp_path)
    new_project(pictures, tmp_path / "boxes", ProjectOptions("boxes", ("dent",)))
    with Project.open(tmp_path / "boxes") as project:
        project.store.record(
            change("a", 1, [{"label": "dent", "left": 8.0, "top": 4.0, "right": 40.0, "bottom": 20.0}])
        )
        project.store.record(change("b", 2, []))
        out = tmp_path / ("out" if form == "yolo" else "out.json")
        assert export_labels(project, out, form) == 2
        with empty_copy(project, tmp_path / "copy", pictures) as copy:
            assert import_labels(copy, out, form).num_labels == 2
            assert sorted(item for item, _ in values_of(copy)) == [1, 2]


def test_areas_and_boxes_of_masks_follow_from_their_outlines() -> None:
    document = to_coco([("a.png", (80, 40), MASKS)], ("dent", "crack"))
    assert [(each["area"], each["bbox"]) for each in document["annotations"]] == [
        (pytest.approx(29 * 18.5 / 2), [1.0, 2.0, 29.0, 18.5]), (400.0, [40.0, 5.0, 20.0, 20.0]),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        ({"segmentation": {"counts": "x", "size": [1, 1]}}, "runs of pixels"),
        ({"segmentation": [[1, 2, 3]]}, "is no COCO"),
        ({"segmentation": [[1, 2, "x", 3]]}, "is no COCO"),
        ({"segmentation": [[1, 2, 3, 4, 5, 6]], "category_id": 9}, "is no COCO"),
        ({"segmentation": [[1, 2, 3, 4]]}, "is no outline"),
        ({"segmentation": [[1, 1, 2, 2, 3, 3]]}, "is empty"),
    ],
)
def test_masks_that_do_not_fit_are_refused_and_none_comes_in(
    tmp_path: Path, annotation: dict[str, Any], expected: str
) -> None:
    new_project(make_pictures(tmp_path), tmp_path / "masks", ProjectOptions("masks", ("dent", "crack")))
    document = to_coco([("0.png", (80, 40), MASKS)], ("dent", "crack"))
    document["annotations"].append({"id": 7, "image_id": 1, "category_id": 1} | annotation)
    (tmp_path / "in.json").write_text(json.dumps(document))
    with Project.open(tmp_path / "masks") as project:
        with pytest.raises(InputError, match=expected):
            import_labels(project, tmp_path / "in.json", "coco")
        assert values_of(project) == {}
