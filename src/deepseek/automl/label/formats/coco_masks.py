"""Masks as COCO has them: outlines in pixels, with the area and the box around them.

Outlines of several parts are a mask each; masks by runs of pixels (RLE) are refused in words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deepseek.automl.label.project.values import polygon_area
from deepseek.contracts import JsonObject
from deepseek.errors import InputError, MalformedError

Size = tuple[int, int]  # width and height of a picture in pixels


def to_coco(pictures: Sequence[tuple[str, Size, Sequence[JsonObject]]], labels: Sequence[str]) -> JsonObject:
    """Of each picture its file, size and masks -> the document."""
    categories = {label: number for number, label in enumerate(labels, 1)}
    annotations: list[JsonObject] = []
    for image, (_, _, masks) in enumerate(pictures, 1):
        for mask in masks:
            points = mask["points"]
            left, top = (min(pair[axis] for pair in points) for axis in (0, 1))
            right, bottom = (max(pair[axis] for pair in points) for axis in (0, 1))
            annotations.append(
                {
                    "id": len(annotations) + 1, "image_id": image, "category_id": categories[mask["label"]],
                    "segmentation": [[side for pair in points for side in pair]], "area": polygon_area(points),
                    "bbox": [left, top, right - left, bottom - top], "iscrowd": 0,
                }
            )  # fmt: skip
    return {
        "images": [
            {"id": number, "file_name": file, "width": width, "height": height}
            for number, (file, (width, height), _) in enumerate(pictures, 1)
        ],
        "annotations": annotations,
        "categories": [{"id": number, "name": label} for label, number in categories.items()],
    }


def from_coco(document: object) -> dict[str, list[JsonObject]]:
    """The document -> the masks of each file, [] for pictures without. MalformedError for what is no COCO, InputError
    for masks that are no outlines."""
    try:
        images, categories, annotations = (_list_by(document, name) for name in ("images", "categories", "annotations"))
        files = {each["id"]: str(each["file_name"]) for each in images}
        names = {each["id"]: str(each["name"]) for each in categories}
        masks: dict[str, list[JsonObject]] = {file: [] for file in files.values()}
        for each in annotations:
            label, outlines = names[each["category_id"]], each["segmentation"]
            if not isinstance(outlines, list) or not outlines:
                raise InputError(
                    f"annotation {each.get('id')} holds runs of pixels, or nothing", expected="an outline",
                    fix="export polygons",
                )  # fmt: skip
            for outline in outlines:
                points = [[max(float(x), 0.0), max(float(y), 0.0)] for x, y in zip(*[iter(outline)] * 2, strict=True)]
                masks[files[each["image_id"]]].append({"label": label, "points": points})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MalformedError(
            f"this is no COCO: {error!r}"[:300], expected="images, annotations, categories", fix="export it again"
        ) from error
    return masks


def _list_by(document: Any, name: str) -> list[JsonObject]:
    entries = document[name]
    if not isinstance(entries, list):
        raise TypeError(f"{name} is no list")
    return entries
