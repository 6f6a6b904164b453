"""CatBoost (Prokhorenkova et al. 2018), where it is installed: oblivious trees, all nodes of a depth with one question.

Categories are left to the bundle's preparation: they come as numbers and one-hots here, so that what was grown is
exported as trees of any library are.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from deepseek.contracts import Float32, Float64, JsonObject
from deepseek.extras import need
from deepseek.nn.model import PartWeights
from deepseek.train.candidates.base import FitData, FittedCandidate, Params
from deepseek.train.tabular.convert_oblivious import from_catboost

MAX_ROUNDS = 1_000
PATIENCE_ROUNDS = 40  # rounds without a better validation loss
BYTES_PER_LEAF, BYTES_PER_VALUE = 10, 28  # in a bundle
KEPT_LEAVES = 0.45  # share of the leaves of a tree of that depth: most of those that no row reaches are left out
MIN_THREADED_CELLS = 10_000_000
FEW_ROWS = 500


class CatBoost:
    """Boosting with early stopping on the validation rows; a refit repeats the number of rounds found there."""

    name = "catboost"
    needs: tuple[str, ...] = ("catboost",)
    is_optional = True

    def supports(self, data: FitData) -> bool:
        return not data.is_constrained

    def cost_s(self, data: FitData) -> float:
        of_many = 0.4 * data.num_margins if data.num_margins > 1 else 0.0
        return 0.15 + of_many + (4e-7 * data.features.size + 4e-5 * len(data.target)) * data.num_margins

    def defaults(self, data: FitData) -> Params:
        return {
            "learning_rate": _learning_rate(data),
            "depth": 5 if len(data.target) < FEW_ROWS else 6,
            "l2_leaf_reg": 3.0,
        }

    def suggest(self, trial: Any, data: FitData) -> Params:
        rate = _learning_rate(data)
        return {
            "learning_rate": trial.suggest_float("learning_rate", 0.5 * rate, 2 * rate, log=True),
            "depth": trial.suggest_int("depth", 3, 7),
            "l2_leaf_reg": trial.suggest_float("l2_leaf_reg", 1.0, 20.0, log=True),
            "random_strength": trial.suggest_float("random_strength", 0.2, 4.0, log=True),
        }

    def fit(self, data: FitData, params: Params, *, seed: int, validation: FitData | None = None) -> FittedCandidate:
        catboost = need("catboost", extra="catboost")
        chosen = {name: value for name, value in params.items() if name != "rounds"}
        rounds = int(params.get("rounds", MAX_ROUNDS))
        model = catboost.CatBoost(
            {
                **chosen, "loss_function": _objective(data), "iterations": rounds, "random_seed": seed,
                "thread_count": data.num_threads(worth_cells=MIN_THREADED_CELLS), "allow_writing_files": False,
                "verbose": False,
            }
        )  # fmt: skip
        stopping = (
            {"eval_set": _pool(validation), "early_stopping_rounds": PATIENCE_ROUNDS, "use_best_model": False}
            if validation
            else {}
        )
        model.fit(_pool(data), **stopping)
        if validation:
            rounds = int(model.get_best_iteration() or 0) + 1

        num_margins = data.num_margins  # what is fitted keeps no rows

        def cut(rounds: int) -> FittedCandidate:
            rounds = min(rounds, model.tree_count_)

            def margin(features: Float32) -> Float64:
                raw = model.predict(
                    np.asarray(features), prediction_type="RawFormulaVal", ntree_end=rounds, thread_count=1
                )
                return np.asarray(raw, np.float64).reshape(len(features), -1)

            def weights() -> list[PartWeights]:
                return [from_catboost(_document(model, rounds), num_margins=num_margins)]

            num_leaves = KEPT_LEAVES * 2 ** chosen["depth"] * rounds
            size = (BYTES_PER_LEAF + BYTES_PER_VALUE * num_margins) * num_leaves
            return FittedCandidate(margin, weights, {**chosen, "rounds": rounds}, size_bytes=int(size), cut=cut)

        return cut(rounds)


def _learning_rate(data: FitData) -> float:
    """Rising with the rows: on few, small steps are worth their time; on many, larger ones reached less loss in it. A
    round of several classes costs as many."""
    if data.num_margins > 1:
        return 0.1
    return float(np.clip(0.03 * np.sqrt(len(data.target) / FEW_ROWS), 0.03, 0.1))


def _objective(data: FitData) -> str:
    return {"binary": "Logloss", "multiclass": "MultiClass", "regression": "RMSE"}[data.task]


def _pool(data: FitData) -> Any:
    catboost = need("catboost", extra="catboost")
    weight = None if (data.weight == 1).all() else data.weight
    return catboost.Pool(np.asarray(data.features), data.target, weight=weight)


def _document(model: Any, rounds: int) -> JsonObject:
    """The model's first so many trees in CatBoost's own JSON."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "model.json"
        model.save_model(str(path), format="json")
        document: JsonObject = json.loads(path.read_text())
    document["oblivious_trees"] = document["oblivious_trees"][:rounds]
    return document
