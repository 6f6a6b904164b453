"""Shallow trees, compiled: many rows walk one tree together, without a branch.

    CompiledTrees.of(table).margin(features)         # (N, K), the same bits as TreeTable.margin
    CompiledModel.of(model).score(features)          # as every engine

A tree is laid out as a full one of its depth, so that the node below is a sum: 2 n + 1, and one more to the right. A
leaf that ends early repeats itself below. Four rows go down side by side, for one waits for its memory while the others
compute. Leaves are added in float64 in the order of the trees, as the readable twin does.

For a process that has numba already, for the store of features over time: others run trees by xgboost (trees.py), for
the import alone takes half a second and 100 MB.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float32, Float64, Scores
from deepseek.features.core.compilation import compile_cached
from deepseek.nn.model import Model, combine
from deepseek.nn.trees import ALL_MARGINS, LEAF, TreeTable

MAX_DEPTH = 9  # a full tree of it takes 12 KB
NONE, ONE, TWO = np.uint64(0), np.uint64(1), np.uint64(2)
BLOCK_ROWS = 128  # that go through all trees before the next: they stay in the nearest cache


@dataclass(frozen=True, slots=True, eq=False)
class CompiledTrees:
    """T trees of at most MAX_DEPTH. Safe to share between threads."""

    depths: NDArray[np.int64]  # (T,)
    starts: NDArray[np.uint64]  # (T,) of each tree's nodes; its leaves begin at the same place plus its number
    outputs: NDArray[np.uint64]  # (T,) the margin that a tree adds to
    features: NDArray[np.uint32]  # of inner nodes
    thresholds: Float32
    leaves: Float32
    bias: Float64  # (K,)

    @classmethod
    def of(cls, table: TreeTable) -> CompiledTrees | None:
        """The trees of a table; None where one is too deep, or its leaves hold more than a number."""
        if table.leaves.shape[1] != 1 or (table.output == ALL_MARGINS).any():
            return None
        trees = [_full_tree(table, int(root)) for root in table.roots]
        if not trees or any(tree is None for tree in trees):
            return None
        full: Sequence[_FullTree] = [tree for tree in trees if tree is not None]
        sizes = [len(tree.features) for tree in full]
        return cls(
            np.array([tree.depth for tree in full], np.int64), np.cumsum([0, *sizes[:-1]]).astype(np.uint64),
            table.output.astype(np.uint64), np.concatenate([tree.features for tree in full]),
            np.concatenate([tree.thresholds for tree in full]), np.concatenate([tree.leaves for tree in full]),
            np.array(table.bias, np.float64),
        )  # fmt: skip

    def margin(self, features: Float32) -> Float64:
        """Raw scores (N, K) of features (N, F)."""
        rows = np.require(features, np.float32, ["C", "W"])  # the one form that is compiled
        sums = np.tile(self.bias, (len(rows), 1))
        add_trees(
            rows, self.depths, self.starts, self.outputs, self.features, self.thresholds, self.leaves, BLOCK_ROWS, sums
        )
        return sums


class CompiledModel:
    """A model of shallow trees alone. Safe to share between threads."""

    def __init__(self, model: Model, trees: Sequence[CompiledTrees]) -> None:
        self._model, self._trees = model, trees

    @classmethod
    def of(cls, model: Model) -> CompiledModel | None:
        """The model; None where one of its parts is something else."""
        trees = [
            CompiledTrees.of(part.weights) if isinstance(part.weights, TreeTable) else None for part in model.parts
        ]
        shallow = [part for part in trees if part is not None]
        return cls(model, shallow) if len(shallow) == len(trees) else None

    def score(self, features: Float32) -> Scores:
        """Scores for prepared features (N, F)."""
        return combine(self._model, {index: trees.margin(features) for index, trees in enumerate(self._trees)})


@dataclass(frozen=True, slots=True, eq=False)
class _FullTree:
    """A tree with 2^depth - 1 inner nodes, those of a level behind the level above, and 2^depth leaves."""

    depth: int
    features: NDArray[np.uint32]
    thresholds: Float32
    leaves: Float32


def _full_tree(table: TreeTable, root: int) -> _FullTree | None:
    """The tree as a full one; None where it is deeper than MAX_DEPTH. Below a leaf every node asks the first feature,
    and both ways lead to that leaf's value."""
    nodes, depth = np.array([root]), 0
    features: list[NDArray[Any]] = []
    thresholds: list[NDArray[Any]] = []
    while (is_inner := table.feature[nodes] != LEAF).any():
        if depth == MAX_DEPTH:
            return None
        features.append(np.where(is_inner, table.feature[nodes], 0))
        thresholds.append(np.where(is_inner, table.threshold[nodes], 0.0))
        children = np.where(
            is_inner[:, None], np.stack([table.left[nodes], table.right[nodes]], axis=1), nodes[:, None]
        )
        nodes, depth = children.reshape(-1), depth + 1
    return _FullTree(
        depth, np.concatenate([[], *features]).astype(np.uint32), np.concatenate([[], *thresholds]).astype(np.float32),
        table.leaves[table.left[nodes], 0],
    )  # fmt: skip


@compile_cached
def add_trees(
    rows: Any,
    depths: Any,
    starts: Any,
    outputs: Any,
    features: Any,
    thresholds: Any,
    leaves: Any,
    block: int,
    sums: Any,
) -> None:
    """Adds the leaves that rows (N, F) reach to `sums` (N, K). The others: see CompiledTrees. A missing number goes to
    the right, as it does in the table."""
    for first in range(0, len(rows), block):
        last = min(first + block, len(rows))
        for tree in range(len(depths)):
            start, depth, output = starts[tree], depths[tree], outputs[tree]
            leaf = start + np.uint64(tree) + ONE - (ONE << np.uint64(depth))
            row = first
            while row + 4 <= last:
                a, b, c, d = NONE, NONE, NONE, NONE  # nodes, unsigned: others are looked at for being below 0
                for _ in range(depth):
                    left_a = rows[row, features[start + a]] <= thresholds[start + a]
                    left_b = rows[row + 1, features[start + b]] <= thresholds[start + b]
                    left_c = rows[row + 2, features[start + c]] <= thresholds[start + c]
                    left_d = rows[row + 3, features[start + d]] <= thresholds[start + d]
                    a, b = TWO * a + TWO - np.uint64(left_a), TWO * b + TWO - np.uint64(left_b)
                    c, d = TWO * c + TWO - np.uint64(left_c), TWO * d + TWO - np.uint64(left_d)
                sums[row, output] += leaves[leaf + a]
                sums[row + 1, output] += leaves[leaf + b]
                sums[row + 2, output] += leaves[leaf + c]
                sums[row + 3, output] += leaves[leaf + d]
                row += 4
            while row < last:
                a = NONE
                for _ in range(depth):
                    a = TWO * a + TWO - np.uint64(rows[row, features[start + a]] <= thresholds[start + a])
                sums[row, output] += leaves[leaf + a]
                row += 1
