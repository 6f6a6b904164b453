"""Boosted trees over parties: each level of a tree is one task, and what a party answers are sums over its rows.

    answer     mean over a party's rows, by node, feature and bin, of gradient and hessian        (2, nodes, F, BINS)
    split      largest gain G_l^2 / (H_l + l2) + G_r^2 / (H_r + l2) - G^2 / (H + l2)  (Chen and Guestrin 2016, 7)
    leaf       -shrinkage G / (H + l2), of the sums that chose the last split

Bins are cut where the study says, from its sample, so that no party shows values. Trees are full and as deep as the
study says; a node without a split that gains sends all rows to one side. All of it is one flat vector of parameters,
tree by tree: features and bins (2^depth - 1 each) in the order of levels, then 2^depth leaves.

Under a budget of records each level is one Gaussian mechanism on a party's sums: a row is in one cell of each feature,
so that one row more changes them by at most row_norm(), and every row is in every level.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float64, Task
from deepseek.nn.trees import LEAF, TreeTable
from deepseek.privacy.parties.inputs import InputRows
from deepseek.privacy.study.definition import Study
from deepseek.privacy.study.settings import TreeSettings

NO_SPLIT = -1
MOST_GRADIENT = 35.0  # of a value, in the study's scale


@dataclass(slots=True)
class MarginCache:
    """Scores of a party's rows by the trees that are done, kept from task to task."""

    digest: str = ""
    num_trees: int = 0
    margin: Float64 = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True, slots=True)
class TreeObjective:
    """The shape of the trees and what they minimize. Rows have bins (N, F) as inputs."""

    edges: tuple[tuple[float, ...], ...]  # of each feature, rising (inputs.bin_features)
    task: Task
    settings: TreeSettings
    shrinkage: float

    @classmethod
    def of(cls, study: Study) -> TreeObjective:
        trees = study.settings.model.trees or TreeSettings()
        return cls(study.tree_edges, study.task, trees, study.settings.rounds.lr)

    @property
    def num_nodes(self) -> int:
        """Inner nodes of one tree."""
        return (1 << self.settings.depth) - 1

    @property
    def tree_size(self) -> int:
        return 2 * self.num_nodes + self.num_nodes + 1

    @property
    def num_parameters(self) -> int:
        return self.settings.num_trees * self.tree_size

    @property
    def num_bins(self) -> int:
        return 1 + max((len(each) for each in self.edges), default=0)

    def initial(self, seed: int) -> Float64:
        """No splits and no leaves yet."""
        del seed
        parameters = np.zeros(self.num_parameters)
        for tree in range(self.settings.num_trees):
            self._features(parameters, tree)[:] = NO_SPLIT
        return parameters

    def answer_size(self, task: int | None) -> int:
        """B of a task, numbered from 1; None: of the largest."""
        level = self.settings.depth - 1 if task is None else self._place(task)[1]
        return 2 * (1 << level) * len(self.edges) * self.num_bins

    def margin(self, parameters: Float64, inputs: NDArray[Any], first_tree: int = 0, end: int | None = None) -> Float64:
        """Raw scores (N, 1) by some of the trees, all by default."""
        total = np.zeros(len(inputs))
        for tree in range(first_tree, self.settings.num_trees if end is None else end):
            node = self._descend(parameters, tree, inputs, self.settings.depth)
            total += self._leaves(parameters, tree)[node]
        return total[:, None]

    def probabilities(self, parameters: Float64, inputs: NDArray[Any]) -> Float64:
        """Class probabilities (N, 2), or values (N, 1) in the study's scale."""
        margin = self.margin(parameters, inputs)
        if self.task == "regression":
            return margin
        positive = 1 / (1 + np.exp(-np.clip(margin, -500, 500)))
        return np.concatenate([1 - positive, positive], axis=1)

    def row_norm(self, clip_norm: float) -> float:
        """The longest that one row's part in the sums of an answer is, with gradients within clip_norm (and within 1 of
        a class)."""
        is_class = self.task != "regression"
        gradient, hessian = (min(clip_norm, 1.0), 0.25) if is_class else (clip_norm, 1.0)
        return math.sqrt(len(self.edges) * (gradient**2 + hessian**2))

    def histograms(
        self, parameters: Float64, task: int, rows: InputRows, cache: MarginCache, clip_norm: float = math.inf
    ) -> Float64:
        """What a party answers: (B,) means over its rows, whose gradients are clipped to clip_norm."""
        tree, level = self._place(task)
        gradient, hessian = self._derivatives(self._cached_margin(parameters, tree, rows, cache), rows.target)
        gradient = np.clip(gradient, -clip_norm, clip_norm)
        node = self._descend(parameters, tree, rows.inputs, level)
        num_cells = (1 << level) * self.num_bins
        parts = np.zeros((2, len(self.edges), num_cells))
        for place in range(len(self.edges)):
            cell = node * self.num_bins + rows.inputs[:, place].astype(np.int64)
            parts[0, place] = np.bincount(cell, gradient, num_cells)
            parts[1, place] = np.bincount(cell, hessian, num_cells)
        by_node = parts.reshape(2, len(self.edges), 1 << level, self.num_bins).transpose(0, 2, 1, 3)
        return np.asarray(by_node.ravel() / len(rows), np.float64)

    def grow(self, parameters: Float64, task: int, means: Float64) -> Float64:
        """The parameters after a task whose answers have the mean (B,): one level more of a tree."""
        tree, level = self._place(task)
        gradient, hessian = means.reshape(2, 1 << level, len(self.edges), self.num_bins)
        grown = parameters.copy()
        start = (1 << level) - 1
        for node in range(1 << level):
            feature, place = self._best_split(gradient[node], hessian[node])
            self._features(grown, tree)[start + node] = feature
            self._bins(grown, tree)[start + node] = place
            if level == self.settings.depth - 1:
                left, right = self._leaf_values(gradient[node], hessian[node], feature, place)
                self._leaves(grown, tree)[2 * node], self._leaves(grown, tree)[2 * node + 1] = left, right
        return grown

    def table(self, parameters: Float64) -> TreeTable:
        """All trees over prepared features (N, F), in the format of bundles."""
        features: list[int] = []
        thresholds: list[float] = []
        lefts: list[int] = []
        rights: list[int] = []
        roots: list[int] = []
        leaves: list[float] = []
        for tree in range(self.settings.num_trees):
            roots.append(len(features))
            for each in self._preorder(parameters, tree):
                node = len(features)
                features.append(LEAF if each.is_leaf else each.feature)
                thresholds.append(0.0 if each.is_leaf else self.edges[each.feature][each.bin])
                lefts.append(len(leaves) if each.is_leaf else node + 1)
                rights.append(0 if each.is_leaf else node + each.right)
                if each.is_leaf:
                    leaves.append(each.value)
        num_trees = self.settings.num_trees
        return TreeTable(
            roots=np.array(roots, np.int32), output=np.zeros(num_trees, np.int32),
            feature=np.array(features, np.int32), threshold=np.array(thresholds, np.float32),
            left=np.array(lefts, np.int32), right=np.array(rights, np.int32),
            cover=np.ones(len(features), np.float32), leaves=np.array(leaves, np.float32)[:, None], bias=np.zeros(1),
        )  # fmt: skip

    def _place(self, task: int) -> tuple[int, int]:
        """Tree and level of a task, numbered from 1."""
        return divmod(task - 1, self.settings.depth)

    def _features(self, parameters: Float64, tree: int) -> Float64:
        return parameters[tree * self.tree_size :][: self.num_nodes]

    def _bins(self, parameters: Float64, tree: int) -> Float64:
        return parameters[tree * self.tree_size + self.num_nodes :][: self.num_nodes]

    def _leaves(self, parameters: Float64, tree: int) -> Float64:
        return parameters[tree * self.tree_size + 2 * self.num_nodes :][: self.num_nodes + 1]

    def _descend(self, parameters: Float64, tree: int, inputs: NDArray[Any], levels: int) -> NDArray[np.int64]:
        """In which node of a level each row is (N,), from the left. Without a split every row goes left."""
        features, bins = self._features(parameters, tree).astype(np.int64), self._bins(parameters, tree)
        node, rows = np.zeros(len(inputs), np.int64), np.arange(len(inputs))
        for level in range(levels):
            place = (1 << level) - 1 + node
            goes_right = (features[place] != NO_SPLIT) & (inputs[rows, np.maximum(features[place], 0)] > bins[place])
            node = 2 * node + goes_right
        return node

    def _cached_margin(self, parameters: Float64, num_trees: int, rows: InputRows, cache: MarginCache) -> Float64:
        """Scores (N,) of rows by the first trees, of which the cache has those that were asked for before."""
        prefix = parameters[: cache.num_trees * self.tree_size]
        if len(cache.margin) != len(rows) or _digest(prefix) != cache.digest or cache.num_trees > num_trees:
            cache.margin, cache.num_trees = np.zeros(len(rows)), 0
        cache.margin = cache.margin + self.margin(parameters, rows.inputs, cache.num_trees, num_trees)[:, 0]
        cache.num_trees, cache.digest = num_trees, _digest(parameters[: num_trees * self.tree_size])
        return cache.margin

    def _derivatives(self, margin: Float64, target: NDArray[Any]) -> tuple[Float64, Float64]:
        """Gradient and hessian (N,) of each row's loss."""
        if self.task == "regression":
            return np.clip(margin - target, -MOST_GRADIENT, MOST_GRADIENT), np.ones(len(margin))
        positive = 1 / (1 + np.exp(-np.clip(margin, -500, 500)))
        return positive - target, positive * (1 - positive)

    def _best_split(self, gradient: Float64, hessian: Float64) -> tuple[int, int]:
        """Feature and bin (F, BINS) after which rows go right, or NO_SPLIT where none gains."""
        if not gradient.size:
            return NO_SPLIT, 0
        left_g, left_h = np.cumsum(gradient, axis=1)[:, :-1], np.cumsum(hessian, axis=1)[:, :-1]
        total_g, total_h = gradient.sum(axis=1, keepdims=True), hessian.sum(axis=1, keepdims=True)
        right_g, right_h = total_g - left_g, total_h - left_h
        l2, least = self.settings.l2, self.settings.min_hessian
        gain = left_g**2 / (left_h + l2) + right_g**2 / (right_h + l2) - total_g**2 / (total_h + l2)
        gain = np.where((left_h >= least) & (right_h >= least), gain, 0.0)
        if not gain.size or gain.max() <= self.settings.min_gain:
            return NO_SPLIT, 0
        feature, place = np.unravel_index(int(gain.argmax()), gain.shape)
        return int(feature), int(place)

    def _leaf_values(self, gradient: Float64, hessian: Float64, feature: int, place: int) -> tuple[float, float]:
        """Of the two children of a node."""
        if not gradient.size:
            return 0.0, 0.0
        row = max(feature, 0)
        end = place + 1 if feature != NO_SPLIT else gradient.shape[1]
        sums = [(each[row][:end].sum(), each[row][end:].sum()) for each in (gradient, hessian)]
        left, right = (-self.shrinkage * g / (h + self.settings.l2) for g, h in zip(*sums, strict=True))
        return float(left), float(right)

    def _preorder(self, parameters: Float64, tree: int) -> list[_Node]:
        """The nodes of a tree, each before those below it; a node without a split is left out."""
        features, bins = self._features(parameters, tree).astype(np.int64), self._bins(parameters, tree)
        leaves = self._leaves(parameters, tree)

        def below(level: int, node: int) -> list[_Node]:
            if level == self.settings.depth:
                return [_Node(NO_SPLIT, 0, float(leaves[node]), is_leaf=True)]
            place = (1 << level) - 1 + node
            left = below(level + 1, 2 * node)
            if features[place] == NO_SPLIT:
                return left
            own = _Node(int(features[place]), int(bins[place]), 0.0, is_leaf=False, right=1 + len(left))
            return [own, *left, *below(level + 1, 2 * node + 1)]

        return below(0, 0)


@dataclass(frozen=True, slots=True)
class _Node:
    feature: int
    bin: int
    value: float  # of a leaf
    is_leaf: bool
    right: int = 0  # how many nodes further the right child stands


def _digest(parameters: Float64) -> str:
    return hashlib.sha256(parameters.tobytes()).hexdigest()
