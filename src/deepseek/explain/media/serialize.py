"""What the parts of one input add, as JSON holds it: for reports, for the route, and for who draws them.

    serialize_text("note", text, spans, borders, found, is_cut=False)["tokens"]     [{"text", "start", "end", "value",
    ...}]
    serialize_common("scan", "image", found) | {"regions": [...]}
    largest(parts, 3)                                                          [('"late"', -1.2), ...]

Each has "column", "kind", "num_evaluations", "is_partial" and "notes".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.explain.shapley.hierarchy import sentence_ranges
from deepseek.explain.shapley.partition import OwenValues


def serialize_text(
    column: str,
    text: str,
    spans: Sequence[tuple[int, int]],
    borders: NDArray[np.int64],
    found: OwenValues | None,
    *,
    is_cut: bool,
) -> dict[str, Any]:
    """The parts of a text as JSON: {"column", "kind": "text", "tokens", "sentences", ...}. `found` None: no token."""
    told: dict[str, Any] = {"column": column, "kind": "text", "tokens": [], "sentences": [], "is_cut": is_cut}
    notes = []
    if is_cut:
        told["end_read"] = max((end for _, end in spans), default=0)
        notes.append(
            f"the text is longer than the model reads: what stands behind letter {told['end_read']} was cut and has "
            "no part in the answer"
        )
    if found is None:
        notes.append("there is no token to explain: the answer is that to an empty text")
        return told | {"num_evaluations": 1, "is_partial": False, "notes": notes}
    for (start, end), value, error in zip(spans, found.values.tolist(), found.error.tolist(), strict=True):
        told["tokens"].append(
            {"text": text[start:end], "start": start, "end": end, "value": value, "error": error}
        )  # fmt: skip
    for first, last in sentence_ranges(borders):
        start, end = spans[first][0], spans[last - 1][1]
        told["sentences"].append(
            {"text": text[start:end], "start": start, "end": end, "value": float(found.values[first:last].sum()),
             "error": joint_error(found, first, last)}
        )  # fmt: skip
    return told | {"num_evaluations": found.num_evaluations, "is_partial": found.is_partial,
                   "notes": notes + part_notes(found)}  # fmt: skip


def part_notes(found: OwenValues) -> list[str]:
    """What a reader of the parts of an input must know."""
    notes = []
    if found.is_partial:
        notes.append(
            f"partial: a limit came before the error that was asked for, after {found.num_evaluations} answers"
        )
    if not found.values.any() and found.output == found.base:
        notes.append("the answer is the same with and without it: every contribution is 0")
    return notes


def joint_error(found: OwenValues, first: int, last: int) -> float:
    """Standard error of what some neighbouring players add together: sharing a region evenly costs nothing where all of
    it is among them."""
    square = 0.0
    for region in found.regions:
        ((start, stop),) = region.box
        share = max(0, min(stop, last) - max(start, first)) / (stop - start)
        square += (share * region.error) ** 2 + share * (1 - share) * region.spread
    return float(square**0.5)


def serialize_common(column: str, kind: str, found: OwenValues) -> dict[str, Any]:
    """What is told of every kind of input."""
    return {
        "column": column, "kind": kind, "num_evaluations": found.num_evaluations, "is_partial": found.is_partial,
        "notes": part_notes(found),
    }  # fmt: skip


def largest_tokens(parts: Sequence[Mapping[str, Any]], most: int) -> list[tuple[str, float]]:
    """(what, value) of the tokens that add or take most, for sentences about them.

    >>> largest_tokens([{"tokens": [{"text": "not", "value": -2.0}, {"text": "good", "value": 1.0}]}], 1)
    [('"not"', -2.0)]
    """
    found = [(f'"{token["text"]}"', token["value"]) for part in parts for token in part.get("tokens", ())]
    return sorted((each for each in found if each[1]), key=lambda each: -abs(each[1]))[:most]
