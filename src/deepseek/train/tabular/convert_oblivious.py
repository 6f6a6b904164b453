"""Oblivious trees of CatBoost as a TreeTable: all nodes of a depth ask one question, and leaf i is reached where bit d
of i says whether question d holds.

CatBoost compares a float32 x with a float32 border by x > border, a table by x <= threshold: a border is a threshold.
Questions whose answer follows from one above, and branches whose leaves are all the same (those that no training row
reached), are left out: the answers stay what they were, to the bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float64, JsonObject
from deepseek.nn.trees import ALL_MARGINS, LEAF, TreeTable
from deepseek.train.tabular.convert import TreeTableBuilder


def from_catboost(document: JsonObject, *, num_margins: int) -> TreeTable:
    """The trees of a model that CatBoost has saved as JSON, grown on numbers alone; its margin (N, K) includes the
    bias. ValueError for a model with categories of its own."""
    scale, bias = document["scale_and_bias"]
    columns = TreeTableBuilder()
    places = {each["feature_index"]: each["flat_feature_index"] for each in document["features_info"]["float_features"]}
    for tree in document["oblivious_trees"]:
        if any("float_feature_index" not in split for split in tree["splits"]):
            raise ValueError("the trees ask for more than numbers")
        features = np.array([places[split["float_feature_index"]] for split in tree["splits"]], np.int64)
        borders = np.array([split["border"] for split in tree["splits"]], np.float32)
        leaves = scale * np.asarray(tree["leaf_values"], np.float64).reshape(2 ** len(features), num_margins)
        columns.add(**_Grown(features, borders, leaves, np.asarray(tree["leaf_weights"], np.float64)).arrays())
    output = 0 if num_margins == 1 else ALL_MARGINS
    start = np.broadcast_to(np.asarray(bias, np.float64).ravel(), (num_margins,)).copy()
    return columns.table(np.full(len(document["oblivious_trees"]), output, np.int32), start)


class _Grown:
    """One oblivious tree of depth D, grown out into nodes, the last question at its root."""

    def __init__(
        self, features: NDArray[np.int64], borders: NDArray[np.float32], leaves: Float64, weights: Float64
    ) -> None:
        self._features, self._borders = features.tolist(), borders.tolist()
        self._leaves, self._weights = leaves, weights
        self._nodes: list[tuple[int, float, int, int, float]] = []  # feature, threshold, left, right, cover
        self._values: list[Float64] = []
        self._grow(len(features), 0, {})

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What TreeTableBuilder.add() takes."""
        feature, threshold, left, right, cover = (np.array(each) for each in zip(*self._nodes, strict=True))
        return {
            "feature": feature, "threshold": threshold, "left": left, "right": right, "cover": cover,
            "leaves": np.array(self._values),
        }  # fmt: skip

    def _grow(self, depth: int, first: int, known: dict[int, tuple[float, float]]) -> int:
        """Append the subtree of leaves first .. first + 2**depth, and return its root. `known`: of features, the range
        (low, high] that a row is in here."""
        end = first + 2**depth
        leaves = self._leaves[first:end]
        number = len(self._nodes)
        cover = float(self._weights[first:end].sum())
        if (leaves == leaves[0]).all():
            self._nodes.append((LEAF, 0.0, -1, -1, cover))
            self._values.append(leaves[0])
            return number
        feature, border = self._features[depth - 1], self._borders[depth - 1]
        low, high = known.get(feature, (-np.inf, np.inf))
        middle = first + 2 ** (depth - 1)
        if border <= low:
            return self._grow(depth - 1, middle, known)
        if border >= high:
            return self._grow(depth - 1, first, known)
        self._nodes.append((feature, border, -1, -1, cover))
        left = self._grow(depth - 1, first, {**known, feature: (low, border)})
        right = self._grow(depth - 1, middle, {**known, feature: (border, high)})
        self._nodes[number] = (feature, border, left, right, cover)
        return number
