"""Random trees, and the game that their explanations are values of, by its definition: slow twins for tests."""

from __future__ import annotations

from itertools import combinations
from math import factorial
from typing import Any

import numpy as np
import xgboost
from numpy.typing import NDArray

from deepseek.contracts import Float32, Float64
from deepseek.engines.tabular.booster import booster_bytes
from deepseek.nn.trees import LEAF, TreeTable

NUM_FEATURES = 4


def grown(rng: np.random.Generator, most: int) -> tuple[list[list[float]], list[float]]:
    """Nodes (feature, threshold, left, right, cover) of a random tree of at most that depth, and its leaves."""
    nodes: list[list[float]] = []
    leaves: list[float] = []

    def add(depth: int, cover: float) -> int:
        at = len(nodes)
        nodes.append([LEAF, 0.0, len(leaves), 0, cover])
        if depth == most or (depth and rng.random() < 0.2):
            leaves.append(float(rng.normal()))
            return at
        share = rng.uniform(0.1, 0.9)
        feature, threshold = float(rng.integers(NUM_FEATURES)), float(rng.normal())
        left = add(depth + 1, cover * share)
        nodes[at] = [feature, threshold, left, add(depth + 1, cover * (1 - share)), cover]
        return at

    add(0, 100.0)
    return nodes, leaves


def forest(depths: list[int], seed: int = 0) -> TreeTable:
    """Random trees. Deeper than there are features, so that a path asks one of them more than once."""
    rng = np.random.default_rng(seed)
    rows: list[list[float]] = []
    leaves: list[float] = []
    roots = []
    for depth in depths:
        nodes, values = grown(rng, depth)
        roots.append(len(rows))
        for feature, threshold, left, right, cover in nodes:
            is_leaf = feature == LEAF
            rows.append([feature, threshold, left + (len(leaves) if is_leaf else roots[-1]), right + roots[-1], cover])
        leaves += values
    columns: NDArray[np.float64] = np.array(rows).T
    ints = columns.astype(np.int32)
    return TreeTable(
        np.array(roots, np.int32), np.zeros(len(roots), np.int32), ints[0], columns[1].astype(np.float32), ints[2],
        ints[3], columns[4].astype(np.float32), np.array(leaves, np.float32)[:, None], np.array([0.5]),
    )  # fmt: skip


def contributions(table: TreeTable, rows: Float32, *, pairs: bool = False) -> tuple[Float64, Float64]:
    """xgboost's values (N, F), or of pairs (N, F, F), and the expected values (N,): each feature is a player."""
    booster = xgboost.Booster({"nthread": 1}, model_file=bytearray(booster_bytes(table, 0, num_features=rows.shape[1])))
    kind: dict[str, Any] = {"pred_interactions": True} if pairs else {"pred_contribs": True}
    contributions_of_rows = booster.predict(xgboost.DMatrix(rows), **kind).astype(np.float64)
    if pairs:
        return contributions_of_rows[:, :-1, :-1], contributions_of_rows[:, -1, -1] + table.bias[0]
    return contributions_of_rows[:, :-1], contributions_of_rows[:, -1] + table.bias[0]


def expectation(table: TreeTable, row: Any, column_of: NDArray[np.int64], known: set[int]) -> float:
    """What the known columns are worth together: where one is not known, both branches count by their cover."""

    def walk(node: int) -> float:
        if table.feature[node] == LEAF:
            return float(table.leaves[table.left[node], 0])
        left, right = int(table.left[node]), int(table.right[node])
        if int(column_of[table.feature[node]]) in known:
            return walk(left if row[table.feature[node]] <= table.threshold[node] else right)
        cover = [float(table.cover[each]) for each in (left, right, node)]
        return (cover[0] * walk(left) + cover[1] * walk(right)) / cover[2]

    return sum(walk(int(root)) for root in table.roots) + float(table.bias[0])


def shapley(table: TreeTable, row: Any, column_of: NDArray[np.int64]) -> Float64:
    """Shapley values (P,) by their definition, over all coalitions of columns."""
    num = int(column_of.max()) + 1
    values = np.zeros(num)
    for column in range(num):
        others = [other for other in range(num) if other != column]
        for size in range(num):
            weight = factorial(size) * factorial(num - size - 1) / factorial(num)
            for known in map(set, combinations(others, size)):
                gained = expectation(table, row, column_of, {*known, column})
                values[column] += weight * (gained - expectation(table, row, column_of, known))
    return values


def pair_values(table: TreeTable, row: Any, column_of: NDArray[np.int64]) -> Float64:
    """SHAP interaction values (P, P) by their definition: Lundberg et al. 2020, formulas 3 to 5."""
    num = int(column_of.max()) + 1
    matrix = np.zeros((num, num))
    for first, second in combinations(range(num), 2):
        others = [other for other in range(num) if other not in (first, second)]
        for size in range(num - 1):
            weight = factorial(size) * factorial(num - size - 2) / (2 * factorial(num - 1))
            for known in map(set, combinations(others, size)):
                both, one, other, neither = (
                    expectation(table, row, column_of, known | more)
                    for more in ({first, second}, {first}, {second}, set())
                )
                matrix[first, second] += weight * (both - one - other + neither)
    matrix += matrix.T
    np.fill_diagonal(matrix, shapley(table, row, column_of) - matrix.sum(axis=1))
    return matrix
