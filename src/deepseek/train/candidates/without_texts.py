"""Candidates that read numbers, on tables that have texts too: they see the features that are no n-grams.

search_candidate = WithoutTexts(XGBoost())        # fits as XGBoost does; its weights read whole rows
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float32, Float64
from deepseek.nn.dense import Linear, Perceptron
from deepseek.nn.model import PartWeights
from deepseek.nn.trees import LEAF, TreeTable
from deepseek.train.candidates.base import Candidate, FitData, FittedCandidate, Params
from deepseek.train.candidates.texts import TOKEN_KINDS


class WithoutTexts:
    """Meets Candidate. `inner` is one of ours: parts of other packages may number features in a way of their own."""

    def __init__(self, inner: Candidate) -> None:
        self.inner = inner
        self.name = inner.name
        self.needs = inner.needs

    def supports(self, data: FitData) -> bool:
        return bool(len(_numbers(data))) and self.inner.supports(_narrow(data))

    def cost_s(self, data: FitData) -> float:
        return self.inner.cost_s(_narrow(data))

    def defaults(self, data: FitData) -> Params:
        return self.inner.defaults(_narrow(data))

    def suggest(self, trial: Any, data: FitData) -> Params:
        return self.inner.suggest(trial, _narrow(data))

    def fit(self, data: FitData, params: Params, *, seed: int, validation: FitData | None = None) -> FittedCandidate:
        held_out = None if validation is None else _narrow(validation)
        fitted = self.inner.fit(_narrow(data), params, seed=seed, validation=held_out)
        return _widen(fitted, _numbers(data), len(data.kinds))


def _numbers(data: FitData) -> NDArray[np.int64]:
    """The features that are no n-grams."""
    return np.flatnonzero([kind not in TOKEN_KINDS for kind in data.kinds])


def _narrow(data: FitData) -> FitData:
    """The same rows with those features alone."""
    kept = _numbers(data)
    kinds, num_levels, monotone = (
        tuple(values[place] for place in kept) for values in (data.kinds, data.num_levels, data.monotone)
    )
    features = np.ascontiguousarray(data.features[:, kept])
    return replace(data, features=features, kinds=kinds, num_levels=num_levels, monotone=monotone)


def _widen(fitted: FittedCandidate, kept: NDArray[np.int64], num_features: int) -> FittedCandidate:
    """What was fitted on the features `kept`, for rows of all `num_features`."""

    def margin(features: Float32) -> Float64:
        return fitted.margin(np.ascontiguousarray(features[:, kept]))

    def weights() -> list[PartWeights]:
        return [_widen_weights(part, kept, num_features) for part in fitted.weights()]

    cut = fitted.cut
    return replace(
        fitted, margin=margin, weights=weights,
        cut=None if cut is None else lambda rounds: _widen(cut(rounds), kept, num_features),
    )  # fmt: skip


def _widen_weights(weights: PartWeights, kept: NDArray[np.int64], num_features: int) -> PartWeights:
    """The same part with its features by their numbers in whole rows. TypeError for a kind of another package."""
    if isinstance(weights, TreeTable):
        leaf = weights.feature == LEAF
        feature = np.where(leaf, LEAF, kept[np.where(leaf, 0, weights.feature)]).astype(np.int32)
        return replace(weights, feature=feature)
    if isinstance(weights, Linear):
        coef, mean = np.zeros((num_features, weights.coef.shape[1])), np.zeros(num_features)
        coef[kept], mean[kept] = weights.coef, weights.mean
        return Linear(coef=coef, bias=weights.bias, mean=mean)
    if isinstance(weights, Perceptron):
        return replace(
            weights, numeric=kept[weights.numeric].astype(np.int32), codes=kept[weights.codes].astype(np.int32)
        )
    raise TypeError(weights)
