"""Candidates that see some of the features: where there are texts those that are no n-grams, of a course in time what
was summed up of it.

search_candidate = WithoutTexts(XGBoost())        # fits as XGBoost does; its weights read whole rows
search_candidate = OfFeatures(XGBoost(), kept)    # kept (K,): the features that it sees
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

    def feature_indices(self, data: FitData) -> NDArray[np.int64]:
        """The features (K,) that `inner` sees."""
        return _numbers(data)

    def supports(self, data: FitData) -> bool:
        return bool(len(self.feature_indices(data))) and self.inner.supports(self._narrow(data))

    def cost_s(self, data: FitData) -> float:
        return self.inner.cost_s(self._narrow(data))

    def defaults(self, data: FitData) -> Params:
        return self.inner.defaults(self._narrow(data))

    def suggest(self, trial: Any, data: FitData) -> Params:
        return self.inner.suggest(trial, self._narrow(data))

    def fit(self, data: FitData, params: Params, *, seed: int, validation: FitData | None = None) -> FittedCandidate:
        held_out = None if validation is None else self._narrow(validation)
        fitted = self.inner.fit(self._narrow(data), params, seed=seed, validation=held_out)
        return _widen(fitted, self.feature_indices(data), len(data.kinds))

    def _narrow(self, data: FitData) -> FitData:
        return _narrow(data, self.feature_indices(data))


class OfFeatures(WithoutTexts):
    """The same for features by their places (K,); `name` tells it from others of the same family. It is fitted on each
    `row_step`-th row: trees gain nothing from neighboring moments, and cost by the row."""

    def __init__(
        self, inner: Candidate, kept: NDArray[np.int64], *, name: str | None = None, row_step: int = 1
    ) -> None:
        super().__init__(inner)
        self.name = name or inner.name
        self.row_step = row_step
        self._kept = kept

    def cost_s(self, data: FitData) -> float:
        return super().cost_s(self._thin_rows(data))

    def fit(self, data: FitData, params: Params, *, seed: int, validation: FitData | None = None) -> FittedCandidate:
        return super().fit(self._thin_rows(data), params, seed=seed, validation=validation)

    def _thin_rows(self, data: FitData) -> FitData:
        return data.rows(np.arange(0, len(data.target), self.row_step))

    def feature_indices(self, data: FitData) -> NDArray[np.int64]:
        return self._kept


def _numbers(data: FitData) -> NDArray[np.int64]:
    """The features that are no n-grams."""
    return np.flatnonzero([kind not in TOKEN_KINDS for kind in data.kinds])


def _narrow(data: FitData, kept: NDArray[np.int64]) -> FitData:
    """The same rows with those features alone."""
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
