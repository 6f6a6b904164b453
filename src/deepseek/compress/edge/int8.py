"""Weight-only int8 storage of a graph: a quarter of the file, the arithmetic stays float32.

    store_weights_int8(graph)

That costs almost no accuracy and no speed: weights are dequantized once, when the graph is loaded. No calibration rows
are needed; engines/int8.py, which quantizes activations as well, is another thing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from deepseek.compress.edge.layers import quantize_channels
from deepseek.compress.edge.nodes import node_attributes
from deepseek.errors import InputError
from deepseek.extras import need

EXTRA = "compress"
MIN_QUANTIZED_WEIGHTS = 1_024  # quantizing a smaller tensor saves nothing
_CHANNEL_AXIS = {"Conv": 0, "Gemm": 0, "MatMul": 1}


def store_weights_int8(graph: bytes) -> bytes:
    """The graph with each large stored weight of Conv, Gemm and MatMul as int8 with a scale per output channel."""
    onnx = need("onnx", extra=EXTRA)
    helper, numpy_helper = need("onnx.helper", extra=EXTRA), need("onnx.numpy_helper", extra=EXTRA)
    model = onnx.load_from_string(graph)
    stored = {initializer.name: initializer for initializer in model.graph.initializer}
    dequantize_nodes = []
    for name, axis in sorted(_channel_axes(model).items()):
        tensor = stored.get(name)
        if tensor is None or tensor.data_type != 1 or np.prod(tensor.dims) < MIN_QUANTIZED_WEIGHTS:
            continue
        weight = np.moveaxis(numpy_helper.to_array(tensor), axis, 0)
        codes, scale = quantize_channels(weight.astype(np.float32))
        codes = np.ascontiguousarray(np.moveaxis(codes.reshape(weight.shape), 0, axis))
        model.graph.initializer.remove(tensor)
        arrays = {f"{name}_int8": codes, f"{name}_scale": scale, f"{name}_zero": np.zeros(len(scale), np.int8)}
        model.graph.initializer.extend(numpy_helper.from_array(array, part) for part, array in arrays.items())
        dequantize_nodes.append(
            helper.make_node("DequantizeLinear", list(arrays), [name], name=f"{name}_widened", axis=axis)
        )
    nodes = [*dequantize_nodes, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    _check_opset(model, 13)  # DequantizeLinear with an axis
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _channel_axes(model: Any) -> dict[str, int]:
    """Axis of the output channels by name of the weight; without weights that two nodes read differently."""
    axes_by_weight: dict[str, set[int]] = {}
    for node in model.graph.node:
        axis = _CHANNEL_AXIS.get(node.op_type)
        for index, name in enumerate(node.input):
            if axis is None or index != 1:
                axes_by_weight.setdefault(name, set()).add(-1)
                continue
            is_transposed = node.op_type == "Gemm" and not node_attributes(node).get("transB", 0)
            axes_by_weight.setdefault(name, set()).add(1 if is_transposed else axis)
    return {name: axes.pop() for name, axes in axes_by_weight.items() if len(axes) == 1 and -1 not in axes}


def _check_opset(model: Any, version: int) -> None:
    for opset in model.opset_import:
        if opset.domain in ("", "ai.onnx") and opset.version < version:
            raise InputError(
                f"the graph is of opset {opset.version}", expected=f"{version} or later", fix="export it again"
            )
