"""Decision trees as flat arrays: one format for gradient boosting and forests of any library.

Node i goes left when x[feature[i]] <= threshold[i], compared in float32. A leaf has feature -1, and left[i] is then its
row in `leaves`. Children are numbered within the whole table, so no offset arithmetic is needed while walking.

`output` says which margin a tree adds to: k for a tree with one number per leaf, ALL_MARGINS for a tree whose leaves
hold one number per margin (the forests of scikit-learn).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float32, Float64

ALL_MARGINS = -1
LEAF = -1


@dataclass(frozen=True, slots=True)
class TreeTable:
    """T trees, M nodes, L leaves of width W (W = K when output is ALL_MARGINS, else 1)."""

    roots: NDArray[np.int32]  # (T,) index of each tree's root; a tree's nodes lie together, root first
    output: NDArray[np.int32]  # (T,) the margin that a tree adds to, or ALL_MARGINS
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
        """(first node, end) of each tree."""
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
            if output == ALL_MARGINS:
                total += values
            else:
                total[:, output] += values[:, 0]
        return total

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The table by name for safetensors, without what follows from the rest and in the narrowest types that hold
        it: nodes lie in preorder, so a left child is the next node and leaves are numbered as they come."""
        table = self.in_preorder()
        inner = table.feature != LEAF
        node = np.arange(len(inner))
        filled = table.leaves != 0
        return {
            "roots": _narrow_integers(table.roots),
            "output": _narrow_integers(table.output),
            "feature": _narrow_integers(table.feature),
            "threshold": table.threshold[inner],
            "skip": _narrow_integers((table.right - node)[inner]),
            "cover": _narrow_integers(table.cover),
            "leaf_width": np.array([table.leaves.shape[1]], np.int32),
            "leaf_filled": np.packbits(filled),
            "leaf_values": table.leaves[filled],
            "bias": table.bias,
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[np.generic]]) -> TreeTable:
        """The inverse of arrays(). A walk that would leave the table or never end is refused."""
        feature = np.asarray(arrays["feature"], np.int32)
        inner = feature != LEAF
        node = np.arange(len(feature))
        right = np.zeros(len(feature), np.int32)
        right[inner] = node[inner] + np.asarray(arrays["skip"], np.int64)
        threshold = np.zeros(len(feature), np.float32)
        threshold[inner] = arrays["threshold"]
        shape = (int((~inner).sum()), int(np.asarray(arrays["leaf_width"], np.int64)[0]))
        leaves = np.zeros(shape, np.float32)
        filled = np.unpackbits(np.asarray(arrays["leaf_filled"], np.uint8), count=leaves.size).astype(bool)
        leaves[filled.reshape(shape)] = arrays["leaf_values"]
        table = cls(
            roots=np.asarray(arrays["roots"], np.int32),
            output=np.asarray(arrays["output"], np.int32),
            feature=feature,
            threshold=threshold,
            left=np.where(inner, node + 1, np.cumsum(~inner) - 1).astype(np.int32),
            right=right,
            cover=np.asarray(arrays["cover"], np.float32),
            leaves=leaves,
            bias=np.asarray(arrays["bias"], np.float64),
        )
        table.check()
        return table

    def in_preorder(self) -> TreeTable:
        """The same trees with each left child right behind its parent and leaves in the order of their nodes."""
        inner = self.feature != LEAF
        index = np.arange(len(inner))
        if np.array_equal(self.left, np.where(inner, index + 1, np.cumsum(~inner) - 1)):
            return self
        order: list[int] = []
        stack = self.roots.tolist()[::-1]
        while stack:
            node = stack.pop()
            order.append(node)
            if inner[node]:
                stack += [int(self.right[node]), int(self.left[node])]
        old_index = np.array(order)
        new_index = np.empty(len(inner), np.int64)
        new_index[old_index] = index[: len(old_index)]
        leaf = ~inner[old_index]
        return replace(
            self,
            roots=new_index[self.roots].astype(np.int32),
            feature=self.feature[old_index],
            threshold=self.threshold[old_index],
            left=np.where(leaf, np.cumsum(leaf) - 1, index[: len(old_index)] + 1).astype(np.int32),
            right=np.where(leaf, 0, new_index[self.right[old_index]]).astype(np.int32),
            cover=self.cover[old_index],
            leaves=self.leaves[self.left[old_index][leaf]],
        )

    def check(self) -> None:
        """Raise ValueError unless every child lies behind its parent, every leaf inside `leaves`, and every root,
        margin and feature is one that can be."""
        index = np.arange(len(self.feature))
        num_margins = len(self.bias)
        if not (len(self.roots) == len(self.output) and (np.diff(self.roots) > 0).all()):
            raise ValueError("the roots of the tree table do not rise, or have no outputs")
        if len(self.roots) and not (self.roots[0] == 0 and self.roots[-1] < len(index)):
            raise ValueError("a root of the tree table points outside its nodes")
        if not ((self.output >= ALL_MARGINS) & (self.output < num_margins)).all() or (self.feature < LEAF).any():
            raise ValueError("the tree table names a margin or a feature that cannot be")
        if (self.output == ALL_MARGINS).any() and self.leaves.shape[1] != num_margins:
            raise ValueError("the leaves of the tree table are not one number per margin")
        inner = self.feature != LEAF
        for side in (self.left, self.right):
            if not ((side[inner] > index[inner]) & (side[inner] < len(index))).all():
                raise ValueError("a node of the tree table points outside its tree")
        leaf = self.left[~inner]
        if len(leaf) and not ((leaf >= 0) & (leaf < len(self.leaves))).all():
            raise ValueError("a leaf of the tree table points outside the leaf values")


def _narrow_integers(array: NDArray[Any]) -> NDArray[Any]:
    """The array in the narrowest integer dtype that holds every value, else unchanged."""
    for kind in (np.int8, np.uint8, np.int16, np.uint16, np.int32):
        with np.errstate(invalid="ignore"):
            narrowed = array.astype(kind)
        if np.array_equal(narrowed, array):
            return narrowed
    return array
