"""The data card and the evidence of a bundle as shares of ranges and of levels, column by column: no row is needed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from deepseek.bundle.read import Bundle
from deepseek.data.view.card_schema import ColumnCard
from deepseek.data.view.drift import Bins
from deepseek.errors import InputError

CARD, IMPORTANCE = "card.json", "evidence/explanation.json"
#: Inputs that are compared by what can be measured of a value.
DESCRIBED = ("text", "image", "audio", "video", "series", "volume")
LEVEL_KINDS = ("category", "boolean", "binary", "integer_category", "ordinal")


@dataclass(frozen=True, slots=True)
class ColumnReference:
    """A column as its card has it. Numbers: B ranges between B - 1 `edges`, each with its upper end; categories: one
    for each of `levels`, and one for all others. `shares` (B,) of the rows that have a value."""

    name: str
    kind: Literal["number", "category"]
    shares: tuple[float, ...]
    missing_share: float
    num_rows: int
    edges: tuple[float, ...] = ()
    levels: tuple[str, ...] = ()
    importance: float | None = None  # its share of the attributions of all columns; None: the bundle says nothing


@dataclass(frozen=True, slots=True)
class DriftReference:
    columns: tuple[ColumnReference, ...]
    target: ColumnReference | None  # the answers of the training rows
    withheld: tuple[str, ...]  # columns whose values the card does not tell, and texts and identifiers
    num_rows: int


def read_reference(bundle: Bundle) -> DriftReference:
    """What columns are held against. InputError for a bundle of which neither a card tells of columns nor an input is a
    text or a file, which are held against earlier ones."""
    has_described = any(each.modality in DESCRIBED for each in bundle.manifest.inputs)
    if not bundle.has(CARD):
        if has_described:
            return DriftReference((), None, (), 0)
        raise InputError(
            f"{bundle.path} has no data card", expected="a bundle of a table, which `deepseek ship` makes",
            fix="ship the model again",
        )  # fmt: skip
    card = json.loads(bundle.read(CARD))
    importance = json.loads(bundle.read(IMPORTANCE)).get("importance", {}) if bundle.has(IMPORTANCE) else {}
    total = sum(abs(value) for value in importance.values()) or 1.0
    names = {each.name for each in bundle.manifest.inputs}
    columns, withheld, target = [], [], None
    for column in card.get("columns", []):
        reference = _column_reference(column, card["num_rows"], importance, total)
        if column["name"] == card.get("target"):
            target = reference
        elif column["name"] in names:
            if reference is None:
                withheld.append(column["name"])
            else:
                columns.append(reference)
    if not columns and not has_described:
        raise InputError(
            f"the data card of {bundle.path} tells of no column", expected="numbers or categories among its inputs",
            fix="this model cannot be watched by its columns: watch its answers",
        )  # fmt: skip
    return DriftReference(tuple(columns), target, tuple(withheld), int(card["num_rows"]))


def _column_reference(
    column: ColumnCard, num_rows: int, importance: Mapping[str, float], total: float
) -> ColumnReference | None:
    """None for a column whose values are not told, and for numbers of a card without bins, which an older release
    wrote."""
    name, missing = column["name"], float(column.get("missing_share", 0.0))
    weight = abs(importance[name]) / total if name in importance else None
    if "levels" in column:
        counts = [each["num_rows"] for each in column["levels"]] + [column.get("num_other", 0)]
        levels = tuple(str(each["level"]) for each in column["levels"])
        return ColumnReference(name, "category", _shares(counts), missing, num_rows, levels=levels, importance=weight)
    if "bins" not in column:
        return None
    bins = Bins.from_dict(column["bins"])
    if not bins.edges:
        return None
    return ColumnReference(
        name, "number", _shares(bins.counts[:-1]), missing, num_rows, edges=bins.edges, importance=weight
    )


def _shares(counts: Sequence[int]) -> tuple[float, ...]:
    return tuple(count / max(1, sum(counts)) for count in counts)
