"""Decision trees as flat arrays: one form for gradient boosting and forests, whatever library grew them.

Node i goes left when x[feature[i]] <= threshold[i], compared in float32. A leaf has feature -1, and left[i] is then its
row in `leaves`. Children are numbered within the whole table, so no offset arithmetic is needed while walking.

`output` says which margin a tree adds to: k for a tree with one number per leaf, ALL for a tree whose leaves hold one
number per margin (the forests of scikit-learn).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float32, Float64

ALL = -1
LEAF = -1


@dataclass(frozen=True, slots=True)
class TreeTable:
    """T trees, M nodes, L leaves of width W (W = K when output is ALL, else 1)."""

    roots: NDArray[np.int32]  # (T,) index of each tree's root; a tree's nodes lie together, root first
    output: NDArray[np.int32]  # (T,) the margin that a tree adds to, or ALL
    feature: NDArray[np.int32]  # (M,)
    threshold: NDArray[np.float32]  # (M,)
    left: NDArray[np.int32]  # (M,)
    right: NDArray[np.int32]  # (M,)
    cover: NDArray[np.float32]  # (M,) training weight that reached the node, for TreeSHAP
    leaves: NDArray[np.float32]  # (L, W)
    bias: Float64  # (K,) added to the sum of the trees

    @property
    def num_trees(self) -> int:
        return len(self.roots)

    def bounds(self) -> list[tuple[int, int]]:
        """First node and end of each tree."""
        ends = [*self.roots[1:].tolist(), len(self.feature)]
        return list(zip(self.roots.tolist(), ends, strict=True))

    def margin(self, features: Float32) -> Float64:
        """Raw scores (N, K) for features (N, F): the slow twin of every tree engine.

        >>> stump = TreeTable(*(np.array(a, d) for a, d in [
        ...     ([0], "i4"), ([0], "i4"), ([0, -1, -1], "i4"), ([0.5, 0, 0], "f4"), ([1, 0, 1], "i4"),
        ...     ([2, 0, 0], "i4"), ([4, 3, 1], "f4"), ([[-1.0], [2.0]], "f4"), ([0.25], "f8")]))
        >>> stump.margin(np.array([[0.5], [0.6]], np.float32)).tolist()
        [[-0.75], [2.25]]
        """
        total = np.tile(self.bias, (len(features), 1))
        rows = np.arange(len(features))
        for root, output in zip(self.roots, self.output, strict=True):
            node = np.full(len(features), root)
            while True:
                inner = self.feature[node] != LEAF
                if not inner.any():
                    break
                goes_left = features[rows, np.maximum(self.feature[node], 0)] <= self.threshold[node]
                node = np.where(inner, np.where(goes_left, self.left[node], self.right[node]), node)
            values = self.leaves[self.left[node]]
            if output == ALL:
                total += values
            else:
                total[:, output] += values[:, 0]
        return total

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The table by name, ready for safetensors."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[np.generic]]) -> TreeTable:
        """The inverse of arrays(). A walk that would leave the table or never end is refused."""
        table = cls(**{name: arrays[name] for name in cls.__dataclass_fields__})  # type: ignore[arg-type]
        table.check()
        return table

    def check(self) -> None:
        """Raise ValueError unless every child lies behind its parent and every leaf inside `leaves`."""
        index = np.arange(len(self.feature))
        inner = self.feature != LEAF
        for side in (self.left, self.right):
            if not ((side[inner] > index[inner]) & (side[inner] < len(index))).all():
                raise ValueError("a node of the tree table points outside its tree")
        leaf = self.left[~inner]
        if len(leaf) and not ((leaf >= 0) & (leaf < len(self.leaves))).all():
            raise ValueError("a leaf of the tree table points outside the leaf values")


def concat(tables: list[TreeTable], weights: list[float]) -> TreeTable:
    """One table whose margin is the weighted sum of the margins of `tables` (all of equal width)."""
    nodes = np.cumsum([0] + [len(t.feature) for t in tables])
    rows = np.cumsum([0] + [len(t.leaves) for t in tables])

    def children(table: TreeTable, side: NDArray[np.int32], at: int) -> NDArray[np.int32]:
        inner = table.feature != LEAF
        return np.where(inner, side + nodes[at], side + (rows[at] if side is table.left else 0)).astype(np.int32)

    return TreeTable(
        roots=np.concatenate([t.roots + nodes[i] for i, t in enumerate(tables)]).astype(np.int32),
        output=np.concatenate([t.output for t in tables]),
        feature=np.concatenate([t.feature for t in tables]),
        threshold=np.concatenate([t.threshold for t in tables]),
        left=np.concatenate([children(t, t.left, i) for i, t in enumerate(tables)]),
        right=np.concatenate([children(t, t.right, i) for i, t in enumerate(tables)]),
        cover=np.concatenate([t.cover for t in tables]),
        leaves=np.concatenate([t.leaves * np.float32(w) for t, w in zip(tables, weights, strict=True)]),
        bias=np.sum([t.bias * w for t, w in zip(tables, weights, strict=True)], axis=0),
    )
