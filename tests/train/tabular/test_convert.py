"""Trees of xgboost and scikit-learn as tables: every row reaches the same leaf as in the library that grew the tree."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)

from deepseek.contracts import Float32
from deepseek.nn.trees import TreeTable
from deepseek.train.tabular.convert import from_forest, from_hist, from_xgboost

NUM_CLASSES = {"binary": 2, "multiclass": 4}
OBJECTIVES = {
    "binary": {"objective": "binary:logistic"},
    "multiclass": {"objective": "multi:softprob", "num_class": 4},
    "regression": {"objective": "reg:squarederror"},
}
TASKS = list(OBJECTIVES)


def rows(task: str, num_rows: int = 300, seed: int = 0) -> tuple[Float32, np.ndarray, np.ndarray]:
    """Features on a coarse grid, so that rows lie exactly on thresholds; unequal weights."""
    rng = np.random.default_rng(seed)
    features = np.round(rng.normal(size=(num_rows, 4)) * 4).astype(np.float32) / np.float32(4)
    score = features[:, 0] + features[:, 1] * features[:, 2] + 0.3 * rng.normal(size=num_rows)
    if task == "regression":
        return features, score * 100 + 7, rng.uniform(0.1, 3, num_rows)
    cuts = np.quantile(score, np.linspace(0, 1, NUM_CLASSES[task] + 1)[1:-1])
    return features, np.searchsorted(cuts, score), rng.uniform(0.1, 3, num_rows)


def margins(task: str) -> int:
    return NUM_CLASSES["multiclass"] if task == "multiclass" else 1


def xgboost_margin(booster: Any, features: Float32, task: str) -> np.ndarray:
    return booster.predict(xgboost.DMatrix(features), output_margin=True).reshape(len(features), margins(task))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("monotone", [None, "(1,0,0,-1)"])
def test_xgboost_margins_agree(task: str, monotone: str | None) -> None:
    features, target, weight = rows(task)
    knobs = {"max_depth": 5, "nthread": 1, "subsample": 0.8, **OBJECTIVES[task]}
    knobs |= {"monotone_constraints": monotone} if monotone else {}
    booster = xgboost.train(knobs, xgboost.DMatrix(features, target, weight=weight), 20)
    table = from_xgboost(booster, num_margins=margins(task))
    table.check()
    probe = np.concatenate([features, rows(task, seed=5)[0]])
    ours, wanted = table.margin(probe), xgboost_margin(booster, probe, task)
    np.testing.assert_allclose(ours, wanted, rtol=2e-5, atol=2e-5 * max(1, np.abs(wanted).max()))


def test_a_slice_of_xgboost_rounds_keeps_its_base_score() -> None:
    features, target, _ = rows("binary")
    target[:250] = 0  # a base score far from one half
    booster = xgboost.train({"nthread": 1, **OBJECTIVES["binary"]}, xgboost.DMatrix(features, target), 12)[:5]
    table = from_xgboost(booster, num_margins=1)
    assert table.num_trees == 5
    np.testing.assert_allclose(table.margin(features), xgboost_margin(booster, features, "binary"), atol=1e-5)


def test_pruned_nodes_of_xgboost_drop_out() -> None:
    features, target, _ = rows("regression")
    booster = xgboost.train({"max_depth": 7, "gamma": 3e4, "nthread": 1}, xgboost.DMatrix(features, target), 5)
    table = from_xgboost(booster, num_margins=1)
    table.check()
    wanted = xgboost_margin(booster, features, "regression")
    np.testing.assert_allclose(table.margin(features), wanted, rtol=1e-5)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("kind", ["random", "extra"])
def test_votes_of_forests_agree(task: str, kind: str) -> None:
    features, target, weight = rows(task)
    models = {
        ("random", True): RandomForestRegressor, ("random", False): RandomForestClassifier,
        ("extra", True): ExtraTreesRegressor, ("extra", False): ExtraTreesClassifier,
    }[kind, task == "regression"]  # fmt: skip
    forest = models(15, random_state=0).fit(features, target, sample_weight=weight)
    table = from_forest(forest, num_margins=margins(task))
    table.check()
    probe = np.concatenate([features, rows(task, seed=5)[0]])
    wanted = forest.predict(probe)[:, None] if task == "regression" else forest.predict_proba(probe)
    wanted = wanted[:, 1:] if task == "binary" else wanted
    np.testing.assert_allclose(table.margin(probe), wanted, rtol=1e-5, atol=1e-6)


def test_rows_without_weight_leave_no_trace_in_a_forest() -> None:
    features, target, weight = rows("binary")
    weight[::2] = 0
    forest = RandomForestClassifier(10, random_state=0).fit(features, target, sample_weight=weight)
    table = from_forest(forest, num_margins=1)
    assert np.isfinite(table.leaves).all()
    np.testing.assert_allclose(table.margin(features), forest.predict_proba(features)[:, 1:], atol=1e-6)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("monotone", [None, [1, 0, 0, -1]])
def test_hist_gradient_boosting_margins_agree(task: str, monotone: list[int] | None) -> None:
    if task == "multiclass" and monotone:
        monotone = None  # scikit-learn does not offer it
    features, target, weight = rows(task)
    models = HistGradientBoostingRegressor if task == "regression" else HistGradientBoostingClassifier
    model = models(max_iter=15, random_state=0, monotonic_cst=monotone).fit(features, target, sample_weight=weight)
    table = from_hist(model, num_margins=margins(task))
    table.check()
    probe = np.concatenate([features, rows(task, seed=5)[0]])
    raw = model.predict(probe) if task == "regression" else model.decision_function(probe)
    raw = raw.reshape(len(probe), margins(task))
    np.testing.assert_allclose(table.margin(probe), raw, rtol=1e-5, atol=1e-5 * max(1, np.abs(raw).max()))


#: Neighbouring float32 numbers, zeros of both signs, subnormals and the ends of the range.
EDGES = np.array(
    [0.0, -0.0, 1e-45, -1e-45, 1.0, np.nextafter(np.float32(1), 2), np.nextafter(np.float32(1), 0), 0.1, 1e-38, -1.0,
     16777216.0, 16777218.0, 3.0e38, -3.0e38], np.float32
)  # fmt: skip
COLUMN = arrays(np.float32, 40, elements=st.sampled_from(EDGES.tolist()))


def leaves_reached(table: TreeTable, features: Float32) -> np.ndarray:
    """The leaf of each row, from a tree whose leaf values were made its leaves' numbers."""
    numbered = np.arange(len(table.leaves), dtype=np.float32)[:, None]
    fields = {name: getattr(table, name) for name in table.__dataclass_fields__}
    return TreeTable(**{**fields, "leaves": numbered, "bias": np.zeros(1)}).margin(features)[:, 0]


def same_partition(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two labellings of the rows put the same rows together."""
    pairs = set(zip(a.tolist(), b.tolist(), strict=True))
    return len(pairs) == len({x for x, _ in pairs}) == len({y for _, y in pairs})


@settings(max_examples=40)
@given(COLUMN)
def test_xgboost_thresholds_on_data_values_part_the_rows_alike(column: Float32) -> None:
    features, target = column[:, None], np.arange(40) % 7.0 + (column > 0.5) * 9
    booster = xgboost.train(
        {"max_depth": 4, "nthread": 1, "min_child_weight": 0, "tree_method": "exact"},
        xgboost.DMatrix(features, target),
        1,
    )
    probe = np.concatenate([features, EDGES[:, None]])
    wanted = booster.predict(xgboost.DMatrix(probe), pred_leaf=True).ravel()
    assert same_partition(leaves_reached(from_xgboost(booster, num_margins=1), probe), wanted)


@settings(max_examples=40)
@given(COLUMN)
def test_scikit_learn_thresholds_between_data_values_part_the_rows_alike(column: Float32) -> None:
    features, target = column[:, None], np.arange(40) % 7.0 + (column > 0.5) * 9
    forest = ExtraTreesRegressor(1, random_state=0).fit(features, target)
    probe = np.concatenate([features, EDGES[:, None]])
    wanted = forest.estimators_[0].apply(probe)
    assert same_partition(leaves_reached(from_forest(forest, num_margins=1), probe), wanted)
