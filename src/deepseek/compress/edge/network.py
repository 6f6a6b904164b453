"""Reads a small network from an ONNX graph: a list of steps on tensors of one row, with every shape known.

    network = read_network(graph_bytes)
    network.steps      # conv, dense, pool, add, multiply, affine, clamp, sigmoid, hard_sigmoid, softmax

onnxruntime's basic optimization folds constants and batch normalization first; a ReLU or ReLU6 becomes a limit of the
step before it; an operator that only changes a shape is no step. Shapes have no row axis: (C, H, W), (C, L) or (D,).
"""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from deepseek.compress.edge.nodes import READERS, GraphContext, Step
from deepseek.engines.onnx import runtime_errors
from deepseek.errors import InputError, IntegrityError
from deepseek.extras import need

EXTRA = "compress"
_CLAMPING_KINDS = frozenset({"conv", "dense", "add", "affine"})  # steps that can clamp their output


@dataclass(frozen=True, slots=True)
class Network:
    """Steps in the order in which they run; tensors by name."""

    steps: tuple[Step, ...]
    shapes: dict[str, tuple[int, ...]] = field(repr=False)
    input: str
    output: str

    def size(self, name: str) -> int:
        return math.prod(self.shapes[name])


def read_network(graph: bytes) -> Network:
    """The network of a graph with one float input and one float output. InputError names a node that the C tier does
    not know; IntegrityError for bytes that are no ONNX graph."""
    model = simplify_graph(graph)
    context = _graph_context(model)
    steps: list[Step] = []
    for node in model.graph.node:
        reader = READERS.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        if reader is None:
            raise InputError(
                f"the C tier knows no {node.op_type} (node {node.name or node.output[0]!r})",
                expected=f"a network of {', '.join(sorted(READERS))}",
                fix="use --tier onnxruntime, or build the network of these",
            )
        step = reader(node, context)
        if step is not None:
            steps.append(step)
    output = context.resolve(model.graph.output[0].name)
    limited = _fuse_clamps(steps, output, context)
    return Network(tuple(limited), context.shapes, model.graph.input[0].name, context.resolve(output))


def simplify_graph(graph: bytes) -> Any:
    """The ONNX model for one row, constants folded, with the shape of every tensor. Errors as of read_network()."""
    onnx = need("onnx", extra=EXTRA)
    need("onnx.shape_inference", extra=EXTRA)
    try:
        model = onnx.load_from_string(graph)
    except (ValueError, TypeError, onnx.onnx_cpp2py_export.checker.ValidationError, _decode_error()) as error:
        raise IntegrityError(
            f"the file is no ONNX graph: {error}", expected="an ONNX file", fix="export it again"
        ) from error
    check_ends(model)
    for end in (*model.graph.input, *model.graph.output):
        end.type.tensor_type.shape.dim[0].dim_value = 1
    del model.graph.value_info[:]  # shapes of a symbolic number of rows
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "basic.onnx"
        runtime = need("onnxruntime", extra=EXTRA)
        options = runtime.SessionOptions()
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(path)
        options.log_severity_level = 4
        try:
            runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        except runtime_errors(runtime) as error:
            raise IntegrityError(
                f"onnxruntime does not take the graph for one row: {error}", expected="a graph that runs",
                fix="export it again",
            ) from error  # fmt: skip
        model = onnx.load(path)
    return onnx.shape_inference.infer_shapes(model, data_prop=True)


def check_ends(model: Any) -> None:
    """InputError unless there is one input and one output, both float32, with every axis but the rows fixed."""
    weights = {value_info.name for value_info in model.graph.initializer}
    inputs = [value_info for value_info in model.graph.input if value_info.name not in weights]
    for what, ends in (("input", inputs), ("output", list(model.graph.output))):
        if len(ends) != 1 or ends[0].type.tensor_type.elem_type != 1:
            raise InputError(
                f"the graph has {len(ends)} {what}s ({', '.join(value_info.name[:40] for value_info in ends[:5])})",
                expected=f"one {what} of float32", fix="export the part of it that the device needs",
            )  # fmt: skip
    dims = inputs[0].type.tensor_type.shape.dim
    if not dims or any(dim.dim_value < 1 for dim in dims[1:]) or dims[0].dim_value > 1:
        axes = [dim.dim_value or dim.dim_param or "?" for dim in dims]
        raise InputError(
            f"the input {inputs[0].name[:40]!r} has the shape {axes}",
            expected="rows first, all other axes fixed", fix="export it with a fixed size",
        )  # fmt: skip


def _decode_error() -> type[Exception]:
    error: type[Exception] = need("google.protobuf.message", extra=EXTRA).DecodeError
    return error


def _graph_context(model: Any) -> GraphContext:
    to_array = need("onnx.numpy_helper", extra=EXTRA).to_array
    shapes = {}
    for value_info in (*model.graph.input, *model.graph.value_info, *model.graph.output):
        dims = [dim.dim_value for dim in value_info.type.tensor_type.shape.dim]
        if all(dims):
            shapes[value_info.name] = tuple(dims[1:])
    constants = {value_info.name: np.asarray(to_array(value_info)) for value_info in model.graph.initializer}
    return GraphContext(shapes, constants)


def _fuse_clamps(steps: list[Step], output: str, context: GraphContext) -> list[Step]:
    """The steps with clamps merged into the limits of the steps before them, where no other step reads those."""
    uses = Counter(name for step in steps for name in step.inputs)
    producers: dict[str, int] = {}
    fused: list[Step] = []
    for step in steps:
        step = replace(step, inputs=tuple(context.resolve(name) for name in step.inputs))  # noqa: PLW2901
        producer = producers.get(step.inputs[0]) if step.kind == "clamp" else None
        if producer is not None and uses[step.inputs[0]] == 1 and step.inputs[0] != output:
            earlier = fused[producer]
            if earlier.kind in _CLAMPING_KINDS and math.isinf(earlier.low) and math.isinf(earlier.high):
                fused[producer] = replace(earlier, low=step.low, high=step.high)
                context.alias(step.output, step.inputs[0])
                continue
        producers[step.output] = len(fused)
        fused.append(step)
    return fused
