"""Boxes from CSV, COCO or YOLO, held against the pictures that they speak of.

A box that leaves its picture is cut to it and counted; one that lies outside, is empty or names no picture of the
folder is an error with its row, for then labels and pictures do not belong together.

Formats: COCO (https://cocodataset.org/#format-data: bbox is left, top, width, height; `iscrowd` boxes are left out);
YOLO (a text file for each picture: class, center and size as shares of the picture, or a polygon; data.yaml or
classes.txt names the classes).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deepseek.data.labels.file_names import FileNames
from deepseek.data.labels.labeled_picture import LabeledPicture, LabelSet
from deepseek.data.labels.pictures import list_pictures, picture_size
from deepseek.data.labels.yolo import read_yolo
from deepseek.data.table.read import read_table
from deepseek.data.table.table import Table
from deepseek.errors import DeepseekError, InputError
from deepseek.files import read_bounded

MAX_LABEL_BYTES = 2**30
SLACK_PX = 1.0  # a box may leave its picture by so much without a word: some formats count from 1
FILE_COLUMNS = ("image", "file_name", "filename", "file", "picture", "pair", "path")
CLASS_COLUMNS = ("class", "label", "category", "name", "defect")
PART_COLUMNS = ("split", "part", "set")
CORNERS = (("xmin", "ymin", "xmax", "ymax"), ("x1", "y1", "x2", "y2"), ("left", "top", "right", "bottom"))
SIZES = (("x", "y", "width", "height"), ("x", "y", "w", "h"))
#: What stands in a column of classes for a part without a defect.
GOOD_CLASSES = frozenset(("", "good", "ok", "free", "none", "normal", "no defect"))


@dataclass(frozen=True, slots=True)
class LabelRow:
    """One box as a file has it; `box` is None where the row only says that the picture has none."""

    where: str  # for errors: "row 7"
    file: str
    class_name: str
    box: tuple[float, float, float, float] | None  # left, top, right, bottom in pixels
    part: str = ""


def read_labels(path: Path, pictures: Path) -> LabelSet:
    """The labels at `path` of the pictures in the folder `pictures`. MissingError where one of them is not there,
    InputError for what cannot be read or does not fit, with the row."""
    files = list_pictures(pictures)
    sizes = {file: picture_size(pictures / file) for file in files}
    if path.is_dir():
        rows, classes, listed = _read_yolo(path, sizes)
    elif path.suffix.lower() == ".json":
        rows, classes, listed = _read_coco(path, files)
    else:
        rows, classes, listed = _read_csv(path, files)
    return _join(rows, classes, listed, sizes, tells_all=path.is_dir())


def _join(
    rows: Sequence[LabelRow], classes: Sequence[str], listed: set[str], sizes: dict[str, tuple[int, int]], *,
    tells_all: bool,
) -> LabelSet:  # fmt: skip
    """Rows by picture, cut to it. `listed`: the pictures that the labels name; `tells_all`: the others are free of
    defects without a word, which is YOLO's own rule."""
    by_file: dict[str, list[LabelRow]] = {file: [] for file in sorted(sizes)}
    for row in rows:
        by_file[row.file].append(row)
    warnings, num_cut, labeled = [], 0, []
    for file, own in by_file.items():
        width, height = sizes[file]
        boxes, names = [], []
        for row in own:
            if row.box is None:
                continue
            box, is_cut = _fit_box(row, width, height)
            num_cut += is_cut
            boxes.append(box)
            names.append(row.class_name)
        part = next((row.part for row in own if row.part), "")
        array = np.array(boxes, np.float32).reshape(-1, 4)
        labeled.append(LabeledPicture(file, width, height, array, tuple(names), part, file in listed))
    if num_cut:
        warnings.append(f"{num_cut} of {len(rows)} boxes left their pictures and were cut to them")
    silent = [file for file in by_file if file not in listed]
    if silent and not tells_all:
        warnings.append(
            f"{len(silent)} pictures, such as {silent[0]}, are not in the labels: they count as free of defects"
        )
    known = sorted({*classes, *(name for each in labeled for name in each.classes)})
    return LabelSet(tuple(labeled), tuple(known), tuple(warnings))


def _fit_box(row: LabelRow, width: int, height: int) -> tuple[tuple[float, float, float, float], bool]:
    """The box within its picture, and whether more than SLACK_PX was cut off."""
    assert row.box is not None  # noqa: S101  (rows without a box were left out)
    left, top, right, bottom = row.box
    inner = max(0.0, left), max(0.0, top), min(float(width), right), min(float(height), bottom)
    good = bool(np.isfinite(row.box).all()) and right > left and bottom > top
    if not good or inner[2] <= inner[0] or inner[3] <= inner[1]:
        raise InputError(
            f"{row.where}: the box {[round(side, 1) for side in row.box]} "
            + (f"lies outside of {row.file}" if good else f"of {row.file} is empty"),
            expected=f"left, top, right, bottom within {width} x {height} pixels",
            fix="correct the row, or leave it out",
        )
    is_cut = max(abs(a - b) for a, b in zip(row.box, inner, strict=True)) > SLACK_PX
    return inner, is_cut


def _read_csv(path: Path, files: Sequence[str]) -> tuple[list[LabelRow], list[str], set[str]]:
    table = read_table(path)
    names = FileNames(files)
    file_of = _texts(table, _column(table, FILE_COLUMNS, "the picture"))
    part_column = next((name for name in table.names if name.lower() in PART_COLUMNS), None)
    parts = [""] * table.num_rows if part_column is None else _texts(table, part_column)
    class_of = _texts(table, _column(table, CLASS_COLUMNS, "the class"))
    corners = _corners(table)
    rows = []
    for place in range(table.num_rows):
        where = f"row {place + 1} of {path.name}"
        missing = bool(np.isnan(corners[place]).all())
        if missing and class_of[place].strip().lower() not in GOOD_CLASSES:
            raise InputError(
                f"{where} has a class and no box", expected="four numbers, or an empty class", fix="complete the row"
            )
        left, top, right, bottom = corners[place].tolist()
        box = None if missing else (left, top, right, bottom)
        rows.append(LabelRow(where, names.find(file_of[place], where), class_of[place].strip(), box, parts[place]))
    return rows, [], {row.file for row in rows}


def _corners(table: Table) -> np.ndarray:
    """(N, 4) left, top, right, bottom, NaN where a cell is empty."""
    lower = {name.lower(): name for name in table.names}
    for columns, by_size in [*((each, False) for each in CORNERS), *((each, True) for each in SIZES)]:
        if all(name in lower for name in columns):
            for name in columns:
                if table.types[lower[name]] != "number":
                    raise InputError(
                        f"the column {lower[name]!r} holds {table.types[lower[name]]}",
                        expected="pixels", fix="give numbers",
                    )  # fmt: skip
            values = np.stack([table.column(lower[name]).astype(np.float64) for name in columns], 1)
            if by_size:
                values[:, 2:] += values[:, :2]
            return values
    raise InputError(
        f"no columns hold boxes; there are {', '.join(table.names)}",
        expected="xmin, ymin, xmax, ymax, or x, y, width, height",
        fix="name the columns so",
    )


def _column(table: Table, names: Sequence[str], what: str) -> str:
    for name in names:
        for column in table.names:
            if column.lower() == name:
                return column
    raise InputError(
        f"no column holds {what}; there are {', '.join(table.names)}",
        expected=f"a column {' or '.join(names[:3])}", fix="name the column so",
    )  # fmt: skip


def _texts(table: Table, name: str) -> list[str]:
    values, missing = table.column(name), table.missing_mask(name)
    if table.types[name] == "number" and (values[~missing] == np.floor(values[~missing])).all():
        return ["" if empty else str(int(value)) for value, empty in zip(values, missing, strict=True)]
    return ["" if empty else str(value) for value, empty in zip(values, missing, strict=True)]


def _read_coco(path: Path, files: Sequence[str]) -> tuple[list[LabelRow], list[str], set[str]]:
    top = _read_json(path)
    names = FileNames(files)
    try:
        categories = {each["id"]: str(each["name"]) for each in top["categories"]}
        file_of = {
            each["id"]: names.find(str(each["file_name"]), f"image {each['id']} of {path.name}")
            for each in top["images"]
        }
        rows: list[LabelRow] = []
        for each in top["annotations"]:
            if each.get("iscrowd"):
                continue
            left, top_px, width, height = (float(number) for number in each["bbox"])
            box = left, top_px, left + width, top_px + height
            where = f"annotation {each.get('id', len(rows))} of {path.name}"
            file = _look_up(file_of, each["image_id"], f"{where} names the image", "the id of one of the images")
            kind = _look_up(categories, each["category_id"], f"{where} names the category", "the id of one of them")
            rows.append(LabelRow(where, file, kind, box))
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, DeepseekError):
            raise
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise InputError(
            f"{path.name} is not COCO: {reason}",
            expected="images, categories and annotations with bbox, image_id and category_id",
            fix="export it again as COCO detection",
        ) from error
    return rows, list(categories.values()), set(file_of.values())


def _look_up(names: Mapping[Any, str], number: Any, what: str, expected: str) -> str:
    """The name that an id stands for. InputError for one that stands for none."""
    if number not in names:
        raise InputError(f"{what} {number!r}, which is not there", expected=expected, fix="export it again")
    return names[number]


def _read_json(path: Path) -> dict[str, Any]:
    data = read_bounded(path, MAX_LABEL_BYTES, what="labels in COCO's form", smaller="split it")
    try:
        top = json.loads(data)
    except ValueError as error:
        raise InputError(
            f"{path.name} is no JSON: {error}", expected="labels in COCO's form", fix="export it again"
        ) from error
    if not isinstance(top, dict):
        raise InputError(f"{path.name} is no object", expected="labels in COCO's form", fix="export it again")
    return top


def _read_yolo(folder: Path, sizes: dict[str, tuple[int, int]]) -> tuple[list[LabelRow], list[str], set[str]]:
    """Boxes, and the boxes around polygons."""
    content = read_yolo(folder, sizes)
    rows = []
    for line in content.lines:
        (width, height), shares = sizes[line.file], line.shares
        if line.is_box:
            x, y, w, h = shares * (width, height, width, height)
            box = (float(x - w / 2), float(y - h / 2), float(x + w / 2), float(y + h / 2))
        else:
            xs, ys = shares[0::2] * width, shares[1::2] * height
            box = (float(xs.min()), float(ys.min()), float(xs.max()), float(ys.max()))
        rows.append(LabelRow(line.where, line.file, line.class_name, box))
    return rows, list(content.classes), set(content.files)
