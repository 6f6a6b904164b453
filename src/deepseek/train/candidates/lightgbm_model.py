"""LightGBM (Ke et al. 2017), where it is installed: leaf-wise trees on histograms, on drawn rows and columns."""

from __future__ import annotations

from typing import Any

import numpy as np

from deepseek.contracts import Float32, Float64
from deepseek.extras import need
from deepseek.nn.model import PartWeights
from deepseek.train.candidates.base import FitData, FittedCandidate, Params
from deepseek.train.candidates.boosting import MIN_MANY_MARGINS
from deepseek.train.tabular.convert_lightgbm import from_lightgbm

MAX_ROUNDS = 1_000
PATIENCE_ROUNDS = 30  # rounds without a better validation loss
NATIVE_SIZE_RATIO = 3.5  # LightGBM's own format takes so many times our bytes


class LightGBM:
    """Boosting with early stopping on the validation rows; a refit repeats the number of rounds found there."""

    name = "lightgbm"
    needs: tuple[str, ...] = ("lightgbm",)
    is_optional = True

    def supports(self, data: FitData) -> bool:
        return not data.is_constrained

    def cost_s(self, data: FitData) -> float:
        if data.num_margins > 1:  # more rows allow more rounds: 40 to 1,000 of them on 300 to 11,000
            return 0.15 + (0.02 + 1e-4 * len(data.target)) * data.num_margins
        return 0.15 + (0.02 + 5e-7 * data.features.size) * data.num_margins

    def defaults(self, data: FitData) -> Params:
        return {
            "learning_rate": _learning_rate(data), "num_leaves": 16, "min_child_samples": 5, "subsample": 0.7,
            "colsample_bynode": 0.6, "reg_lambda": 2.0, "extra_trees": True,
        }  # fmt: skip

    def suggest(self, trial: Any, data: FitData) -> Params:
        rate = _learning_rate(data)
        return {
            "learning_rate": trial.suggest_float("learning_rate", 0.4 * rate, 2 * rate, log=True),
            "num_leaves": trial.suggest_int("num_leaves", 6, 48, log=True),
            "min_child_samples": trial.suggest_int("min_child_samples", 2, 40, log=True),
            "subsample": trial.suggest_float("subsample", 0.5, 0.95),
            "colsample_bynode": trial.suggest_float("colsample_bynode", 0.3, 1.0),
            "reg_lambda": trial.suggest_float("reg_lambda", 0.1, 20, log=True),
            "extra_trees": trial.suggest_categorical("extra_trees", [True, False]),
        }

    def fit(self, data: FitData, params: Params, *, seed: int, validation: FitData | None = None) -> FittedCandidate:
        lightgbm = need("lightgbm", extra="lightgbm")
        chosen = {name: value for name, value in params.items() if name != "rounds"}
        rounds = int(params.get("rounds", MAX_ROUNDS))
        settings = {
            **chosen, **_objective(data), "subsample_freq": 1, "seed": seed, "deterministic": True, "verbose": -1,
            "num_threads": data.num_threads(worth_cells=10_000_000), "force_col_wise": True,
        }  # fmt: skip
        train = _dataset(data)
        stopping: dict[str, object] = {"keep_training_booster": True}  # else the rounds behind the best are lost
        num_trees: list[int] = []  # after each round: one that finds no split leaves none
        if validation:
            stopping |= {
                "valid_sets": [_dataset(validation, train)],
                "callbacks": [
                    lambda env: num_trees.append(env.model.current_iteration()),
                    lightgbm.early_stopping(PATIENCE_ROUNDS, verbose=False),
                ],
            }
        booster = lightgbm.train(settings, train, num_boost_round=rounds, **stopping)
        if validation:
            rounds = max(1, num_trees[booster.best_iteration - 1])

        num_margins = data.num_margins  # what is fitted keeps no rows

        def cut(rounds: int) -> FittedCandidate:
            num_rounds = min(rounds, booster.current_iteration())

            def margin(features: Float32) -> Float64:
                raw = booster.predict(np.asarray(features), raw_score=True, num_iteration=num_rounds, num_threads=1)
                return np.asarray(raw, np.float64).reshape(len(features), -1)

            def weights() -> list[PartWeights]:
                return [from_lightgbm(booster.dump_model(num_iteration=num_rounds), num_margins=num_margins)]

            size = len(booster.model_to_string(num_iteration=num_rounds)) / NATIVE_SIZE_RATIO
            return FittedCandidate(margin, weights, {**chosen, "rounds": rounds}, size_bytes=int(size), cut=cut)

        return cut(rounds)


def _learning_rate(data: FitData) -> float:
    """A round grows a tree for each of several classes: on six tables of six to eleven, .1 took half the time of .05 at
    .98 of the loss."""
    return 0.1 if data.num_margins >= MIN_MANY_MARGINS else 0.05


def _objective(data: FitData) -> dict[str, str | int]:
    if data.task == "multiclass":
        return {"objective": "multiclass", "num_class": data.num_classes, "metric": "multi_logloss"}
    if data.task == "binary":
        return {"objective": "binary", "metric": "binary_logloss"}
    return {"objective": "regression", "metric": "rmse"}


def _dataset(data: FitData, reference: Any = None) -> Any:
    lightgbm = need("lightgbm", extra="lightgbm")
    return lightgbm.Dataset(np.asarray(data.features), data.target, weight=data.weight, reference=reference)
