"""Sensitivity of a graph's operators to int8: each alone gets its exact inputs back, and the gain is measured.

    worst_nodes(Path("model.onnx"), Path("int8.onnx"), calls)     # names, the worst first

An activation goes into an operator through QuantizeLinear and DequantizeLinear. To leave them out before one operator
needs no new calibration, so that a scan costs a session and some calls for each; the graph is then quantized again
without those operators.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepseek.contracts import Arrays, Float64
from deepseek.engines.onnx import open_session
from deepseek.extras import need

NodeProto = Any  # onnx.NodeProto: onnx is imported when it is used

MAX_CALLS = 48
MAX_NODES = 200  # of a larger graph the first ones are scanned: more would take too long
_PRODUCT_OPS = frozenset(["Conv", "ConvTranspose", "Gemm", "MatMul"])


def worst_nodes(original: Path, int8: Path, calls: Sequence[Arrays]) -> list[str]:
    """Names of convolutions and matrix products, ordered by how much the int8 graph's error falls when that node alone
    gets exact inputs; the largest gain first. `calls`: inputs of single calls."""
    onnx = need("onnx", extra="compress")
    calls = calls[:MAX_CALLS]
    expected = _graph_outputs(original.read_bytes(), calls)
    model = onnx.load(int8)
    producers = {name: node for node in model.graph.node for name in node.output}
    errors: dict[str, float] = {}
    for node in [node for node in model.graph.node if node.op_type in _PRODUCT_OPS and node.name][:MAX_NODES]:
        inputs = list(node.input)
        for index, name in enumerate(inputs):
            node.input[index] = _unrounded_input(name, producers)
        if list(node.input) != inputs:
            errors[node.name] = float(np.linalg.norm(_graph_outputs(model.SerializeToString(), calls) - expected))
            node.input[:] = inputs
    return sorted(errors, key=lambda name: errors[name])


def _unrounded_input(name: str, producers: Mapping[str, NodeProto]) -> str:
    """Name of the exact tensor behind `name`, where a QuantizeLinear and DequantizeLinear pair lies between; else
    `name` itself, such as for weights. `producers`: nodes by the name of their output."""
    restored = producers.get(name)
    if restored is None or restored.op_type != "DequantizeLinear":
        return name
    rounded = producers.get(restored.input[0])
    return rounded.input[0] if rounded is not None and rounded.op_type == "QuantizeLinear" else name


def _graph_outputs(graph: bytes, calls: Sequence[Arrays]) -> Float64:
    session: Any = open_session(graph, "the graph", num_threads=1)
    return np.concatenate([np.ravel(session.run(None, call)[0]).astype(np.float64) for call in calls])
