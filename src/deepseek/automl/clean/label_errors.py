"""Labels that are probably wrong: confident learning over chances out of fold (Northcutt, Jiang and Chuang 2021).

A row is confidently of class k where its chance of k reaches the mean chance of k among the rows that are said to be
k. One that is confidently of another class than it is said to be is a finding, with its rank: the chance of the other
class against that of its own.
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
    is_found: NDArray[np.bool_]  # (N,)


def find_label_errors(given: NDArray[np.int64], chances: Float64) -> LabelErrors:
    """`given` (N,) classes, `chances` (N, C) from models that have not seen the row."""
    num_rows, num_classes = chances.shape
    rows = np.arange(num_rows)
    own = chances[rows, given]
    others = chances.copy()
    others[rows, given] = -1
    better = others.argmax(axis=1)
    score = others[rows, better] / np.maximum(others[rows, better] + own, 1e-12)
    thresholds = np.array(
        [own[given == code].mean() if (given == code).any() else np.inf for code in range(num_classes)]
    )
    confident = np.where(chances >= thresholds, chances, -1)
    is_found = (confident.max(axis=1) >= 0) & (confident.argmax(axis=1) != given)
    return LabelErrors(score, better, is_found)
