"""Each part's explanation against a slow definition or the library that is known for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from deepseek.explain.tabular.parts import attribute_linear, attribute_perceptron, part_attributor
from deepseek.train.tabular.convert import from_forest, from_xgboost
from support.nets.treegames import expectation, shapley


def test_trees_equal_the_definition_of_shapley_values(cancer: Any) -> None:
    import xgboost

    features, target, _ = cancer
    few = np.ascontiguousarray(features[:, :5])
    booster = xgboost.train({"max_depth": 3, "nthread": 1}, xgboost.DMatrix(few, target), 3)
    table = from_xgboost(booster, num_margins=1)
    values = part_attributor(table, 0, column_of=np.arange(5), num_threads=1)(few[:4])
    for row in range(4):
        assert values.values[row] == pytest.approx(shapley(table, few[row], np.arange(5)), abs=1e-6)
        assert values.base[row] == pytest.approx(expectation(table, few[row], np.arange(5), set()), abs=1e-6)


def test_boosted_trees_equal_the_booster_that_they_came_from(cancer: Any, cancer_booster: Any) -> None:
    import xgboost

    rows = cancer[0][:50]
    expected = cancer_booster.predict(xgboost.DMatrix(rows), pred_contribs=True)
    table = from_xgboost(cancer_booster, num_margins=1)
    values = part_attributor(table, 0, column_of=np.arange(30), num_threads=1)(rows)
    assert np.abs(values.values - expected[:, :-1]).max() < 1e-5
    assert np.abs(values.base - expected[:, -1]).max() < 1e-5


@pytest.mark.parametrize("margin", [0, 7])
def test_forests_equal_the_shap_library(digits: Any, digits_forest: Any, margin: int) -> None:
    import shap

    rows = digits[0][:20]
    expected = shap.TreeExplainer(digits_forest, feature_perturbation="tree_path_dependent").shap_values(rows)
    table = from_forest(digits_forest, num_margins=10)
    values = part_attributor(table, margin, column_of=np.arange(64), num_threads=1)(rows)
    assert np.abs(values.values - np.asarray(expected)[:, :, margin]).max() < 1e-5


def test_linear_is_the_coefficient_times_the_distance_from_the_mean(cancer: Any, models: Any) -> None:
    weights = models["linear"][0].parts[0].weights
    rows = cancer[0][:3]
    attribution = attribute_linear(weights, 0, rows)
    by_hand = [[weights.coef[f, 0] * (float(row[f]) - weights.mean[f]) for f in range(30)] for row in rows]
    assert attribution.values == pytest.approx(np.array(by_hand))
    assert np.abs(attribution.base + attribution.values.sum(axis=1) - attribution.score).max() < 1e-9


@pytest.mark.parametrize(("num_codes", "margin"), [(0, 0), (2, 3)])
def test_perceptrons_equal_captums_deeplift(digits: Any, perceptron: Any, num_codes: int, margin: int) -> None:
    import torch
    from captum.attr import DeepLift

    from deepseek.engines.tabular.torch import PerceptronModule

    features, _ = digits
    weights = perceptron(features, num_margins=10, num_codes=num_codes)

    class FromJoined(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = PerceptronModule(weights)

        def forward(self, joined: Any) -> Any:
            return self.inner.from_joined(joined)

    rows = features[:40]
    joined = torch.as_tensor(weights.join(rows)).requires_grad_()
    baseline = torch.as_tensor(weights.baseline)[None]
    expected, error = DeepLift(FromJoined().eval()).attribute(
        joined, baseline, target=margin, return_convergence_delta=True
    )
    assert error.abs().max() < 1e-3
    by_feature = np.zeros(rows.shape)
    for position, feature in enumerate(weights.owner):
        by_feature[:, feature] += expected.detach().numpy()[:, position]
    attribution = attribute_perceptron(weights, margin, rows)
    assert np.abs(attribution.values - by_feature).max() < 1e-4
    assert np.abs(attribution.score - weights.margin(rows)[:, margin]).max() < 1e-4
    assert np.abs(attribution.base + attribution.values.sum(axis=1) - attribution.score).max() < 1e-9


def test_a_clipped_number_adds_up_however_far_it_is(cancer: Any, perceptron: Any) -> None:
    weights = replace(perceptron(cancer[0]), clip=3.0)
    weights = replace(weights, baseline=weights.join(cancer[0]).mean(axis=0))
    rows = np.concatenate([cancer[0][:20], np.full((1, 30), 1e30, np.float32)])
    attribution = attribute_perceptron(weights, 0, rows)
    assert np.isfinite(attribution.values).all()
    assert np.abs(attribution.score - weights.margin(rows)[:, 0]).max() < 1e-4
    assert np.abs(attribution.base + attribution.values.sum(axis=1) - attribution.score).max() < 1e-9


def test_a_perceptron_at_its_baseline_has_nothing_to_explain(cancer: Any, perceptron: Any) -> None:
    """Every rectifier sees no change there: its slope stands for the quotient, and nothing is divided by zero."""
    weights = perceptron(cancer[0])
    mean = np.zeros((1, 30), np.float32)
    mean[0] = weights.baseline * weights.scale + weights.centre
    attribution = attribute_perceptron(weights, 0, mean)
    assert np.isfinite(attribution.values).all()
    assert np.abs(attribution.values).max() < 1e-3
