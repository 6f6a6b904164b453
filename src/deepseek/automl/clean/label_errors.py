"""Labels that are probably wrong: confident learning over probabilities out of fold (Northcutt, Jiang and Chuang 2021).

A row is confidently of class k where its chance of k reaches the mean chance of k among the rows that are said to be
k. One that is confidently of another class than it is said to be is a finding. Its rank is the chance that its label is
wrong, 1 less that of its own class: where three classes are open, both of the others speak against it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float64


@dataclass(frozen=True, slots=True)
class LabelErrors:
    """Of N rows, how likely each label is wrong, and which are findings."""

    score: Float64  # (N,) 0..1, the higher the more likely wrong
    better: NDArray[np.int64]  # (N,) the most likely other class
    is_finding: NDArray[np.bool_]  # (N,)


def find_label_errors(codes: NDArray[np.int64], probabilities: Float64) -> LabelErrors:
    """`codes` (N,) classes, `probabilities` (N, C) from models that have not seen the row."""
    num_rows, num_classes = probabilities.shape
    rows = np.arange(num_rows)
    own = probabilities[rows, codes]
    others = probabilities.copy()
    others[rows, codes] = -1
    better = others.argmax(axis=1)
    thresholds = np.array(
        [own[codes == code].mean() if (codes == code).any() else np.inf for code in range(num_classes)]
    )
    confident = np.where(probabilities >= thresholds, probabilities, -1)
    is_finding = (confident.max(axis=1) >= 0) & (confident.argmax(axis=1) != codes)
    return LabelErrors(1 - own, better, is_finding)
