"""Rows that nobody passed, made of those that were: a conversion is held to the live estimator on them, too.

    probes = make_probes(X)         # rows as X has them, or None for a kind of X that is not taken apart

Each column is drawn by itself, so values meet that did not; numbers with a fraction are drawn between two of the
column's, so a tree meets values on both sides of its splits. Whole numbers, truths and texts are values of the column:
an encoder may refuse others.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

NUM_PROBES = 1_000


def make_probes(X: Any, *, seed: int = 0) -> Any:
    """NUM_PROBES rows in the form of X, an array (N, F), a sparse matrix or a pandas frame; None for others."""
    random = np.random.default_rng(seed)
    if type(X).__module__.partition(".")[0] == "pandas":
        frame = X.iloc[random.integers(0, len(X), NUM_PROBES)].reset_index(drop=True)
        for name in X.columns:
            drawn = X[name].iloc[random.integers(0, len(X), NUM_PROBES)].reset_index(drop=True)
            if drawn.dtype.kind == "f":
                other = X[name].iloc[random.integers(0, len(X), NUM_PROBES)].to_numpy()
                drawn = drawn + random.random(NUM_PROBES) * (other - drawn.to_numpy())
            frame[name] = drawn.astype(X[name].dtype)
        return frame
    array = X.toarray() if hasattr(X, "toarray") else X
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind not in "biuf":
        return None
    return np.column_stack([_draw(column, random) for column in array.T]).astype(array.dtype)


def _draw(column: NDArray[Any], random: np.random.Generator) -> NDArray[Any]:
    first, second = (column[random.integers(0, len(column), NUM_PROBES)] for _ in range(2))
    if column.dtype.kind != "f" or _is_whole(column):
        return first
    return np.asarray(first + random.random(NUM_PROBES) * (second - first))


def _is_whole(column: NDArray[Any]) -> bool:
    known = column[np.isfinite(column)]
    return bool((known == np.round(known)).all())
