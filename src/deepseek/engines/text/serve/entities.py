"""Labels of tokens into the entities of a text.

    entities(row, probabilities, labels)      # [{"text": "Berlin", "label": "LOC", "start": 8, "end": 14, ...}]

A word has the label of its first token, as models of this kind are trained. Words in a row that have one label make one
entity: B-X begins one, I-X goes on with one of X, and a label without B- or I- goes on with its like. O is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from deepseek.engines.text.source.tokens import TokenRow

OUTSIDE_LABEL = "O"


class Entity(TypedDict):
    """A part of a text and its label, as a server answers with it."""

    text: str
    label: str
    start: int  # first letter in the text that was sent
    end: int
    probability: float  # the mean of those of its words


def extract_entities(row: TokenRow, probabilities: NDArray[Any], labels: Sequence[str]) -> list[Entity]:
    """Entities in the order of the text, from the probabilities (L, C) of the labels of its tokens."""
    entities: list[Entity] = []
    word_probabilities: list[list[float]] = []
    current: str | None = None
    for first, start, end in _word_spans(row):
        best = int(np.argmax(probabilities[first]))
        begins, kind = _parse_label(labels[best])
        if kind is None:
            current = None
            continue
        if begins or kind != current:
            entities.append({"text": "", "label": kind, "start": start, "end": end, "probability": 0.0})
            word_probabilities.append([])
        entities[-1]["end"] = end
        word_probabilities[-1].append(float(probabilities[first, best]))
        current = kind
    for entity, values in zip(entities, word_probabilities, strict=True):
        entity["text"] = row.text[entity["start"] : entity["end"]]
        entity["probability"] = float(np.mean(values))
    return entities


def _word_spans(row: TokenRow) -> list[tuple[int, int, int]]:
    """Of each word the index of its first token, its first letter and its end, without white space around it."""
    spans: list[tuple[int, int, int]] = []
    previous_word: int | None = None
    for token, (word, (start, end)) in enumerate(zip(row.words, row.offsets, strict=True)):
        if word is None:
            previous_word = None
        elif word == previous_word:
            spans[-1] = (spans[-1][0], spans[-1][1], max(end, spans[-1][2]))
        else:
            spans.append((token, start, end))
            previous_word = word
    return [
        (token, start + len(text) - len(text.lstrip()), start + len(text.rstrip()))
        for token, start, end in spans
        if (text := row.text[start:end]).strip()
    ]


def _parse_label(label: str) -> tuple[bool, str | None]:
    """Whether a label begins an entity, and of which kind.

    >>> _read("B-LOC"), _read("I-LOC"), _read("LOC"), _read("O")
    ((True, 'LOC'), (False, 'LOC'), (False, 'LOC'), (False, None))
    """
    if label == OUTSIDE_LABEL:
        return False, None
    if label[:2] in ("B-", "I-") and len(label) > 2:
        return label[0] == "B", label[2:]
    return False, label
