"""A TreeTable as one ONNX node.

Votes are summed in float64: the logarithm of a forest's share 1 - 1e-4 turns a rounding error of 1e-6 in a float32 sum
into 1e-2 of log-odds. Margins and values are summed in float32, as xgboost does; it takes a quarter less room.

Two operators hold trees. TreeEnsemble (ai.onnx.ml 5) is less than half as large, but a leaf holds one number.
TreeEnsembleRegressor (ai.onnx.ml 3) takes vector leaves, so a forest of several classes is stored once, not once a
class; zeros are left out. They cannot share a graph: version 5 withdrew the older one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.engines.graph import DOUBLE, ML_DOMAIN, Graph
from deepseek.nn.trees import ALL, LEAF, TreeTable


def ml_version(tables: list[TreeTable]) -> int:
    """The version of ai.onnx.ml that can hold all these tables in one graph."""
    return 3 if any(table.leaves.shape[1] > 1 for table in tables) else 5


def add_trees(graph: Graph, features: str, table: TreeTable, *, version: int, exact: bool) -> str:
    """Raw scores (N, K) in float64 for float32 `features`; `exact`: summed in float64."""
    inputs = graph.add("Cast", features, to=DOUBLE) if exact else features
    add = _add_ensemble if version == 5 else _add_regressor
    total = add(graph, inputs, table, np.dtype(np.float64 if exact else np.float32))
    if version != 5 or not exact:
        total = graph.add("Cast", total, to=DOUBLE)
    return graph.add("Add", total, graph.constant(table.bias.astype(np.float64))) if table.bias.any() else total


def _per_node(table: TreeTable, per_tree: NDArray[np.int32]) -> NDArray[np.int32]:
    return np.repeat(per_tree, np.diff([*table.roots, len(table.feature)]))


def _add_ensemble(graph: Graph, inputs: str, table: TreeTable, dtype: np.dtype[Any]) -> str:
    """TreeEnsemble: inner nodes and leaves are numbered apart."""
    table = _without_stumps_of_one_leaf(table)
    leaf = table.feature == LEAF
    number = np.cumsum(~leaf) - 1  # of an inner node among the inner nodes

    def children(side: NDArray[np.int32]) -> tuple[list[int], list[int]]:
        child = side[~leaf]
        return np.where(leaf[child], table.left[child], number[child]).tolist(), leaf[child].astype(int).tolist()

    true_ids, true_leaves = children(table.left)
    false_ids, false_leaves = children(table.right)
    target = np.zeros(len(table.leaves), np.int64)
    target[table.left[leaf]] = np.maximum(_per_node(table, table.output)[leaf], 0)
    return graph.add(
        "TreeEnsemble", inputs, domain=ML_DOMAIN, aggregate_function=1, post_transform=0, n_targets=len(table.bias),
        tree_roots=number[table.roots].tolist(),
        nodes_featureids=table.feature[~leaf].tolist(),
        nodes_modes=graph.tensor(np.zeros(int((~leaf).sum()), np.uint8), "modes"),  # 0: left when x <= threshold
        nodes_splits=graph.tensor(table.threshold[~leaf].astype(dtype), "splits"),
        nodes_truenodeids=true_ids, nodes_trueleafs=true_leaves,
        nodes_falsenodeids=false_ids, nodes_falseleafs=false_leaves,
        leaf_targetids=target.tolist(),
        leaf_weights=graph.tensor(table.leaves[:, 0].astype(dtype), "weights"),
    )  # fmt: skip


def _without_stumps_of_one_leaf(table: TreeTable) -> TreeTable:
    """TreeEnsemble knows no tree that is a leaf: such a root becomes a split whose two sides are the same leaf."""
    lone = table.feature[table.roots] == LEAF
    if not lone.any():
        return table
    at = table.roots[lone]
    size = np.ones(len(table.feature), np.int64)
    size[at] = 2  # a new root before the leaf
    start = np.cumsum(size) - size
    inner = table.feature != LEAF

    def spread(array: NDArray[Any], at_root: NDArray[Any] | int) -> NDArray[Any]:
        out = np.empty(int(size.sum()), array.dtype)
        out[start] = array
        out[start[at] + 1] = array[at]
        out[start[at]] = at_root
        return out

    return TreeTable(
        roots=start[table.roots].astype(np.int32), output=table.output, feature=spread(table.feature, 0),
        threshold=spread(table.threshold, 0),
        left=spread(np.where(inner, start[np.where(inner, table.left, 0)], table.left).astype(np.int32), start[at] + 1),
        right=spread(np.where(inner, start[np.where(inner, table.right, 0)], 0).astype(np.int32), start[at] + 1),
        cover=spread(table.cover, table.cover[at]), leaves=table.leaves, bias=table.bias,
    )  # fmt: skip


def _add_regressor(graph: Graph, inputs: str, table: TreeTable, dtype: np.dtype[Any]) -> str:
    """TreeEnsembleRegressor: nodes are numbered within their tree, leaves hold sparse vectors. Its result is float32
    also where it sums in float64: one rounding of a share, which the logarithm of a class's own share bears."""
    leaf = table.feature == LEAF
    tree = _per_node(table, np.arange(table.num_trees, dtype=np.int32))
    root = _per_node(table, table.roots)
    node = np.arange(len(leaf)) - root
    at, target, weight = _sparse_leaves(table, np.flatnonzero(leaf))
    return graph.add(
        "TreeEnsembleRegressor", inputs, domain=ML_DOMAIN, aggregate_function="SUM", post_transform="NONE",
        n_targets=len(table.bias),
        nodes_treeids=tree.tolist(), nodes_nodeids=node.tolist(),
        nodes_featureids=np.where(leaf, 0, table.feature).tolist(),
        nodes_modes=np.where(leaf, "LEAF", "BRANCH_LEQ").tolist(),
        nodes_values_as_tensor=graph.tensor(table.threshold.astype(dtype), "values"),
        nodes_truenodeids=np.where(leaf, 0, table.left - root).tolist(),
        nodes_falsenodeids=np.where(leaf, 0, table.right - root).tolist(),
        target_treeids=tree[at].tolist(), target_nodeids=node[at].tolist(), target_ids=target.tolist(),
        target_weights_as_tensor=graph.tensor(weight.astype(dtype), "weights"),
    )  # fmt: skip


def _sparse_leaves(
    table: TreeTable, leaf_nodes: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Node, margin and value of every entry that is not zero; a leaf of zeros keeps its first."""
    values = table.leaves[table.left[leaf_nodes]]
    keep = values != 0
    keep[~keep.any(axis=1), 0] = True
    row, column = np.nonzero(keep)
    output = _per_node(table, table.output)[leaf_nodes]
    target = np.where(output[row] == ALL, column, output[row])
    return leaf_nodes[row], target, values[keep]
