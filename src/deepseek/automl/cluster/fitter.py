"""What fits a fold of the search: here, or wherever a FoldFitter does it (folds.py)."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from deepseek.train.candidates import Candidate, FitData, FittedCandidate, Params

Fold = tuple[NDArray[np.int64], NDArray[np.int64]]  # rows to fit on, rows to judge on


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


@dataclass(frozen=True)
class FoldRows:
    """The rows of each fold as its models read them: with `orders_levels` codes of levels are in the order of the
    target of the rows to fit on alone."""

    data: FitData
    folds: Sequence[Fold]
    orders_levels: bool = False
    _ranks: dict[int, dict[int, NDArray[np.int64]]] = field(default_factory=dict)  # by fold, then by feature

    def to_fit(self, fold: int) -> FitData:
        return self._read(fold, self.folds[fold][0])

    def to_judge(self, fold: int) -> FitData:
        return self._read(fold, self.folds[fold][1])

    def _read(self, fold: int, rows: NDArray[np.int64]) -> FitData:
        if fold not in self._ranks:
            self._ranks[fold] = self.data.level_ranks(self.folds[fold][0]) if self.orders_levels else {}
        return self.data.rows(rows, self._ranks[fold])


def fit_fold(rows: FoldRows, family: Candidate, params: Params, fold: int, seed: int) -> FittedCandidate:
    """A family fitted on the rows of one fold; those that judge may stop it early."""
    return family.fit(rows.to_fit(fold), params, seed=seed, validation=rows.to_judge(fold))


def import_needs(family: Candidate) -> None:
    """Import what a family fits with, so that these seconds, which come once, do not count as its first fit's: a net
    of 2 s was taken for one of 5, and its last fit for as much."""
    for module in family.needs:
        importlib.import_module(module)
