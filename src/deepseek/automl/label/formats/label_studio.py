"""Label Studio's JSON: a list of tasks, each with its data and what people have annotated.

Places in texts are counted in UTF-16 there, as browsers count, and in characters here; boxes and masks are per cents of
a side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from deepseek.automl.label.project.records import Definition, Item, Label, LabelValue
from deepseek.contracts import JsonObject
from deepseek.errors import InputError

Size = tuple[int, int]  # width and height of a picture in pixels


def to_task(item: Item, labels: Sequence[Label], definition: Definition, size: Size | None) -> JsonObject:
    """One item with what everybody said; skipped and unsure ones are cancelled annotations."""
    annotations = [
        {
            "completed_by": {"email": label.person}, "was_cancelled": label.state != "label",
            "result": _to_results(label.value, item, definition, size) if label.state == "label" else [],
        }
        for label in labels
    ]  # fmt: skip
    return {
        "id": item.number, "data": dict(item.content), "meta": {"key": item.key, "is_test": item.is_test},
        "annotations": annotations,
    }  # fmt: skip


def _to_results(value: LabelValue, item: Item, definition: Definition, size: Size | None) -> list[JsonObject]:
    column = next(iter(definition.media or definition.texts or tuple(definition.kinds)))
    names = {"from_name": definition.target, "to_name": column}
    if not isinstance(value, list):
        if definition.task == "regression":
            return [{**names, "type": "number", "value": {"number": value}}]
        return [{**names, "type": "choices", "value": {"choices": [value]}}]
    if definition.task == "spans":
        text = str(item.content[column] or "")
        return [
            {
                **names, "type": "labels",
                "value": {
                    "start": _to_utf16(text, span["start"]), "end": _to_utf16(text, span["end"]),
                    "text": text[span["start"] : span["end"]], "labels": [span["label"]],
                },
            }
            for span in value
        ]  # fmt: skip
    width, height = size or (1, 1)
    if definition.task == "masks":
        return [
            {
                **names, "type": "polygonlabels", "original_width": width, "original_height": height,
                "value": {
                    "points": [[100 * x / width, 100 * y / height] for x, y in mask["points"]],
                    "polygonlabels": [mask["label"]],
                },
            }
            for mask in value
        ]  # fmt: skip
    return [
        {
            **names, "type": "rectanglelabels", "original_width": width, "original_height": height,
            "value": {
                "x": 100 * box["left"] / width, "y": 100 * box["top"] / height,
                "width": 100 * (box["right"] - box["left"]) / width,
                "height": 100 * (box["bottom"] - box["top"]) / height, "rotation": 0,
                "rectanglelabels": [box["label"]],
            },
        }
        for box in value
    ]  # fmt: skip


def read_annotations(task: Mapping[str, Any], definition: Definition, text: str) -> list[tuple[str, LabelValue]]:
    """Who said what of one task. InputError for results that are of another task."""
    out = []
    for annotation in task.get("annotations") or ():
        if annotation.get("was_cancelled"):
            continue
        person = annotation.get("completed_by")
        name = person.get("email") if isinstance(person, dict) else person
        out.append(
            (f"{name}" if name else "label-studio", _read_results(annotation.get("result") or [], definition, text))
        )
    return out


def _read_results(results: Sequence[Mapping[str, Any]], definition: Definition, text: str) -> LabelValue:
    try:
        if definition.task == "spans":
            return [_read_span(each["value"], text) for each in results]
        if definition.task == "boxes":
            return [_read_box(each) for each in results]
        if definition.task == "masks":
            return [_read_mask(dict(each)) for each in results]
        [only] = results
        if definition.task == "regression":
            number: float = only["value"]["number"]
            return number
        [choice] = only["value"]["choices"]
        return str(choice)
    except (KeyError, ValueError, TypeError, ZeroDivisionError) as error:
        raise InputError(
            f"a result is not of {definition.task}: {error!r}",
            expected="one choice, a number, labels, rectanglelabels or polygonlabels",
            fix="export the task that this project has",
        ) from error  # fmt: skip


def _read_span(value: Mapping[str, Any], text: str) -> JsonObject:
    [label] = value["labels"]
    return {"label": label, "start": _from_utf16(text, value["start"]), "end": _from_utf16(text, value["end"])}


def _read_box(result: Mapping[str, Any]) -> JsonObject:
    value, width, height = result["value"], result["original_width"], result["original_height"]
    [label] = value["rectanglelabels"]
    if value.get("rotation"):
        raise ValueError("a box is turned")
    left, top = value["x"] * width / 100, value["y"] * height / 100
    right, bottom = left + value["width"] * width / 100, top + value["height"] * height / 100
    return {"label": label, "left": max(left, 0.0), "top": max(top, 0.0), "right": right, "bottom": bottom}


def _read_mask(result: JsonObject) -> JsonObject:
    value, width, height = result["value"], result["original_width"], result["original_height"]
    [label] = value["polygonlabels"]
    return {"label": label, "points": [[x * width / 100, y * height / 100] for x, y in value["points"]]}


def _to_utf16(text: str, place: int) -> int:
    """
    >>> _to_utf16("a😀b", 2), _from_utf16("a😀b", 3)
    (3, 2)
    """
    return len(text[:place].encode("utf-16-le", "surrogatepass")) // 2


def _from_utf16(text: str, place: int) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")[: 2 * place].decode("utf-16-le", "surrogatepass"))
