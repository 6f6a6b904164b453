"""The graph of a model, built op by op with OpenVINO's opset from the tensors of a folder.

    model = build(architecture, pooling, names, weights)             # float32
    model = build_encoder(..., ranges=ranges)                                # those dense layers in int8, see
    quantize.py

Rows of a batch are not padded where the work is: all tokens of the batch stand in one list of T rows, and only the
attention sees them as rows of L tokens, in NUM_GROUPS groups of rows of like length. A short text beside a long one
then costs what it is long. A group that is not needed has a row without a token.

    ids (T,) positions (T,)            each token and its position in its text
    index0 (N0, L0), index1 ...        where in the list a text's token stands; behind its end: any row
    mask0 (N0, L0), mask1 ...          1 for a token, 0 behind the end of a text
    back (T,)                          where in N0 * L0 + N1 * L1 + ... a token of the list stands

Outputs: "embedding" (N0 + N1 + ..., D), "logits" (N0 + N1 + ..., C), or (T, C) where each token has a label; "states"
(T, H) behind one of the layers, where they are asked for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float32
from deepseek.engines.text.serve.quantize import ActivationRange, check_ranges, quantized_linear
from deepseek.engines.text.source.architecture import Architecture, TensorNames
from deepseek.engines.text.source.pooling import Pooling
from deepseek.engines.text.source.weights import Weights
from deepseek.extras import need

Node = Any  # an openvino.Node or one of its outputs; the library ships no usable types for its op factories
#: Added to the score of what is no token: exp() of it is 0, and bfloat16 and float16 hold it.
MASKED_SCORE = -30_000.0
#: Each costs a lone text .15 to .3 ms. In int8, two instead of three: a lone text -10 %, 8 of mixed lengths -5 %, 32 of
#: which the nearest in length were chosen, as servers do, -3 %, 32 of mixed lengths +2 %; with one group +4 % for the
#: nearest, and mixed ones run at .82 of sorted ones.
NUM_GROUPS = 2
STATES_OUTPUT = "states"
RANGE_PREFIX = "range."  # names the outputs of a graph that measures what goes into its dense layers


class GraphBuilder:
    """Builds one graph, a layer at a time. Nodes are OpenVINO's, which has no types of its own."""

    def __init__(
        self,
        architecture: Architecture,
        names: TensorNames,
        weights: Weights,
        ranges: Mapping[str, ActivationRange] | None,
        *,
        observe: bool = False,
    ) -> None:
        self.ops: Any = need("openvino.opset15", extra="text")
        self.architecture, self.names, self.weights = architecture, names, weights
        self.ranges, self.observe = ranges or {}, observe
        self.range_outputs: dict[str, Node] = {}  # "layer0.qkv.low" -> node
        self.sizes: dict[str, int] = {}  # inputs of each dense layer
        self.shapes = dict(names.shapes(architecture))

    def array(self, name: str) -> Float32:
        return self.weights.array(name, self.shapes[name])

    def constant(self, array: NDArray[Any]) -> Node:
        """A constant that shares the memory of `array`; the caller keeps the weights alive."""
        return self.ops.constant(np.asarray(array, order="C"), shared_memory=array.ndim > 0)

    def number(self, value: float, num_axes: int) -> Node:
        """A constant of one number, for arrays of `num_axes` axes."""
        return self.constant(np.full((1,) * num_axes, value, np.float32))

    def linear(self, x: Node, layer: str, weight: Float32, bias: Float32) -> Node:
        """(T, in) -> (T, out), in int8 where there is a range for `layer`, such as "layer0.qkv"."""
        if self.observe:
            axis = self.constant(np.array([0]))
            self.range_outputs[f"{layer}.low"] = self.ops.reduce_min(x, axis)
            self.range_outputs[f"{layer}.high"] = self.ops.reduce_max(x, axis)
        self.sizes[layer] = weight.shape[1]
        if layer in self.ranges:
            check_ranges({layer: self.ranges[layer]}, self.sizes)
            return quantized_linear(self.ops, x, layer, weight, bias, self.ranges[layer])
        product = self.ops.matmul(x, self.constant(weight), False, True)
        return self.ops.add(product, self.constant(bias[None]))

    def dense(self, x: Node, layer: str, name: str) -> Node:
        """A dense layer by the name of its tensors."""
        return self.linear(x, layer, self.array(f"{name}.weight"), self.array(f"{name}.bias"))

    def norm(self, x: Node, name: str) -> Node:
        """Layer normalisation over the last axis (T, H)."""
        weight, bias = (self.array(f"{name}.{part}") for part in self.names.norm)
        axes = self.constant(np.array([-1]))
        normal = self.ops.mvn(x, axes, True, self.architecture.norm_eps, "INSIDE_SQRT")
        return self.ops.add(self.ops.multiply(normal, self.constant(weight[None])), self.constant(bias[None]))

    def gather(self, x: Node, index: Node) -> Node:
        """Rows of `x` by number."""
        return self.ops.gather(x, index, self.constant(np.array(0)))

    def reshape(self, x: Node, *shape: int) -> Node:
        """0 keeps a size."""
        return self.ops.reshape(x, self.constant(np.array(shape)), True)

    def embed(self, ids: Node, positions: Node) -> Node:
        """(T,), (T,) -> (T, H). All tokens are of the first type."""
        start = self.names.embeddings
        positions_table = self.array(f"{start}position_embeddings.weight")
        if self.architecture.num_types:
            positions_table = positions_table + self.array(f"{start}token_type_embeddings.weight")[0]
        word = self.constant(self.array(f"{start}word_embeddings.weight"))
        total = self.ops.add(self.gather(word, ids), self.gather(self.constant(positions_table), positions))
        return self.norm(total, f"{start}LayerNorm")

    def attention(self, x: Node, block: str, prefix: str, inputs: Mapping[str, Node]) -> Node:
        """(T, H) -> (T, H), before the residual. `prefix` stands before the names of the block's tensors."""
        hidden, heads = self.architecture.hidden, self.architecture.num_heads
        parts = [f"{prefix}{self.names.parts[part]}" for part in "qkv"]
        # the scale of the scores goes into the weights of q
        scale = np.repeat(np.array([1 / math.sqrt(hidden // heads), 1, 1], np.float32), hidden)
        weight = np.concatenate([self.array(f"{name}.weight") for name in parts]) * scale[:, None]
        bias = np.concatenate([self.array(f"{name}.bias") for name in parts]) * scale
        qkv = self.linear(x, f"{block}.qkv", weight, bias)  # (T, 3H)
        mixed = self.concat(
            [self.mix(qkv, inputs[f"index{group}"], inputs[f"bias{group}"]) for group in range(NUM_GROUPS)]
        )
        return self.dense(self.gather(mixed, inputs["back"]), f"{block}.o", f"{prefix}{self.names.parts['o']}")

    def mix(self, qkv: Node, index: Node, bias: Node) -> Node:
        """The attention of one group (N, L): (T, 3H) -> (N * L, H)"""
        hidden, heads = self.architecture.hidden, self.architecture.num_heads
        rows = self.reshape(self.gather(qkv, index), 0, 0, 3, heads, hidden // heads)
        order = self.constant(np.array([2, 0, 3, 1, 4]))
        split = self.ops.split(self.ops.transpose(rows, order), self.constant(np.array(0)), 3)
        q, k, v = (self.ops.squeeze(split.output(part), self.constant(np.array([0]))) for part in range(3))
        scores = self.ops.add(self.ops.matmul(q, k, False, True), bias)  # (N, heads, L, L)
        mixed = self.ops.matmul(self.ops.softmax(scores, -1), v, False, False)  # (N, heads, L, H / heads)
        return self.reshape(self.ops.transpose(mixed, self.constant(np.array([0, 2, 1, 3]))), -1, hidden)

    def concat(self, parts: list[Node]) -> Node:
        """Rows one after the other."""
        return parts[0] if len(parts) == 1 else self.ops.concat(parts, 0)

    def activate(self, x: Node) -> Node:
        kind = self.architecture.activation
        return self.ops.relu(x) if kind == "relu" else self.ops.gelu(x, kind)

    def layer(self, x: Node, index: int, inputs: Mapping[str, Node]) -> Node:
        """(T, H) -> (T, H)"""
        prefix, block = self.names.layer.format(index), f"layer{index}"
        part = {key: f"{prefix}{name}" for key, name in self.names.parts.items()}
        x = self.norm(self.ops.add(self.attention(x, block, prefix, inputs), x), part["norm1"])
        wide = self.activate(self.dense(x, f"{block}.up", part["up"]))  # (T, F)
        return self.norm(self.ops.add(self.dense(wide, f"{block}.down", part["down"]), x), part["norm2"])

    def pool(self, x: Node, pooling: Pooling, index: Node, mask: Node) -> Node:
        """The embeddings of one group (N, L): (T, H) -> (N, number of modes * H)."""
        ops = self.ops
        rows = self.gather(x, index)  # (N, L, H)
        mask = ops.unsqueeze(mask, self.constant(np.array([2])))  # (N, L, 1)
        along = self.constant(np.array([1]))
        total = ops.reduce_sum(ops.multiply(rows, mask), along)
        length = ops.maximum(ops.reduce_sum(mask, along), self.number(1, 2))
        outside = ops.multiply(ops.subtract(mask, self.number(1, 3)), self.number(1e9, 3))
        pooling_of = {
            "cls": lambda: ops.squeeze(ops.gather(rows, self.constant(np.array([0])), along), along),
            "max": lambda: ops.reduce_max(ops.add(rows, outside), along),
            "mean": lambda: ops.divide(total, length),
            "mean_sqrt_len_tokens": lambda: ops.divide(total, ops.sqrt(length)),
        }
        parts = [pooling_of[mode]() for mode in pooling.modes]
        pooled = parts[0] if len(parts) == 1 else ops.concat(parts, 1)
        if pooling.normalize:
            pooled = ops.normalize_l2(pooled, self.constant(np.array([1])), 1e-24, "max")
        return pooled

    def classify(self, x: Node, inputs: Mapping[str, Node]) -> Node:
        """(T, H) -> logits (T, C) of all tokens, or (N0 + N1 + ..., C) of the first of each text."""
        head = self.names.head
        if self.architecture.task == "token-classification":
            return self.dense(x, "head.out", head["out"])
        zero, one = self.constant(np.array(0)), self.constant(np.array(1))
        first = self.concat([self.ops.gather(inputs[f"index{group}"], zero, one) for group in range(NUM_GROUPS)])
        x = self.dense(self.gather(x, first), "head.dense", head["dense"])
        x = self.ops.relu(x) if self.architecture.family == "distilbert" else self.ops.tanh(x)
        return self.dense(x, "head.out", head["out"])


def build_encoder(
    architecture: Architecture,
    pooling: Pooling,
    names: TensorNames,
    weights: Weights,
    *,
    ranges: Mapping[str, ActivationRange] | None = None,
    observe: bool = False,
    states_depth: int = 0,
) -> Any:
    """An openvino.Model. `weights` must live as long as it does: constants share their memory.

    `observe` adds outputs "range.LAYER.low" and ".high", the least and the largest value (1, in) that goes into each
    dense layer. `states_depth` adds the output "states" behind so many layers, from 1; 0: none.
    """
    openvino = need("openvino", extra="text")
    builder = GraphBuilder(architecture, names, weights, ranges, observe=observe)
    ops = builder.ops
    inputs = {name: ops.parameter([-1], np.int32, name) for name in ("ids", "positions", "back")}
    for group in range(NUM_GROUPS):
        inputs[f"index{group}"] = ops.parameter([-1, -1], np.int32, f"index{group}")
        inputs[f"mask{group}"] = ops.parameter([-1, -1], np.float32, f"mask{group}")
    parameters = list(inputs.values())
    for group in range(NUM_GROUPS):
        absent = ops.multiply(
            ops.subtract(builder.number(1, 2), inputs[f"mask{group}"]), builder.number(MASKED_SCORE, 2)
        )
        inputs[f"bias{group}"] = ops.unsqueeze(absent, ops.constant(np.array([1, 2])))  # (N, 1, 1, L)
    x = builder.embed(inputs["ids"], inputs["positions"])
    states = {}
    for index in range(architecture.num_layers):
        x = builder.layer(x, index, inputs)
        if index + 1 == states_depth:
            states = {STATES_OUTPUT: x}
    if architecture.task == "embedding":
        pooled = [
            builder.pool(x, pooling, inputs[f"index{group}"], inputs[f"mask{group}"]) for group in range(NUM_GROUPS)
        ]
        outputs = {"embedding": builder.concat(pooled)}
    else:
        outputs = {"logits": builder.classify(x, inputs)}
    check_ranges(builder.ranges, builder.sizes)  # none is left over
    outputs |= states
    outputs |= {f"{RANGE_PREFIX}{name}": node for name, node in builder.range_outputs.items()}
    results = []
    for name, node in outputs.items():
        result = ops.result(node)
        result.output(0).get_tensor().set_names({name})
        results.append(result)
    for name, parameter in zip(inputs, parameters, strict=False):
        parameter.output(0).get_tensor().set_names({name})
    return openvino.Model(results, parameters, architecture.task)
