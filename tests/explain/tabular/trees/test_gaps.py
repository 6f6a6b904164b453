"""Boosters of xgboost that saw gaps: a column with a gap is one player, as in xgboost's own values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost

from deepseek.contracts import Float32, Float64
from deepseek.engines import Runtime
from deepseek.engines.tabular import xgboost_file
from deepseek.engines.tabular.xgboost_file import import_xgboost
from deepseek.explain import explainer_for
from deepseek.explain.tabular.interactions import interactions
from support.nets.treegames import shapley

NUM_COLUMNS = 5
LOSSGUIDE = {"tree_method": "hist", "grow_policy": "lossguide", "max_depth": 0}
FOREST = {"num_parallel_tree": 6, "subsample": 0.6, "colsample_bynode": 0.6, "eta": 1.0}
#: Settings, and rounds.
MODELS: dict[str, tuple[dict[str, Any], int]] = {
    **{f"depth {depth}": ({"max_depth": depth}, 20) for depth in (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16)},
    **{f"exact, depth {depth}": ({"max_depth": depth, "tree_method": "exact"}, 10) for depth in (2, 5, 9)},
    "without a limit": (LOSSGUIDE, 6),
    "without a limit, no least weight": ({**LOSSGUIDE, "min_child_weight": 0}, 4),
    "leaf by leaf, 40": ({**LOSSGUIDE, "max_leaves": 40}, 20),
    "leaf by leaf, two classes": ({**LOSSGUIDE, "objective": "binary:logistic"}, 10),
    "two classes": ({"objective": "binary:logistic", "max_depth": 6}, 20),
    "two classes, deep": ({"objective": "binary:logistic", "max_depth": 13}, 20),
    "a base score": ({"objective": "binary:logistic", "max_depth": 4, "base_score": 0.2}, 10),
    "a base score, regression": ({"max_depth": 4, "base_score": 40.0}, 10),
    "three classes": ({"objective": "multi:softprob", "num_class": 3, "max_depth": 5}, 8),
    "three classes, deep": ({"objective": "multi:softmax", "num_class": 3, "max_depth": 12}, 4),
    "a forest": ({**FOREST, "max_depth": 8}, 1),
    "boosted forests": ({**FOREST, "max_depth": 5, "eta": 0.3}, 4),
    "boosted forests, three classes": ({**FOREST, "objective": "multi:softprob", "num_class": 3, "max_depth": 4}, 3),
    "weights": ({"max_depth": 6, "weighted": True}, 15),
    "weights, two classes": ({"objective": "binary:logistic", "max_depth": 9, "weighted": True}, 15),
    "absolute error": ({"objective": "reg:absoluteerror", "max_depth": 7}, 10),
}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xgboost_file, "TUNING_BUDGET_S", 0.02)


def training(knobs: dict[str, Any]) -> tuple[xgboost.DMatrix, Float32]:
    """Training rows, and others to explain. The last two columns have gaps in the others alone, and some rows have
    nothing but gaps."""
    rng = np.random.default_rng(len(str(knobs)))
    features = rng.normal(size=(400, NUM_COLUMNS)).astype(np.float32)
    score = features[:, 0] + features[:, 1] * features[:, 2] + np.abs(features[:, 3]) + 0.3 * rng.normal(size=400)
    gaps = rng.random(features.shape) < np.where(features > 0, 0.3, 0.15)
    seen = gaps & (np.arange(NUM_COLUMNS) < NUM_COLUMNS - 2)
    seen[:3] = True
    objective = knobs.get("objective", "reg")
    target = np.digitize(score, [0.0, 1.0]) if objective.startswith("multi") else score
    target = target > 0.5 if objective.startswith("binary") else target
    weight = rng.uniform(0.1, 4.0, 400) if knobs.get("weighted") else None
    rows = np.where(gaps, np.nan, features)[:60]
    rows[:2] = np.nan
    return xgboost.DMatrix(np.where(seen, np.nan, features), target, weight=weight), rows


def trained(name: str) -> tuple[xgboost.Booster, Float32]:
    knobs, num_rounds = MODELS[name]
    data, rows = training(knobs)
    known = {knob: value for knob, value in knobs.items() if knob != "weighted"}
    return xgboost.train({"nthread": 1, "eta": 0.3, "seed": 0, **known}, data, num_rounds), rows


def explained(booster: xgboost.Booster, rows: Float32, folder: Path, target: str | None) -> tuple[Any, Any, Any]:
    """(explainer, prepared rows, attribution) of the file that a booster saves."""
    booster.save_model(folder / "m.ubj")
    with Runtime(import_xgboost(folder / "m.ubj", folder / "cache")) as runtime:
        records = [
            {f"f{place}": None if value != value else value for place, value in enumerate(row)}  # noqa: PLR0124 - NaN
            for row in rows.tolist()
        ]
        features = runtime.prepare(records).features
        explainer = explainer_for(runtime.model, runtime.preprocessor.owners(), score=runtime.score)
        return explainer, features, explainer.explain(features, target=target)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "depth 10" else name for name in MODELS]
)
def test_values_are_those_of_xgboost(name: str, tmp_path: Path) -> None:
    booster, rows = trained(name)
    expected = booster.predict(xgboost.DMatrix(rows), pred_contribs=True).astype(np.float64)
    target = "2" if expected.ndim == 3 else None
    expected = expected[:, 2] if expected.ndim == 3 else expected
    _, _, attribution = explained(booster, rows, tmp_path, target)
    size = max(1.0, float(np.abs(expected[:, :-1]).max()))
    np.testing.assert_allclose(attribution.values, expected[:, :-1], atol=1e-5 * size)
    np.testing.assert_allclose(
        attribution.base_value, expected[:, -1], atol=1e-5 * max(size, np.abs(attribution.base_value).max())
    )
    assert np.abs(attribution.residual).max() <= 1e-4 * np.ptp(attribution.output)


@pytest.mark.parametrize("name", ["depth 4", "depth 12", "three classes", "without a limit"])
def test_pairs_are_those_of_xgboost(name: str, tmp_path: Path) -> None:
    booster, rows = trained(name)
    expected = booster.predict(xgboost.DMatrix(rows[:15]), pred_interactions=True).astype(np.float64)
    target = "2" if expected.ndim == 4 else None
    expected = (expected[:, 2] if expected.ndim == 4 else expected)[:, :-1, :-1]
    explainer, features, _ = explained(booster, rows[:15], tmp_path, target)
    explainer.score = explainer.model.score  # the runtime is closed
    size = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(interactions(explainer, features, target), expected, atol=5e-5 * size)


@pytest.mark.parametrize("name", ["depth 2", "depth 5", pytest.param("depth 10", marks=pytest.mark.slow)])
def test_values_are_those_of_the_definition(name: str, tmp_path: Path) -> None:
    booster, rows = trained(name)
    explainer, features, attribution = explained(booster, rows[:4], tmp_path, None)
    assert features.shape[1] > NUM_COLUMNS  # columns whose gaps go both ways have two features
    table = explainer.model.parts[0].weights
    expected: Float64 = np.array([shapley(table, row, explainer.column_of) for row in features])
    np.testing.assert_allclose(attribution.values, expected, atol=1e-6)


@pytest.mark.parametrize("name", ["two classes", "depth 16", "weights"])
def test_values_are_those_of_shap(name: str, tmp_path: Path) -> None:
    shap = pytest.importorskip("shap")
    booster, rows = trained(name)
    _, _, attribution = explained(booster, rows, tmp_path, None)
    expected = shap.TreeExplainer(booster).shap_values(rows)
    np.testing.assert_allclose(attribution.values, expected, atol=1e-5 * max(1.0, float(np.abs(expected).max())))
