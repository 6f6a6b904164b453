"""YOLO's labels: a text file for each picture, a line for each box or polygon, as shares of the picture's sides.

    0 0.5 0.5 0.25 0.1                      class, center, width, height
    0 0.1 0.1 0.4 0.1 0.4 0.3               class, and the corners of an outline

Numbers of classes are told by classes.txt or data.yaml, in the folder or above it. (Ultralytics, "Object Detection
Datasets" and "Instance Segmentation Datasets".)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepseek.contracts import Float64
from deepseek.data.labels.file_names import FileNames
from deepseek.data.labels.pictures import list_pictures, picture_size
from deepseek.errors import InputError, MissingError

Size = tuple[int, int]  # width and height of a picture in pixels


@dataclass(frozen=True, slots=True, eq=False)
class YoloLine:
    """One box or outline."""

    where: str  # for errors: "line 7 of a.txt"
    file: str
    class_name: str
    shares: Float64  # (4,) center and size, or (2 P,) the corners x, y of an outline

    @property
    def is_box(self) -> bool:
        return len(self.shares) == 4


@dataclass(frozen=True, slots=True)
class YoloLabels:
    """A folder of labels."""

    lines: tuple[YoloLine, ...]
    classes: tuple[str, ...]  # empty where no file names them: a class is its number then
    files: frozenset[str]  # the pictures that have a file of labels


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """The outline of one thing in a picture."""

    class_name: str
    points: Float64  # (P, 2) x, y in pixels from the left upper corner


def read_yolo(folder: Path, sizes: Mapping[str, Size]) -> YoloLabels:
    """The labels of the pictures in `sizes`. MissingError where there is none, InputError for a line that is no label
    and for a file of a picture that is not there."""
    classes = _yolo_classes(folder)
    names = FileNames(sizes)
    lines: list[YoloLine] = []
    files: set[str] = set()
    for file in sorted(folder.rglob("*.txt")):
        if file.name == "classes.txt":
            continue
        picture = names.find(file.relative_to(folder).with_suffix("").as_posix(), file.name)
        files.add(picture)
        for number, line in enumerate(_read_text(file).splitlines(), start=1):
            if line.strip():
                lines.append(_parse_line(line, f"line {number} of {file.name}", picture, classes))
    if not files:
        raise MissingError(
            f"{folder} holds no labels", expected="a .txt for each picture", fix="give the folder with the .txt files"
        )
    return YoloLabels(tuple(lines), tuple(classes), frozenset(files))


def read_outlines(folder: Path, pictures: Path) -> dict[str, list[Outline]]:
    """The outlines of each picture that has a file of labels, [] for an empty one. InputError for boxes."""
    sizes = {file: picture_size(pictures / file) for file in list_pictures(pictures)}
    labels = read_yolo(folder, sizes)
    outlines: dict[str, list[Outline]] = {file: [] for file in sorted(labels.files)}
    for line in labels.lines:
        if line.is_box:
            raise InputError(
                f"{line.where} is a box", expected="an outline of three corners at least",
                fix="import it into a project of boxes, or export polygons",
            )  # fmt: skip
        outlines[line.file].append(Outline(line.class_name, line.shares.reshape(-1, 2) * sizes[line.file]))
    return outlines


def write_outlines(
    pictures: Sequence[tuple[str, Size, Sequence[Outline]]], classes: Sequence[str], folder: Path
) -> None:
    """A .txt for each picture (its file, size and outlines), and classes.txt. The folder is made."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "classes.txt").write_text("".join(f"{name}\n" for name in classes), encoding="utf-8")
    numbers = {name: number for number, name in enumerate(classes)}
    for file, size, outlines in pictures:
        lines = [
            " ".join([str(numbers[each.class_name]), *(f"{share:.8g}" for share in (each.points / size).ravel())])
            for each in outlines
        ]
        path = (folder / file).with_suffix(".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _parse_line(line: str, where: str, picture: str, classes: Sequence[str]) -> YoloLine:
    try:
        number, *words = line.split()
        shares = np.array(words, np.float64)
        place = int(number)
    except ValueError:
        place, shares = -1, np.zeros(0)
    is_label = len(shares) == 4 or (len(shares) >= 6 and len(shares) % 2 == 0)
    if place < 0 or not is_label or not np.isfinite(shares).all() or (classes and place >= len(classes)):
        raise InputError(
            f"{where} is {line[:60]!r}",
            expected=f"a class below {len(classes) or 'any number'}, then x, y, width, height or a polygon",
            fix="correct the line, or the names of the classes",
        )
    return YoloLine(where, picture, classes[place] if classes else str(place), shares)


def _read_text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path.name} is no UTF-8", expected="text of UTF-8", fix="save it so") from error


def _yolo_classes(folder: Path) -> list[str]:
    """Names of the classes from classes.txt or data.yaml, in the folder or above it; none: their numbers are used."""
    for place in (folder, folder.parent):
        text = place / "classes.txt"
        if text.is_file():
            return [line.strip() for line in _read_text(text).splitlines() if line.strip()]
        yaml = place / "data.yaml"
        if yaml.is_file():
            return _yaml_names(yaml)
    return []


def _yaml_names(path: Path) -> list[str]:
    from deepseek.extras import need

    yaml = need("yaml", extra="observe")
    try:
        names = yaml.safe_load(path.read_text("utf-8"))["names"]
        return [str(names[key]) for key in sorted(names)] if isinstance(names, dict) else [str(name) for name in names]
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise InputError(
            f"{path.name} names no classes: {error}", expected="names: [scratch, dent]", fix="add the names"
        ) from error
