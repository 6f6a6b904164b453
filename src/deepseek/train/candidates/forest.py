"""Forests of scikit-learn: random forests (Breiman 2001) and extremely randomised trees (Geurts et al. 2006)."""

from __future__ import annotations

from typing import Any

import numpy as np

from deepseek.contracts import Float32, Float64
from deepseek.extras import need
from deepseek.nn.model import Weights
from deepseek.train.candidates.base import FitData, Fitted, Params
from deepseek.train.convert import from_forest


class Forest:
    """One of the two forests, by the name of scikit-learn's classes."""

    needs = ("sklearn",)

    def __init__(self, name: str, stem: str) -> None:
        self.name = name
        self.stem = stem

    def supports(self, data: FitData) -> bool:
        return not (data.constrained and data.task == "multiclass")

    def cost_s(self, data: FitData) -> float:
        rows, columns = data.features.shape
        looked_at = columns if data.task == "regression" else 3 * columns**0.5
        return 0.2 + 2e-6 * rows * looked_at * np.log2(rows + 1)

    def defaults(self, data: FitData) -> Params:
        return {
            "n_estimators": 150,
            "min_samples_leaf": 1,
            "max_features": 1 / 3 if data.task == "regression" else "sqrt",
            "criterion": "squared_error" if data.task == "regression" else "gini",
        }

    def suggest(self, trial: Any, data: FitData) -> Params:
        criteria = ["squared_error"] if data.task == "regression" else ["gini", "entropy"]
        return {
            "n_estimators": 150,
            "min_samples_leaf": trial.suggest_int("min_samples_leaf", 1, 12, log=True),
            "max_features": trial.suggest_float("max_features", 0.15, 0.9),
            "criterion": trial.suggest_categorical("criterion", criteria),
        }

    def fit(self, data: FitData, params: Params, *, seed: int, validation: FitData | None = None) -> Fitted:
        ensemble = need("sklearn.ensemble", extra="tabular")
        make = getattr(ensemble, self.stem + ("Regressor" if data.task == "regression" else "Classifier"))
        model = make(
            random_state=seed,
            n_jobs=data.num_threads(),
            monotonic_cst=list(data.monotone) if data.constrained else None,
            **params,
        )
        model.fit(data.features, data.target, sample_weight=data.weight)
        model.n_jobs = 1  # threads add votes in any order, which changes the last bits from run to run

        def margin(features: Float32) -> Float64:
            if data.task == "regression":
                return np.asarray(model.predict(features), np.float64)[:, None]
            shares = np.asarray(model.predict_proba(features), np.float64)
            return shares[:, 1:] if data.task == "binary" else shares

        def weights() -> list[Weights]:
            return [from_forest(model, num_margins=data.num_margins)]

        num_trees = len(model.estimators_)
        return Fitted(margin, weights, params, is_share=data.task != "regression", num_trees=num_trees)
