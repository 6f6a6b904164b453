"""Labels of tokens into the entities of a text.

    entities(row, probabilities, labels)      # [{"text": "Berlin", "label": "LOC", "start": 8, "end": 14, ...}]

A word has the label of its first token, as models of this kind are trained. Words in a row that have one label make one
entity: B-X begins one, I-X goes on with one of X, and a label without B- or I- goes on with its like. O is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from deepseek.engines.text.source.tokens import TokenRow

OUTSIDE_LABEL = "O"


def extract_entities(row: TokenRow, probabilities: np.ndarray[Any, Any], labels: Sequence[str]) -> list[dict[str, Any]]:
    """Entities in the order of the text. `probabilities` are (L, C); offsets count letters of the text that was sent;
    the probability is the mean of those of its words."""
    found: list[dict[str, Any]] = []
    shares: list[list[float]] = []
    current: str | None = None
    for first, start, end in _word_spans(row):
        best = int(np.argmax(probabilities[first]))
        begins, kind = _parse_label(labels[best])
        if kind is None:
            current = None
            continue
        if begins or kind != current:
            found.append({"text": "", "label": kind, "start": start, "end": end})
            shares.append([])
        found[-1]["end"] = end
        shares[-1].append(float(probabilities[first, best]))
        current = kind
    for entity, chances in zip(found, shares, strict=True):
        entity["text"] = row.text[entity["start"] : entity["end"]]
        entity["probability"] = float(np.mean(chances))
    return found


def _word_spans(row: TokenRow) -> list[tuple[int, int, int]]:
    """(number of its first token, first letter, end) of each word, without white space around it."""
    found: list[tuple[int, int, int]] = []
    before: int | None = None
    for token, (word, (start, end)) in enumerate(zip(row.words, row.offsets, strict=True)):
        if word is None:
            before = None
        elif word == before:
            found[-1] = (found[-1][0], found[-1][1], max(end, found[-1][2]))
        else:
            found.append((token, start, end))
            before = word
    return [
        (token, start + len(text) - len(text.lstrip()), start + len(text.rstrip()))
        for token, start, end in found
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
