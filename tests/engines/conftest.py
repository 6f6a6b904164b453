"""Models of every kind on scikit-learn's real tables, as the engines see them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from deepseek.contracts import Float32
from deepseek.nn.dense import Linear, Perceptron
from deepseek.nn.model import Model, Part
from deepseek.train.tabular.convert import from_forest, from_hist, from_xgboost

Table = tuple[Float32, NDArray[np.int64]]
CANCER_LABELS = ("malignant", "benign")
DIGITS_LABELS = tuple("0123456789")


@pytest.fixture(scope="session")
def cancer() -> Table:
    features, target = load_breast_cancer(return_X_y=True)
    return features.astype(np.float32), target


@pytest.fixture(scope="session")
def digits() -> Table:
    features, target = load_digits(return_X_y=True)
    return features.astype(np.float32), target


@pytest.fixture(scope="session")
def diabetes() -> Table:
    features, target = load_diabetes(return_X_y=True)
    return features.astype(np.float32), target


@pytest.fixture(scope="session")
def random_perceptron() -> Callable[..., Perceptron]:
    """Random weights; the first `num_codes` features are category codes, the rest numbers."""

    def make(features: Float32, *, num_margins: int, num_codes: int = 0, seed: int = 7) -> Perceptron:
        rng = np.random.default_rng(seed)
        numbers = features[:, num_codes:]
        tables = [rng.normal(size=(5, 3)).astype(np.float32) for _ in range(num_codes)]
        joined = numbers.shape[1] + 3 * num_codes
        sizes = [joined, 16, 8, num_margins]
        perceptron = Perceptron(
            numeric=np.arange(num_codes, features.shape[1], dtype=np.int32),
            centre=numbers.mean(axis=0),
            scale=numbers.std(axis=0) + np.float32(1e-3),
            codes=np.arange(num_codes, dtype=np.int32),
            embeddings=tables,
            weights=[
                (rng.normal(size=pair) / np.sqrt(pair[0])).astype(np.float32) for pair in itertools.pairwise(sizes)
            ],
            biases=[rng.normal(size=size).astype(np.float32) * np.float32(0.1) for size in sizes[1:]],
            skip=(rng.normal(size=(joined, num_margins)) * 0.1).astype(np.float32),
            baseline=np.zeros(joined, np.float32),
        )
        return replace(perceptron, baseline=perceptron.join(features).mean(axis=0).astype(np.float32))

    return make


@pytest.fixture(scope="session")
def halved(random_perceptron: Callable[..., Perceptron]) -> Callable[..., Perceptron]:
    """As nn.mlp takes them out: rounded to float16, numbers clipped, the first of them once more by its logarithm."""

    def make(features: Float32, **settings: int) -> Perceptron:
        perceptron = random_perceptron(features, **settings)

        def rounded(array: Float32) -> Float32:
            return array.astype(np.float16).astype(np.float32)

        return replace(
            perceptron,
            numeric=np.append(perceptron.numeric[:1], perceptron.numeric),
            centre=np.append(np.float32(2.5), perceptron.centre),
            scale=np.append(np.float32(0.5), perceptron.scale),
            logged=np.arange(len(perceptron.numeric) + 1) == 0,
            clip=3.0,
            embeddings=[rounded(table) for table in perceptron.embeddings],
            weights=[
                rounded(np.append(perceptron.weights[0][:1], perceptron.weights[0], 0)),
                *map(rounded, perceptron.weights[1:]),
            ],
            skip=rounded(np.append(perceptron.skip[:1], perceptron.skip, 0)),
            baseline=np.append(np.float32(0), perceptron.baseline),
        )

    return make


@pytest.fixture(scope="session")
def cancer_forest(cancer: Table) -> RandomForestClassifier:
    return RandomForestClassifier(50, random_state=0).fit(*cancer)


@pytest.fixture(scope="session")
def models(
    cancer: Table,
    digits: Table,
    diabetes: Table,
    cancer_forest: RandomForestClassifier,
    random_perceptron: Callable[..., Perceptron],
    halved: Callable[..., Perceptron],
) -> dict[str, tuple[Model, Float32]]:
    """A model of every kind of part, link and task, with real rows."""
    import xgboost

    def boosted(table: Table, num_margins: int, **settings: object) -> Part:
        booster = xgboost.train({"max_depth": 4, "nthread": 1, **settings}, xgboost.DMatrix(*table), 30)
        return Part("xgboost", from_xgboost(booster, num_margins=num_margins))

    hist = HistGradientBoostingClassifier(max_iter=20, random_state=0).fit(*cancer)
    extra = ExtraTreesClassifier(20, random_state=0).fit(*digits)
    logistic = LogisticRegression(max_iter=5000).fit(*cancer)
    linear = Linear(logistic.coef_.T, logistic.intercept_, cancer[0].mean(axis=0).astype(np.float64))
    shares = from_forest(cancer_forest, num_margins=1)
    many = from_forest(extra, num_margins=10)
    coarse = ExtraTreesClassifier(20, min_samples_leaf=4, random_state=0).fit(*digits)
    mixed = from_forest(coarse, num_margins=10)
    boost = boosted(cancer, 1, objective="binary:logistic")
    net = random_perceptron(cancer[0], num_margins=1)
    settled = {"slope": 0.9, "bias": (0.2,)}

    def binary(scale: str, *parts: Part) -> tuple[Model, Float32]:
        return Model("binary", CANCER_LABELS, scale, parts, **settled), cancer[0]  # type: ignore[arg-type]

    def multi(scale: str, *parts: Part) -> tuple[Model, Float32]:
        bias = tuple(np.linspace(-0.2, 0.2, 10))
        return Model("multiclass", DIGITS_LABELS, scale, parts, slope=1.1, bias=bias), digits[0]  # type: ignore[arg-type]

    return {
        "boosted": binary("log-odds", boost),
        "hist": binary("log-odds", Part("hist", from_hist(hist, num_margins=1))),
        "linear": binary("log-odds", Part("linear", linear)),
        "perceptron": binary("log-odds", Part("mlp", net)),
        "forest, shares": binary("probability", Part("random_forest", shares)),
        "forest, log-odds": binary("log-odds", Part("random_forest", shares, 1.0, "log_odds")),
        "blend": binary(
            "log-odds",
            Part("xgboost", boost.weights, 0.4),
            Part("random_forest", shares, 0.3, "log_odds"),
            Part("linear", linear, 0.2),
            Part("mlp", net, 0.1),
        ),
        "boosted, ten classes": multi("log-odds", boosted(digits, 10, objective="multi:softprob", num_class=10)),
        "forest, ten classes": multi("probability", Part("extra_trees", many)),
        "mixed leaves, ten classes": multi("log-odds", Part("extra_trees", mixed, 1.0, "log_odds")),
        "blend, ten classes": multi(
            "log-odds",
            Part("extra_trees", many, 0.7, "log_odds"),
            Part("xgboost", boosted(digits, 10, objective="multi:softprob", num_class=10).weights, 0.3),
        ),
        "perceptron, ten classes": multi(
            "log-odds", Part("mlp", random_perceptron(digits[0], num_margins=10, num_codes=4))
        ),
        "halved members": binary(
            "log-odds", *(Part("mlp", halved(cancer[0], num_margins=1, seed=seed), 0.25) for seed in range(4))
        ),
        "halved, ten classes": multi("log-odds", Part("mlp", halved(digits[0], num_margins=10, num_codes=4))),
        "regression": (
            Model("regression", (), "target units", (boosted(diabetes, 1, objective="reg:squarederror"),)),
            diabetes[0],
        ),
    }


KINDS = (
    "boosted", "hist", "linear", "perceptron", "forest, shares", "forest, log-odds", "blend", "boosted, ten classes",
    "forest, ten classes", "mixed leaves, ten classes", "blend, ten classes",
    "perceptron, ten classes", "halved members", "halved, ten classes", "regression",
)  # fmt: skip


@pytest.fixture(params=KINDS)
def model_and_rows(request: pytest.FixtureRequest, models: dict[str, tuple[Model, Float32]]) -> tuple[Model, Float32]:
    return models[request.param]


@pytest.fixture(scope="session")
def stump() -> Callable[..., object]:
    """A table of trees with one split each, x[feature] <= threshold, and leaves `left`, `right`."""
    from deepseek.nn.trees import TreeTable

    def make(*trees: tuple[int, float, float, float], bias: float = 0.0) -> TreeTable:
        many = len(trees)
        roots = 3 * np.arange(many, dtype=np.int32)
        feature = np.full(3 * many, -1, np.int32)
        threshold = np.zeros(3 * many, np.float32)
        left, right = np.zeros((2, 3 * many), np.int32)
        leaves = np.array([value for tree in trees for value in tree[2:]], np.float32)[:, None]
        for place, (column, cut, _, _) in zip(roots, trees, strict=True):
            feature[place], threshold[place] = column, cut
            left[place], right[place] = place + 1, place + 2
        left[feature == -1] = np.arange(2 * many)
        cover = np.tile(np.array([4, 3, 1], np.float32), many)
        return TreeTable(
            roots, np.zeros(many, np.int32), feature, threshold, left, right, cover, leaves, np.array([bias])
        )

    return make
