"""Exact TreeSHAP of shallow trees by looking it up: what leaves give each column depends on few yes and no.

    tables = LeafTables(table, margin, column_of=column_of)
    values, base, score = tables.explain(features)          (N, P), (N,), (N,)

A leaf at depth d is reached by d answers, so a row can agree or disagree with its path in 2^d ways; for each of them
the Shapley values of the columns on the path are computed once (Fast TreeSHAP v2: Yang 2021, arXiv 2109.09847, section
3.3). Leaves below one node share most of their path, so those of up to MAX_BUNCH_NODES nodes are looked up together. A
row then costs one product of matrices to number its ways, a look-up for each bunch, and one product to sum by column.

The values are those of Lundberg et al. 2020, algorithm 2: for a leaf v whose path asks column u with the share z_u of
training weight, and a row that agrees (o_u = 1) or not (0),

    phi_u = v (o_u - z_u) * integral over s in 0..1 of the product over w != u of (s o_w + (1 - s) z_w)

(Owen's form of the Shapley value), a polynomial whose integral Gauss-Legendre gives exactly.

Shapes: N rows, F features, P columns, T trees, I inner nodes and B bunches of the largest tree, K nodes of the largest
bunch (those above it, too), W = 2^K ways, L leaves of a tree.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float32, Float64
from deepseek.nn.trees import ALL_MARGINS, LEAF, TreeTable

MAX_BUNCH_NODES = 3  # inner nodes; 7 would take 8 times the memory
MAX_TABLE_BYTES = 1 << 27  # that tables may take; deeper trees need another way
ROWS_PER_STEP, ROW_TREES_PER_STEP = (
    256,
    2048,
)  # rows of one step, and rows times trees: what is in between stays in the cache
_TINY = 1e-300  # so that nothing is divided by zero: what it would be multiplied by is 0


@dataclass(frozen=True, slots=True)
class PathStep:
    """One node on the way to a leaf."""

    node: int
    left: bool
    share: float  # of the node's training weight that goes this way


class TableShape:
    """How the trees of one margin fall into bunches, and so what their tables take."""

    def __init__(self, table: TreeTable, margin: int) -> None:
        self.trees = np.flatnonzero((table.output == ALL_MARGINS) | (table.output == margin))
        levels = [table.roots[self.trees]]
        while len(inner := levels[-1][table.feature[levels[-1]] != LEAF]):
            levels.append(np.concatenate([table.left[inner], table.right[inner]]))
        self.size = np.zeros(len(table.feature), np.int64)  # (M,) inner nodes from a node on
        for level in reversed(levels):
            inner = level[table.feature[level] != LEAF]
            self.size[inner] = 1 + self.size[table.left[inner]] + self.size[table.right[inner]]
        tops, tree = levels[0], np.arange(len(self.trees))
        counts, self.num_nodes = np.zeros(len(self.trees), np.int64), 1
        for depth in range(len(levels)):
            small = self.size[tops] <= MAX_BUNCH_NODES
            np.add.at(counts, tree[small], 1)
            self.num_nodes = max(self.num_nodes, depth + int(self.size[tops[small]].max(initial=0)))
            split = tops[~small]
            tops, tree = np.concatenate([table.left[split], table.right[split]]), np.tile(tree[~small], 2)
        self.num_bunches = int(counts.max(initial=1))
        self.num_inner = max(1, int(self.size[levels[0]].max(initial=1)))

    def num_bytes(self, num_columns: int) -> int:
        each = (1 << min(self.num_nodes, 60)) + num_columns + 1
        return 4 * len(self.trees) * self.num_bunches * (self.num_nodes + 1) * each


class LeafTables:
    """One margin of a table of trees. Safe to share between threads. `column_of` (F,): the column that owns each
    feature."""

    def __init__(
        self, table: TreeTable, margin: int, *, column_of: NDArray[np.int64], shape: TableShape | None = None
    ) -> None:
        shape = shape or TableShape(table, margin)
        num_trees, num_bunches, num_nodes = len(shape.trees), shape.num_bunches, shape.num_nodes
        self._column_of, self._num_columns = column_of, int(column_of.max()) + 1
        self._feature = np.zeros((num_trees, shape.num_inner), np.int64)
        self._threshold = np.zeros((num_trees, shape.num_inner), np.float32)
        # The number of a row's way in each bunch: the sum of these over the nodes where it goes left.
        self._places = np.zeros((num_trees, shape.num_inner, num_bunches), np.float32)
        # What a way gives to the columns of its bunch, and which those are. The last is none: it is the score.
        self._given: Float32 = np.zeros((num_trees, num_bunches, 1 << num_nodes, num_nodes + 1), np.float32)
        self._owner: Float32 = np.zeros((num_trees, num_bunches, num_nodes + 1, self._num_columns + 1), np.float32)
        self._owner[..., -1, -1] = 1.0
        self._bias = self._base = float(table.bias[margin])
        leaves = table.leaves[:, margin if table.leaves.shape[1] > 1 else 0].astype(np.float64)
        for place, tree in enumerate(shape.trees):
            self._enter(table, place, int(table.roots[tree]), shape, leaves)
        self._start = (np.arange(num_trees * num_bunches) << num_nodes).reshape(num_trees, 1, num_bunches)
        self._given = self._given.reshape(-1, num_nodes + 1)
        self._owner = self._owner.reshape(num_trees, -1, self._num_columns + 1)

    def _enter(self, table: TreeTable, tree: int, root: int, shape: TableShape, leaves: Float64) -> None:
        """Fill in what belongs to one tree."""
        rank: dict[int, int] = {}  # of its inner nodes
        num_nodes, bunches = shape.num_nodes, _bunch_paths(table, root, shape.size)
        paths = [path for bunch in bunches for path in bunch]
        shares, sides = np.ones((len(paths), num_nodes)), np.zeros((len(paths), num_nodes), np.int8)
        asks = np.zeros((len(paths), num_nodes, num_nodes), np.float32)
        leaf = 0
        for at, bunch in enumerate(bunches):
            nodes = list(dict.fromkeys(step.node for path in bunch for step in path))
            owners = self._column_of[table.feature[nodes]].tolist()  # by each node
            columns = list(dict.fromkeys(owners))
            self._owner[tree, at, np.arange(len(columns)), columns] = 1.0
            for number, node in enumerate(nodes):
                self._places[tree, rank.setdefault(node, len(rank)), at] = 1 << number
            for path in bunch:
                for step in path:
                    number = nodes.index(step.node)
                    own = columns.index(owners[number])
                    sides[leaf, number] = 1 if step.left else -1
                    shares[leaf, own] *= step.share
                    asks[leaf, number, own] = 1.0
                leaf += 1
        order = list(rank)
        self._feature[tree, : len(order)], self._threshold[tree, : len(order)] = (
            table.feature[order], table.threshold[order],
        )  # fmt: skip
        values = leaves[[table.left[_path_leaf(table, path, root)] for path in paths]]
        contributions = path_shapley_values(shares, sides, asks) * values[:, None, None]
        starts = np.cumsum([0, *map(len, bunches[:-1])])
        self._given[tree, : len(bunches)] = np.add.reduceat(contributions, starts, axis=0)
        self._base += float(values @ shares.prod(axis=1))

    def explain(self, features: Float32) -> tuple[Float64, Float64, Float64]:
        """Values (N, P), expected values (N,) and scores (N,) of features (N, F)."""
        rows = np.ascontiguousarray(features, np.float32)
        sums = np.zeros((len(rows), self._num_columns + 1))
        for start in range(0, len(rows), ROWS_PER_STEP):
            self._add(np.ascontiguousarray(rows[start : start + ROWS_PER_STEP].T), sums[start : start + ROWS_PER_STEP])
        return sums[:, :-1], np.full(len(rows), self._base), sums[:, -1] + self._bias

    def _add(self, features: Float32, sums: Float64) -> None:
        """To `sums` (N, P + 1), for features (F, N). A missing number goes right, as it does in the trees."""
        num_rows = features.shape[1]
        step = max(1, ROW_TREES_PER_STEP // num_rows)
        for start in range(0, len(self._feature), step):
            some = slice(start, start + step)
            goes_left = (features[self._feature[some]] <= self._threshold[some, :, None]).astype(np.float32)
            way = np.matmul(goes_left.swapaxes(1, 2), self._places[some]).astype(np.int64)  # (T, N, B), whole numbers
            contributions = self._given.take(way + self._start[some], axis=0).reshape(len(way), num_rows, -1)
            sums += np.matmul(contributions, self._owner[some]).sum(0, dtype=np.float64)


def path_shapley_values(shares: Float64, sides: NDArray[np.int8], asks: Float32) -> Float64:
    """Shapley values (L, W, K + 1) that each way gives the K columns of a bunch in a leaf of value 1; the score last.

    `shares` (L, K) by column, 1 where a path does not ask it; `sides` (L, K) is 1 where a path goes left, -1 where
    right, 0 where it does not pass; `asks` (L, K, K) says which column each node of a path asks. Bit k of a way is 1
    where a row goes left at node k.

    >>> path_shapley_values(np.array([[0.25]]), np.array([[1]], np.int8), np.ones((1, 1, 1), np.float32)).tolist()
    [[[-0.25, 0.0], [0.75, 1.0]]]
    """
    num_nodes = shares.shape[1]
    went = np.where(np.arange(1 << num_nodes)[:, None] >> np.arange(num_nodes) & 1, 1, -1)  # (W, K)
    disagrees = (sides[:, None] * went == -1).astype(np.float32)
    agrees = (np.matmul(disagrees, asks) == 0).astype(np.float64)  # (L, W, K) by column
    rest = np.zeros_like(agrees)
    for at, weight in zip(*np.polynomial.legendre.leggauss((num_nodes + 1) // 2), strict=True):
        factor = np.maximum((1 + at) / 2 * agrees + (1 - at) / 2 * shares[:, None], _TINY)
        rest += weight / 2 * factor.prod(axis=2, keepdims=True) / factor
    return np.concatenate([rest * (agrees - shares[:, None]), agrees.prod(axis=2, keepdims=True)], axis=2)


def _bunch_paths(table: TreeTable, root: int, size: NDArray[np.int64]) -> list[list[tuple[PathStep, ...]]]:
    """The paths to the leaves of a tree, those of a bunch together. `size` (M,): inner nodes from a node on."""
    bunches: list[list[tuple[PathStep, ...]]] = []

    def walk(node: int, path: tuple[PathStep, ...], inside: bool) -> None:
        if not inside and size[node] <= MAX_BUNCH_NODES:
            bunches.append([])
            inside = True
        if table.feature[node] == LEAF:
            bunches[-1].append(path)
            return
        cover = float(table.cover[node])
        for child, left in ((int(table.left[node]), True), (int(table.right[node]), False)):
            share = float(table.cover[child]) / cover if cover else 0.0
            walk(child, (*path, PathStep(node, left, share)), inside)

    walk(root, (), False)
    return bunches


def _path_leaf(table: TreeTable, path: tuple[PathStep, ...], root: int) -> int:
    """The leaf to which a path leads."""
    if not path:
        return root
    last = path[-1]
    return int(table.left[last.node] if last.left else table.right[last.node])
