"""The weights of an ONNX graph in int8, everything else as it was: a quarter of the file, the same way of computing.

    smaller = quantize_graph_weights(graph)          # bytes of a model in, bytes of a model out

    weight = Cast(int8) * scale,  scale = largest |weight| of an output channel / 127

Both nodes have constant inputs, so onnxruntime computes the weight once, when it loads the graph, and is as fast as
before. Where activations may be rounded, too, targets/post_training.py makes a graph that is also faster.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.errors import InputError
from deepseek.extras import need

MIN_VALUES = 256  # of a weight: the scales and nodes of a smaller one would save nothing
LEVELS = 127


def quantize_graph_weights(graph: bytes) -> bytes:
    """The graph with its large float32 weights in int8. InputError where it has none."""
    onnx = need("onnx", extra="compress")
    proto = onnx.load_from_string(graph)
    kept: list[Any] = []
    added: list[Any] = []
    nodes: list[Any] = []
    for tensor in proto.graph.initializer:
        weight = onnx.numpy_helper.to_array(tensor)
        if weight.dtype != np.float32 or weight.ndim < 2 or weight.size < MIN_VALUES:
            kept.append(tensor)
            continue
        levels, scale = _round_weight(weight)
        name = tensor.name
        added += [
            onnx.numpy_helper.from_array(levels, f"{name}_int8"),
            onnx.numpy_helper.from_array(scale, f"{name}_scale"),
        ]
        nodes += [
            onnx.helper.make_node("Cast", [f"{name}_int8"], [f"{name}_levels"], to=onnx.TensorProto.FLOAT),
            onnx.helper.make_node("Mul", [f"{name}_levels", f"{name}_scale"], [name]),
        ]
    if not nodes:
        raise InputError(
            "the graph has no weights that are worth storing in int8", expected=f"one of {MIN_VALUES} numbers or more",
            fix="leave int8 out of the methods",
        )  # fmt: skip
    nodes += list(proto.graph.node)
    for field, values in (("initializer", [*kept, *added]), ("node", nodes)):
        proto.graph.ClearField(field)
        getattr(proto.graph, field).extend(values)
    data: bytes = proto.SerializeToString(deterministic=True)
    return data


def _round_weight(weight: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """int8 levels and the scales that bring them back, one for each channel along the first or the last axis, whichever
    loses less: a graph may hold a weight by output or by input."""
    best: tuple[float, Any] = (np.inf, None)
    for axis in (0, weight.ndim - 1):
        others = tuple(place for place in range(weight.ndim) if place != axis)
        largest = np.abs(weight).max(axis=others, keepdims=True)
        scale = np.where(largest > 0, largest / LEVELS, 1.0).astype(np.float32)
        levels = np.clip(np.rint(weight / scale), -LEVELS, LEVELS).astype(np.int8)
        error = float(np.square(levels * scale - weight).sum())
        if error < best[0]:
            best = error, (levels, scale)
    levels, scale = best[1]
    return levels, scale
