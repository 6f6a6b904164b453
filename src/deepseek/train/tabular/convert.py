"""Trees of xgboost and scikit-learn as TreeTables: a table sends every float32 row to the same leaf.

xgboost goes left when x < t, a table when x <= t: the threshold becomes the next float32 below t. scikit-learn compares
a float32 x with a float64 t by <=: the threshold becomes the largest float32 that is not above t.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float64, JsonObject
from deepseek.nn.trees import ALL_MARGINS, LEAF, TreeTable

VOTE_GRID = 2**24


def _keep_indices(indices: NDArray[Any], _: NDArray[Any]) -> NDArray[Any]:
    return indices


def from_xgboost(booster: Any, *, num_margins: int) -> TreeTable:
    """An xgboost.Booster with numeric splits; its margin (N, K) includes the base score."""
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]
    return from_learner(learner, num_margins=num_margins)


def from_learner(
    learner: JsonObject,
    *,
    num_margins: int,
    feature_of: Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]] = _keep_indices,
) -> TreeTable:
    """The trees of the "learner" in a model that xgboost has saved as JSON.

    `feature_of(split_indices, default_left)` says which feature a split reads, where that depends on the way that
    missing values go.
    """
    model = learner["gradient_booster"]["model"]
    trees, columns = model["trees"], TreeTableBuilder()
    for tree in trees:
        left = np.asarray(tree["left_children"], np.int64)
        leaf = left == -1
        split = np.asarray(tree["split_conditions"], np.float32)
        feature = feature_of(np.asarray(tree["split_indices"], np.int64), np.asarray(tree["default_left"], bool))
        columns.add(
            feature=np.where(leaf, LEAF, feature),
            threshold=np.where(leaf, 0, np.nextafter(split, np.float32(-np.inf))),
            left=left,
            right=np.asarray(tree["right_children"], np.int64),
            cover=np.asarray(tree["sum_hessian"], np.float32),
            leaves=split[leaf][:, None],
        )
    return columns.table(np.array(model["tree_info"], np.int32), _base_margin(learner, num_margins))


def _base_margin(learner: JsonObject, num_margins: int) -> Float64:
    """The base score on the margin scale: a number or a list, kept as text, before the link of the objective."""
    text = learner["learner_model_param"]["base_score"]
    base = np.atleast_1d(np.array(json.loads(text), np.float32)).astype(np.float64)
    if learner["objective"]["name"] == "binary:logistic":
        base = np.log(base / (1 - base))
    return np.broadcast_to(base, (num_margins,)).copy()


def from_forest(forest: Any, *, num_margins: int) -> TreeTable:
    """A RandomForest or ExtraTrees of scikit-learn. Classes: the mean share of each class (for two classes, of the
    second), on a grid where sums are exact; regression: the mean value."""
    columns, counts = TreeTableBuilder(), _grid_counts(len(forest.estimators_))
    for estimator, count in zip(forest.estimators_, counts, strict=True):
        tree = estimator.tree_
        leaf = tree.children_left == -1
        values = tree.value[:, 0, :]
        if hasattr(forest, "classes_"):
            values = np.round(values / values.sum(axis=1, keepdims=True) * count) / VOTE_GRID
            values = values[:, 1:] if num_margins == 1 else values
        else:
            values = values / len(forest.estimators_)
        columns.add(
            feature=np.where(leaf, LEAF, tree.feature),
            threshold=np.where(leaf, 0, float32_at_most(tree.threshold)),
            left=tree.children_left,
            right=tree.children_right,
            cover=tree.weighted_n_node_samples,
            leaves=values[leaf],
        )
    output = 0 if num_margins == 1 else ALL_MARGINS
    return columns.table(np.full(len(forest.estimators_), output, np.int32), np.zeros(num_margins))


def _grid_counts(num_trees: int) -> NDArray[np.int64]:
    """How much each of T trees weighs, in 2**-24: equal but for the last unit, and 1 in all.

    A float32 holds every multiple of 2**-24 up to 1, so any engine sums such leaves without an error, in any order. An
    error of 1e-6 would count: the log-odds of a share of 1 - 1e-4 turn it into 1e-2.

    >>> _grid_counts(3).tolist(), sum(_grid_counts(3).tolist()) == VOTE_GRID
    ([5592406, 5592405, 5592405], True)
    """
    return VOTE_GRID // num_trees + (np.arange(num_trees) < VOTE_GRID % num_trees)


def from_hist(model: Any, *, num_margins: int) -> TreeTable:
    """A HistGradientBoosting of scikit-learn without categorical splits (categories enter as numbers here)."""
    columns, output = TreeTableBuilder(), []
    for iteration in model._predictors:
        for margin, predictor in enumerate(iteration):
            nodes = predictor.nodes
            leaf = nodes["is_leaf"].astype(bool)
            columns.add(
                feature=np.where(leaf, LEAF, nodes["feature_idx"].astype(np.int64)),
                threshold=np.where(leaf, 0, float32_at_most(nodes["num_threshold"])),
                left=np.where(leaf, -1, nodes["left"].astype(np.int64)),
                right=np.where(leaf, -1, nodes["right"].astype(np.int64)),
                cover=nodes["count"],
                leaves=nodes["value"][leaf][:, None],
            )
            output.append(margin)
    bias = np.broadcast_to(np.asarray(model._baseline_prediction, np.float64).ravel(), (num_margins,)).copy()
    return columns.table(np.array(output, np.int32), bias)


def float32_at_most(threshold: Float64) -> NDArray[np.float32]:
    """The largest float32 that is not above each threshold, so that x <= t is decided as in float64."""
    with np.errstate(over="ignore"):
        near = threshold.astype(np.float32)
    return np.where(near.astype(np.float64) > threshold, np.nextafter(near, np.float32(-np.inf)), near)


class TreeTableBuilder:
    """Collects trees and renumbers their children and leaves within the whole table."""

    def __init__(self) -> None:
        self.parts: dict[str, list[NDArray[Any]]] = {
            name: [] for name in ("feature", "threshold", "left", "right", "cover", "leaves")
        }
        self.roots: list[int] = []
        self.num_nodes = 0
        self.num_leaves = 0

    def add(self, *, left: NDArray[Any], right: NDArray[Any], feature: NDArray[Any], **rest: NDArray[Any]) -> None:
        """Numbers the nodes anew, depth first, so that every child lies behind its parent."""
        leaf = feature == LEAF
        order = _preorder(left, right, leaf)
        new_index = np.empty(len(order), np.int64)
        new_index[order] = np.arange(len(order))
        leaf_numbers = np.cumsum(leaf[order]) - 1 + self.num_leaves  # leaves in the new order
        leaf_row = np.cumsum(leaf) - 1
        self.roots.append(self.num_nodes)
        inner = ~leaf[order]
        self.parts["feature"].append(feature[order])
        self.parts["left"].append(np.where(inner, new_index[left[order]] + self.num_nodes, leaf_numbers))
        self.parts["right"].append(np.where(inner, new_index[right[order]] + self.num_nodes, 0))
        self.parts["threshold"].append(rest["threshold"][order])
        self.parts["cover"].append(rest["cover"][order])
        self.parts["leaves"].append(rest["leaves"][leaf_row[order][leaf[order]]])
        self.num_nodes += len(order)
        self.num_leaves += int(leaf.sum())

    def table(self, output: NDArray[np.int32], bias: Float64) -> TreeTable:
        types: dict[str, Any] = {"feature": np.int32, "left": np.int32, "right": np.int32}
        joined: dict[str, NDArray[Any]] = {
            name: np.concatenate(many).astype(types.get(name, np.float32)) for name, many in self.parts.items()
        }
        return TreeTable(roots=np.array(self.roots, np.int32), output=output, bias=bias, **joined)


def _preorder(left: NDArray[Any], right: NDArray[Any], leaf: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Nodes that can be reached from node 0, parents first (pruned nodes of xgboost drop out)."""
    order, stack = [], [0]
    lefts, rights, leaves = left.tolist(), right.tolist(), leaf.tolist()
    while stack:
        node = stack.pop()
        order.append(node)
        if not leaves[node]:
            stack += [rights[node], lefts[node]]
    return np.array(order, np.int64)
