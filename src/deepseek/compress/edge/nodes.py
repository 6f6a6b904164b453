"""Readers of the ONNX operators that the C tier knows: each node becomes a step, or an alias of its input."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float32
from deepseek.errors import InputError
from deepseek.extras import need

#: Attributes of an ONNX node by name; each operator has its own.
NodeAttributes = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """One operation of the network; `numbers` are the members of its struct in network.c, in their order."""

    kind: str
    inputs: tuple[str, ...]
    output: str
    numbers: tuple[int | float, ...] = ()
    weight: Float32 | None = None  # (out, ...) of a conv or dense step, which can be stored in int8
    factor: Float32 | None = None  # of an affine step
    bias: Float32 | None = None
    low: float = -math.inf
    high: float = math.inf


@dataclass(slots=True)
class GraphContext:
    """Shapes, constants and aliases of tensors while a graph is read."""

    shapes: dict[str, tuple[int, ...]]
    constants: dict[str, NDArray[Any]]
    aliases: dict[str, str] = field(default_factory=dict)

    def alias(self, name: str, of: str) -> None:
        self.aliases[name] = of

    def resolve(self, name: str) -> str:
        while name in self.aliases:
            name = self.aliases[name]
        return name

    def shape(self, name: str) -> tuple[int, ...]:
        if name not in self.shapes:
            raise InputError(
                f"the shape of {name[:60]!r} is not fixed", expected="a graph whose shapes follow from its input's",
                fix="use --tier onnxruntime",
            )  # fmt: skip
        return self.shapes[name]

    def constant(self, node: Any, index: int) -> Float32:
        """The node's input at `index`, which has to be a constant. InputError where it is computed."""
        name = node.input[index]
        if name not in self.constants:
            raise unsupported_node(node, f"its input {name[:60]!r} is computed", "a stored one")
        return np.asarray(self.constants[name], np.float32)


def unsupported_node(node: Any, what: str, expected: str) -> InputError:
    return InputError(
        f"{node.op_type} {(node.name or node.output[0])[:60]!r}: {what}",
        expected=f"for the C tier, {expected}", fix="use --tier onnxruntime",
    )  # fmt: skip


def node_attributes(node: Any) -> NodeAttributes:
    """The attributes of an onnx.NodeProto by name."""
    value = need("onnx.helper", extra="compress").get_attribute_value
    return {attribute.name: value(attribute) for attribute in node.attribute}


def _plane_shape(shape: tuple[int, ...], node: Any) -> tuple[int, int, int]:
    """A row's shape (C, H, W) or (C, L) as (C, H, W), with H = 1 for the latter."""
    if len(shape) == 2:
        return shape[0], 1, shape[1]
    if len(shape) == 3:
        return shape[0], shape[1], shape[2]
    raise unsupported_node(node, f"a row has the shape {list(shape)}", "channels and one or two more axes")


def _window(node: Any, attributes: NodeAttributes, rank: int) -> dict[str, tuple[int, int]]:
    """Strides, leading pads and dilations as (y, x) by "stride", "pad" and "dilation"."""
    if attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID", b""):
        raise unsupported_node(node, f"auto_pad is {attributes['auto_pad'].decode()}", "pads in numbers")
    if attributes.get("ceil_mode", 0):
        raise unsupported_node(node, "it rounds its size up", "ceil_mode 0")

    def two(values: list[int], fill: int) -> tuple[int, int]:
        return (fill, values[0]) if rank == 1 else (values[0], values[1])

    return {
        "stride": two(list(attributes.get("strides", [1] * rank)), 1),
        "pad": two(list(attributes.get("pads", [0] * 2 * rank)), 0),
        "dilation": two(list(attributes.get("dilations", [1] * rank)), 1),
    }


def _conv(node: Any, context: GraphContext) -> Step:
    attributes = node_attributes(node)
    weight = context.constant(node, 1)
    rank = weight.ndim - 2
    shape, out_shape = context.shape(node.input[0]), context.shape(node.output[0])
    in_c, in_h, in_w = _plane_shape(shape, node)
    out_c, out_h, out_w = _plane_shape(out_shape, node)
    window = _window(node, attributes, rank)
    kernel = (1, *weight.shape[2:]) if rank == 1 else weight.shape[2:]
    bias = context.constant(node, 2) if len(node.input) > 2 and node.input[2] else np.zeros(out_c, np.float32)
    if kernel == (1, 1) and window["stride"] == (1, 1) and window["pad"] == (0, 0):
        in_h, in_w, out_h, out_w = 1, in_h * in_w, 1, out_h * out_w  # one long row
    numbers = (
        in_c, in_h, in_w, out_c, out_h, out_w, *kernel, *window["stride"], *window["pad"], *window["dilation"],
        int(attributes.get("group", 1)),
    )  # fmt: skip
    return Step("conv", (node.input[0],), node.output[0], numbers, weight, bias=bias)


def _dense(node: Any, context: GraphContext) -> Step:
    attributes = node_attributes(node)
    weight = context.constant(node, 1)
    if attributes.get("transA", 0) or weight.ndim != 2:
        raise unsupported_node(node, "it is no product of a row with a stored matrix", "x @ W + b")
    weight = weight if attributes.get("transB", 0) else weight.T
    bias = np.zeros(len(weight), np.float32)
    if node.op_type == "Gemm" and len(node.input) > 2 and node.input[2]:
        bias = bias + context.constant(node, 2).reshape(-1) * np.float32(attributes.get("beta", 1.0))
    weight = weight * np.float32(attributes.get("alpha", 1.0))
    if math.prod(context.shape(node.input[0])) != weight.shape[1]:
        raise unsupported_node(node, "it multiplies more than one row of the network", "x @ W + b of one vector")
    numbers = (weight.shape[1], weight.shape[0])
    return Step("dense", (node.input[0],), node.output[0], numbers, np.ascontiguousarray(weight), bias=bias)


def _pool(node: Any, context: GraphContext) -> Step:
    attributes = node_attributes(node)
    channels, in_h, in_w = _plane_shape(context.shape(node.input[0]), node)
    is_max = node.op_type in ("MaxPool", "GlobalMaxPool")
    if node.op_type.startswith("Global"):
        numbers: tuple[int, ...] = (channels, in_h, in_w, 1, 1, in_h, in_w, 1, 1, 0, 0, int(is_max), 0)
        return Step("pool", (node.input[0],), node.output[0], numbers)
    rank = len(attributes["kernel_shape"])
    window = _window(node, attributes, rank)
    if window["dilation"] != (1, 1):
        raise unsupported_node(node, "its window is dilated", "dilations of 1")
    _, out_h, out_w = _plane_shape(context.shape(node.output[0]), node)
    kernel = (1, *attributes["kernel_shape"]) if rank == 1 else tuple(attributes["kernel_shape"])
    numbers = (channels, in_h, in_w, out_h, out_w, *kernel, *window["stride"], *window["pad"])
    numbers = (*numbers, int(is_max), int(attributes.get("count_include_pad", 0)))
    return Step("pool", (node.input[0],), node.output[0], numbers)


def _global_mean(node: Any, context: GraphContext) -> Step:
    """ReduceMean over every axis but rows and channels, as a global average pool."""
    shape = context.shape(node.input[0])
    attributes = node_attributes(node)
    axes = context.constant(node, 1).tolist() if len(node.input) > 1 else attributes.get("axes", [])
    if len(shape) < 2 or {int(axis) % (len(shape) + 1) for axis in axes} != set(range(2, len(shape) + 1)):
        raise unsupported_node(node, "it is no mean over all places of a channel", "a global mean")
    channels, in_h, in_w = _plane_shape(shape, node)
    numbers = (channels, in_h, in_w, 1, 1, in_h, in_w, 1, 1, 0, 0, 0, 0)
    return Step("pool", (node.input[0],), node.output[0], numbers)


def _arithmetic(node: Any, context: GraphContext) -> Step:
    """Add, Sub, Mul or Div: an affine step with a constant per tensor or channel; add or multiply for two tensors."""
    stored = [index for index in (0, 1) if node.input[index] in context.constants]
    if stored:
        return _constant_arithmetic(node, context, stored[0])
    first, second = (context.shape(name) for name in node.input)
    if node.op_type == "Add" and first == second:
        return Step("add", tuple(node.input), node.output[0], (math.prod(first),))
    if node.op_type == "Mul":
        names = tuple(node.input)
        if math.prod(first) < math.prod(second):
            first, second, names = second, first, names[::-1]
        per_channel = second == (first[0], *[1] * (len(first) - 1))
        if first == second or per_channel:
            numbers = (first[0], math.prod(first[1:]), int(per_channel and first != second))
            return Step("multiply", names, node.output[0], numbers)
    raise unsupported_node(
        node, f"of the shapes {list(first)} and {list(second)}", "two equal shapes, or one number a channel"
    )


def _constant_arithmetic(node: Any, context: GraphContext, index: int) -> Step:
    name = node.input[1 - index]
    shape = context.shape(name)
    value = context.constant(node, index)
    if index == 0 and node.op_type in ("Sub", "Div"):
        raise unsupported_node(node, "it subtracts from, or divides, a stored number", "the stored number second")
    try:
        if value.ndim > len(shape):  # with an axis of rows, which has to be 1
            value = value.reshape(value.shape[value.ndim - len(shape) :])
        full = np.broadcast_to(value, shape)
    except ValueError:
        raise unsupported_node(
            node, f"stored numbers of the shape {list(value.shape)}", "one for each channel"
        ) from None
    channels = full.reshape(shape[0], -1)
    if not (channels == channels[:, :1]).all():
        raise unsupported_node(node, "it has other stored numbers for each place", "one for each channel")
    column = channels[:, 0].astype(np.float32)
    ones = np.ones_like(column)
    if node.op_type in ("Add", "Sub"):
        return _affine(node, name, shape, ones, column if node.op_type == "Add" else -column)
    if node.op_type == "Div":
        if not column.all():
            raise unsupported_node(node, "it divides by zero", "numbers that are not zero")
        column = ones / column
    return _affine(node, name, shape, column, np.zeros_like(column))


def _affine(node: Any, name: str, shape: tuple[int, ...], factor: Float32, bias: Float32) -> Step:
    numbers = (shape[0], math.prod(shape[1:]))
    return Step("affine", (name,), node.output[0], numbers, factor=factor, bias=bias.astype(np.float32))


def _batchnorm(node: Any, context: GraphContext) -> Step:
    gain, shift, mean, variance = (context.constant(node, index).astype(np.float64) for index in (1, 2, 3, 4))
    factor = gain / np.sqrt(variance + node_attributes(node).get("epsilon", 1e-5))
    shape = context.shape(node.input[0])
    return _affine(node, node.input[0], shape, factor.astype(np.float32), (shift - mean * factor).astype(np.float32))


def _clamp(node: Any, context: GraphContext) -> Step:
    low, high = (0.0, math.inf) if node.op_type == "Relu" else (-math.inf, math.inf)
    if node.op_type == "Clip":
        attributes = node_attributes(node)
        low, high = attributes.get("min", low), attributes.get("max", high)
        if len(node.input) > 1 and node.input[1]:
            low = float(context.constant(node, 1).item())
        if len(node.input) > 2 and node.input[2]:
            high = float(context.constant(node, 2).item())
    numbers = (math.prod(context.shape(node.input[0])),)
    return Step("clamp", (node.input[0],), node.output[0], numbers, low=low, high=high)


def _sigmoid(node: Any, context: GraphContext) -> Step:
    size = math.prod(context.shape(node.input[0]))
    if node.op_type == "Sigmoid":
        return Step("sigmoid", (node.input[0],), node.output[0], (size,))
    attributes = node_attributes(node)
    is_swish = node.op_type == "HardSwish"
    alpha = 1 / 6 if is_swish else attributes.get("alpha", 0.2)
    numbers = (size, float(alpha), 0.5 if is_swish else float(attributes.get("beta", 0.5)), int(is_swish))
    return Step("hard_sigmoid", (node.input[0],), node.output[0], numbers)


def _softmax(node: Any, context: GraphContext) -> Step:
    shape = context.shape(node.input[0])
    if math.prod(shape) != shape[-1] or node_attributes(node).get("axis", -1) not in (-1, len(shape)):
        raise unsupported_node(node, f"over a part of the shape {list(shape)}", "all numbers of a row")
    return Step("softmax", (node.input[0],), node.output[0], (shape[-1],))


def _alias_output(node: Any, context: GraphContext) -> None:
    """An operator that changes the shape alone: its output becomes an alias of its input."""
    if math.prod(context.shape(node.input[0])) != math.prod(context.shape(node.output[0])):
        raise unsupported_node(node, "it moves numbers between rows", "a new shape of the same row")
    context.alias(node.output[0], node.input[0])


READERS: dict[str, Callable[[Any, GraphContext], Step | None]] = {
    "Conv": _conv, "Gemm": _dense, "MatMul": _dense, "BatchNormalization": _batchnorm, "Relu": _clamp, "Clip": _clamp,
    "MaxPool": _pool, "AveragePool": _pool, "GlobalAveragePool": _pool, "GlobalMaxPool": _pool,
    "ReduceMean": _global_mean,
    "Add": _arithmetic, "Sub": _arithmetic, "Mul": _arithmetic, "Div": _arithmetic,
    "Sigmoid": _sigmoid,
    "HardSigmoid": _sigmoid, "HardSwish": _sigmoid, "Softmax": _softmax,
    **dict.fromkeys(("Flatten", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Dropout"), _alias_output),
}  # fmt: skip
