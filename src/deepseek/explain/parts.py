"""Additive explanations of one part's raw score, per prepared feature: base + values.sum(1) = score, to rounding.

trees        exact TreeSHAP, path-dependent (Lundberg et al. 2020, algorithm 2): from tables where trees are shallow
             (leaf_tables.py: many times as fast), else by xgboost's own code
linear       coef * (x - mean), exact
perceptron   DeepLift's Rescale rule (Shrikumar et al. 2017, section 3.5.1) against the mean training row
others       by their own contributions()
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from deepseek.contracts import Float32, Float64
from deepseek.engines.trees import TreeMargin
from deepseek.explain.leaf_tables import MAX_BYTES, LeafTables, Shape
from deepseek.nn.dense import Linear, Perceptron
from deepseek.nn.model import OtherWeights, Part, Weights
from deepseek.nn.trees import TreeTable


@dataclass(frozen=True, slots=True)
class Explained:
    """One raw score of N rows, explained."""

    values: Float64  # (N, F)
    base: Float64  # (N,)
    score: Float64  # (N,) the raw score itself, computed apart from the values


Attribute = Callable[[Float32], Explained]

METHODS = {
    "trees": "TreeSHAP, exact (path-dependent)",
    "linear": "linear, exact",
    "mlp": "DeepLift, Rescale rule, against the mean training row",
}
#: Below this change of a unit's input its slope stands for the quotient (as captum does).
_SMALL = 1e-10


def attribute(weights: Weights, margin: int, *, num_features: int, num_threads: int) -> Attribute:
    """How to explain margin `margin` of a part. Deep trees need xgboost: ExtraError where it is not installed."""
    if isinstance(weights, TreeTable):
        shape = Shape(weights, margin)
        if shape.num_bytes(num_features) <= MAX_BYTES:
            tables = LeafTables(weights, margin, num_features=num_features, shape=shape)
            return lambda features: Explained(*tables.explain(features))
        booster = TreeMargin(weights, margin, num_features=num_features, num_threads=num_threads)
        return lambda features: Explained(*booster.contributions(features), booster.score(features))
    if isinstance(weights, Linear):
        return lambda features: linear(weights, margin, features)
    if isinstance(weights, Perceptron):
        return lambda features: rescale(weights, margin, features)
    return lambda features: of_its_own(weights, margin, features)


def method_of(part: Part) -> str:
    """How a part is explained, in words."""
    return METHODS.get(part.kind) or part.weights.method  # type: ignore[union-attr]


def linear(weights: Linear, margin: int, features: Float32) -> Explained:
    """Exact, with the mean of the training rows as the baseline."""
    coef = weights.coef[:, margin]
    values = (features.astype(np.float64) - weights.mean) * coef
    base = np.full(len(features), weights.mean @ coef + weights.bias[margin])
    return Explained(values, base, weights.margin(features)[:, margin])


def of_its_own(weights: OtherWeights, margin: int, features: Float32) -> Explained:
    """As the package says that brings this kind of part; what its values leave over is the residual."""
    return Explained(*weights.contributions(features, margin), weights.margin(features)[:, margin])


def rescale(weights: Perceptron, margin: int, features: Float32) -> Explained:
    """DeepLift with the stored baseline: the multipliers of all layers, then input differences times multipliers.

    At a rectifier the multiplier is the quotient of the differences of its output and input, so that the values sum to
    the difference of the scores at the row and at the baseline.
    """
    joined = weights.join(features).astype(np.float64)
    baseline = weights.baseline.astype(np.float64)[None]
    at_row, at_baseline = _before_rectifiers(weights, joined), _before_rectifiers(weights, baseline)
    multiplier = np.tile(weights.weights[-1][:, margin].astype(np.float64), (len(features), 1))
    for weight, row, base in zip(reversed(weights.weights[:-1]), reversed(at_row), reversed(at_baseline), strict=True):
        change = row - base
        small = np.abs(change) < _SMALL
        quotient = (np.maximum(row, 0) - np.maximum(base, 0)) / np.where(small, 1.0, change)
        multiplier = (multiplier * np.where(small, row > 0, quotient)) @ weight.astype(np.float64).T
    multiplier += weights.skip[:, margin]
    values = np.zeros(features.shape)
    for position, feature in enumerate(weights.owner):
        values[:, feature] += (joined[:, position] - baseline[0, position]) * multiplier[:, position]
    base = np.full(len(features), _score(weights, margin, baseline, at_baseline)[0])
    return Explained(values, base, _score(weights, margin, joined, at_row))


def _before_rectifiers(weights: Perceptron, joined: Float64) -> list[Float64]:
    """The input of every rectifier, in float64: (N, H_i) for each hidden layer."""
    found: list[Float64] = []
    hidden = joined
    for weight, bias in zip(weights.weights[:-1], weights.biases[:-1], strict=True):
        found.append(hidden @ weight + bias)
        hidden = np.maximum(found[-1], 0)
    return found


def _score(weights: Perceptron, margin: int, joined: Float64, before: list[Float64]) -> Float64:
    hidden = np.maximum(before[-1], 0) if before else joined
    score: Float64 = (
        hidden @ weights.weights[-1][:, margin] + weights.biases[-1][margin] + joined @ weights.skip[:, margin]
    )
    return score
