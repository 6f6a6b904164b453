"""Labels out of a project, and into it: what `deepseek label export` and `import` do.

export_labels(project, Path("labels.json"), "label-studio")
import_labels(project, Path("labels.json"), "label-studio", person="old team")
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from deepseek.automl.label.choose.agreement import decide_labels
from deepseek.automl.label.formats.coco_masks import from_coco, to_coco
from deepseek.automl.label.formats.conll import find_spans, letters_of, read_documents, write_conll
from deepseek.automl.label.formats.label_studio import Size, read_annotations, to_task
from deepseek.automl.label.project.people import check_name
from deepseek.automl.label.project.project import Project
from deepseek.automl.label.project.records import Item, LabelValue, NewChange
from deepseek.contracts import JsonObject
from deepseek.data.labels import LabeledPicture, LabelSet, read_labels, write_coco, write_yolo
from deepseek.data.labels.pictures import picture_size
from deepseek.data.labels.read import SLACK_PX
from deepseek.data.labels.yolo import Outline, read_outlines, write_outlines
from deepseek.errors import InputError, MalformedError
from deepseek.files import atomic_file, read_bounded

Format = Literal["csv", "label-studio", "conll", "coco", "yolo"]
MAX_BYTES = 2**30
MAX_NAMED = 5


@dataclass(frozen=True, slots=True)
class ImportedLabels:
    """What came in."""

    num_labels: int
    num_unknown: int  # of examples that the project does not have


def export_labels(project: Project, out: Path, form: Format) -> int:
    """Write the labels; how many items have one. InputError for a format that does not fit the task."""
    _check_format(project, form)
    decided = {each.item: each for each in decide_labels(project)}
    items = [item for item in project.store.items() if (item.same_as or item.number) in decided]
    if form in ("coco", "yolo") and project.definition.task == "masks":
        _write_masks(project, items, {number: each.value for number, each in decided.items()}, out, form)
        return len(items)
    if form in ("coco", "yolo"):
        labels = _label_set(project, items, {number: each.value for number, each in decided.items()})
        if form == "yolo":
            write_yolo(labels, out)
            return len(items)
        with atomic_file(out) as part:
            write_coco(labels, part)
        return len(items)
    with atomic_file(out) as part, part.open("w", encoding="utf-8", newline="") as file:
        if form == "csv":
            names = list(project.definition.kinds)
            writer = csv.writer(file)
            writer.writerow(["key", *names, project.definition.target, "confidence", "num_people", "part"])
            for item in items:
                each = decided[item.same_as or item.number]
                value = json.dumps(each.value, ensure_ascii=False) if isinstance(each.value, list) else each.value
                cells = ["" if item.content[name] is None else item.content[name] for name in names]
                part_name = "test" if item.is_test else "train"
                writer.writerow([item.key, *cells, value, f"{each.confidence:.4f}", each.num_people, part_name])
        elif form == "conll":
            for item in items:
                spans: Any = decided[item.same_as or item.number].value
                lines = write_conll(str(item.content[project.definition.texts[0]] or ""), spans)
                file.write("".join(f"{line}\n" for line in lines) + "\n")
        else:
            tasks = [
                to_task(
                    item, project.store.labels(item.same_as or item.number), project.definition, _size(project, item)
                )
                for item in items
            ]
            json.dump(tasks, file, ensure_ascii=False, indent=1)
    return len(items)


def import_labels(project: Project, path: Path, form: Format, person: str = "") -> ImportedLabels:
    """Take labels over: all of them, or none where one does not fit. `person`: who is said to have given them, where
    the format does not say. The same file again changes nothing."""
    _check_format(project, form)
    if form == "csv":
        raise InputError(
            "labels of a CSV come in with a new project", expected="label new DATA --target COL", fix="do so"
        )
    who = check_name(person or path.stem[:64].replace("/", "-") or "import")
    items = [item for item in project.store.items() if item.same_as is None]
    if form in ("coco", "yolo") and project.definition.task == "masks":
        rows, unknown = _read_masks(project, path, items, form)
    elif form in ("coco", "yolo"):
        rows, unknown = _read_boxes(project, path, items)
    elif form == "conll":
        rows, unknown = _read_conll(project, _read_text(path), items)
    else:
        rows, unknown = _read_label_studio(project, _read_text(path), items)
    changes = [
        NewChange(_identity(path, number, name, value), name, number, "import", value, origin=f"import:{path.name}")
        for number, name, value in ((number, name or who, value) for number, name, value in rows)
    ]  # fmt: skip
    project.store.record_all(changes)
    return ImportedLabels(len(changes), unknown)


ImportedRows = tuple[list[tuple[int, str, LabelValue]], int]  # item, person, value; and how many are unknown here


def _identity(path: Path, number: int, person: str, value: LabelValue) -> str:
    text = json.dumps([path.name, number, person, value], sort_keys=True)
    return f"import-{hashlib.sha256(text.encode()).hexdigest()[:40]}"


def _check_format(project: Project, form: Format) -> None:
    task = project.definition.task
    wanted = {"conll": ("spans",), "coco": ("boxes", "masks"), "yolo": ("boxes", "masks")}.get(form)
    if wanted is not None and task not in wanted:
        raise InputError(
            f"{form} holds {' or '.join(wanted)}, and this project has {task}",
            expected="csv or label-studio",
            fix="choose",
        )


def _read_text(path: Path) -> str:
    try:
        return read_bounded(path, MAX_BYTES, what="labels", smaller="split it").decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MalformedError(f"{path.name} is no UTF-8", expected="UTF-8", fix="save it so") from error


def _read_label_studio(project: Project, content: str, items: list[Item]) -> ImportedRows:
    try:
        tasks = json.loads(content)
        if not isinstance(tasks, list) or not all(
            isinstance(each, dict) and isinstance(each.get("data"), dict) for each in tasks
        ):
            raise ValueError("no list of tasks with data")
    except (ValueError, RecursionError) as error:
        raise MalformedError(
            f"this is no export of Label Studio: {error}", expected="JSON", fix="export as JSON"
        ) from error
    by_content = {_content_key(project, item.content): item for item in items}
    rows: list[tuple[int, str, LabelValue]] = []
    unknown = 0
    for task in tasks:
        item = by_content.get(_content_key(project, task["data"]))
        if item is None:
            unknown += 1
            continue
        texts = project.definition.texts
        text = str(item.content[texts[0]] or "") if texts else ""
        rows += [(item.number, name, value) for name, value in read_annotations(task, project.definition, text)]
    return rows, unknown


def _content_key(project: Project, data: Mapping[str, Any]) -> str:
    """What tells examples apart in both programs: their cells, and of files the last part of the name, before which
    Label Studio puts a folder of its own."""
    cells = {name: data.get(name) for name in project.definition.kinds}
    for name in project.definition.media:
        cells[name] = str(cells[name]).replace("\\", "/").rsplit("/", 1)[-1]
    return json.dumps(cells, sort_keys=True, ensure_ascii=False)


def _read_conll(project: Project, content: str, items: list[Item]) -> ImportedRows:
    column = project.definition.texts[0]
    by_letters = {letters_of(str(item.content[column] or "")): item for item in items}
    rows: list[tuple[int, str, LabelValue]] = []
    unknown = 0
    for document in read_documents(content):
        item = by_letters.get(letters_of("".join(token for token, _ in document)))
        if item is None:
            unknown += 1
        else:
            rows.append((item.number, "", find_spans(str(item.content[column]), document)))
    return rows, unknown


def _read_boxes(project: Project, path: Path, items: list[Item]) -> ImportedRows:
    column = project.definition.media[0]
    by_file = {str(item.content[column]): item for item in items}
    rows: list[tuple[int, str, LabelValue]] = []
    unknown = 0
    for picture in read_labels(path, Path(project.definition.root)).pictures:
        if not picture.is_listed:
            continue  # nobody said that there is nothing on it
        item = by_file.get(picture.file)
        if item is None:
            unknown += 1
            continue
        boxes: list[dict[str, object]] = [
            {"label": name, **dict(zip(("left", "top", "right", "bottom"), map(float, box), strict=True))}
            for name, box in zip(picture.classes, picture.boxes.tolist(), strict=True)
        ]
        rows.append((item.number, "", boxes))
    return rows, unknown


def _read_masks(project: Project, path: Path, items: list[Item], form: Format) -> ImportedRows:
    masks: dict[str, list[JsonObject]]
    if form == "yolo":
        if not path.is_dir():
            raise InputError(f"{path.name} is no folder", expected="a folder of .txt files", fix="name the folder")
        outlines = read_outlines(path, Path(project.definition.root))
        masks = {
            file: [{"label": each.class_name, "points": _within(each, project, file)} for each in own]
            for file, own in outlines.items()
        }
    else:
        try:
            masks = from_coco(json.loads(_read_text(path)))
        except (ValueError, RecursionError) as error:
            raise MalformedError(f"this is no COCO: {error}", expected="JSON", fix="export it again") from error
    by_file = {_file_of(project, item): item for item in items}
    rows: list[tuple[int, str, LabelValue]] = [
        (by_file[file].number, "", value) for file, value in masks.items() if file in by_file
    ]
    return rows, len(masks) - len(rows)


def _within(outline: Outline, project: Project, file: str) -> list[list[float]]:
    """The corners of an outline, those that lie up to SLACK_PX outside drawn to the side of the picture."""
    size = np.array(picture_size(Path(project.definition.root) / file))
    beyond = max(float(-outline.points.min()), float((outline.points - size).max()))
    if beyond > SLACK_PX:
        raise InputError(
            f"an outline of {file} lies {beyond:.0f} pixels outside of the picture", expected="shares of 0 to 1",
            fix="export it again",
        )  # fmt: skip
    corners: list[list[float]] = np.clip(outline.points, 0, size).tolist()
    return corners


def _write_masks(
    project: Project, items: Sequence[Item], values: Mapping[int, LabelValue], out: Path, form: Format
) -> None:
    masks: list[Any] = [values[item.same_as or item.number] for item in items]
    files = [(_file_of(project, item), _size(project, item) or (1, 1)) for item in items]
    if form == "coco":
        document = to_coco([(*file, own) for file, own in zip(files, masks, strict=True)], project.definition.labels)
        with atomic_file(out) as part:
            part.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
        return
    outlines = [[Outline(mask["label"], np.array(mask["points"])) for mask in own] for own in masks]
    pictures = [(*file, own) for file, own in zip(files, outlines, strict=True)]
    write_outlines(pictures, project.definition.labels, out)


def _size(project: Project, item: Item) -> Size | None:
    if project.definition.task not in ("boxes", "masks"):
        return None
    return picture_size(Path(project.definition.root) / _file_of(project, item))


def _file_of(project: Project, item: Item) -> str:
    return str(item.content[project.definition.media[0]])


def _label_set(project: Project, items: list[Item], values: Mapping[int, LabelValue]) -> LabelSet:
    pictures = []
    for item in items:
        value: Any = values[item.same_as or item.number]
        boxes = np.array([[box[side] for side in ("left", "top", "right", "bottom")] for box in value], np.float32)
        width, height = _size(project, item) or (1, 1)
        classes = tuple(box["label"] for box in value)
        file = str(item.content[project.definition.media[0]])
        pictures.append(
            LabeledPicture(file, width, height, boxes.reshape(-1, 4), classes, "test" if item.is_test else "train")
        )
    return LabelSet(tuple(pictures), project.definition.labels)
