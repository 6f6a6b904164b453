"""Trust in the explanations of columns: a shuffled model is explained otherwise, on every kind of part."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from deepseek.explain.evaluation.column_faithfulness import randomize_model
from deepseek.explain.tabular.explainer import ModelExplainer


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "layers"),
    [
        ("linear", ["linear: coefficients"]),
        ("boosted", ["xgboost: leaves", "xgboost: splits"]),
        ("perceptron", ["mlp: layer 2", "mlp: layer 1", "mlp: layer 0"]),
        ("blend", ["xgboost: leaves", "xgboost: splits", "random_forest: leaves", "random_forest: splits",
                   "linear: coefficients", "mlp: layer 2", "mlp: layer 1", "mlp: layer 0"]),
    ],
)  # fmt: skip
def test_the_whole_model_is_shuffled_step_by_step_and_then_explained_otherwise(
    models: Any, cancer: Any, kind: str, layers: list[str]
) -> None:
    model, features = models[kind]
    before = model.to_files()
    randomized = randomize_model(ModelExplainer(model, cancer[2]), features[:8])
    assert [line["layer"] for line in randomized] == layers
    assert randomized[-1]["similarity"] < 0.8
    assert model.to_files() == before  # it is left as it was


def test_an_explanation_that_hangs_on_no_weight_stays_as_it_was(models: Any, cancer: Any) -> None:
    model, features = models["linear"]
    explainer = ModelExplainer(model, cancer[2])
    coef = model.parts[0].weights.coef
    coef_before, coef[:] = coef.copy(), 1.0  # all alike: shuffling changes nothing
    try:
        (line,) = randomize_model(explainer, features[:8])
    finally:
        coef[:] = coef_before
    assert line["similarity"] == pytest.approx(1.0)
    assert np.isfinite(coef).all()
