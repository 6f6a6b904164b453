"""Trees of LightGBM as tables: they answer as the library does, on thresholds and beside them too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from deepseek.train.tabular.convert_lightgbm import from_lightgbm

lightgbm = pytest.importorskip("lightgbm")


def grow(num_classes: int, **more: Any) -> tuple[Any, np.ndarray]:
    """A booster of ten rounds, and the rows that it was grown on."""
    rng = np.random.default_rng(0)
    features = np.round(rng.normal(size=(300, 4)), 1).astype(np.float32)
    features[:, 3] = rng.integers(0, 5, 300)
    features[:30, 2] = -0.0
    target = features[:, 0] + features[:, 1] ** 2 + (features[:, 3] == 2)
    settings = {"objective": "regression", "verbose": -1, "num_threads": 1, "min_data_in_leaf": 5}
    settings |= {"min_data_per_group": 1, "cat_smooth": 0.0}
    if num_classes:
        target = np.digitize(target, np.quantile(target, np.arange(1, num_classes) / num_classes))
        settings |= {"objective": "binary"} if num_classes == 2 else {"objective": "multiclass", "num_class": 3}
    return lightgbm.train(settings, lightgbm.Dataset(features, target, **more), num_boost_round=10), features


@pytest.mark.parametrize("num_classes", [0, 2, 3])
def test_a_table_answers_as_the_library_does(num_classes: int) -> None:
    booster, features = grow(num_classes)
    table = from_lightgbm(booster.dump_model(), num_margins=3 if num_classes == 3 else 1)
    table.check()
    thresholds = booster.trees_to_dataframe()["threshold"].dropna().to_numpy(np.float64)
    probes = np.random.default_rng(1).choice(thresholds, size=(400, 4)).astype(np.float32)
    around = [np.nextafter(probes, np.float32(limit)) for limit in (-np.inf, np.inf)]
    probes[:2] = [[np.float32(1e-35)], [-np.float32(1e-35)]]  # zeros to LightGBM
    rows = np.concatenate([features, probes, *around, np.zeros((1, 4), np.float32), -np.zeros((1, 4), np.float32)])
    wanted = booster.predict(rows, raw_score=True).reshape(len(rows), -1)
    np.testing.assert_allclose(table.margin(rows), wanted, rtol=1e-5, atol=1e-5)


def test_a_tree_of_one_leaf_answers_its_value() -> None:
    rows = lightgbm.Dataset(np.zeros((30, 1)), np.arange(30.0))
    booster = lightgbm.train({"objective": "regression", "verbose": -1}, rows, num_boost_round=2)
    table = from_lightgbm(booster.dump_model(), num_margins=1)
    np.testing.assert_allclose(table.margin(np.ones((1, 1), np.float32)), booster.predict(np.ones((1, 1)))[:, None])


def test_splits_by_sets_of_categories_are_refused() -> None:
    booster, _ = grow(0, categorical_feature=[3])
    with pytest.raises(ValueError, match="sets of categories"):
        from_lightgbm(booster.dump_model(), num_margins=1)
