"""Additive explanations of one part's raw score, per raw column: base + values.sum(1) = score, to rounding.

trees        exact TreeSHAP, path-dependent, each column one player however many features it has: from tables where
             trees are shallow (trees/leaf_tables.py: many times as fast), else by a walk (trees/walk.py)
linear       coef * (x - mean), exact; the values of a column's features are summed, which is exact, too
perceptron   DeepLift's Rescale rule (Shrikumar et al. 2017, section 3.5.1) against the mean training row
graphs       KernelSHAP of columns against a baseline row, by answers alone (shapley/kernel.py)
others       by their own contributions()
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float32, Float64
from deepseek.explain.shapley.kernel import kernel_shap
from deepseek.explain.tabular.trees.leaf_tables import MAX_TABLE_BYTES, LeafTables, TableShape
from deepseek.explain.tabular.trees.walk import TreeWalk
from deepseek.nn.dense import Linear, Perceptron
from deepseek.nn.model import OpaqueWeights, OtherWeights, Part, PartWeights
from deepseek.nn.trees import TreeTable


@dataclass(frozen=True, slots=True)
class ScoreAttribution:
    """The attribution of one part's raw score, of N rows."""

    values: Float64  # (N, P); what explains a part of no trees by itself has (N, F)
    base: Float64  # (N,)
    score: Float64  # (N,) the raw score itself, computed apart from the values


PartAttributor = Callable[[Float32], ScoreAttribution]

METHOD_NAMES = {
    "trees": "TreeSHAP, exact (path-dependent)",
    "linear": "linear, exact",
    "mlp": "DeepLift, Rescale rule, against the mean training row",
}
#: Answers for a row of a part that has no rule of its own; with few columns all coalitions are fewer.
KERNEL_EVALUATIONS = 512
#: Below this change of a unit's input its slope stands for the quotient (as captum does).
_MIN_CHANGE = 1e-10


def part_attributor(
    weights: PartWeights,
    margin: int,
    *,
    column_of: NDArray[np.int64],
    num_threads: int,
    compiled: bool = False,
    once: bool = False,
) -> PartAttributor:
    """The function that attributes margin `margin` of a part: values (N, P) of features (N, F). `column_of` (F,): the
    column that owns each feature. `compiled`: by numba where the trees are shallow, for few rows at a time. `once`:
    trees are walked, not turned into tables first, which takes as long as some thousand rows: 2.6 s of 172 trees, of
    which a hundred rows are walked in .1."""
    if isinstance(weights, TreeTable):
        shape = TableShape(weights, margin)
        if not once and shape.num_bytes(int(column_of.max()) + 1) <= MAX_TABLE_BYTES:
            tables = _tables_class(compiled)(weights, margin, column_of=column_of, shape=shape)
            return lambda features: ScoreAttribution(*tables.explain(features))
        walk = TreeWalk(weights, margin, column_of=column_of, num_threads=num_threads)
        return lambda features: ScoreAttribution(*walk.explain(features))
    if isinstance(weights, Linear):
        return lambda features: sum_by_column(attribute_linear(weights, margin, features), column_of)
    if isinstance(weights, Perceptron):
        return lambda features: sum_by_column(attribute_perceptron(weights, margin, features), column_of)
    foreign: Any = weights
    if not hasattr(foreign, "contributions"):
        return lambda features: attribute_opaque(foreign, margin, features, column_of)
    return lambda features: sum_by_column(attribute_other(foreign, margin, features), column_of)


def _tables_class(compiled: bool) -> type[LeafTables]:
    if not compiled:
        return LeafTables
    from deepseek.explain.tabular.trees.compiled_tables import CompiledLeafTables

    return CompiledLeafTables


def sum_by_column(explained: ScoreAttribution, column_of: NDArray[np.int64]) -> ScoreAttribution:
    """The values (N, F) of features, summed by the column that owns them: (N, P)."""
    order = np.argsort(column_of, kind="stable")
    starts = np.searchsorted(column_of[order], np.arange(int(column_of.max()) + 1))
    return replace(explained, values=np.add.reduceat(explained.values[:, order], starts, axis=1))


def method_name(part: Part) -> str:
    """How a part is explained, in words."""
    return METHOD_NAMES.get(part.kind) or part.weights.method  # type: ignore[union-attr]


def attribute_linear(weights: Linear, margin: int, features: Float32) -> ScoreAttribution:
    """Exact, with the mean of the training rows as the baseline."""
    coef = weights.coef[:, margin]
    values = (features.astype(np.float64) - weights.mean) * coef
    base = np.full(len(features), weights.mean @ coef + weights.bias[margin])
    return ScoreAttribution(values, base, weights.margin(features)[:, margin])


def attribute_opaque(
    weights: OpaqueWeights, margin: int, features: Float32, column_of: NDArray[np.int64]
) -> ScoreAttribution:
    """KernelSHAP of each row's columns; one that is taken away reads the part's baseline. The values sum to the score
    less the base exactly."""
    num_columns = int(column_of.max()) + 1
    baseline, values = weights.baseline, np.zeros((len(features), num_columns))
    base, score = np.zeros(len(features)), np.zeros(len(features))
    for index, row in enumerate(features):

        def score_present(seen: NDArray[np.floating], row: Float32 = row) -> Float64:
            return weights.margin(np.where(seen[:, column_of] > 0, row, baseline))[:, margin]

        evaluations = max(KERNEL_EVALUATIONS, 2 * num_columns + 2)
        kernel = kernel_shap(
            score_present, np.ones(num_columns), np.zeros((1, num_columns)), num_evaluations=evaluations, seed=index
        )
        values[index], base[index], score[index] = kernel.values, kernel.base, kernel.output
    return ScoreAttribution(values, base, score)


def attribute_other(weights: OtherWeights, margin: int, features: Float32) -> ScoreAttribution:
    """The attribution by the part's own contributions(); what its values leave over is the residual."""
    return ScoreAttribution(*weights.contributions(features, margin), weights.margin(features)[:, margin])


def attribute_perceptron(weights: Perceptron, margin: int, features: Float32) -> ScoreAttribution:
    """DeepLift with the stored baseline: the multipliers of all layers, then input differences times multipliers.

    At a rectifier the multiplier is the quotient of the differences of its output and input, so that the values sum to
    the difference of the scores at the row and at the baseline.
    """
    joined = weights.join(features).astype(np.float64)
    baseline = weights.baseline.astype(np.float64)[None]
    at_row, at_baseline = _preactivations(weights, joined), _preactivations(weights, baseline)
    multiplier = np.tile(weights.weights[-1][:, margin].astype(np.float64), (len(features), 1))
    for weight, row, base in zip(reversed(weights.weights[:-1]), reversed(at_row), reversed(at_baseline), strict=True):
        change = row - base
        small = np.abs(change) < _MIN_CHANGE
        quotient = (np.maximum(row, 0) - np.maximum(base, 0)) / np.where(small, 1.0, change)
        multiplier = (multiplier * np.where(small, row > 0, quotient)) @ weight.astype(np.float64).T
    multiplier += weights.skip[:, margin]
    values = np.zeros(features.shape)
    for position, feature in enumerate(weights.owner):
        values[:, feature] += (joined[:, position] - baseline[0, position]) * multiplier[:, position]
    base = np.full(len(features), _perceptron_score(weights, margin, baseline, at_baseline)[0])
    return ScoreAttribution(values, base, _perceptron_score(weights, margin, joined, at_row))


def _preactivations(weights: Perceptron, joined: Float64) -> list[Float64]:
    """The input of every rectifier, in float64: (N, H_i) for each hidden layer."""
    preactivations: list[Float64] = []
    hidden = joined
    for weight, bias in zip(weights.weights[:-1], weights.biases[:-1], strict=True):
        preactivations.append(hidden @ weight + bias)
        hidden = np.maximum(preactivations[-1], 0)
    return preactivations


def _perceptron_score(weights: Perceptron, margin: int, joined: Float64, before: list[Float64]) -> Float64:
    hidden = np.maximum(before[-1], 0) if before else joined
    score: Float64 = (
        hidden @ weights.weights[-1][:, margin] + weights.biases[-1][margin] + joined @ weights.skip[:, margin]
    )
    return score
