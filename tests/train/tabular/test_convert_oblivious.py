"""Trees of CatBoost as tables, from JSON written by hand, and from the library where it is installed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepseek.nn.trees import TreeTable
from deepseek.train.tabular.convert_oblivious import from_catboost

BORDER = np.float32(0.1)


def document(splits: list[tuple[int, float]], leaves: list[float], bias: list[float]) -> dict[str, Any]:
    """One tree over two features, its leaves by the bits of their answers, the first question in the lowest bit."""
    asked = [{"float_feature_index": feature, "border": float(np.float32(border))} for feature, border in splits]
    tree = {"splits": asked, "leaf_values": leaves, "leaf_weights": [2.0] * 2 ** len(splits)}
    features = [{"feature_index": index, "flat_feature_index": index} for index in range(2)]
    return {
        "features_info": {"float_features": features}, "oblivious_trees": [tree], "scale_and_bias": [1, bias]
    }  # fmt: skip


def answer(table: TreeTable, *row: float) -> list[float]:
    return [round(value, 6) for value in table.margin(np.array([row], np.float32))[0].tolist()]


def test_a_value_on_a_border_answers_no_and_the_next_float_yes() -> None:
    table = from_catboost(document([(0, BORDER), (1, 2.0)], [1, 2, 3, 4], [10]), num_margins=1)
    above = np.nextafter(BORDER, np.float32(1))
    assert answer(table, BORDER, 2.0) == [11]
    assert answer(table, above, 2.0) == [12]
    assert answer(table, BORDER, 2.5) == [13]
    assert answer(table, above, 2.5) == [14]


def test_zeros_of_both_signs_are_one_value() -> None:
    table = from_catboost(document([(0, 0.0)], [1, 2], [0]), num_margins=1)
    assert answer(table, 0.0, 0) == answer(table, -0.0, 0) == [1]


def test_each_class_has_its_own_number_in_a_leaf() -> None:
    table = from_catboost(document([(1, 0.5)], [1, 2, 3, 4, 5, 6], [0, 0, 1]), num_margins=3)
    assert answer(table, 0, 0) == [1, 2, 4]
    assert answer(table, 0, 1) == [4, 5, 7]


def test_questions_that_follow_from_one_above_and_equal_leaves_are_left_out() -> None:
    """x > 5 is asked at the root: where it holds x > 3 does too, and where x > 3 does not hold, neither does x > 5."""
    table = from_catboost(document([(0, 3.0), (0, 5.0)], [1, 2, 9, 4], [0]), num_margins=1)
    assert [answer(table, value, 0) for value in (2, 4, 6)] == [[1], [2], [4]]
    assert len(table.feature) == 5
    same = from_catboost(document([(0, 3.0), (1, 5.0)], [7, 7, 7, 8], [0]), num_margins=1)
    assert len(same.feature) == 5
    assert [answer(same, *row) for row in ((2, 6), (4, 4), (4, 6))] == [[7], [7], [8]]


def test_trees_that_ask_for_categories_are_refused() -> None:
    tree = document([(0, 3.0)], [1, 2], [0])
    tree["oblivious_trees"][0]["splits"] = [{"ctr_target_border_idx": 0, "split_type": "OnlineCtr", "border": 1.0}]
    with pytest.raises(ValueError, match="more than numbers"):
        from_catboost(tree, num_margins=1)


@pytest.mark.parametrize("num_classes", [0, 2, 3])
def test_a_table_answers_as_the_library_does_on_borders_too(num_classes: int, tmp_path: Path) -> None:
    catboost = pytest.importorskip("catboost")
    rng = np.random.default_rng(0)
    features = np.round(rng.normal(size=(400, 4)), 1).astype(np.float32)
    features[:, 3] = 0  # a column that never changes
    features[:30, 2] = -0.0
    target = features[:, 0] + features[:, 1] ** 2 + 0.1 * rng.normal(size=400)
    if num_classes:
        target = np.digitize(target, np.quantile(target, np.arange(1, num_classes) / num_classes))
    loss = {0: "RMSE", 2: "Logloss", 3: "MultiClass"}[num_classes]
    settings = {"loss_function": loss, "iterations": 30, "verbose": False, "allow_writing_files": False}
    model = catboost.CatBoost(settings).fit(features, target)
    model.save_model(str(tmp_path / "model.json"), format="json")
    read = json.loads((tmp_path / "model.json").read_text())
    table = from_catboost(read, num_margins=3 if num_classes == 3 else 1)
    table.check()
    borders = [split["border"] for tree in read["oblivious_trees"] for split in tree["splits"]]
    probes = rng.choice(np.array(borders, np.float32), size=(500, 4))
    probes = np.concatenate([features, probes, np.nextafter(probes, np.float32(np.inf)), np.zeros((1, 4), np.float32)])
    wanted = model.predict(probes, prediction_type="RawFormulaVal").reshape(len(probes), -1)
    np.testing.assert_allclose(table.margin(probes), wanted, rtol=1e-5, atol=1e-5)
