"""The walk through trees of any depth: values by their definition, xgboost's, and sums that hold in float64."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor, RandomForestRegressor

from deepseek.explain import explainer_for
from deepseek.explain.tabular.trees import walk
from deepseek.explain.tabular.trees.leaf_tables import LeafTables
from deepseek.explain.tabular.trees.walk import TreeWalk
from deepseek.nn.model import Model, Part
from deepseek.nn.trees import LEAF, TreeTable
from deepseek.train.tabular.convert import from_forest, from_hist
from support.nets.treegames import NUM_FEATURES, contributions, expectation, forest, pair_values, shapley

ALONE = np.arange(NUM_FEATURES)
OWNERS = {"one a column": ALONE, "two of one": np.array([1, 0, 1, 2]), "all of one": np.zeros(NUM_FEATURES, np.int64)}


def some_rows(count: int) -> Any:
    rows = np.random.default_rng(1).normal(size=(count, NUM_FEATURES)).astype(np.float32)
    rows[0, 1] = np.nan  # goes right
    return rows


@pytest.mark.parametrize("way", [LeafTables, TreeWalk])
def test_a_stump_by_hand(way: Any) -> None:
    """Cover 3 to 1: the expected value is (3 * -1 + 1 * 3) / 4 = 0."""
    ints = ([0], [0], [1, LEAF, LEAF], [1, 0, 1], [2, 0, 0])
    roots, output, feature, left, right = (np.array(each, np.int32) for each in ints)
    threshold, cover, leaves = (np.array(each, np.float32) for each in ([0.5, 0, 0], [4, 3, 1], [[-1], [3]]))
    stump = TreeTable(roots, output, feature, threshold, left, right, cover, leaves, np.array([2.0]))
    rows = np.array([[9.0, 0.0], [9.0, 1.0]], np.float32)
    values, base, score = way(stump, 0, column_of=np.arange(2)).explain(rows)
    assert values == pytest.approx(np.array([[0.0, -1.0], [0.0, 3.0]]), abs=1e-6)
    assert base == pytest.approx([2.0, 2.0], abs=1e-6)
    assert score == pytest.approx([1.0, 5.0], abs=1e-6)


@pytest.mark.parametrize("way", [LeafTables, TreeWalk])
@pytest.mark.parametrize("column_of", OWNERS.values(), ids=OWNERS)
def test_a_column_is_one_player_however_many_features_it_has(way: Any, column_of: NDArray[np.int64]) -> None:
    table, rows = forest([0, 1, 3, 6]), some_rows(5)
    values, base, score = way(table, 0, column_of=column_of).explain(rows)
    expected = np.array([shapley(table, row, column_of) for row in rows])
    np.testing.assert_allclose(values, expected, atol=1e-6)
    np.testing.assert_allclose(base, expectation(table, rows[0], column_of, set()), atol=1e-6)
    np.testing.assert_allclose(score, table.margin(rows)[:, 0], atol=1e-6)


@pytest.mark.parametrize("column_of", OWNERS.values(), ids=OWNERS)
def test_pairs_are_of_columns(column_of: NDArray[np.int64]) -> None:
    table, rows = forest([1, 4, 6]), some_rows(4)
    matrix = TreeWalk(table, 0, column_of=column_of).interactions(rows)
    expected = np.array([pair_values(table, row, column_of) for row in rows])
    np.testing.assert_allclose(matrix, expected, atol=1e-12)
    np.testing.assert_allclose(matrix, matrix.swapaxes(1, 2), atol=1e-12)


@pytest.mark.parametrize("depths", [[0], [], [1, 0, 3], [9, 2, 14]], ids=["a leaf", "no tree", "shallow", "deep"])
def test_values_and_pairs_are_those_of_xgboost(depths: list[int]) -> None:
    table, rows = forest(depths or [1]), some_rows(60)
    table = table if depths else replace(table, output=np.array([1], np.int32), bias=np.array([0.5, 0.0]))
    values, base, score = (walk := TreeWalk(table, 0, column_of=ALONE)).explain(rows)
    expected, expected_base = contributions(table, rows)
    np.testing.assert_allclose(values, expected, atol=1e-5)
    np.testing.assert_allclose(base, expected_base, atol=1e-5)
    np.testing.assert_allclose(walk.interactions(rows), contributions(table, rows, pairs=True)[0], atol=1e-5)
    np.testing.assert_allclose(base + values.sum(axis=1), score, atol=1e-12)
    turned = np.asfortranarray(rows.repeat(2, axis=0))[::2]  # rows need not lie in order
    assert (walk.explain(turned)[0] == values).all()


def test_how_trees_are_cut_into_groups_rows_and_points_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    table, rows = forest([8, 3, 0, 9, 6]), some_rows(7)
    expected = TreeWalk(table, 0, column_of=ALONE).explain(rows)
    pairs = TreeWalk(table, 0, column_of=ALONE).interactions(rows)
    monkeypatch.setattr(walk, "MAX_GROUP_NODES", 20)
    monkeypatch.setattr(walk, "MAX_CELLS", 20)
    for num_threads in (1, 3):
        cut = TreeWalk(table, 0, column_of=ALONE, num_threads=num_threads)
        assert len(cut._groups) > 1
        for part, whole in zip(cut.explain(rows), expected, strict=True):
            np.testing.assert_allclose(part, whole, atol=1e-12)
        np.testing.assert_allclose(cut.interactions(rows), pairs, atol=1e-12)


def chain(num_columns: int) -> TreeTable:
    """One tree that asks each column in turn, and each leaf but the last holds one row of many: as lopsided as it
    goes."""
    size = 2 * num_columns + 1
    inner = np.arange(size) % 2 == 0
    inner[-1] = False
    place = np.arange(size)
    cover = np.where(inner | (place == size - 1), num_columns + 1 - place // 2, 1)
    return TreeTable(
        np.zeros(1, np.int32), np.zeros(1, np.int32), np.where(inner, place // 2, LEAF).astype(np.int32),
        np.zeros(size, np.float32), np.where(inner, place + 1, (place + 1) // 2).astype(np.int32),
        np.where(inner, place + 2, 0).astype(np.int32), cover.astype(np.float32),
        np.where(np.arange(num_columns + 1) % 2, 100.0, -100.0).astype(np.float32)[:, None], np.zeros(1),
    )  # fmt: skip


def test_lopsided_trees_lose_no_digits() -> None:
    """Depth 60 over 60 columns: there float32 that unwinds paths is off by more than the leaves are large."""
    table = chain(60)
    table.check()
    rows = np.random.default_rng(0).normal(size=(20, 60)).astype(np.float32)
    rows[0] = 1.0  # to the deepest leaf
    values, base, score = TreeWalk(table, 0, column_of=np.arange(60)).explain(rows)
    np.testing.assert_allclose(base + values.sum(axis=1), score, atol=1e-9)
    np.testing.assert_allclose(score, table.margin(rows)[:, 0], atol=1e-9)
    assert np.abs(values).max() <= 200
    few = chain(9)
    expected = np.array([shapley(few, row, np.arange(9)) for row in rows[:3, :9]])
    values = TreeWalk(few, 0, column_of=np.arange(9)).explain(np.ascontiguousarray(rows[:3, :9]))[0]
    np.testing.assert_allclose(values, expected, atol=1e-10)


def test_a_branch_that_no_training_row_took_counts_for_nothing_until_a_row_takes_it() -> None:
    table = forest([3])
    cover = table.cover.copy()
    cover[table.left[0]] = 0
    cover[table.right[0]] = cover[0]
    emptied = replace(table, cover=cover)
    rows = some_rows(50)
    column_of = ALONE
    for way in (LeafTables, TreeWalk):
        values, base, score = way(emptied, 0, column_of=column_of).explain(rows)
        assert np.isfinite(values).all()
        np.testing.assert_allclose(score, table.margin(rows)[:, 0], atol=1e-6)
        np.testing.assert_allclose(base + values.sum(axis=1), score, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [ExtraTreesRegressor, RandomForestRegressor, HistGradientBoostingRegressor])
def test_models_of_every_kind_of_trees_explain_their_answers_to_a_ten_thousandth_of_the_range(kind: Any) -> None:
    """Few columns, many equal values, a target with rows far away: cuts at random make lopsided trees of them."""
    rng = np.random.default_rng(0)
    rows = np.stack([rng.normal(size=1500), rng.integers(0, 5, 1500), rng.exponential(size=1500) ** 3], axis=1)
    rows = rows.astype(np.float32)
    target = np.where(rng.random(1500) < 0.01, 140.0, -98 + 15 * rows[:, 0] - 8 * rows[:, 1] + rng.normal(size=1500))
    fitted = kind(random_state=0).fit(rows, target)
    is_boosted = kind is HistGradientBoostingRegressor
    table = from_hist(fitted, num_margins=1) if is_boosted else from_forest(fitted, num_margins=1)
    model = Model("regression", (), "target units", (Part(kind.__name__, table),))
    attribution = explainer_for(model, ["a", "b", "c"], score=model.score).explain(rows[:100])
    assert np.abs(attribution.residual).max() <= 1e-4 * np.ptp(attribution.output)
    assert attribution.adds_up.all()
