"""Rows of a request of which the model is unsure, with its answer.

Of several classes the margin is the probability of the answer less that of the next class; of two it is twice the
distance from the threshold: there the answer tips.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deepseek.contracts import AnsweredRows, Event, Float64, Prediction, Record, Tensors


@dataclass(frozen=True, slots=True)
class UnsureRow:
    """A row as it came, and what was answered."""

    record: Record
    answer: str
    probability: float  # of the answer
    margin: float  # 0..1, the lower the less sure
    model: str
    version: str


def find_unsure(
    event: Event, rows: AnsweredRows, labels: frozenset[str], threshold: float | None, most: float
) -> list[UnsureRow]:
    """The rows with a margin of at most `most`, in their order; none where the model answers other classes than
    `labels`, and where rows came as tensors. `threshold`: of the second class of two; None: .5."""
    prediction, records = rows.prediction, rows.records
    if prediction is None or records is None or isinstance(records, Tensors) or len(records) != event.num_rows:
        return []
    if prediction.probabilities is None or prediction.labels is None or set(prediction.labels_known) != labels:
        return []
    part = slice(rows.start, rows.start + event.num_rows)
    margins = _margins(prediction, part, threshold)
    answers = prediction.labels[part]
    places = {label: place for place, label in enumerate(prediction.labels_known)}
    return [
        UnsureRow(
            records[row], str(answers[row]),
            float(prediction.probabilities[rows.start + row, places[str(answers[row])]]), float(margins[row]),
            event.model_name, event.model_version,
        )
        for row in np.flatnonzero(margins <= most).tolist()
    ]  # fmt: skip


def _margins(prediction: Prediction, part: slice, threshold: float | None) -> Float64:
    """(N,) of the rows in `part`."""
    chances = np.asarray(prediction.probabilities)[part].astype(np.float64)
    if len(prediction.labels_known) == 2:
        distance = np.abs(chances[:, 1] - (0.5 if threshold is None else threshold))
        return np.asarray(np.minimum(2 * distance, 1.0))
    top = np.sort(chances, axis=1)[:, -2:]
    return np.asarray(top[:, 1] - top[:, 0])
