"""Kernel ridge regression to intents, and what it would say of rows that it had not seen: exact, from one inverse.

    fit = fit_ridge(gram, targets, ridge=0.1)
    fit.dual                              # (N, C)
    fit.held_scores(blocks)               # (N, C): of each block's rows by a fit without that block

With A = (K + ridge I)^-1 and dual = A Y, a fit without the rows B answers them with Y_B - A_BB^-1 dual_B (Rifkin and
Lippert 2007, "Notes on regularized least squares", section 4, for blocks). Folds of rows and intents that are left out
whole both cost one small solve each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float32
from deepseek.extras import need

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class RidgeFit:
    """A fit, and the inverse that tells of fits without some rows."""

    dual: Float32  # (N, C)
    inverse: Float32  # (N, N)
    targets: Float32  # (N, C)

    def held_scores(self, blocks: Sequence[Rows]) -> Float32:
        """(N, C): the rows of each block as a fit without that block scores them; NaN for rows of no block."""
        scores = np.full(self.targets.shape, np.nan, np.float32)
        for block in blocks:
            within = self.inverse[np.ix_(block, block)].astype(np.float64)
            scores[block] = self.targets[block] - np.linalg.solve(within, self.dual[block].astype(np.float64))
        return scores


def one_hot(labels: Rows, num_intents: int) -> Float32:
    """(N,) from 0 -> (N, C), 1 at the row's own intent."""
    targets = np.zeros((len(labels), num_intents), np.float32)
    targets[np.arange(len(labels)), labels] = 1
    return targets


def fit_ridge(gram: Float32, targets: Float32, *, ridge: float) -> RidgeFit:
    """`gram` (N, N), which is overwritten. The inverse is computed in float32 and stays symmetric."""
    linalg: Any = need("scipy.linalg", extra="tabular")
    gram[np.diag_indices(len(gram))] += ridge
    factor = linalg.cholesky(gram, lower=True, overwrite_a=True, check_finite=False)
    inverse, status = linalg.lapack.spotri(factor, lower=True, overwrite_c=True)
    if status:
        raise ArithmeticError(f"the inverse of the Gram matrix failed with the status {status}")
    inverse += np.tril(inverse, -1).T  # above the diagonal stood zeros
    return RidgeFit(np.asarray(inverse @ targets, np.float32), inverse, targets)
