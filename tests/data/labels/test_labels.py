"""Labels of pictures: CSV, COCO and YOLO say the same, and what does not fit its picture is refused or counted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from deepseek.data.labels import read_labels, to_coco, write_coco, write_yolo
from deepseek.data.labels.pictures import PictureStore, fit_reader
from deepseek.data.media.source import BrokenError
from deepseek.errors import InputError, MissingError

Image = pytest.importorskip("PIL.Image")
HEADER = "image,class,xmin,ymin,xmax,ymax,split\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures of 40 x 30: a.png, b.png and sub/c.png."""
    root = tmp_path / "pictures"
    (root / "sub").mkdir(parents=True)
    for name in ("a.png", "b.png", "sub/c.png"):
        Image.new("L", (40, 30), 100).save(root / name)
    return root


def write_csv(tmp_path: Path, rows: str) -> Path:
    path = tmp_path / "boxes.csv"
    path.write_text(HEADER + rows)
    return path


def test_a_csv_gives_boxes_classes_and_parts(tmp_path: Path, folder: Path) -> None:
    labels = read_labels(write_csv(tmp_path, "a.png,pit,1,2,11,12,train\nc,dent,0,0,40,30,test\nb,,,,,,\n"), folder)
    assert [each.file for each in labels.pictures] == ["a.png", "b.png", "sub/c.png"]
    assert labels.classes == ("dent", "pit")
    assert labels.pictures[0].boxes.tolist() == [[1, 2, 11, 12]]
    assert not labels.pictures[1].is_defective
    assert labels.held_places() == [2]
    assert labels.warnings == ()


def test_a_box_that_leaves_its_picture_is_cut_and_counted(tmp_path: Path, folder: Path) -> None:
    labels = read_labels(write_csv(tmp_path, "a,pit,-5,2,11,50,\nb,,,,,,\nc,,,,,,\n"), folder)
    assert labels.pictures[0].boxes.tolist() == [[0, 2, 11, 30]]
    assert labels.warnings == ("1 of 3 boxes left their pictures and were cut to them",)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("a,pit,41,2,50,12,\n", "row 1 of boxes.csv: the box [41.0, 2.0, 50.0, 12.0] lies outside of a.png"),
        ("b,pit,1,2,3,4,\na,pit,5,2,5,12,\n", "row 2 of boxes.csv: the box [5.0, 2.0, 5.0, 12.0] of a.png is empty"),
        ("z.png,pit,1,2,3,4,\n", "the picture 'z.png' is not in the folder"),
        ("a,pit,,,,,\n", "row 1 of boxes.csv has a class and no box"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_row(tmp_path: Path, folder: Path, row: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        read_labels(write_csv(tmp_path, row + "b,pit,1,2,3,4,\n"), folder)
    assert words in caught.value.message


def test_pictures_that_no_label_names_count_as_free_of_defects_and_are_told(tmp_path: Path, folder: Path) -> None:
    labels = read_labels(write_csv(tmp_path, "a,pit,1,2,3,4,\n"), folder)
    assert "2 pictures, such as b.png, are not in the labels" in labels.warnings[0]


def test_coco_and_yolo_give_back_what_was_written(tmp_path: Path, folder: Path) -> None:
    labels = read_labels(
        write_csv(tmp_path, "a,pit,1,2,11,12,\na,dent,20,3,31.5,9,\nc,dent,0,0,40,30,\nb,,,,,,\n"), folder
    )
    write_coco(labels, tmp_path / "coco.json")
    write_yolo(labels, tmp_path / "yolo")
    for path, tolerance in ((tmp_path / "coco.json", 1e-6), (tmp_path / "yolo", 1e-4)):
        again = read_labels(path, folder)
        assert again.classes == labels.classes
        for one, other in zip(again.pictures, labels.pictures, strict=True):
            assert one.classes == other.classes
            np.testing.assert_allclose(one.boxes, other.boxes, atol=tolerance)


def test_yolo_polygons_become_boxes_and_names_come_from_data_yaml(tmp_path: Path, folder: Path) -> None:
    pytest.importorskip("yaml")
    labels = tmp_path / "yolo" / "labels"
    labels.mkdir(parents=True)
    (tmp_path / "yolo" / "data.yaml").write_text("names: [pit, dent]\n")
    (labels / "a.txt").write_text("1 0.25 0.5 0.5 0.5 0.5 1.0\n")
    known = read_labels(labels, folder)
    assert known.pictures[0].classes == ("dent",)
    assert known.pictures[0].boxes.tolist() == [[10, 15, 20, 30]]
    (labels / "a.txt").write_text("7 0.25 0.5 0.5 0.5\n")
    with pytest.raises(InputError, match=r"line 1 of a.txt"):
        read_labels(labels, folder)


def test_json_that_is_no_coco_is_refused(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "coco.json"
    path.write_text(json.dumps({"images": []}))
    with pytest.raises(InputError, match="is not COCO: 'categories' is missing"):
        read_labels(path, folder)
    assert to_coco(read_labels(write_csv(tmp_path, "a,pit,1,2,3,4,\n"), folder))["annotations"][0]["bbox"] == [
        1,
        2,
        2,
        2,
    ]


def test_an_annotation_of_an_image_or_category_that_is_not_there_is_named(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "coco.json"
    top = to_coco(read_labels(write_csv(tmp_path, "a,pit,1,2,3,4,\n"), folder))
    for name in ("image", "category"):
        wrong = [{**top["annotations"][0], f"{name}_id": 70}]
        path.write_text(json.dumps({**top, "annotations": wrong}))
        with pytest.raises(InputError, match=f"annotation 1 of coco.json names the {name} 70, which is not there"):
            read_labels(path, folder)


def test_a_folder_without_pictures_and_a_broken_picture_are_named(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingError):
        read_labels(tmp_path / "boxes.csv", tmp_path / "empty")
    (folder / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    with pytest.raises(BrokenError, match=r"b\.png"):
        read_labels(write_csv(tmp_path, "a,pit,1,2,3,4,\n"), folder)


def test_pictures_of_16_bits_are_read_by_the_white_of_all(tmp_path: Path) -> None:
    for name, value in (("a.png", 1_000), ("b.png", 500)):
        Image.fromarray(np.full((8, 8), value, np.uint16)).save(tmp_path / name)
    store = PictureStore(tmp_path, fit_reader(tmp_path, ["a.png", "b.png"]))
    assert store.reader.white == 1_023
    assert store.read("a.png")[0, 0, 0] == round(1_000 * 255 / 1_023)
    assert store.read("b.png")[0, 0, 0] == round(500 * 255 / 1_023)
