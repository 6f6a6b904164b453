"""The look-up of leaf_tables.py, compiled: for few rows at a time, of which numpy's calls cost more than the sums.

    values, base, score = CompiledLeafTables(table, margin, column_of=column_of).explain(features)

The tables are those of LeafTables; each row goes through them by itself, in float64. For a process that has numba
already, for the store of features over time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float32, Float64
from deepseek.explain.tabular.trees.leaf_tables import LeafTables, TableShape
from deepseek.features.core.compilation import compile_cached
from deepseek.nn.trees import TreeTable


class CompiledLeafTables(LeafTables):
    """One margin of a table of trees, for few rows."""

    def __init__(
        self, table: TreeTable, margin: int, *, column_of: NDArray[np.int64], shape: TableShape | None = None
    ) -> None:
        super().__init__(table, margin, column_of=column_of, shape=shape)
        num_trees, num_inner, num_bunches = self._places.shape
        num_nodes = self._given.shape[1] - 1
        # (T, B, K) inner nodes of a bunch, by their numbers in it; behind all, one where nobody goes left
        self._nodes = np.full((num_trees, num_bunches, num_nodes), num_inner, np.uint32)
        tree, inner, bunch = np.nonzero(self._places)
        number = np.log2(self._places[tree, inner, bunch]).astype(np.int64)
        self._nodes[tree, bunch, number] = inner
        # (T, B, K + 1) columns that a bunch gives to; one behind all where it gives nothing
        owner = self._owner.reshape(num_trees, num_bunches, num_nodes + 1, -1)
        self._columns = np.where(owner.any(axis=3), owner.argmax(axis=3), owner.shape[3]).astype(np.uint32)

    def explain(self, features: Float32) -> tuple[Float64, Float64, Float64]:
        """Values (N, P), expected values (N,) and scores (N,) of features (N, F)."""
        rows = np.require(features, np.float32, ["C", "W"])
        sums = np.zeros((len(rows), self._num_columns + 2))
        goes_left = np.zeros(self._feature.shape[1] + 1, np.int64)
        add_rows(rows, self._feature, self._threshold, self._nodes, self._columns, self._given, goes_left, sums)
        return sums[:, :-2], np.full(len(rows), self._base), sums[:, -2] + self._bias


@compile_cached
def add_rows(
    rows: Any, feature: Any, threshold: Any, nodes: Any, columns: Any, path_values: Any, goes_left: Any, sums: Any
) -> None:
    """Adds to `sums` (N, P + 2) what each bunch gives to the columns of rows (N, F), the score and nothing last.
    goes_left (I + 1,): for its own use, the last 0. A missing number goes right, as it does in the trees."""
    num_trees, num_bunches, num_nodes = nodes.shape
    for row in range(len(rows)):
        for tree in range(num_trees):
            for inner in range(feature.shape[1]):
                goes_left[inner] = rows[row, feature[tree, inner]] <= threshold[tree, inner]
            for bunch in range(num_bunches):
                way = (tree * num_bunches + bunch) << num_nodes
                for number in range(num_nodes):
                    way += goes_left[nodes[tree, bunch, number]] << number
                for place in range(num_nodes + 1):
                    sums[row, columns[tree, bunch, place]] += path_values[way, place]
