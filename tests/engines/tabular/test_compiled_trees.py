"""Compiled trees give the bits of the readable twin, whatever their shape and whatever a row holds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from deepseek.engines.tabular.compiled_trees import MAX_DEPTH, CompiledModel, CompiledTrees
from deepseek.nn.dense import Linear
from deepseek.nn.model import Model, Part
from deepseek.nn.trees import LEAF, TreeTable

NUM_FEATURES = 7
Node = tuple[int, float, int, int]  # feature, threshold, left, right


def grow(rng: np.random.Generator, depth: int, nodes: list[Node], leaves: list[float]) -> int:
    """A random tree of at most this depth; the place of its root."""
    place = len(nodes)
    nodes.append((LEAF, 0.0, len(leaves), 0))
    if depth == 0 or (place and rng.random() < 0.2):
        leaves.append(float(np.float32(rng.normal())))
        return place
    feature, threshold = int(rng.integers(NUM_FEATURES)), float(np.float32(rng.normal()))
    left, right = grow(rng, depth - 1, nodes, leaves), grow(rng, depth - 1, nodes, leaves)
    nodes[place] = (feature, threshold, left, right)
    return place


def make_table(depths: Sequence[int], num_margins: int = 1, seed: int = 0) -> TreeTable:
    rng = np.random.default_rng(seed)
    nodes: list[Node] = []
    leaves: list[float] = []
    roots = [grow(rng, depth, nodes, leaves) for depth in depths]
    feature, threshold, left, right = (np.array(column) for column in zip(*nodes, strict=True))
    return TreeTable(
        np.array(roots, np.int32), (np.arange(len(roots)) % num_margins).astype(np.int32), feature.astype(np.int32),
        threshold.astype(np.float32), left.astype(np.int32), right.astype(np.int32),
        np.ones(len(nodes), np.float32), np.array(leaves, np.float32)[:, None], rng.normal(size=num_margins),
    )  # fmt: skip


@pytest.mark.parametrize("num_rows", [0, 1, 3, 4, 131, 300])
@pytest.mark.parametrize("num_margins", [1, 3])
def test_every_row_gets_the_bits_of_the_twin(num_rows: int, num_margins: int) -> None:
    table = make_table([0, 1, 2, 6, MAX_DEPTH, 3, 0], num_margins)
    rows = np.random.default_rng(1).normal(size=(num_rows, NUM_FEATURES)).astype(np.float32)
    rows[np.random.default_rng(2).random(rows.shape) < 0.1] = np.nan
    if num_rows:
        rows[0] = table.threshold[np.flatnonzero(table.feature != LEAF)[:NUM_FEATURES]]  # on a threshold: to the left
    trees = CompiledTrees.of(table)
    assert trees is not None
    expected = table.margin(rows)
    assert trees.margin(rows).tobytes() == expected.tobytes()
    assert trees.margin(np.asfortranarray(rows)).tobytes() == expected.tobytes()


def test_trees_that_are_deep_or_have_vectors_for_leaves_are_left_to_others() -> None:
    assert CompiledTrees.of(make_table([MAX_DEPTH + 1, 2])) is None
    table = make_table([2])
    wide = TreeTable(
        table.roots, table.output - 1, table.feature, table.threshold, table.left, table.right, table.cover,
        np.repeat(table.leaves, 2, axis=1), np.zeros(2),
    )  # fmt: skip
    assert CompiledTrees.of(wide) is None


def test_a_blend_is_scored_as_by_the_model() -> None:
    parts = tuple(Part(f"xgboost {seed}", make_table([4] * 5, seed=seed), 0.5) for seed in range(2))
    model = Model("binary", ("no", "yes"), "log-odds", parts, slope=0.9, smoothing=1e-4)
    rows = np.random.default_rng(3).normal(size=(50, NUM_FEATURES)).astype(np.float32)
    compiled = CompiledModel.of(model)
    assert compiled is not None
    scores, expected = compiled.score(rows), model.score(rows)
    assert scores.output.tobytes() == expected.output.tobytes()
    assert scores.margin.tobytes() == expected.margin.tobytes()
    linear = Part("linear", Linear(np.zeros((NUM_FEATURES, 1)), np.zeros(1), np.zeros(NUM_FEATURES)))
    assert CompiledModel.of(Model("binary", ("no", "yes"), "log-odds", (*parts, linear))) is None
