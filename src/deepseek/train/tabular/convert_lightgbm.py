"""Trees of LightGBM as a TreeTable. It compares a float64 x with a float64 threshold by <=: the threshold becomes the
largest float32 that is not above it. Numbers within ZERO of zero it takes for zero, so that -ZERO itself is above a
threshold of -ZERO. The score that boosting starts from is in the leaves of its first trees.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import JsonObject
from deepseek.nn.trees import LEAF, TreeTable
from deepseek.train.tabular.convert import TreeTableBuilder, float32_at_most

ZERO = np.float32(1e-35)  # kZeroThreshold of LightGBM's include/LightGBM/meta.h


def from_lightgbm(document: JsonObject, *, num_margins: int) -> TreeTable:
    """What Booster.dump_model() gives of a model grown on numbers without missing values; margin k of round r is tree
    r K + k. ValueError for splits by sets of categories."""
    columns = TreeTableBuilder()
    for tree in document["tree_info"]:
        columns.add(**_arrays(tree["tree_structure"]))
    num_trees = len(document["tree_info"])
    return columns.table((np.arange(num_trees) % num_margins).astype(np.int32), np.zeros(num_margins))


def _arrays(root: JsonObject) -> dict[str, NDArray[Any]]:
    """One tree's nodes as TreeTableBuilder.add() takes them."""
    nodes: list[JsonObject] = [root]
    left, right = [], []
    for node in nodes:  # grows while it is read
        if "split_index" not in node:
            left.append(-1)
            right.append(-1)
            continue
        if node["decision_type"] != "<=":
            raise ValueError("the trees ask for sets of categories")
        left.append(len(nodes))
        right.append(len(nodes) + 1)
        nodes += [node["left_child"], node["right_child"]]
    threshold = float32_at_most(np.array([node.get("threshold", 0.0) for node in nodes], np.float64))
    return {
        "feature": np.array([node.get("split_feature", LEAF) for node in nodes]),
        "threshold": np.where(threshold == -ZERO, np.nextafter(-ZERO, np.float32(-np.inf)), threshold),
        "left": np.array(left), "right": np.array(right),
        "cover": np.array([node.get("internal_count", node.get("leaf_count", 0)) for node in nodes], np.float64),
        "leaves": np.array([node["leaf_value"] for node in nodes if "split_index" not in node])[:, None],
    }  # fmt: skip
