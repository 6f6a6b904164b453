"""The perceptron candidate: how it scales its input and what it is told to learn."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from deepseek.contracts import Float32
from deepseek.engines.onnx import OnnxEngine
from deepseek.engines.tabular.export import export_onnx
from deepseek.nn.model import Model, Part
from deepseek.train.candidates import FitData
from deepseek.train.candidates.perceptron import PerceptronModel, robust_scale, soft_targets

MOST = np.finfo(np.float32).max


def table(features: Float32, target: Any, task: str) -> FitData:
    num_features = features.shape[1]
    num_classes = 0 if task == "regression" else int(target.max()) + 1
    return FitData(
        features, target, np.ones(len(target)), task, num_classes,  # type: ignore[arg-type]
        kinds=("numeric",) * num_features, num_levels=(0,) * num_features, monotone=(0,) * num_features,
    )  # fmt: skip


def test_scales_are_quartiles_else_half_the_range_else_beyond_all_numbers() -> None:
    columns = np.array(
        [
            [0, 1, 2, 3, 4],  # quartiles 1 and 3
            [0, 0, 0, 0, 10],  # quartiles coincide: half the range
            [7, 7, 7, 7, 7],
            [-3e38, -3e38, 0, 3e38, 3e38],  # the quartiles lie further apart than float32 can say
            [0, 0, 0, 0, 1e-45],
        ],
        np.float32,
    ).T
    centre, scale = robust_scale(columns.astype(np.float64))
    assert centre.tolist() == [2, 0, 7, 0, 0]
    assert scale.tolist() == [2, 5, MOST, MOST, np.finfo(np.float32).tiny]


def odd_features(num_rows: int) -> Float32:
    """A constant, a column of 99 % zeros, one with a number of 1e30, a plain one."""
    rng = np.random.default_rng(0)
    features = np.zeros((num_rows, 4), np.float32)
    features[:, 0] = 7
    features[: num_rows // 100, 1] = rng.normal(size=num_rows // 100)
    features[:, 2:] = rng.normal(size=(num_rows, 2))
    features[0, 2] = 1e30
    return features


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_odd_columns_are_scaled_within_the_clip_and_the_rest_is_learned(task: str) -> None:
    features = odd_features(400)
    target = features[:, 3].astype(np.float64)
    cuts = {"binary": [0.0], "multiclass": [0.0, 0.8]}
    data = table(features, np.digitize(target, cuts[task]) if task in cuts else target, task)
    model = PerceptronModel()
    fitted = model.fit(data, model.defaults(data), seed=0)
    margin = fitted.margin(features)
    assert np.isfinite(margin).all()
    rising = margin @ np.linspace(-1, 1, margin.shape[1])
    assert abs(np.corrcoef(rising, target)[0, 1]) > 0.8
    member: Any = fitted.weights()[0]
    assert np.abs(member.join(features)).max() <= 3
    moved = features + np.array([5, 0, 0, 0], np.float32)
    # another value of the constant was never seen: it makes no difference
    np.testing.assert_allclose(fitted.margin(moved), margin, rtol=1e-5, atol=1e-5)


def test_a_class_is_learned_as_98_percent_certain_and_shares_stay() -> None:
    data = table(np.zeros((4, 1), np.float32), np.array([0, 0, 0, 1]), "binary")
    assert soft_targets(data) == pytest.approx([0.005, 0.005, 0.005, 0.985])
    many = table(data.features, np.array([0, 1, 2, 2]), "multiclass")
    many = replace(many, weight=np.array([2, 1, 0.5, 0.5]))
    answers = soft_targets(many)
    assert answers[0] == pytest.approx([0.98 + 0.02 * 0.5, 0.02 * 0.25, 0.02 * 0.25])
    assert np.average(answers, axis=0, weights=many.weight) == pytest.approx([0.5, 0.25, 0.25])


@pytest.mark.slow
@pytest.mark.parametrize("size", [1e7, 1e-5])
def test_targets_of_any_size_survive_the_rounding_the_file_and_the_graph(size: float) -> None:
    rng = np.random.default_rng(1)
    features = rng.normal(size=(300, 3)).astype(np.float32)
    data = table(features, size * (1 + features @ [0.5, -0.3, 0.2]), "regression")
    candidate = PerceptronModel()
    fitted = candidate.fit(data, candidate.defaults(data), seed=0)
    parts = tuple(Part("mlp", weights, 0.25) for weights in fitted.weights())
    model = Model("regression", (), "target units", parts)
    again = Model.from_files(model.to_files().__getitem__)
    answers = OnnxEngine(export_onnx(again, 3)).score(features).margin[:, 0]
    np.testing.assert_allclose(answers, fitted.margin(features)[:, 0], rtol=1e-5, atol=1e-5 * size)
    assert np.sqrt(np.mean((answers - data.target) ** 2)) < 0.15 * data.target.std()


def test_a_net_is_trained_without_what_compiles() -> None:
    """torch's optimizers import torch._dynamo, 1.8 s of a budget of 20."""
    program = """
import sys
import numpy as np
from deepseek.train.candidates import FitData
from deepseek.train.candidates.perceptron import PerceptronModel

features, no = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32), (0, 0)
data = FitData(features, np.arange(60) % 2, np.ones(60), "binary", 2, ("numeric",) * 2, no, no)
PerceptronModel().fit(data, {**PerceptronModel().defaults(data), "epochs": 1}, seed=0)
sys.exit("torch._dynamo" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_eager_steps_are_those_of_adamw() -> None:
    torch = pytest.importorskip("torch")
    from deepseek.train.loop.optimizer import EagerAdamW

    weights = [torch.nn.Parameter(torch.linspace(-1, 1, 12).reshape(3, 4)) for _ in range(2)]
    optimizers = (
        EagerAdamW([weights[0]], lr=0.1, weight_decay=0.2),
        torch.optim.AdamW([weights[1]], lr=0.1, weight_decay=0.2, fused=True),
    )
    for step in range(5):
        for weight, optimizer in zip(weights, optimizers, strict=True):
            optimizer.zero_grad()
            (weight.square() * (1 + step)).sum().backward()
            optimizer.step()
    assert torch.equal(*weights)
    assert weights[0].abs().max() < 1
