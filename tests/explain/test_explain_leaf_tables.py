"""TreeSHAP from tables: xgboost's values, for trees of every form, and where tables would be too large."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from deepseek.engines.trees import TreeMargin
from deepseek.explain import parts
from deepseek.explain.leaf_tables import MAX_BYTES, LeafTables, Shape
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


@pytest.mark.parametrize("depths", [[0], [1, 0, 3], [6, 2, 6, 7]], ids=["a leaf", "shallow", "as deep as it goes"])
def test_tables_give_the_values_of_xgboost_and_the_score(depths: list[int]) -> None:
    table = forest(depths)
    rows = np.random.default_rng(1).normal(size=(300, NUM_FEATURES)).astype(np.float32)
    rows[7, 1] = np.nan  # goes right
    booster = TreeMargin(table, 0, num_features=NUM_FEATURES)
    expected, expected_base = booster.contributions(rows)
    values, base, score = LeafTables(table, 0, num_features=NUM_FEATURES).explain(rows)
    np.testing.assert_allclose(values, expected, atol=2e-6)
    np.testing.assert_allclose(base, expected_base, atol=2e-6)
    np.testing.assert_allclose(score, table.margin(rows)[:, 0], atol=1e-6)
    np.testing.assert_allclose(base + values.sum(axis=1), score, atol=1e-6)


def test_what_a_table_would_take_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    table = forest([6, 6])
    tables = LeafTables(table, 0, num_features=NUM_FEATURES)
    foreseen = Shape(table, 0).num_bytes(NUM_FEATURES)
    assert foreseen == tables._given.nbytes + tables._owner.nbytes
    assert Shape(forest([14]), 0).num_bytes(NUM_FEATURES) > MAX_BYTES
    rows = np.zeros((1, NUM_FEATURES), np.float32)
    found = parts.attribute(table, 0, num_features=NUM_FEATURES, num_threads=1)(rows)
    monkeypatch.setattr(parts, "MAX_BYTES", foreseen - 1)
    monkeypatch.setattr(parts, "LeafTables", None)
    other = parts.attribute(table, 0, num_features=NUM_FEATURES, num_threads=1)(rows)
    np.testing.assert_allclose(found.values, other.values, atol=2e-6)
