"""Labels as COCO and as YOLO, and results as COCO's own list of them."""

from __future__ import annotations

import json
from pathlib import Path

from deepseek.contracts import JsonObject
from deepseek.data.labels.labeled_picture import LabelSet


def to_coco(labels: LabelSet) -> JsonObject:
    """The object of COCO's detection format; ids count from 1 in the order of the pictures."""
    category = {name: place for place, name in enumerate(labels.classes, start=1)}
    annotations: list[JsonObject] = []
    for image_id, picture in enumerate(labels.pictures, start=1):
        for box, name in zip(picture.boxes.tolist(), picture.classes, strict=True):
            left, top, right, bottom = box
            width, height = right - left, bottom - top
            annotations.append(
                {"id": len(annotations) + 1, "image_id": image_id, "category_id": category[name],
                 "bbox": [left, top, width, height], "area": width * height, "iscrowd": 0}
            )  # fmt: skip
    return {
        "images": [
            {"id": place, "file_name": picture.file, "width": picture.width_px, "height": picture.height_px}
            for place, picture in enumerate(labels.pictures, start=1)
        ],
        "categories": [{"id": place, "name": name} for name, place in category.items()],
        "annotations": annotations,
    }


def write_coco(labels: LabelSet, path: Path) -> None:
    path.write_text(json.dumps(to_coco(labels), ensure_ascii=False), encoding="utf-8")


def write_yolo(labels: LabelSet, folder: Path) -> None:
    """A .txt for each picture, and classes.txt. The folder is made."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "classes.txt").write_text("".join(f"{name}\n" for name in labels.classes), encoding="utf-8")
    for place, picture in enumerate(labels.pictures):
        lines = []
        for number, (left, top, right, bottom) in zip(labels.class_numbers(place), picture.boxes.tolist(), strict=True):
            shares = (
                (left + right) / 2 / picture.width_px, (top + bottom) / 2 / picture.height_px,
                (right - left) / picture.width_px, (bottom - top) / picture.height_px,
            )  # fmt: skip
            lines.append(" ".join([str(number), *(f"{share:.6f}" for share in shares)]))
        file = (folder / picture.file).with_suffix(".txt")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
