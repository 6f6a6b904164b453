"""Linear models: logistic regression for classes, ridge for values, on standardized features; the scaling is folded
into the coefficients afterwards, so that the stored model reads prepared features as they are."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from deepseek.contracts import Float32, Float64
from deepseek.extras import need
from deepseek.nn.dense import Linear
from deepseek.train.candidates.base import FitData, FittedCandidate, Params


class LinearModel:
    """`strength` is the inverse of the penalty per row."""

    name = "linear"
    needs: tuple[str, ...] = ("sklearn",)

    def supports(self, data: FitData) -> bool:
        return not data.is_constrained

    def cost_s(self, data: FitData) -> float:
        return 0.03 + 1e-7 * data.features.size * data.num_margins

    def defaults(self, data: FitData) -> Params:
        return {"strength": 2.0 if data.task == "multiclass" else 0.3}  # a softmax shares a contrast between classes

    def suggest(self, trial: Any, data: FitData) -> Params:
        return {"strength": trial.suggest_float("strength", 1e-4, 100, log=True)}

    def fit(self, data: FitData, params: Params, *, seed: int, validation: FitData | None = None) -> FittedCandidate:
        linear_model = need("sklearn.linear_model", extra="tabular")
        limits = need("threadpoolctl", extra="tabular").threadpool_limits
        used = np.array(
            [kind != "code" or levels == 2 for kind, levels in zip(data.kinds, data.num_levels, strict=True)]
        )
        raw = data.features.astype(np.float64)
        mean, spread = raw.mean(axis=0), raw.std(axis=0)
        scale = np.where((spread > 0) & used, spread, np.inf)  # a feature that is not read gets coefficient zero
        standard = (raw - mean) / scale
        if data.task == "regression":
            model = linear_model.Ridge(alpha=1.0 / params["strength"])
        else:
            model = linear_model.LogisticRegression(C=params["strength"], max_iter=300, tol=1e-5)
        with limits(data.num_threads()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a fit that stops at max_iter is judged by its validation loss
            model.fit(standard, data.target, sample_weight=data.weight)
        coef = np.atleast_2d(model.coef_).T / scale[:, None]
        bias = np.atleast_1d(model.intercept_) - mean @ coef
        folded = Linear(coef=coef, bias=np.asarray(bias, np.float64), mean=mean)

        def margin(features: Float32) -> Float64:
            return folded.margin(features)

        return FittedCandidate(margin, lambda: [folded], params)
