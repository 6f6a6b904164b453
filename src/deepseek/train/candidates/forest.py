"""Forests of scikit-learn: random forests (Breiman 2001) and extremely randomized trees (Geurts et al. 2006)."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from deepseek.contracts import Float32, Float64, Task
from deepseek.extras import need
from deepseek.nn.model import PartWeights
from deepseek.train.candidates.base import FitData, FittedCandidate, Params
from deepseek.train.tabular.convert import from_forest

LARGE_ROWS = (
    20_000  # rows from which trees are fewer, leaves larger, and each tree of a random forest sees half of the rows
)


#: A refit of many rows grows so many times the trees of a trial: votes get finer, which ranks the rows that few trees
#: suspect, and more trees never overfit (Breiman 2001, theorem 1.2). Trials need no such precision.
REFIT_TREE_FACTOR = 2.5
MIN_TREES = 30
BYTES_PER_NODE = (
    20,
    44,
)  # in the bundle; the second where leaves hold several classes (engines/tabular/export_trees.py)


class Forest:
    """One of the two forests, by the name of scikit-learn's classes. `looked_at` is how many features a split may
    choose from by default: extra trees draw their thresholds at random and can afford more."""

    needs: tuple[str, ...] = ("sklearn",)

    def __init__(self, name: str, stem: str, *, looked_at: int, bootstrap: bool) -> None:
        self.name = name
        self.stem = stem
        self.looked_at = looked_at
        self.bootstrap = bootstrap

    def supports(self, data: FitData) -> bool:
        return not (data.is_constrained and data.task == "multiclass")

    def cost_s(self, data: FitData) -> float:
        rows, columns = data.features.shape
        seen = rows * (self._max_samples(data) or 1.0) * min(columns, self.looked_at)
        seen *= data.num_margins**0.25  # one tree for all classes, whose counts are a small part of the work
        return float(0.2 + (1.5e-6 if self.bootstrap else 5e-7) * seen * np.log2(rows + 1))

    def defaults(self, data: FitData) -> Params:
        return {
            "n_estimators": self._num_trees(data),
            "min_samples_leaf": 3 if len(data.target) >= LARGE_ROWS else 1,
            "max_features": min(1.0, self.looked_at / data.features.shape[1]),
            "criterion": "squared_error" if data.task == "regression" else "entropy",
        }

    def suggest(self, trial: Any, data: FitData) -> Params:
        criteria = ["squared_error"] if data.task == "regression" else ["gini", "entropy"]
        return {
            "n_estimators": self._num_trees(data),
            "min_samples_leaf": trial.suggest_int("min_samples_leaf", 1, 12, log=True),
            "max_features": trial.suggest_float("max_features", 0.15, 1.0),
            "criterion": trial.suggest_categorical("criterion", criteria),
        }

    def _num_trees(self, data: FitData) -> int:
        return 100 if len(data.target) >= LARGE_ROWS else 150

    def _max_samples(self, data: FitData) -> float | None:
        return 0.5 if self.bootstrap and len(data.target) >= LARGE_ROWS else None

    def fit(self, data: FitData, params: Params, *, seed: int, validation: FitData | None = None) -> FittedCandidate:
        ensemble = need("sklearn.ensemble", extra="tabular")
        make = getattr(ensemble, self.stem + ("Regressor" if data.task == "regression" else "Classifier"))
        growth = REFIT_TREE_FACTOR if len(data.target) >= LARGE_ROWS else 1.0
        arguments = {**params, "n_estimators": round(params["n_estimators"] * (1.0 if validation else growth))}
        model = make(
            max_samples=self._max_samples(data),
            random_state=seed,
            n_jobs=data.num_threads(),
            monotonic_cst=list(data.monotone) if data.is_constrained else None,
            **arguments,
        )
        model.fit(data.features, data.target, sample_weight=data.weight)
        model.n_jobs = 1  # threads add votes in any order, which changes the last bits from run to run
        return _fitted_forest(model, params, data.task, data.num_margins, growth)


def _fitted_forest(model: Any, params: Params, task: Task, num_margins: int, growth: float) -> FittedCandidate:
    """What a forest of scikit-learn says. It keeps no rows."""

    def margin(features: Float32) -> Float64:
        if task == "regression":
            return np.asarray(model.predict(features), np.float64)[:, None]
        shares = np.asarray(model.predict_proba(features), np.float64)
        return shares[:, 1:] if task == "binary" else shares

    def weights() -> list[PartWeights]:
        return [from_forest(model, num_margins=num_margins)]

    def cut_trees(share: float) -> FittedCandidate:
        lighter = copy.copy(model)
        lighter.estimators_ = model.estimators_[: max(MIN_TREES, round(share * len(model.estimators_)))]
        lighter.n_estimators = len(lighter.estimators_)
        return _fitted_forest(lighter, {**params, "n_estimators": lighter.n_estimators}, task, num_margins, growth)

    trees = [tree.tree_ for tree in model.estimators_]
    mixed = num_margins > 1 and any((tree.impurity[tree.children_left == -1] > 0).any() for tree in trees)
    size = BYTES_PER_NODE[mixed] * sum(tree.node_count for tree in trees)
    return FittedCandidate(
        margin, weights, params, is_share=task != "regression", refit_cost=growth, size_bytes=size, cut_trees=cut_trees
    )
