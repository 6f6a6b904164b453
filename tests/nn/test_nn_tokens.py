"""The linear model on n-grams: what its arrays mean, and that the graph computes the same for any row."""

from __future__ import annotations

import numpy as np
import pytest

from deepseek.engines import export_onnx
from deepseek.engines.onnx import OnnxEngine
from deepseek.nn.model import Model, Part
from deepseek.nn.tokens import TokenLinear

NUM_FEATURES = 11  # two blocks of 3 and 2 tokens with their weights, and a number


@pytest.fixture(scope="module")
def weights() -> TokenLinear:
    random = np.random.default_rng(0)
    return TokenLinear(
        blocks=np.array([[0, 3, 3, 5], [6, 8, 2, 4]]), coef=random.normal(size=(9, 3)).astype(np.float16),
        numbers=np.array([10]), number_coef=random.normal(size=(1, 3)), number_mean=np.array([0.5]),
        block_mean=random.normal(size=(2, 3)), bias=random.normal(size=3),
    )  # fmt: skip


def rows() -> np.ndarray:
    features = np.zeros((4, NUM_FEATURES), np.float32)
    features[0] = [4, 1, 0, 0.5, 0.25, 0, 3, 0, 1.5, 0.75, 2]
    features[1, 10] = -1  # no n-gram at all
    features[2] = [5, -1, 1e30, 1, 1, 1, 0, np.float32(-1e30), 1, 1, 0]  # numbers of no n-gram
    features[3] = features[0]
    return features


def test_a_margin_is_the_sum_of_its_ngrams_and_numbers(weights: TokenLinear) -> None:
    coef = weights.coef.astype(np.float64)
    by_hand = weights.bias + 2 * weights.number_coef[0]
    by_hand = by_hand + 0.5 * coef[4] + 0.25 * coef[1] + 1.5 * coef[5 + 3] + 0.75 * coef[5 + 0]
    margin = weights.margin(rows())
    assert np.allclose(margin[0], by_hand)
    assert np.allclose(margin[1], weights.bias - weights.number_coef[0])
    assert np.allclose(margin[2], weights.bias + coef[5])  # of it, the one n-gram that there is


def test_the_graph_computes_the_same_row_by_row_and_together(weights: TokenLinear) -> None:
    model = Model("multiclass", ("a", "b", "c"), "log-odds", (Part("text_linear", weights),), bias=(0.0, 0.0, 0.0))
    engine, features = OnnxEngine(export_onnx(model, NUM_FEATURES)), rows()
    expected = model.score(features)
    together = engine.score(features)
    assert np.abs(together.margin - expected.margin).max() < 1e-6
    assert np.abs(together.output - expected.output).max() < 1e-6
    for row in range(len(features)):
        assert np.array_equal(engine.score(features[row : row + 1]).margin[0], together.margin[row])


def test_contributions_add_up_to_the_margin(weights: TokenLinear) -> None:
    features = rows()
    for margin in range(3):
        values, base = weights.contributions(features, margin)
        assert np.allclose(values.sum(axis=1) + base, weights.margin(features)[:, margin])


def test_arrays_come_back_and_others_are_refused(weights: TokenLinear) -> None:
    again = TokenLinear.from_arrays(weights.arrays())
    assert np.array_equal(again.margin(rows()), weights.margin(rows()))
    with pytest.raises(ValueError, match="of 8 n-grams"):
        TokenLinear.from_arrays({**weights.arrays(), "coef": weights.coef[:8]})
