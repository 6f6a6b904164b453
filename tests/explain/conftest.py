"""Real rows and models of every kind of part, for explanations."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.ensemble import RandomForestClassifier

from deepseek.contracts import Float32, Record
from deepseek.nn.dense import Linear, Perceptron
from deepseek.nn.model import Model, Part
from deepseek.train.tabular.convert import from_forest, from_xgboost

LABELS = ("malignant", "benign")


@pytest.fixture(scope="session")
def cancer() -> tuple[Float32, NDArray[np.int64], tuple[str, ...]]:
    data = load_breast_cancer()
    return data.data.astype(np.float32), data.target, tuple(str(name) for name in data.feature_names)


@pytest.fixture(scope="session")
def digits() -> tuple[Float32, NDArray[np.int64]]:
    features, target = load_digits(return_X_y=True)
    return features.astype(np.float32), target


@pytest.fixture(scope="session")
def records(cancer: Any) -> list[Record]:
    features, _, names = cancer
    return [dict(zip(names, row.tolist(), strict=True)) for row in features]


@pytest.fixture(scope="session")
def cancer_booster(cancer: Any) -> Any:
    import xgboost

    settings = {"max_depth": 4, "nthread": 1, "objective": "binary:logistic"}
    return xgboost.train(settings, xgboost.DMatrix(cancer[0], cancer[1]), 40)


@pytest.fixture(scope="session")
def cancer_forest(cancer: Any) -> RandomForestClassifier:
    return RandomForestClassifier(30, random_state=0).fit(cancer[0], cancer[1])


@pytest.fixture(scope="session")
def digits_forest(digits: Any) -> RandomForestClassifier:
    return RandomForestClassifier(12, random_state=0).fit(*digits)


@pytest.fixture(scope="session")
def perceptron() -> Callable[..., Perceptron]:
    """Random weights for features (N, F); the first `num_codes` of them are category codes."""

    def make(features: Float32, *, num_margins: int = 1, num_codes: int = 0) -> Perceptron:
        rng = np.random.default_rng(3)
        numbers = features[:, num_codes:]
        joined = numbers.shape[1] + 3 * num_codes
        sizes = [joined, 16, 8, num_margins]
        fields: dict[str, Any] = {
            "numeric": np.arange(num_codes, features.shape[1], dtype=np.int32),
            "centre": numbers.mean(axis=0),
            "scale": numbers.std(axis=0) + np.float32(1e-3),
            "codes": np.arange(num_codes, dtype=np.int32),
            "embeddings": [rng.normal(size=(17, 3)).astype(np.float32) for _ in range(num_codes)],
            "weights": [(rng.normal(size=p) / np.sqrt(p[0])).astype(np.float32) for p in pairwise(sizes)],
            "biases": [rng.normal(size=size).astype(np.float32) for size in sizes[1:]],
            "skip": rng.normal(size=(joined, num_margins)).astype(np.float32),
        }
        start = Perceptron(**fields, baseline=np.zeros(joined, np.float32))
        return Perceptron(**fields, baseline=start.join(features).mean(axis=0))

    return make


@pytest.fixture(scope="session")
def linear(cancer: Any) -> Linear:
    rng = np.random.default_rng(1)
    spread = cancer[0].std(axis=0).astype(np.float64)
    return Linear((rng.normal(size=30) / spread)[:, None], np.array([0.3]), cancer[0].mean(axis=0).astype(np.float64))


@pytest.fixture(scope="session")
def models(
    cancer: Any,
    digits: Any,
    cancer_booster: Any,
    cancer_forest: Any,
    digits_forest: Any,
    linear: Linear,
    perceptron: Any,
) -> dict[str, tuple[Model, Float32]]:
    boosted = from_xgboost(cancer_booster, num_margins=1)
    shares = from_forest(cancer_forest, num_margins=1)
    many = from_forest(digits_forest, num_margins=10)
    net = perceptron(cancer[0])
    digits_net = perceptron(digits[0], num_margins=10, num_codes=2)

    def two(*parts: Part, scale: str = "log-odds") -> tuple[Model, Float32]:
        return Model("binary", LABELS, scale, parts, slope=0.8, bias=(0.1,)), cancer[0]  # type: ignore[arg-type]

    def ten(*parts: Part, scale: str = "log-odds") -> tuple[Model, Float32]:
        return Model("multiclass", tuple("0123456789"), scale, parts, bias=(0.0,) * 10), digits[0]  # type: ignore[arg-type]

    return {
        "boosted": two(Part("xgboost", boosted)),
        "forest, shares": two(Part("random_forest", shares), scale="probability"),
        "forest, log-odds": two(Part("random_forest", shares, 1.0, "log_odds")),
        "linear": two(Part("linear", linear)),
        "perceptron": two(Part("mlp", net)),
        "blend": two(
            Part("xgboost", boosted, 0.4),
            Part("random_forest", shares, 0.3, "log_odds"),
            Part("linear", linear, 0.2),
            Part("mlp", net, 0.1),
        ),
        "forest, ten classes": ten(Part("random_forest", many), scale="probability"),
        "blend, ten classes": ten(Part("random_forest", many, 0.6, "log_odds"), Part("mlp", digits_net, 0.4)),
        "regression": (Model("regression", (), "target units", (Part("linear", linear),)), cancer[0]),
    }


KINDS = (
    "boosted", "forest, shares", "forest, log-odds", "linear", "perceptron", "blend", "forest, ten classes",
    "blend, ten classes", "regression",
)  # fmt: skip


@pytest.fixture(params=KINDS)
def model_and_rows(request: pytest.FixtureRequest, models: dict[str, tuple[Model, Float32]]) -> tuple[Model, Float32]:
    return models[request.param]
