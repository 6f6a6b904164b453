"""The graph of a decoder as OpenVINO takes it: a state for keys and values, and nothing of torch.

    model = build(config, weights, quantized=False)      # an openvino.Model
    openvino.save_model(model, "openvino_model.xml")

Inputs: input_ids, attention_mask, position_ids (B, S) and beam_idx (B,), all i64 but the last (i32). Output: logits
(B, S, V). The cache of each layer is a variable (B, K, T, D), gathered by beam_idx, then joined with the new keys or
values and given to scaled_dot_product_attention: OpenVINO's pass SDPAToPagedAttention finds exactly this and puts
paged attention in its place. Shapes: B sequences, S new tokens, T tokens with the past, H heads, K key-value heads,
D head size, E width, I inner width, V vocabulary.

Quantized weights are int8 with one scale per output row, multiplied back in the graph; the CPU plugin keeps them int8
in memory and in its matrix products.

Sources: GPT-2 (Radford et al. 2019, section 2.3); Llama (Touvron et al. 2023, section 2.2); rotary positions (Su et
al. 2021, equation 34); OpenVINO documentation, "Stateful models and State API".
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float32, Float64
from deepseek.engines.llm.model.folder import DecoderConfig
from deepseek.extras import need

Node = Any  # an openvino.Node or one of its outputs; the library ships no usable types for its op factories


class TensorSource(Protocol):
    """Weights by name (see folder.Weights)."""

    def __contains__(self, name: str) -> bool: ...

    def take(self, name: str, shape: tuple[int, ...]) -> Float32: ...


def build_decoder(config: DecoderConfig, weights: TensorSource, *, quantized: bool) -> Any:
    """An openvino.Model of the decoder. InputError when the weights do not fit the config."""
    layers = (Gpt2 if config.family == "gpt2" else Llama)(config, weights, quantized=quantized)
    return layers.model()


def quantize_rows(weight: Float32) -> tuple[NDArray[np.int8], Float32]:
    """(O, I) -> int8 values (O, I) and scales (O, 1) with values * scales near the weight, within half a scale.

    >>> values, scales = quantize_rows(np.array([[0.5, -1.27]], np.float32))
    >>> values.tolist(), round(float(scales[0, 0]), 4)
    ([[50, -127]], 0.01)
    """
    scales = np.maximum(np.abs(weight).max(axis=1, keepdims=True), 1e-30) / np.float32(127)
    return np.rint(weight / scales).astype(np.int8), scales.astype(np.float32)


class Decoder(ABC):
    """Builds a decoder; what both families share: inputs, mask, cached attention, output."""

    def __init__(self, config: DecoderConfig, weights: TensorSource, *, quantized: bool) -> None:
        self.ov = need("openvino", extra="llm")
        self.ops = need("openvino.opset15", extra="llm")
        self.config, self.weights, self.quantized = config, weights, quantized
        self.input_ids = self._input("input_ids", [-1, -1], np.int64)
        self.attention_mask = self._input("attention_mask", [-1, -1], np.int64)
        self.position_ids = self._input("position_ids", [-1, -1], np.int64)
        self.beam_idx = self._input("beam_idx", [-1], np.int32)
        self.assigns: list[Node] = []

    def model(self) -> Any:
        """The whole graph."""
        x = self.embed()
        mask = self._mask()
        for index in range(self.config.num_layers):
            x = self.layer(x, index, mask)
        logits = self.head(x)
        logits.set_friendly_name("logits")
        logits.output(0).set_names({"logits"})
        inputs = [self.input_ids, self.attention_mask, self.position_ids, self.beam_idx]
        return self.ov.Model([logits.output(0)], [node.output(0) for node in self.assigns], inputs, "decoder")

    @abstractmethod
    def embed(self) -> Node:
        """Token ids (B, S) -> (B, S, E)."""

    @abstractmethod
    def layer(self, x: Node, index: int, mask: Node) -> Node:
        """(B, S, E) -> (B, S, E)."""

    @abstractmethod
    def head(self, x: Node) -> Node:
        """(B, S, E) -> logits (B, S, V)."""

    def matrix(self, weight: Float32) -> Node:
        """A node of a weight (O, I), as int8 with scales when the graph is quantized."""
        if not self.quantized:
            return self.constant(weight)
        values, scales = quantize_rows(weight)
        return self.ops.multiply(self.ops.convert(self.constant(values), "f32"), self.constant(scales))

    def linear(self, x: Node, weight: Node, bias: Float32 | None = None) -> Node:
        """(B, S, I) times a weight (O, I) -> (B, S, O)."""
        y = self.ops.matmul(x, weight, False, True)
        return y if bias is None else self.ops.add(y, self.constant(bias))

    def attention(self, q: Node, k: Node, v: Node, index: int, mask: Node) -> Node:
        """q (B, H, S, D), k and v (B, K, S, D) -> (B, S, H * D), with the past of layer `index`."""
        config, ops = self.config, self.ops
        k, v = self._with_past(k, f"{index}.key"), self._with_past(v, f"{index}.value")
        if config.num_kv_heads < config.num_heads:
            k, v = self._repeat(k), self._repeat(v)
        y = ops.scaled_dot_product_attention(q, k, v, mask)  # (B, H, S, D)
        y = ops.transpose(y, self.integers([0, 2, 1, 3]))  # (B, S, H, D)
        return ops.reshape(y, self.integers([0, 0, config.num_heads * config.head_size]), True)

    def heads(self, x: Node, num_heads: int) -> Node:
        """(B, S, heads * D) -> (B, heads, S, D)."""
        x = self.ops.reshape(x, self.integers([0, 0, num_heads, self.config.head_size]), True)
        return self.ops.transpose(x, self.integers([0, 2, 1, 3]))

    def constant(self, array: NDArray[Any]) -> Node:
        return self.ov.op.Constant(np.ascontiguousarray(array))

    def integers(self, values: int | list[int]) -> Node:
        return self.ov.op.Constant(np.array(values, np.int64))

    def _input(self, name: str, shape: list[int], dtype: type) -> Node:
        node = self.ops.parameter(shape, dtype, name=name)
        node.output(0).set_names({name})
        return node

    def _with_past(self, new: Node, name: str) -> Node:
        """New keys or values (B, K, S, D) behind those of the past: (B, K, T, D). The result is the next past."""
        config, ops = self.config, self.ops
        variable = self.ov.op.util.Variable(self._variable(name))
        batch = ops.gather(ops.shape_of(self.input_ids), self.integers([0]), self.integers(0))
        empty = ops.concat([batch, self.integers([config.num_kv_heads, 0, config.head_size])], 0)
        start = ops.broadcast(self.ov.op.Constant(np.zeros((), np.float32)), empty)
        past = ops.gather(self.ov.op.read_value(start, variable), self.beam_idx, self.integers(0))
        joined = ops.concat([past, new], 2)
        self.assigns.append(self.ov.op.assign(joined, variable))
        return joined

    def _variable(self, name: str) -> Any:
        info = self.ov.op.util.VariableInfo()
        info.variable_id = f"past_key_values.{name}present.{name}"
        info.data_type = self.ov.Type.f32
        info.data_shape = self.ov.PartialShape([-1, self.config.num_kv_heads, -1, self.config.head_size])
        return info

    def _repeat(self, x: Node) -> Node:
        """(B, K, T, D) -> (B, H, T, D): each key-value head for its group of heads."""
        config, ops = self.config, self.ops
        group = config.num_heads // config.num_kv_heads
        shape = ops.shape_of(x)
        batch = ops.gather(shape, self.integers([0]), self.integers(0))
        length = ops.gather(shape, self.integers([2]), self.integers(0))
        x = ops.unsqueeze(x, self.integers(2))
        target = [batch, self.integers([config.num_kv_heads, group]), length, self.integers([config.head_size])]
        x = ops.broadcast(x, ops.concat(target, 0), "BIDIRECTIONAL")
        return ops.reshape(x, self.integers([0, config.num_heads, -1, config.head_size]), True)

    def _mask(self) -> Node:
        """(B, 1, S, T): which of the T tokens each of the S new ones sees."""
        ops, zero, one = self.ops, self.integers(0), self.integers(1)
        total = ops.gather(ops.shape_of(self.attention_mask), one, zero)
        new = ops.gather(ops.shape_of(self.input_ids), one, zero)
        columns = ops.range(zero, total, one, "i64")
        rows = ops.unsqueeze(ops.range(ops.subtract(total, new), total, one, "i64"), one)
        causal = ops.less_equal(columns, rows)  # (S, T)
        is_token = ops.unsqueeze(ops.convert(self.attention_mask, "boolean"), self.integers([1, 2]))  # (B, 1, 1, T)
        # Padding sees itself, for the softmax over nothing is no number and would spread.
        return ops.logical_or(ops.logical_and(causal, is_token), ops.equal(columns, rows))


class Gpt2(Decoder):
    """Learned positions, layer norm before each part, one fused projection for q, k and v."""

    def embed(self) -> Node:
        config, ops = self.config, self.ops
        self.prefix = "transformer." if "transformer.wte.weight" in self.weights else ""
        self.table = self.matrix(self._take("wte.weight", config.vocab_size, config.width))
        positions = self.constant(self._take("wpe.weight", config.max_positions, config.width))
        tokens = ops.gather(self.table, self.input_ids, self.integers(0))
        return ops.add(tokens, ops.gather(positions, self.position_ids, self.integers(0)))

    def layer(self, x: Node, index: int, mask: Node) -> Node:
        config, ops, name = self.config, self.ops, f"h.{index}."
        qkv = self._conv1d(self._norm(x, name + "ln_1"), name + "attn.c_attn", 3 * config.width)
        parts = ops.split(qkv, self.integers(2), 3)
        q, k, v = (self.heads(parts.output(part), config.num_heads) for part in range(3))
        x = ops.add(x, self._conv1d(self.attention(q, k, v, index, mask), name + "attn.c_proj", config.width))
        inner = self._conv1d(self._norm(x, name + "ln_2"), name + "mlp.c_fc", config.inner_width)
        inner = ops.gelu(inner, "TANH")
        return ops.add(x, self._conv1d(inner, name + "mlp.c_proj", config.width, fan_in=config.inner_width))

    def head(self, x: Node) -> Node:
        x = self._norm(x, "ln_f")
        if self.config.tied or "lm_head.weight" not in self.weights:
            return self.linear(x, self.table)
        return self.linear(
            x, self.matrix(self.weights.take("lm_head.weight", (self.config.vocab_size, self.config.width)))
        )

    def _conv1d(self, x: Node, name: str, fan_out: int, *, fan_in: int = 0) -> Node:
        """A dense layer whose weight is (I, O), as GPT-2 keeps it."""
        weight = self._take(name + ".weight", fan_in or self.config.width, fan_out)
        return self.linear(x, self.matrix(np.ascontiguousarray(weight.T)), self._take(name + ".bias", fan_out))

    def _norm(self, x: Node, name: str) -> Node:
        ops = self.ops
        x = ops.mvn(x, self.integers([-1]), True, self.config.norm_epsilon, "INSIDE_SQRT")
        x = ops.multiply(x, self.constant(self._take(name + ".weight", self.config.width)))
        return ops.add(x, self.constant(self._take(name + ".bias", self.config.width)))

    def _take(self, name: str, *shape: int) -> Float32:
        return self.weights.take(self.prefix + name, shape)


class Llama(Decoder):
    """Rotary positions, root-mean-square norm, gated feed-forward; fewer key-value heads than heads where the config
    says so."""

    def embed(self) -> Node:
        config, ops = self.config, self.ops
        self.table = self.matrix(self.weights.take("model.embed_tokens.weight", (config.vocab_size, config.width)))
        frequencies = rotary_frequencies(config).astype(np.float32)  # (D / 2,)
        positions = ops.unsqueeze(ops.convert(self.position_ids, "f32"), self.integers([1, 3]))  # (B, 1, S, 1)
        angles = ops.multiply(positions, self.constant(frequencies))
        angles = ops.concat([angles, angles], -1)  # (B, 1, S, D)
        self.cos, self.sin = ops.cos(angles), ops.sin(angles)
        return ops.gather(self.table, self.input_ids, self.integers(0))

    def layer(self, x: Node, index: int, mask: Node) -> Node:
        config, ops, name = self.config, self.ops, f"model.layers.{index}."
        y = self._norm(x, name + "input_layernorm")
        wide, narrow = config.num_heads * config.head_size, config.num_kv_heads * config.head_size
        q = self.heads(self._project(y, name + "self_attn.q_proj", wide), config.num_heads)
        k = self.heads(self._project(y, name + "self_attn.k_proj", narrow), config.num_kv_heads)
        v = self.heads(self._project(y, name + "self_attn.v_proj", narrow), config.num_kv_heads)
        y = self.attention(self._rotate(q), self._rotate(k), v, index, mask)
        x = ops.add(x, self._linear(y, name + "self_attn.o_proj", wide, config.width))
        y = self._norm(x, name + "post_attention_layernorm")
        gate = ops.swish(self._linear(y, name + "mlp.gate_proj", config.width, config.inner_width))
        y = ops.multiply(gate, self._linear(y, name + "mlp.up_proj", config.width, config.inner_width))
        return ops.add(x, self._linear(y, name + "mlp.down_proj", config.inner_width, config.width))

    def head(self, x: Node) -> Node:
        x = self._norm(x, "model.norm")
        if self.config.tied:
            return self.linear(x, self.table)
        return self._linear(x, "lm_head", self.config.width, self.config.vocab_size)

    def _project(self, x: Node, name: str, fan_out: int) -> Node:
        """q, k or v (B, S, O), with a bias where the family has one."""
        y = self._linear(x, name, self.config.width, fan_out)
        if not self.config.attention_bias:
            return y
        return self.ops.add(y, self.constant(self.weights.take(name + ".bias", (fan_out,))))

    def _linear(self, x: Node, name: str, fan_in: int, fan_out: int) -> Node:
        return self.linear(x, self.matrix(self.weights.take(name + ".weight", (fan_out, fan_in))))

    def _rotate(self, x: Node) -> Node:
        """(B, heads, S, D), rotated by its positions: x cos + (-second half, first half) sin."""
        ops = self.ops
        halves = ops.split(x, self.integers(3), 2)
        minus = self.constant(np.array(-1, np.float32))
        rotated = ops.concat([ops.multiply(halves.output(1), minus), halves.output(0)], -1)
        return ops.add(ops.multiply(x, self.cos), ops.multiply(rotated, self.sin))

    def _norm(self, x: Node, name: str) -> Node:
        ops = self.ops
        square = ops.reduce_mean(ops.multiply(x, x), self.integers([-1]), True)
        root = ops.sqrt(ops.add(square, self.constant(np.array(self.config.norm_epsilon, np.float32))))
        weight = self.constant(self.weights.take(name + ".weight", (self.config.width,)))
        return ops.multiply(ops.divide(x, root), weight)


def rotary_frequencies(config: DecoderConfig) -> Float64:
    """The rotation of each pair of numbers, in radians a position (D / 2,). Scaled as Llama 3.1 is (transformers' rope
    type "llama3"): slow waves by the factor, those between slow and fast by a share of it that falls with how many fit
    into the original length."""
    frequencies = config.rope_theta ** -(np.arange(0, config.head_size, 2, dtype=np.float64) / config.head_size)
    scaling = config.rope_scaling
    if scaling is None:
        return frequencies
    waves = scaling.original_positions * frequencies / (2 * np.pi)  # how many fit into the original length
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    share = np.clip((waves - low) / (high - low), 0, 1)
    return frequencies * (share + (1 - share) / scaling.factor)


def cache_bytes(config: DecoderConfig, num_tokens: int, bytes_per_value: int = 1) -> int:
    """The bytes of the keys and values of `num_tokens` in every layer."""
    return math.prod([2, config.num_layers, config.num_kv_heads, config.head_size, num_tokens, bytes_per_value])
