"""What fits a fold of the search: here, or wherever a FoldFitter does it (folds.py)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from deepseek.train.candidates import Candidate, FitData, FittedCandidate, Params

Fold = tuple[NDArray[np.int64], NDArray[np.int64]]  # rows to fit on, rows to judge on
LevelRanks = dict[int, NDArray[np.int64]]  # by feature


class FoldFitter(Protocol):
    """Fits folds somewhere else than in this process (cluster/folds.py)."""

    @property
    def spent_s(self) -> float:
        """CPU seconds there, up to now."""
        ...

    @property
    def num_idle(self) -> int:
        """Workers that have nothing to do."""
        ...

    def begin(self, family: Candidate, params: Params, folds: Sequence[int]) -> None:
        """Give out folds that fit() will be asked for later."""
        ...

    def fit(self, family: Candidate, params: Params, folds: Sequence[int]) -> list[FittedCandidate]: ...


def level_ranks(data: FitData, fold: Fold) -> LevelRanks:
    """The order of the levels of each code, by the target of the rows to fit on alone."""
    return data.rows(fold[0]).level_ranks()


def fit_fold(
    data: FitData, fold: Fold, family: Candidate, params: Params, seed: int, ranks: LevelRanks
) -> FittedCandidate:
    """A family fitted on the rows of one fold, whose codes have these ranks; those that judge may stop it early."""
    fit_rows, held_out_rows = (data.rows(rows).with_ranks(ranks) for rows in fold)
    return family.fit(fit_rows, params, seed=seed, validation=held_out_rows)
