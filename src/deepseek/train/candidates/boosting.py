"""Gradient-boosted trees: xgboost (Chen and Guestrin 2016) and scikit-learn's HistGradientBoosting as the yardstick."""

from __future__ import annotations

from typing import Any

import numpy as np

from deepseek.contracts import Float32, Float64
from deepseek.extras import need
from deepseek.nn.model import Weights
from deepseek.train.candidates.base import FitData, Fitted, Params
from deepseek.train.convert import from_hist, from_xgboost

MAX_ROUNDS = 1_000
#: Threads of a booster meet at every node: on a busy machine they wait for each other longer than they work (a fit of
#: 24,000 x 25 took 34 s with two threads beside two other jobs, under 2 s with one).
WORTH_CELLS = 10_000_000
BYTES_PER_NODE = 60  # of xgboost's own format
PATIENCE = 30  # rounds without a better validation loss


class XGBoost:
    """Boosting with early stopping on the validation rows; a refit repeats the number of rounds found there."""

    name = "xgboost"
    needs: tuple[str, ...] = ("xgboost",)

    def supports(self, data: FitData) -> bool:
        return True

    def cost_s(self, data: FitData) -> float:
        return 0.1 + 2e-6 * data.features.size * data.num_margins

    def defaults(self, data: FitData) -> Params:
        return {
            "learning_rate": 0.08, "max_depth": 5, "min_child_weight": 2.0, "subsample": 0.85,
            "colsample_bytree": 0.7, "reg_lambda": 1.0, "reg_alpha": 1e-3,
        }  # fmt: skip

    def suggest(self, trial: Any, data: FitData) -> Params:
        return {
            "learning_rate": trial.suggest_float("learning_rate", 0.03, 0.3, log=True),
            "max_depth": trial.suggest_int("max_depth", 2, 9),
            "min_child_weight": trial.suggest_float("min_child_weight", 0.5, 30, log=True),
            "subsample": trial.suggest_float("subsample", 0.5, 1.0),
            "colsample_bytree": trial.suggest_float("colsample_bytree", 0.3, 1.0),
            "reg_lambda": trial.suggest_float("reg_lambda", 1e-2, 30, log=True),
            "reg_alpha": trial.suggest_float("reg_alpha", 1e-4, 3, log=True),
        }

    def fit(self, data: FitData, params: Params, *, seed: int, validation: FitData | None = None) -> Fitted:
        xgb = need("xgboost", extra="tabular")
        knobs = {name: value for name, value in params.items() if name != "rounds"}
        settings = {
            **knobs,
            **_objective(data),
            "tree_method": "hist",
            "max_bin": 256,
            "seed": seed,
            "nthread": data.num_threads(worth_cells=WORTH_CELLS),
            "monotone_constraints": str(data.monotone) if data.constrained else None,
        }
        settings = {name: value for name, value in settings.items() if value is not None}
        rounds = int(params.get("rounds", MAX_ROUNDS))
        early = (
            {"evals": [(_matrix(validation), "validation")], "early_stopping_rounds": PATIENCE} if validation else {}
        )
        booster = xgb.train(settings, _matrix(data), num_boost_round=rounds, verbose_eval=False, **early)
        if validation:
            rounds = booster.best_iteration + 1
            booster = booster[:rounds]

        def margin(features: Float32) -> Float64:
            raw = booster.predict(
                xgb.DMatrix(features, nthread=data.num_threads(worth_cells=WORTH_CELLS)), output_margin=True
            )
            return np.asarray(raw, np.float64).reshape(len(features), -1)

        def weights() -> list[Weights]:
            return [from_xgboost(booster, num_margins=data.num_margins)]

        return Fitted(margin, weights, {**knobs, "rounds": rounds}, num_nodes=len(booster.save_raw()) // BYTES_PER_NODE)


def _matrix(data: FitData) -> Any:
    xgb = need("xgboost", extra="tabular")
    return xgb.DMatrix(
        data.features, label=data.target, weight=data.weight, nthread=data.num_threads(worth_cells=WORTH_CELLS)
    )


def _objective(data: FitData) -> dict[str, Any]:
    if data.task == "binary":
        return {"objective": "binary:logistic", "eval_metric": "logloss"}
    if data.task == "multiclass":
        return {"objective": "multi:softprob", "eval_metric": "mlogloss", "num_class": data.num_classes}
    return {"objective": "reg:squarederror", "eval_metric": "rmse"}


class HistGradientBoosting:
    """scikit-learn's model with its own defaults: what any result must not fall below."""

    name = "hist_gradient_boosting"
    needs: tuple[str, ...] = ("sklearn",)

    def supports(self, data: FitData) -> bool:
        return not (data.constrained and data.task == "multiclass")

    def cost_s(self, data: FitData) -> float:
        return 0.3 + 3e-6 * data.features.size * data.num_margins

    def defaults(self, data: FitData) -> Params:
        return {}

    def suggest(self, trial: Any, data: FitData) -> Params:
        return {
            "learning_rate": trial.suggest_float("learning_rate", 0.03, 0.3, log=True),
            "max_leaf_nodes": trial.suggest_int("max_leaf_nodes", 7, 63, log=True),
            "min_samples_leaf": trial.suggest_int("min_samples_leaf", 5, 80, log=True),
            "l2_regularization": trial.suggest_float("l2_regularization", 1e-3, 30, log=True),
        }

    def fit(self, data: FitData, params: Params, *, seed: int, validation: FitData | None = None) -> Fitted:
        ensemble = need("sklearn.ensemble", extra="tabular")
        limits = need("threadpoolctl", extra="tabular").threadpool_limits
        make = (
            ensemble.HistGradientBoostingRegressor
            if data.task == "regression"
            else ensemble.HistGradientBoostingClassifier
        )
        model = make(random_state=seed, monotonic_cst=list(data.monotone) if data.constrained else None, **params)
        with limits(data.num_threads(worth_cells=WORTH_CELLS)):
            model.fit(data.features, data.target, sample_weight=data.weight)

        def margin(features: Float32) -> Float64:
            with limits(data.num_threads(worth_cells=WORTH_CELLS)):
                raw = model.predict(features) if data.task == "regression" else model.decision_function(features)
            return np.asarray(raw, np.float64).reshape(len(features), -1)

        num_nodes = sum(len(tree.nodes) for trees in model._predictors for tree in trees)
        return Fitted(margin, lambda: [from_hist(model, num_margins=data.num_margins)], params, num_nodes=num_nodes)
