"""A TreeTable as one ONNX node.

Trees are summed in float32, which is exact for the shares of a forest (train/tabular/convert.py).

Two operators hold trees. TreeEnsemble (ai.onnx.ml 5) is less than half as large, but a leaf adds one number to one
margin: enough for boosted trees and for forests whose leaves hold rows of one class. TreeEnsembleRegressor
(ai.onnx.ml 3) takes vector leaves, so a forest of several classes is stored once, not once a class; zeros are left out.
They cannot share a graph: version 5 withdrew the older one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.engines.graph import DOUBLE, ML_DOMAIN, OnnxGraphBuilder
from deepseek.nn.trees import ALL_MARGINS, LEAF, TreeTable


def ml_domain_version(tables: list[TreeTable]) -> int:
    """The version of ai.onnx.ml that can hold all these tables in one graph."""
    return 3 if any((np.count_nonzero(table.leaves, axis=1) > 1).any() for table in tables) else 5


def add_trees(graph: OnnxGraphBuilder, features: str, table: TreeTable, *, version: int) -> str:
    """Raw scores (N, K) in float64 for float32 `features`."""
    add = _add_ensemble if version == 5 else _add_regressor
    total = graph.add("Cast", add(graph, features, table), to=DOUBLE)
    return graph.add("Add", total, graph.constant(table.bias.astype(np.float64))) if table.bias.any() else total


def _repeat_per_node(table: TreeTable, per_tree: NDArray[np.int32]) -> NDArray[np.int32]:
    return np.repeat(per_tree, np.diff([*table.roots, len(table.feature)]))


def _add_ensemble(graph: OnnxGraphBuilder, inputs: str, table: TreeTable) -> str:
    """TreeEnsemble: inner nodes and leaves are numbered apart; of a vector leaf the only entry that is not zero."""
    table = _split_single_leaf_trees(table)
    leaf = table.feature == LEAF
    number = np.cumsum(~leaf) - 1  # of an inner node among the inner nodes

    def children(side: NDArray[np.int32]) -> tuple[list[int], list[int]]:
        child = side[~leaf]
        return np.where(leaf[child], table.left[child], number[child]).tolist(), leaf[child].astype(int).tolist()

    true_ids, true_leaves = children(table.left)
    false_ids, false_leaves = children(table.right)
    entry = np.abs(table.leaves).argmax(axis=1)
    output = np.zeros(len(table.leaves), np.int64)
    output[table.left[leaf]] = _repeat_per_node(table, table.output)[leaf]
    target = np.where(output == ALL_MARGINS, entry, output)
    return graph.add(
        "TreeEnsemble", inputs, domain=ML_DOMAIN, aggregate_function=1, post_transform=0, n_targets=len(table.bias),
        tree_roots=number[table.roots].tolist(),
        nodes_featureids=table.feature[~leaf].tolist(),
        nodes_modes=graph.tensor(np.zeros(int((~leaf).sum()), np.uint8), "modes"),  # 0: left when x <= threshold
        nodes_splits=graph.tensor(table.threshold[~leaf], "splits"),
        nodes_truenodeids=true_ids, nodes_trueleafs=true_leaves,
        nodes_falsenodeids=false_ids, nodes_falseleafs=false_leaves,
        leaf_targetids=target.tolist(),
        leaf_weights=graph.tensor(table.leaves[np.arange(len(entry)), entry], "weights"),
    )  # fmt: skip


def _split_single_leaf_trees(table: TreeTable) -> TreeTable:
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


def _add_regressor(graph: OnnxGraphBuilder, inputs: str, table: TreeTable) -> str:
    """TreeEnsembleRegressor: nodes are numbered within their tree, leaves hold sparse vectors."""
    leaf = table.feature == LEAF
    tree = _repeat_per_node(table, np.arange(table.num_trees, dtype=np.int32))
    root = _repeat_per_node(table, table.roots)
    node = np.arange(len(leaf)) - root
    at, target, weight = _sparse_leaves(table, np.flatnonzero(leaf))
    return graph.add(
        "TreeEnsembleRegressor", inputs, domain=ML_DOMAIN, aggregate_function="SUM", post_transform="NONE",
        n_targets=len(table.bias),
        nodes_treeids=tree.tolist(), nodes_nodeids=node.tolist(),
        nodes_featureids=np.where(leaf, 0, table.feature).tolist(),
        nodes_modes=np.where(leaf, "LEAF", "BRANCH_LEQ").tolist(),
        nodes_values_as_tensor=graph.tensor(table.threshold, "values"),
        nodes_truenodeids=np.where(leaf, 0, table.left - root).tolist(),
        nodes_falsenodeids=np.where(leaf, 0, table.right - root).tolist(),
        target_treeids=tree[at].tolist(), target_nodeids=node[at].tolist(), target_ids=target.tolist(),
        target_weights_as_tensor=graph.tensor(weight, "weights"),
    )  # fmt: skip


def _sparse_leaves(
    table: TreeTable, leaf_nodes: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Node, margin and value of every leaf entry that is not zero; a leaf of zeros keeps its first."""
    values = table.leaves[table.left[leaf_nodes]]
    keep = values != 0
    keep[~keep.any(axis=1), 0] = True
    row, column = np.nonzero(keep)
    output = _repeat_per_node(table, table.output)[leaf_nodes]
    target = np.where(output[row] == ALL_MARGINS, column, output[row])
    return leaf_nodes[row], target, values[keep]
