"""Runs in the learner's process: explains answers of models whose coefficients come from the grader."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


class Model:
    """Signed roots of sums, and products of pairs; counts the rows that it is asked for."""

    def __init__(self, weights: Any, pairs: Any) -> None:
        self.weights, self.pairs, self.num_rows = np.asarray(weights), np.asarray(pairs), 0

    def predict(self, rows: Any) -> Any:
        rows = np.atleast_2d(np.asarray(rows, float))
        self.num_rows += len(rows)
        sums = rows @ self.weights.T
        return (np.sign(sums) * np.sqrt(np.abs(sums))).sum(1) + np.einsum("ni,ij,nj->n", rows, self.pairs, rows)


def run(
    learner: Any, weights: Any, pairs: Any, row: Any, background: Any, num_rows: int, seeds: Sequence[int]
) -> list[Any]:
    """What the learner's explain() returns for each seed, and how many rows it has asked for."""
    answers = []
    for seed in seeds:
        model = Model(weights, pairs)
        said = learner.explain(model.predict, np.array(row, float), np.array(background, float), num_rows, seed)
        answers.append({"said": said, "num_rows": model.num_rows})
    return answers
