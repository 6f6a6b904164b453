"""A Model as one ONNX graph: parts, links, blend, calibration and classes together, equal to nn.model.combine.

    features (N, F) float32 -> "margin" (N, K) float32, "output" (N, C) or (N, 1) float32

Linear parts, the blend and the links compute in float64, trees in float32, a perceptron in float32 as its twin does.
Weights of a perceptron are stored as float16 where that changes none of them; onnxruntime widens them once, on loading.
The bytes are a function of the model alone.
"""

from __future__ import annotations

import math

import numpy as np

from deepseek.contracts import Float32
from deepseek.engines.graph import DOUBLE, FLOAT, INT64, OnnxGraphBuilder
from deepseek.engines.tabular.export_trees import add_trees, ml_domain_version
from deepseek.nn.dense import MAX_SCALED, Linear, Perceptron, narrow_to_float16
from deepseek.nn.model import Model, Part
from deepseek.nn.trees import TreeTable

INPUT = "features"
MARGIN = "margin"
OUTPUT = "output"


def export_onnx(model: Model, num_features: int) -> bytes:
    """The bytes of the graph for features (N, `num_features`); the same model gives the same bytes."""
    graph = OnnxGraphBuilder(INPUT, num_features=num_features)
    tables = [part.weights for part in model.parts if isinstance(part.weights, TreeTable)]
    version = ml_domain_version(tables)
    linked = [
        _add_scale(graph, _add_link(graph, part, _add_part(graph, part, version), model.num_margins), part.weight)
        for part in model.parts
    ]
    margin = linked[0] if len(linked) == 1 else graph.add("Sum", *linked)
    graph.output(MARGIN, margin, width=model.num_margins)
    output = _add_calibration(graph, model, margin)
    graph.output(OUTPUT, output, width=1 if model.task == "regression" else len(model.labels))
    return graph.to_bytes(ml_version=version)


def _add_scale(graph: OnnxGraphBuilder, value: str, factor: float) -> str:
    return value if factor == 1.0 else graph.add("Mul", value, graph.constant(factor))


def _add_part(graph: OnnxGraphBuilder, part: Part, version: int) -> str:
    """The part's raw score (N, K) in float64."""
    weights = part.weights
    if isinstance(weights, TreeTable):
        return add_trees(graph, INPUT, weights, version=version)
    if isinstance(weights, Linear):
        return _add_linear(graph, weights)
    raw = _add_perceptron(graph, weights) if isinstance(weights, Perceptron) else weights.add_to(graph, INPUT)
    return graph.add("Cast", raw, to=DOUBLE)


def _add_linear(graph: OnnxGraphBuilder, weights: Linear) -> str:
    wide = graph.add("Cast", INPUT, to=DOUBLE)
    product = graph.add("MatMul", wide, graph.constant(weights.coef.astype(np.float64)))
    return graph.add("Add", product, graph.constant(weights.bias.astype(np.float64)))


def _add_perceptron(graph: OnnxGraphBuilder, weights: Perceptron) -> str:
    """Float32 (N, K)."""
    joined = _add_input_layer(graph, weights)
    hidden = joined
    for index, (weight, bias) in enumerate(zip(weights.weights, weights.biases, strict=True)):
        hidden = graph.add("Gemm", hidden, _add_weight(graph, weight), graph.constant(bias))
        if index < len(weights.weights) - 1:
            hidden = graph.add("Relu", hidden)
    return graph.add("Add", hidden, graph.add("MatMul", joined, _add_weight(graph, weights.skip)))


def _add_weight(graph: OnnxGraphBuilder, array: Float32) -> str:
    """A constant to compute with in float32."""
    stored = narrow_to_float16(array)
    name = graph.constant(stored)
    return name if stored.dtype == np.float32 else graph.add("Cast", name, to=FLOAT)


def _add_input_layer(graph: OnnxGraphBuilder, weights: Perceptron) -> str:
    """Scaled numbers beside embeddings, float32 (N, D)."""
    numbers = graph.add("Gather", INPUT, graph.constant(weights.numeric.astype(np.int64)), axis=1)
    if weights.logged.any():
        size = graph.add("Add", graph.add("Abs", numbers), graph.constant(np.array(1, np.float32)))
        logs = graph.add("Mul", graph.add("Sign", numbers), graph.add("Log", size))
        numbers = graph.add("Where", graph.constant(weights.logged), logs, numbers)
    centred = graph.add("Sub", numbers, graph.constant(weights.centre))
    pieces = [_add_smooth_clip(graph, graph.add("Div", centred, graph.constant(weights.scale)), weights.clip)]
    for table, code in zip(weights.embeddings, weights.codes, strict=True):
        column = graph.add("Gather", INPUT, graph.constant(np.array(code, np.int64)), axis=1)
        level = graph.add("Cast", column, to=INT64)
        last, zero = graph.constant(np.array(len(table) - 1)), graph.constant(np.array(0))
        beyond = graph.add("Or", graph.add("Less", level, zero), graph.add("Greater", level, last))
        pieces.append(graph.add("Gather", _add_weight(graph, table), graph.add("Where", beyond, zero, level)))
    return graph.add("Concat", *pieces, axis=1)


def _add_smooth_clip(graph: OnnxGraphBuilder, numbers: str, clip: float) -> str:
    """nn.dense.smooth_clip."""
    if math.isinf(clip):
        return numbers
    low, high, one, limit = (graph.constant(np.array(x, np.float32)) for x in (-MAX_SCALED, MAX_SCALED, 1, clip))
    cut = graph.add("Clip", numbers, low, high)
    share = graph.add("Div", cut, limit)
    square = graph.add("Mul", share, share)
    return graph.add("Div", cut, graph.add("Sqrt", graph.add("Add", square, one)))


def _add_link(graph: OnnxGraphBuilder, part: Part, raw: str, num_margins: int) -> str:
    return raw if part.link == "identity" else _add_log_odds(graph, raw, part.floor, num_margins)


def _add_log_odds(graph: OnnxGraphBuilder, raw: str, floor: float, num_margins: int) -> str:
    """nn.model.log_odds."""
    factor = 1 - max(2, num_margins) * floor
    share = graph.add("Add", _add_scale(graph, raw, factor), graph.constant(floor))
    if num_margins > 1:
        return graph.add("Log", share)
    return graph.add("Log", graph.add("Div", share, graph.add("Sub", graph.constant(1.0), share)))


def _add_calibration(graph: OnnxGraphBuilder, model: Model, margin: str) -> str:
    """nn.model.calibrated."""
    if model.task == "regression":
        return margin
    z = _add_log_odds(graph, margin, model.floor, model.num_margins) if model.scale == "probability" else margin
    z = graph.add("Add", _add_scale(graph, z, model.slope), graph.constant(np.asarray(model.bias, np.float64)))
    if model.task == "multiclass":
        return _add_smoothing(graph, graph.add("Softmax", z, axis=1), model.smoothing, len(model.labels))
    positive = graph.add("Sigmoid", z)
    probabilities = graph.add("Concat", graph.add("Sub", graph.constant(1.0), positive), positive, axis=1)
    return _add_smoothing(graph, probabilities, model.smoothing, len(model.labels))


def _add_smoothing(graph: OnnxGraphBuilder, probabilities: str, smoothing: float, num_classes: int) -> str:
    """nn.model.smoothed."""
    if smoothing == 0:
        return probabilities
    return graph.add("Add", _add_scale(graph, probabilities, 1 - num_classes * smoothing), graph.constant(smoothing))
