"""A candidate of `ship`: rows are told apart by their distance to the mean of each class, every feature weighed by its
spread within the classes (diagonal linear discriminant analysis; Hastie, Tibshirani, Friedman 2009, section 4.3).

    deepseek ship --example cancer --candidates class_distances --out cancer

The weights are deepseek's own `Linear`, so export, exact explanation, C and every engine come with them; weights of a
new kind need a part of their own, as in examples/custom_operator.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from deepseek.contracts import Float32, Float64
from deepseek.nn.dense import Linear
from deepseek.train.candidates.base import FitData, FittedCandidate, Params


class ClassDistances:
    """`shrinkage` (0..1) is how far each feature's variance is drawn to the mean of all variances."""

    name = "class_distances"
    needs: tuple[str, ...] = ()  # modules that may not be installed

    def supports(self, data: FitData) -> bool:
        """Classes alone, and no feature that the answer must rise or fall with."""
        return data.task != "regression" and not data.is_constrained

    def cost_s(self, data: FitData) -> float:
        """CPU seconds of one fit, roughly: the search plans by it."""
        return 0.01 + 1e-8 * data.features.size

    def defaults(self, data: FitData) -> Params:
        return {"shrinkage": 0.1}

    def suggest(self, trial: Any, data: FitData) -> Params:
        """Settings to try next; `trial` is one of Optuna."""
        return {"shrinkage": trial.suggest_float("shrinkage", 0.0, 1.0)}

    def fit(self, data: FitData, params: Params, *, seed: int, validation: FitData | None = None) -> FittedCandidate:
        features = data.features.astype(np.float64)
        classes = np.arange(data.num_classes)
        rows = [data.target == number for number in classes]
        means = np.stack([np.average(features[row], axis=0, weights=data.weight[row]) for row in rows])
        variance = np.average((features - means[data.target]) ** 2, axis=0, weights=data.weight)
        variance = (1 - params["shrinkage"]) * variance + params["shrinkage"] * variance.mean() + 1e-9
        share = np.array([data.weight[row].sum() for row in rows]) / data.weight.sum()
        coef = means.T / variance[:, None]  # (F, classes)
        bias = np.log(share) - 0.5 * (means**2 / variance).sum(axis=1)
        if data.task == "binary":  # one margin: the log-odds of the second class
            coef, bias = coef[:, 1:] - coef[:, :1], bias[1:] - bias[:1]
        weights = Linear(coef=coef, bias=bias, mean=np.average(features, axis=0, weights=data.weight))

        def margin(rows: Float32) -> Float64:
            return weights.margin(rows)

        return FittedCandidate(margin, lambda: [weights], params)


CANDIDATE = ClassDistances()
