"""Whether a label fits the task: its class is in the list, its box or mask lies in the picture, its span in the text.

>>> check_class("dgo", ("cat", "dog"))
Traceback (most recent call last):
    ...
deepseek.errors.InputError: 'dgo' is not a label of this project. Did you mean 'dog'? Expected: cat, dog. To mend it: \
choose one of these.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from deepseek.automl.label.project.records import Definition, Item, LabelTask, LabelValue
from deepseek.contracts import JsonObject
from deepseek.errors import InputError
from deepseek.plugins import did_you_mean

MAX_LABELS = 1_000
MAX_LABEL_CHARACTERS = 200
MAX_PARTS = 10_000  # boxes, masks or spans of an item
MAX_POINTS = 5_000  # of the outline of a mask
BOX_SIDES = ("left", "top", "right", "bottom")


def check_labels(task: LabelTask, labels: Sequence[str]) -> tuple[str, ...]:
    """The labels of a new project. InputError where they do not fit the task."""
    names = tuple(label.strip() for label in labels)
    least = {"binary": 2, "multiclass": 2, "regression": 0, "boxes": 1, "masks": 1, "spans": 1}[task]
    most = {"binary": 2, "regression": 0}.get(task, MAX_LABELS)
    if not least <= len(names) <= most:
        number = f"{least}" if least == most else f"{least} to {most:,}"
        raise InputError(
            f"{len(names)} labels were named for {task}", expected=f"{number} labels",
            fix="leave --labels out" if task == "regression" else "name them: --labels yes,no",
        )  # fmt: skip
    for name in names:
        if not name or len(name) > MAX_LABEL_CHARACTERS or not name.isprintable():
            raise InputError(
                f"{name[:40]!r} is no label", expected=f"1 to {MAX_LABEL_CHARACTERS} characters that can be read",
                fix="give it a name",
            )  # fmt: skip
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"the label {twice!r} is named twice", expected="each label once", fix="leave one out")
    return names


def check_class(value: object, labels: Sequence[str]) -> str:
    """`value` where it is one of the labels."""
    if not isinstance(value, str) or value not in labels:
        near = did_you_mean(value, labels) if isinstance(value, str) else ""
        listed = ", ".join(labels[:20]) + (f" and {len(labels) - 20} more" if len(labels) > 20 else "")
        raise InputError(
            f"{str(value)[:80]!r} is not a label of this project.{near}", expected=listed, fix="choose one of these"
        )
    return value


def check_value(definition: Definition, item: Item, value: object) -> LabelValue:
    """The label as it is kept. InputError for what does not fit the task or the item."""
    if definition.is_class:
        return check_class(value, definition.labels)
    if definition.task == "regression":
        return _check_number(value)
    if not isinstance(value, list) or len(value) > MAX_PARTS or not all(isinstance(part, Mapping) for part in value):
        raise InputError(
            f"the label of {item.key} is no list of {definition.task}",
            expected=f"a list, at most {MAX_PARTS:,} of them",
            fix='send [] for none, else [{"label": ..., ...}]',
        )  # fmt: skip
    if definition.task in ("boxes", "masks"):
        check = _check_box if definition.task == "boxes" else _check_mask
        return [check(part, definition.labels, item) for part in value]
    text = str(item.content[definition.texts[0]] or "")
    return sorted((_check_span(part, definition.labels, text, item) for part in value), key=lambda span: span["start"])


def _check_number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(f"{str(value)[:80]!r} is no number", expected="a finite number", fix="write such as 3.5")
    return float(value)


def _check_box(part: Mapping[str, object], labels: Sequence[str], item: Item) -> JsonObject:
    label = check_class(part.get("label"), labels)
    left, top, right, bottom = sides = [_check_number(part.get(name)) for name in BOX_SIDES]
    if not (0 <= left < right and 0 <= top < bottom):
        raise InputError(
            f"the box {sides} of {item.key} is empty or begins outside of the picture",
            expected="left < right and top < bottom, in pixels from the left upper corner", fix="draw it again",
        )  # fmt: skip
    return {"label": label, **dict(zip(BOX_SIDES, sides, strict=True))}


def _check_mask(part: Mapping[str, object], labels: Sequence[str], item: Item) -> JsonObject:
    label, points = check_class(part.get("label"), labels), part.get("points")
    pairs = isinstance(points, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in points)
    if not pairs or not 3 <= len(points) <= MAX_POINTS:  # type: ignore[arg-type]
        raise InputError(
            f"a mask of {item.key} is no outline", expected=f"3 to {MAX_POINTS:,} points [x, y], in pixels",
            fix="draw it again",
        )  # fmt: skip
    outline = [[_check_number(x), _check_number(y)] for x, y in points]  # type: ignore[attr-defined]
    if min(min(pair) for pair in outline) < 0 or polygon_area(outline) <= 0:
        raise InputError(
            f"a mask of {item.key} is empty or begins outside of the picture",
            expected="an outline in pixels from the left upper corner", fix="draw it again",
        )  # fmt: skip
    return {"label": label, "points": outline}


def polygon_area(points: Sequence[Sequence[float]]) -> float:
    """Within an outline (N, 2).

    >>> polygon_area([[0, 0], [4, 0], [4, 3], [0, 3]])
    12.0
    """
    ends = [*points[1:], points[0]]
    return abs(sum(x * to_y - to_x * y for (x, y), (to_x, to_y) in zip(points, ends, strict=True))) / 2


def _check_span(part: Mapping[str, object], labels: Sequence[str], text: str, item: Item) -> JsonObject:
    label, start, end = check_class(part.get("label"), labels), part.get("start"), part.get("end")
    whole = all(isinstance(place, int) and not isinstance(place, bool) for place in (start, end))
    if not whole or not 0 <= start < end <= len(text):  # type: ignore[operator]
        raise InputError(
            f"the span {start} to {end} is not in the text of {item.key}",
            expected=f"0 <= start < end <= {len(text)}, in characters", fix="mark it again",
        )  # fmt: skip
    return {"label": label, "start": start, "end": end}
