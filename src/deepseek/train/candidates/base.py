"""What a candidate is: a family of models with settings, a way to fit them, and weights as plain arrays at the end."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float32, Float64, Task
from deepseek.cores import num_cores
from deepseek.data.features.level_order import MIN_LEVELS, rank_levels
from deepseek.extras import renamed_attributes
from deepseek.nn.model import PartWeights

Params = Mapping[str, Any]


@dataclass(frozen=True)
class FitData:
    """Prepared rows with their target. The features' kinds say how a candidate should read them."""

    features: Float32  # (N, F)
    target: NDArray[Any]  # (N,) int64 class numbers, or float64 values
    weight: Float64  # (N,) of mean 1
    task: Task
    num_classes: int  # 0 for regression
    kinds: tuple[str, ...]  # (F,) numeric, code, onehot, missing, datetime (data.Feature.kind)
    num_levels: tuple[int, ...]  # (F,) of codes, "other" counted; else 0
    monotone: tuple[int, ...]  # (F,) 1 rising, -1 falling, 0 free

    @property
    def num_margins(self) -> int:
        return self.num_classes if self.task == "multiclass" else 1

    @property
    def num_effective(self) -> float:
        """How many rows of evenly frequent classes tell as much: 4 / (1/a + 1/b) for a and b rows of two classes, in
        general N times the Gini impurity as a share of the most it can be; N for values."""
        if self.task == "regression":
            return float(len(self.target))
        shares = np.bincount(self.target, minlength=self.num_classes) / max(1, len(self.target))
        return float(len(self.target) * (1 - shares @ shares) / (1 - 1 / self.num_classes))

    @property
    def is_constrained(self) -> bool:
        """Whether the answer must rise or fall with some feature."""
        return any(self.monotone)

    @property
    def constrained(self) -> bool:
        """The name that `is_constrained` had in the last release, for candidates of others."""
        warnings.warn("FitData.constrained is now FitData.is_constrained", DeprecationWarning, stacklevel=2)
        return self.is_constrained

    def level_ranks(self, index: NDArray[np.int64]) -> dict[int, NDArray[np.int64]]:
        """Of each column of codes with three levels and more, by its place, the rank (L,) of every code by the target
        of these rows."""
        target, weight = self.target[index], self.weight[index]
        return {
            place: rank_levels(
                self.features[index, place].astype(np.int64), num_levels, target, weight, self.num_classes
            )
            for place, (kind, num_levels) in enumerate(zip(self.kinds, self.num_levels, strict=True))
            if kind == "code" and num_levels - 1 >= MIN_LEVELS
        }

    def rows(self, index: NDArray[np.int64], ranks: Mapping[int, NDArray[np.int64]] | None = None) -> FitData:
        """These rows; with `ranks` of level_ranks() as the codes of their columns."""
        features = self.features[index]  # a copy: one is enough for tables that just fit into memory
        for place, rank_of in (ranks or {}).items():
            features[:, place] = rank_of[features[:, place].astype(np.int64)]
        return replace(self, features=features, target=self.target[index], weight=self.weight[index])

    def num_threads(self, *, worth_cells: int = 300_000) -> int:
        """One thread below `worth_cells` numbers, where handing over costs more than it saves."""
        return 1 if self.features.size < worth_cells else num_cores()


@dataclass(frozen=True)
class FittedCandidate:
    """A fitted candidate: its raw scores by the library that grew it, and a way to take its weights out."""

    margin: Callable[[Float32], Float64]  # (N, F) -> (N, K) raw scores
    weights: Callable[[], list[PartWeights]]  # the raw score is the mean of these
    params: Params  # as fitted; early stopping replaces its rounds, so that a refit needs no validation rows
    is_share: bool = False  # raw scores are shares of votes in [0, 1], not margins
    refit_cost: float = 1.0  # what a fit without validation rows costs, in fits with them
    size_bytes: int = 0  # about what it takes in a bundle, as arrays and as a graph
    cut: Callable[[int], FittedCandidate] | None = (
        None  # the same model after another number of rounds, at most those grown
    )
    cut_trees: Callable[[float], FittedCandidate] | None = None  # with a share of them; of forests


class Candidate(Protocol):
    """One family. `suggest` draws settings from an optuna trial; `defaults` are tried first."""

    name: str
    needs: tuple[str, ...]  # modules; a candidate whose modules are absent is left out and said

    def supports(self, data: FitData) -> bool: ...

    def cost_s(self, data: FitData) -> float:
        """A rough guess of the CPU seconds of one fit with the defaults, from the shape of the data alone."""
        ...

    def defaults(self, data: FitData) -> Params: ...

    def suggest(self, trial: Any, data: FitData) -> Params: ...

    def fit(
        self, data: FitData, params: Params, *, seed: int, validation: FitData | None = None
    ) -> FittedCandidate: ...


__getattr__ = renamed_attributes(__name__, {"Fitted": "FittedCandidate"})
