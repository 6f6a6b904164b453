"""A graph whose weights alone are stored in int8: a quarter of the file, the arithmetic stays float32.

    store_weights_int8(graph)

That costs almost no accuracy and no speed: they are widened once, when the graph is loaded. It needs no rows and leaves
activations as they are, so it shares nothing with engines/int8.py, which makes the graph that computes in int8.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from deepseek.compress.edge.layers import quantize_channels
from deepseek.errors import InputError
from deepseek.extras import need

EXTRA = "compress"
MIN_QUANTIZED_WEIGHTS = 1_024  # a smaller tensor saves nothing
_CHANNEL_AXIS = {"Conv": 0, "Gemm": 0, "MatMul": 1}


def store_weights_int8(graph: bytes) -> bytes:
    """The graph with each large stored weight of Conv, Gemm and MatMul as int8 and a scale for each output channel."""
    onnx = need("onnx", extra=EXTRA)
    helper, numpy_helper = need("onnx.helper", extra=EXTRA), need("onnx.numpy_helper", extra=EXTRA)
    model = onnx.load_from_string(graph)
    stored = {each.name: each for each in model.graph.initializer}
    axes = _channel_axes(model, helper)
    widened = []
    for name, axis in sorted(axes.items()):
        tensor = stored.get(name)
        if tensor is None or tensor.data_type != 1 or np.prod(tensor.dims) < MIN_QUANTIZED_WEIGHTS:
            continue
        weight = np.moveaxis(numpy_helper.to_array(tensor), axis, 0)
        codes, scale = quantize_channels(weight.astype(np.float32))
        codes = np.ascontiguousarray(np.moveaxis(codes.reshape(weight.shape), 0, axis))
        model.graph.initializer.remove(tensor)
        for array, ending in ((codes, "int8"), (scale, "scale"), (np.zeros(len(scale), np.int8), "zero")):
            model.graph.initializer.append(numpy_helper.from_array(array, f"{name}_{ending}"))
        parts = [f"{name}_{ending}" for ending in ("int8", "scale", "zero")]
        widened.append(helper.make_node("DequantizeLinear", parts, [name], name=f"{name}_widened", axis=axis))
    nodes = [*widened, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    _check_opset(model, 13)  # DequantizeLinear with an axis
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _channel_axes(model: Any, helper: Any) -> dict[str, int]:
    """The axis of the output channels of each weight; one that two nodes read differently is left as it is."""
    found: dict[str, set[int]] = {}
    for node in model.graph.node:
        axis = _CHANNEL_AXIS.get(node.op_type)
        for place, name in enumerate(node.input):
            if axis is None or place != 1:
                found.setdefault(name, set()).add(-1)
                continue
            given = {each.name: helper.get_attribute_value(each) for each in node.attribute}
            is_turned = node.op_type == "Gemm" and not given.get("transB", 0)
            found.setdefault(name, set()).add(1 if is_turned else axis)
    return {name: axes.pop() for name, axes in found.items() if len(axes) == 1 and -1 not in axes}


def _check_opset(model: Any, version: int) -> None:
    for each in model.opset_import:
        if each.domain in ("", "ai.onnx") and each.version < version:
            raise InputError(
                f"the graph is of opset {each.version}", expected=f"{version} or later", fix="export it again"
            )
