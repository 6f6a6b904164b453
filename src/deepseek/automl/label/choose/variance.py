"""Which labels make a linear model most certain of all items: a batch chosen by what each label would change.

A logistic regression with the ridge 1/C has, by Laplace, the precision M = I/C + sum of w x x' over its labeled items,
where w is the variance of the answer. A further label x adds w x x'; what it takes away of the mean variance of the
answers of all items, w x' M^-1 x, is in closed form

    w (x' M^-1 A M^-1 x) / (1 + w x' M^-1 x),    A = mean of w x x' over all items,

so that an item is wanted that is itself unsure, far from what has been labeled, and near to many others that are
unsure. After each choice M is as if it were labeled: copies of it are not wanted any more. (Fisher information for
batches: Hoi, Jin, Zhu and Lyu 2006; transductive design: Yu, Bi and Tresp 2006.) Of several classes one matrix stands
for all, with w = 1 - sum of squared chances.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float64

LEAST_VARIANCE = 1e-4  # of an answer: what a model is sure of, it may be wrong in


def choose_informative(
    dense: Float64, probabilities: Float64, labeled: NDArray[np.int64], candidates: NDArray[np.int64], num: int, *,
    strength: float,
) -> list[int]:  # fmt: skip
    """`num` places of `candidates` (rows of `dense` (N, D)), the most wanted first. `probabilities` (N, C) of all rows,
    `labeled` (L,) those with a label; `strength`: the C of the regression."""
    points = np.hstack([dense, np.ones((len(dense), 1))])
    variance = np.maximum(1 - np.square(probabilities).sum(axis=1), LEAST_VARIANCE)
    weighted = points * np.sqrt(variance)[:, None]
    spread = weighted.T @ weighted / len(points)
    precision = np.eye(points.shape[1]) / strength + weighted[labeled].T @ weighted[labeled]
    covariance = np.linalg.inv(precision)
    own, weight = points[candidates], variance[candidates]
    images = own @ covariance  # (P, D): M^-1 x
    uncertainty = (images * own).sum(axis=1)  # (P,): x' M^-1 x
    effect = ((images @ spread) * images).sum(axis=1)  # (P,): x' M^-1 A M^-1 x
    is_free = np.ones(len(candidates), bool)
    chosen: list[int] = []
    for _ in range(min(num, len(candidates))):
        gain = np.where(is_free, weight * effect / (1 + weight * uncertainty), -np.inf)
        best = int(gain.argmax())
        chosen.append(best)
        is_free[best] = False
        # as if `best` were labeled: M^-1 loses a matrix of rank one (Sherman and Morrison), and what is read off it too
        image, share = images[best].copy(), weight[best] / (1 + weight[best] * uncertainty[best])
        overlap, pulled = own @ image, spread @ image
        effect += share * overlap * (share * overlap * float(image @ pulled) - 2 * (images @ pulled))
        uncertainty -= share * np.square(overlap)
        images -= share * np.outer(overlap, image)
    return chosen
