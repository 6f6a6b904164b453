"""Gradient-boosted trees: xgboost (Chen and Guestrin 2016) and scikit-learn's HistGradientBoosting as the yardstick."""

from __future__ import annotations

from typing import Any

import numpy as np

from deepseek.contracts import Float32, Float64
from deepseek.extras import need
from deepseek.nn.model import PartWeights
from deepseek.train.candidates.base import FitData, FittedCandidate, Params
from deepseek.train.tabular.convert import from_hist, from_xgboost

MAX_ROUNDS = 1_000
#: Threads of a booster meet at every node: on a busy machine they wait for each other longer than they work (a fit of
#: 24,000 x 25 took 34 s with two threads beside two other jobs, under 2 s with one).
MIN_THREADED_CELLS = 10_000_000
BYTES_PER_NODE = 20
NATIVE_SIZE_RATIO = 6  # xgboost's own format takes so many times our bytes
PATIENCE_ROUNDS = 30  # rounds without a better validation loss
#: Trees of few leaves that grow where the loss falls most, with columns drawn anew for each split: on 15 tables of 150
#: to 1,500 rows (benchmarks/development.py) 9 % less loss than depth 5 with columns drawn for each tree.
SPLIT_COLUMNS = 8  # columns that a split chooses from, of many
ROWS_PER_BIN = 16
#: Bins are quantiles of all rows: of a class of 1 % they cut as finely as 256 do of even classes only where there are
#: many more. On card fraud, weeks of July, from 256 to 1,024 or more: recall at the far end .62 to .68.
MAX_BINS, MAX_BINS_RARE = 256, 1_024
LARGE_ROWS = (
    4_000  # rows from which trees have more leaves and steps are larger: small steps won nothing there but cost
)
MIN_MANY_MARGINS = 5  # a round grows a tree for each: larger steps need fewer rounds, at 1 to 2 % of the loss


class XGBoost:
    """Boosting with early stopping on the validation rows; a refit repeats the number of rounds found there."""

    name = "xgboost"
    needs: tuple[str, ...] = ("xgboost",)

    def supports(self, data: FitData) -> bool:
        return True

    def cost_s(self, data: FitData) -> float:
        if data.num_margins > 1:  # more rows allow more rounds: 60 to 800 of them on 300 to 11,000
            return 0.1 + (0.03 + 6e-5 * len(data.target) + 1e-7 * data.features.size) * data.num_margins
        return 0.13 + 1e-6 * data.features.size

    def defaults(self, data: FitData) -> Params:
        return {
            "learning_rate": _learning_rate(data),
            "max_leaves": 16 if len(data.target) >= LARGE_ROWS else 8,
            "min_child_weight": 4.0 if data.task == "regression" else 0.5,  # rows, or the sum of p (1 - p)
            "subsample": 0.6,
            "colsample_bynode": float(np.clip(SPLIT_COLUMNS / data.features.shape[1], 0.4, 0.7)),
            "reg_lambda": 2.0,
        }

    def suggest(self, trial: Any, data: FitData) -> Params:
        rate = _learning_rate(data)
        return {
            "learning_rate": trial.suggest_float("learning_rate", 0.5 * rate, 2 * rate, log=True),
            "max_leaves": trial.suggest_int("max_leaves", 4, 32, log=True),
            "min_child_weight": trial.suggest_float("min_child_weight", 0.2, 15, log=True),
            "subsample": trial.suggest_float("subsample", 0.4, 0.9),
            "colsample_bynode": trial.suggest_float("colsample_bynode", 0.25, 1.0),
            "reg_lambda": trial.suggest_float("reg_lambda", 0.1, 20, log=True),
        }

    def fit(self, data: FitData, params: Params, *, seed: int, validation: FitData | None = None) -> FittedCandidate:
        xgb = need("xgboost", extra="tabular")
        chosen = without_rounds(params)
        # what is fitted keeps no rows: it holds these two, not `data`
        num_margins, num_threads = data.num_margins, data.num_threads(worth_cells=MIN_THREADED_CELLS)
        settings = xgboost_settings(data, params, seed)
        rounds = int(params.get("rounds", MAX_ROUNDS))
        early_stopping = (
            {"evals": [(_dmatrix(validation), "validation")], "early_stopping_rounds": PATIENCE_ROUNDS}
            if validation
            else {}
        )
        booster_grown = xgb.train(
            settings, _dmatrix(data), num_boost_round=rounds, verbose_eval=False, **early_stopping
        )
        if validation:
            rounds = booster_grown.best_iteration + 1

        def cut(rounds: int) -> FittedCandidate:
            booster = booster_grown[: min(rounds, booster_grown.num_boosted_rounds())]

            def margin(features: Float32) -> Float64:
                raw = booster.predict(xgb.DMatrix(features, nthread=num_threads), output_margin=True)
                return np.asarray(raw, np.float64).reshape(len(features), -1)

            def weights() -> list[PartWeights]:
                return [from_xgboost(booster, num_margins=num_margins)]

            size = len(booster.save_raw()) // NATIVE_SIZE_RATIO
            return FittedCandidate(margin, weights, {**chosen, "rounds": rounds}, size_bytes=size, cut=cut)

        return cut(rounds)


def without_rounds(params: Params) -> Params:
    """The settings of one tree, and of how trees follow each other, but not how many there are."""
    return {name: value for name, value in params.items() if name != "rounds"}


def xgboost_settings(data: FitData, params: Params, seed: int) -> Params:
    """What xgboost.train() takes for these rows, but the number of rounds."""
    settings = {
        **without_rounds(params),
        **_objective(data),
        "tree_method": "hist",
        "grow_policy": "lossguide",
        "max_depth": 0,  # no limit but the number of leaves
        "max_bin": _num_bins(data),
        "seed": seed,
        "nthread": data.num_threads(worth_cells=MIN_THREADED_CELLS),
        "monotone_constraints": str(data.monotone) if data.is_constrained else None,
    }
    return {name: value for name, value in settings.items() if value is not None}


def _learning_rate(data: FitData) -> float:
    if data.num_margins >= MIN_MANY_MARGINS:
        return 0.1
    return 0.08 if len(data.target) >= LARGE_ROWS else 0.05


def _num_bins(data: FitData) -> int:
    """Of each feature; more where a class is rare."""
    most = min(MAX_BINS_RARE, MAX_BINS * len(data.target) / max(data.num_effective, 1.0))
    return int(np.clip(len(data.target) // ROWS_PER_BIN, 64, max(MAX_BINS, most)))


def _dmatrix(data: FitData) -> Any:
    xgb = need("xgboost", extra="tabular")
    return xgb.DMatrix(
        data.features, label=data.target, weight=data.weight, nthread=data.num_threads(worth_cells=MIN_THREADED_CELLS)
    )


def _objective(data: FitData) -> dict[str, str | int]:
    """What xgboost minimizes and watches for the task."""
    if data.task == "binary":
        return {"objective": "binary:logistic", "eval_metric": "logloss"}
    if data.task == "multiclass":
        return {"objective": "multi:softprob", "eval_metric": "mlogloss", "num_class": data.num_classes}
    return {"objective": "reg:squarederror", "eval_metric": "rmse"}


#: Of the yardstick where its defaults are too dear: small trees, and fewer of them. Rounds are worth more than leaves
#: where classes are nearly sure, and the penalty ends leaves that change nothing. 50 rounds take .25 to .41 of the
#: defaults' time and have .81 to 1.24 of their loss on six tables of 10 to 32 classes; 27 rounds of trees of 31 leaves
#: took .15 to .27 and had .91 to 1.47.
ROUNDS, MIN_ROUNDS = 100, 20
SMALL_TREES: Params = {"learning_rate": 0.2, "max_leaf_nodes": 16, "max_bins": 128, "l2_regularization": 1.0}
SMALL_TREES_SHARE = 0.5  # of what a tree takes by the defaults


class HistGradientBoosting:
    """scikit-learn's model with its own defaults, or with the small trees that a short budget allows: what any result
    must not fall below on the rows that judge."""

    name = "hist_gradient_boosting"
    needs: tuple[str, ...] = ("sklearn",)

    def supports(self, data: FitData) -> bool:
        return not (data.is_constrained and data.task == "multiclass")

    def cost_s(self, data: FitData) -> float:
        of_many = 0.1 if data.num_margins > 1 else 0.0  # of a hundred trees, however few the rows
        return 0.3 + (of_many + 1e-6 * data.features.size) * data.num_margins

    def defaults(self, data: FitData) -> Params:
        return {}

    def affordable(self, data: FitData, fit_s: float) -> Params:
        """The defaults where a fit is guessed to take at most `fit_s` CPU seconds, else small trees, as many rounds as
        that allows."""
        if fit_s >= self.cost_s(data):
            return self.defaults(data)
        rounds = ROUNDS * fit_s / (SMALL_TREES_SHARE * self.cost_s(data))
        return {"max_iter": int(np.clip(rounds, MIN_ROUNDS, ROUNDS)), **SMALL_TREES}

    def affordable_cost_s(self, data: FitData, fit_s: float) -> float:
        """A guess of the CPU seconds of a fit by affordable()."""
        rounds = self.affordable(data, fit_s).get("max_iter")
        if rounds is None:
            return self.cost_s(data)
        return float(SMALL_TREES_SHARE * self.cost_s(data) * rounds / ROUNDS)

    def suggest(self, trial: Any, data: FitData) -> Params:
        return {
            "learning_rate": trial.suggest_float("learning_rate", 0.03, 0.3, log=True),
            "max_leaf_nodes": trial.suggest_int("max_leaf_nodes", 7, 63, log=True),
            "min_samples_leaf": trial.suggest_int("min_samples_leaf", 5, 80, log=True),
            "l2_regularization": trial.suggest_float("l2_regularization", 1e-3, 30, log=True),
        }

    def fit(self, data: FitData, params: Params, *, seed: int, validation: FitData | None = None) -> FittedCandidate:
        ensemble = need("sklearn.ensemble", extra="tabular")
        limits = need("threadpoolctl", extra="tabular").threadpool_limits
        make = (
            ensemble.HistGradientBoostingRegressor
            if data.task == "regression"
            else ensemble.HistGradientBoostingClassifier
        )
        model = make(random_state=seed, monotonic_cst=list(data.monotone) if data.is_constrained else None, **params)
        # With weights, scikit-learn sorts a column again for each of its 254 bounds: most of the time of a small table.
        weight = None if (data.weight == 1).all() else data.weight
        num_threads, num_margins, is_regression = (
            data.num_threads(worth_cells=MIN_THREADED_CELLS), data.num_margins, data.task == "regression"
        )  # fmt: skip
        with limits(num_threads):
            model.fit(data.features, data.target, sample_weight=weight)

        def margin(features: Float32) -> Float64:
            with limits(num_threads):
                raw = model.predict(features) if is_regression else model.decision_function(features)
            return np.asarray(raw, np.float64).reshape(len(features), -1)

        size = BYTES_PER_NODE * sum(len(tree.nodes) for trees in model._predictors for tree in trees)
        return FittedCandidate(margin, lambda: [from_hist(model, num_margins=num_margins)], params, size_bytes=size)
