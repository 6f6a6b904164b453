"""Exact TreeSHAP of trees of any depth: a walk down and up, level by level, for many trees and rows at once.

    walk = TreeWalk(table, margin, column_of=column_of)
    values, base, score = walk.explain(features)            (N, P), (N,), (N,)
    pairs = walk.interactions(features)                     (N, P, P)

With z_u the share of training weight that a leaf's path leaves to column u, and o_u = 1 where the row agrees with all
that the path asks of u, else 0, a leaf v gives

    phi_u = v * integral over s in 0..1 of (o_u - z_u) * product over w != u of f_w(s),   f_w(s) = s o_w + (1 - s) z_w

(Owen's form of the Shapley value). Gauss-Legendre gives the integral of this polynomial exactly, and all factors are
positive: nothing is subtracted that was added before, as where paths are unwound (Lundberg's algorithm 2, which loses
the digits of float32 in trees a few dozen levels deep). On the way down each edge multiplies the product by what it
changes of its column's factor; on the way up the sums H_e of leaves below it give the edge its part,

    phi_u += integral of H_e (r_e - r_before),   r = (o - z) / f, of the same column's last edge before: 0 at the first

(Yu et al. 2022, arXiv 2209.08192, has the telescope and other polynomials). It takes time in proportion to the nodes
and half the columns of a path; float64 throughout.

Shapes: N rows, F features, P columns, M nodes of a group of trees, n nodes of a level, Q points of the integral.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float32, Float64
from deepseek.cores import num_cores
from deepseek.nn.trees import ALL_MARGINS, LEAF, TreeTable

MAX_GROUP_NODES = 1 << 16  # of trees that are walked together; more only where one tree has more
MAX_CELLS = 1 << 20  # nodes times rows times points in memory at once: two arrays of 8 MB


@dataclass(frozen=True, slots=True)
class TreeLevel:
    """The nodes of a group of trees at one depth: left children of the level above, then its right children."""

    start: int  # number of its first node within the group
    weight: Float64  # (n,) z of the edge above: what its path up to here leaves to the column that it asks
    before: NDArray[np.int32]  # (n,) the last edge above that asks the same column; M for none
    inner: NDArray[np.int32]  # places of inner nodes within the level
    feature: NDArray[np.int32]  # of those
    threshold: Float32
    leaf: NDArray[np.int32]  # places of leaves within the level
    value: Float64  # of those


@dataclass(frozen=True, slots=True)
class TreeGroup:
    """Trees that are walked together."""

    levels: tuple[TreeLevel, ...]
    weight: Float64  # (M + 1,) of all edges, and 1 for none
    order: NDArray[np.int64]  # edges by their column
    starts: NDArray[np.int64]  # where each of `columns` begins there
    columns: NDArray[np.int64]
    column: NDArray[np.int64]  # (M,) asked by the edge above a node; -1 for roots
    num_points: int
    base: float

    @property
    def num_nodes(self) -> int:
        return len(self.column)


@dataclass(frozen=True, slots=True)
class QuadraturePoints:
    """Points and weights of the quadrature, (Q, 1) each."""

    place: Float64
    rest: Float64  # 1 - place
    weight: Float64


class TreeWalk:
    """One margin of a table of trees. Safe to share between threads. `num_threads` is for one call; 0 means all cores.

    `column_of` (F,): the column that owns each feature.
    """

    def __init__(self, table: TreeTable, margin: int, *, column_of: NDArray[np.int64], num_threads: int = 1) -> None:
        self._num_columns = int(column_of.max()) + 1
        self._num_threads = num_threads or num_cores()
        self._bias = float(table.bias[margin])
        values = table.leaves[:, margin if table.leaves.shape[1] > 1 else 0].astype(np.float64)
        trees = np.flatnonzero((table.output == ALL_MARGINS) | (table.output == margin))
        self._groups = [_build_group(table, some, column_of, values) for some in _group_trees(table, trees)]
        self._base = self._bias + sum(group.base for group in self._groups)

    def explain(self, features: Float32) -> tuple[Float64, Float64, Float64]:
        """Values (N, P), expected values (N,) and scores (N,) of features (N, F)."""
        rows = np.ascontiguousarray(features, np.float32)
        sums = np.zeros((len(rows), self._num_columns + 1))  # the score last
        sums[:, -1] = self._bias
        for group_sums in self._map_groups(lambda group: _explain_group(group, rows, self._num_columns)):
            sums += group_sums
        return sums[:, :-1], np.full(len(rows), self._base), sums[:, -1]

    def interactions(self, features: Float32) -> Float64:
        """SHAP interaction values (N, P, P) of features (N, F): half of what two columns add together in the two places
        of a pair, on the diagonal what is left of a column's value (Lundberg et al. 2020, section 4)."""
        rows = np.ascontiguousarray(features, np.float32)
        width = self._num_columns
        pairs = np.zeros((len(rows), width, width))
        for column in range(width):
            some = [group for group in self._groups if column in group.columns]
            for group in some:
                pairs[:, column] += _explain_group(group, rows, width, fixed=column)[:, :-1] / 2
        diagonal = np.arange(width)
        pairs[:, diagonal, diagonal] = self.explain(rows)[0] - pairs.sum(axis=2)
        return pairs

    def _map_groups(self, work: Callable[[TreeGroup], Float64]) -> Iterator[Float64]:
        """`work` of every group, in their order."""
        if self._num_threads == 1 or len(self._groups) < 2:
            yield from map(work, self._groups)
            return
        with ThreadPoolExecutor(self._num_threads) as pool:
            yield from pool.map(work, self._groups)


def _group_trees(table: TreeTable, trees: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Indices of trees, in groups of at most MAX_GROUP_NODES nodes."""
    size = np.diff([*table.roots.tolist(), len(table.feature)])[trees]
    start = num_nodes = 0
    for place, nodes in enumerate(size.tolist()):
        if place > start and num_nodes + nodes > MAX_GROUP_NODES:
            yield trees[start:place]
            start, num_nodes = place, 0
        num_nodes += nodes
    if len(trees):
        yield trees[start:]


def _build_group(
    table: TreeTable, trees: NDArray[np.int64], column_of: NDArray[np.int64], values: Float64
) -> TreeGroup:
    """Some trees of a table, level by level. `values` are those of its leaves."""
    nodes, share, reach = table.roots[trees].astype(np.int64), np.ones(len(trees)), np.ones(len(trees))
    column, parent = np.full(len(trees), -1), np.full(len(trees), -1)
    stages, start, base = [], 0, 0.0
    while len(nodes):
        is_leaf = table.feature[nodes] == LEAF
        inner, leaf = np.flatnonzero(~is_leaf), np.flatnonzero(is_leaf)
        asks = nodes[inner]
        value = values[table.left[nodes[leaf]]]
        base += float(reach[leaf] @ value)
        stages.append((start, share, column, parent, inner, asks, leaf, value))
        nodes = np.concatenate([table.left[asks], table.right[asks]]).astype(np.int64)
        cover = np.tile(table.cover[asks].astype(np.float64), 2)
        share = np.divide(table.cover[nodes], cover, out=np.zeros(len(nodes)), where=cover > 0)
        reach = np.tile(reach[inner], 2) * share
        column, parent = np.tile(column_of[table.feature[asks]], 2), np.tile(start + inner, 2)
        start += len(is_leaf)
    columns, parents = (np.concatenate([each[place] for each in stages]) for place in (2, 3))
    before = _previous_edges(columns, parents)
    weight, num_asked = np.ones(start + 1), np.zeros(start + 1, np.int64)
    for first, share, *_ in stages[1:]:
        level = slice(first, first + len(share))
        weight[level] = share * weight[before[level]]
        num_asked[level] = num_asked[parents[level]] + (before[level] == start)
    levels = tuple(
        TreeLevel(
            first, weight[first : first + len(share)], before[first : first + len(share)], inner.astype(np.int32),
            table.feature[asks], table.threshold[asks], leaf.astype(np.int32), value,
        )
        for first, share, _, _, inner, asks, leaf, value in stages
    )  # fmt: skip
    order = np.argsort(columns, kind="stable")[len(trees) :]  # roots have no edge above
    asked_columns, starts = np.unique(columns[order], return_index=True)
    return TreeGroup(levels, weight, order, starts, asked_columns, columns, max(1, int(num_asked.max() + 1) // 2), base)


def _previous_edges(columns: NDArray[np.int64], parents: NDArray[np.int64]) -> NDArray[np.int32]:
    """The last edge above each that asks the same column (M,); M for none."""
    before = parents.copy()
    going = np.flatnonzero(before >= 0)
    while len(going := going[columns[before[going]] != columns[going]]):
        before[going] = parents[before[going]]
        going = going[before[going] >= 0]
    return np.where(before < 0, len(before), before).astype(np.int32)


def _explain_group(group: TreeGroup, rows: Float32, num_columns: int, *, fixed: int | None = None) -> Float64:
    """Values (N, P + 1) that a group's trees add to each column, and to the score. With a `fixed` column: what
    knowing it adds to the values of the others, and nothing to the score."""
    place, weight = np.polynomial.legendre.leggauss(group.num_points)
    num_rows = max(1, MAX_CELLS // (group.num_nodes * group.num_points))
    num_points = max(1, MAX_CELLS // group.num_nodes)
    sums = np.zeros((len(rows), num_columns + 1))
    for start in range(0, len(rows), num_rows):
        some = slice(start, start + num_rows)
        for first in range(0, group.num_points, num_points):
            at = slice(first, first + num_points)
            points = QuadraturePoints((1 + place[at, None]) / 2, (1 - place[at, None]) / 2, weight[at, None] / 2)
            edges, score = _walk_group(group, rows[some], points, fixed)
            if len(group.columns):
                sums[some, group.columns] += np.add.reduceat(edges[:, group.order], group.starts, axis=1)
            if first == 0:
                sums[some, -1] = score
    return sums


def _walk_group(
    group: TreeGroup, rows: Float32, points: QuadraturePoints, fixed: int | None
) -> tuple[Float64, Float64]:
    """Walk trees down and up: (values (N, M) of edges for their columns, score (N,) of the leaves reached)."""
    num_rows, num_points, num_nodes = len(rows), len(points.place), group.num_nodes
    agreed = np.ones((num_rows, num_nodes + 1), np.bool_)  # o of every edge, true for none
    product = np.ones((num_points, num_rows, len(group.levels[0].weight)))
    reached = np.ones((num_rows, len(group.levels[0].weight)), np.bool_)
    known = np.zeros((num_rows, len(group.levels[0].weight)))  # of the fixed column: o - z
    slopes, sums, score = [], [], np.zeros(num_rows)
    for number, level in enumerate(group.levels):
        size = len(level.weight)
        if number:
            above = group.levels[number - 1]
            goes_left = rows[:, above.feature] <= above.threshold
            agrees = np.concatenate([goes_left, ~goes_left], axis=1)
            was = agreed.take(level.before, axis=1)
            agreed[:, level.start : level.start + size] = is_on = agrees & was
            own = group.column[level.start : level.start + size] == fixed if fixed is not None else None
            ratio, slope = _edge_factors(level, group.weight, points, was, is_on, own)
            product = _repeat_for_children(product, above.inner) * ratio
            reached = _repeat_for_children(reached, above.inner) & agrees
            if own is not None:
                known = np.where(own, is_on - level.weight, _repeat_for_children(known, above.inner))
            slopes.append(slope)
        score += reached[:, level.leaf] @ level.value
        leaves = product.take(level.leaf, axis=2) * level.value
        sums.append(np.empty((num_points, num_rows, size)))
        sums[-1][..., level.leaf] = leaves if fixed is None else leaves * known[:, level.leaf]
    edges = np.zeros((num_rows, num_nodes))
    for level, above, slope in zip(group.levels[:0:-1], group.levels[-2::-1], slopes[::-1], strict=True):
        below = sums.pop()
        size = len(level.weight)
        edges[:, level.start : level.start + size] = np.einsum("qrn,qrn->rn", below, slope)
        sums[-1][..., above.inner] = below[..., : size // 2] + below[..., size // 2 :]
    return edges, score


def _repeat_for_children(array: NDArray[Any], inner: NDArray[np.int32]) -> NDArray[Any]:
    """Values of inner nodes repeated for their left children and then for their right ones."""
    some = array.take(inner, axis=-1)
    return np.concatenate([some, some], axis=-1)


def _edge_factors(
    level: TreeLevel, weights: Float64, points: QuadraturePoints, was: NDArray[np.bool_], is_on: NDArray[np.bool_],
    own: NDArray[np.bool_] | None,
) -> tuple[Float64, Float64]:  # fmt: skip
    """(by what each edge multiplies the product, r_e - r_before with the weights of the integral), (Q, N, n) each.

    `was` and `is_on` (N, n): o of the edge before and of this one. `own` (n,): edges of the fixed column, whose factor
    is left out.
    """
    is_first, before = level.before == len(weights) - 1, weights[level.before]
    factor = points.place + points.rest * level.weight
    inverse = 1 / np.where(is_first, 1.0, points.place + points.rest * before)
    start = np.where(is_first, 0.0, (1 - before) * inverse)
    share = np.divide(level.weight, before, out=np.zeros_like(before), where=before > 0)
    on, off = factor * inverse, points.rest * level.weight * inverse
    slope_on = points.weight * ((1 - level.weight) / factor - start)
    slope_off = points.weight * (-1 / points.rest - start)
    if own is not None:
        on, off, share = np.where(own, 1.0, on), np.where(own, 1.0, off), np.where(own, 1.0, share)
        slope_on, slope_off = np.where(own, 0.0, slope_on), np.where(own, 0.0, slope_off)
    ratio = np.where(is_on, on[:, None], np.where(was, off[:, None], share))
    return ratio, np.where(is_on, slope_on[:, None], np.where(was, slope_off[:, None], 0.0))
