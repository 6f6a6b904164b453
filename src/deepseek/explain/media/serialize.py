"""What the parts of one text add, as a record; and the notes and errors of the parts of any input.

serialize_text("note", text, spans, borders, owen, is_cut=False).tokens     TextSpan("Good", 0, 4, 1.2, 0.01), ...
largest_tokens(parts, 3)                                                    [('"late"', -1.2), ...]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.explain.media.records import TextParts, TextSpan
from deepseek.explain.shapley.hierarchy import sentence_ranges
from deepseek.explain.shapley.partition import OwenValues


def serialize_text(
    column: str,
    text: str,
    spans: Sequence[tuple[int, int]],
    borders: NDArray[np.int64],
    owen: OwenValues | None,
    *,
    is_cut: bool,
) -> TextParts:
    """What the tokens of a text at `spans` (M,) and its sentences add. `owen` None: there is no token."""
    end_read = max((end for _, end in spans), default=0) if is_cut else None
    notes = []
    if is_cut:
        notes.append(
            f"the text is longer than the model reads: what stands behind letter {end_read} was cut and has "
            "no part in the answer"
        )
    if owen is None:
        notes.append("there is no token to explain: the answer is that to an empty text")
        return TextParts(
            column=column, is_cut=is_cut, end_read=end_read, num_evaluations=1, is_partial=False, notes=tuple(notes)
        )
    tokens = [
        TextSpan(text[start:end], start, end, value, error)
        for (start, end), value, error in zip(spans, owen.values.tolist(), owen.error.tolist(), strict=True)
    ]
    sentences = []
    for first, last in sentence_ranges(borders):
        start, end = spans[first][0], spans[last - 1][1]
        value = float(owen.values[first:last].sum())
        sentences.append(TextSpan(text[start:end], start, end, value, joint_error(owen, first, last)))
    return TextParts(
        column=column, tokens=tuple(tokens), sentences=tuple(sentences), is_cut=is_cut, end_read=end_read,
        num_evaluations=owen.num_evaluations, is_partial=owen.is_partial, notes=(*notes, *part_notes(owen)),
    )  # fmt: skip


def part_notes(owen: OwenValues) -> list[str]:
    """Notes on the parts of an input: whether they are partial, and whether they add nothing."""
    notes = []
    if owen.is_partial:
        notes.append(f"partial: a limit came before the error that was asked for, after {owen.num_evaluations} answers")
    if not owen.values.any() and owen.output == owen.base:
        notes.append("the answer is the same with and without it: every contribution is 0")
    return notes


def joint_error(owen: OwenValues, first: int, last: int) -> float:
    """Standard error of what some neighboring players add together: sharing a region evenly costs nothing where all of
    it is among them."""
    square = 0.0
    for region in owen.regions:
        ((start, stop),) = region.box
        share = max(0, min(stop, last) - max(start, first)) / (stop - start)
        square += (share * region.error) ** 2 + share * (1 - share) * region.spread
    return float(square**0.5)


def largest_tokens(parts: Sequence[Mapping[str, Any]], most: int) -> list[tuple[str, float]]:
    """The tokens of some parts (PartDocument) with the largest values, as (quoted text, value), for sentences.

    >>> largest_tokens([{"tokens": [{"text": "not", "value": -2.0}, {"text": "good", "value": 1.0}]}], 1)
    [('"not"', -2.0)]
    """
    tokens = [(f'"{token["text"]}"', token["value"]) for part in parts for token in part.get("tokens", ())]
    return sorted((each for each in tokens if each[1]), key=lambda each: -abs(each[1]))[:most]
