"""Nets that read a course in time out of a row's features, as plain arrays: a slow readable forward pass each, and the
nodes of the same in an ONNX graph.

    course (N, T, S) = clip(features[:, places])          T steps, oldest first, of S signals in training spreads
    extra  (N, E)    = clip((features[:, extra] - centre) / scale)

LstmAttention   h_1..h_T of an LSTM (Hochreiter and Schmidhuber 1997); additive attention of the last state over all
                (Bahdanau et al. 2015, section 3.1): e_t = v tanh(W h_t + U h_T + b), a = softmax(e), c = sum a_t h_t
Tcn             dilated causal convolutions with residuals (Bai et al. 2018, section 3), then the mean and the last step
both            head: two layers on [c or mean, last, extra]

An explanation takes signals away, not features: Shapley values of the S signals and the extras by permutations, each
value spread evenly over the signal's T features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float32, Float64

CLIP = 8.0  # spreads beyond which a value reads no further: a broken sensor must not decide alone
NUM_PERMUTATIONS = 4  # of the signals, each also backwards


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """Where a net finds its input among the F prepared features."""

    places: NDArray[np.int32]  # (T, S) oldest first
    extra: NDArray[np.int32]  # (E,)
    centre: Float32  # (E,)
    scale: Float32  # (E,)

    def steps(self, features: Float32) -> Float32:
        """(N, T, S)."""
        return np.clip(features[:, self.places], -CLIP, CLIP).astype(np.float32)

    def extras(self, features: Float32) -> Float32:
        """(N, E)."""
        scaled = (features[:, self.extra] - self.centre) / self.scale
        return np.asarray(np.clip(scaled, -CLIP, CLIP), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """Hidden (N, D) -> (N, 1), in the target's units."""

    weight: Float32  # (D, H)
    bias: Float32  # (H,)
    out_weight: Float32  # (H, 1)
    out_bias: Float32  # (1,)

    def forward(self, hidden: Float32) -> Float64:
        middle = np.maximum(hidden @ self.weight + self.bias, 0)
        return np.asarray(middle @ self.out_weight + self.out_bias, np.float64)

    def add_to(self, graph: Any, hidden: str) -> str:
        middle = graph.add("Relu", graph.add("Gemm", hidden, graph.constant(self.weight), graph.constant(self.bias)))
        return str(graph.add("Gemm", middle, graph.constant(self.out_weight), graph.constant(self.out_bias)))


@dataclass(frozen=True, slots=True, eq=False)
class SequenceWeights(ABC):
    """What both nets share. Meets deepseek.nn.model.OtherWeights."""

    method: ClassVar[str] = "Shapley values of signals by permutations, against the mean training row"

    course: Course
    head: Head
    baseline: Float32  # (F,) the mean training row

    @abstractmethod
    def forward(self, steps: Float32, extras: Float32) -> Float64:
        """(N, T, S) and (N, E) -> (N, 1)."""

    def margin(self, features: Float32) -> Float64:
        """(N, 1) raw scores of prepared features (N, F)."""
        return self.forward(self.course.steps(features), self.course.extras(features))

    def contributions(self, features: Float32, margin: int) -> tuple[Float64, Float64]:
        """Values (N, F) and base (N,) that sum to the raw score: each signal's mean marginal contribution over
        permutations that are the same for every row."""
        del margin  # there is one
        steps, extras = self.course.steps(features), self.course.extras(features)
        base_row = self.baseline[None]
        base_steps, base_extras = self.course.steps(base_row), self.course.extras(base_row)
        num_signals, num_extras = steps.shape[2], extras.shape[1]
        share = np.zeros((len(features), num_signals + num_extras))
        base = self.forward(base_steps, base_extras)[0, 0]
        rng = np.random.default_rng(0)
        orders = [rng.permutation(num_signals + num_extras) for _ in range(NUM_PERMUTATIONS)]
        for order in [*orders, *(order[::-1] for order in orders)]:
            seen_steps = np.repeat(base_steps, len(features), axis=0)
            seen_extras = np.repeat(base_extras, len(features), axis=0)
            before = np.full(len(features), base)
            for player in order:
                if player < num_signals:
                    seen_steps[:, :, player] = steps[:, :, player]
                else:
                    seen_extras[:, player - num_signals] = extras[:, player - num_signals]
                after = self.forward(seen_steps, seen_extras)[:, 0]
                share[:, player] += (after - before) / (2 * NUM_PERMUTATIONS)
                before = after
        values = np.zeros(features.shape)
        for signal in range(num_signals):
            values[:, self.course.places[:, signal]] += share[:, [signal]] / len(self.course.places)
        for place, feature in enumerate(self.course.extra):
            values[:, feature] += share[:, num_signals + place]
        return values, np.full(len(features), base)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        nested = {f"course.{field.name}": getattr(self.course, field.name) for field in fields(self.course)}
        nested |= {f"head.{field.name}": getattr(self.head, field.name) for field in fields(self.head)}
        own = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in ("course", "head")}
        return nested | own

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[np.generic]]) -> Self:
        course = Course(**_read_fields(arrays, "course.", Course))
        head = Head(**_read_fields(arrays, "head.", Head))
        own = {f.name: arrays[f.name] for f in fields(cls) if f.name not in ("course", "head")}
        return cls(course=course, head=head, **own)  # type: ignore[arg-type]

    def add_to(self, graph: Any, features: str) -> str:
        """The nodes of margin() in an engines.graph.OnnxGraphBuilder; the name of their result (N, 1)."""
        course = self.course
        low, high = graph.constant(np.float32(-CLIP)), graph.constant(np.float32(CLIP))
        flat = graph.add("Gather", features, graph.constant(course.places.astype(np.int64).ravel()), axis=1)
        shape = graph.constant(np.array([-1, *course.places.shape], np.int64))
        steps = graph.add("Reshape", graph.add("Clip", flat, low, high), shape)
        extra = graph.add("Gather", features, graph.constant(course.extra.astype(np.int64)), axis=1)
        scaled = graph.add(
            "Div", graph.add("Sub", extra, graph.constant(course.centre)), graph.constant(course.scale)
        )  # fmt: skip
        return self._add_net(graph, steps, graph.add("Clip", scaled, low, high))

    @abstractmethod
    def _add_net(self, graph: Any, steps: str, extras: str) -> str:
        """The nodes of forward(); the name of their result (N, 1)."""


@dataclass(frozen=True, slots=True, eq=False)
class LstmAttention(SequenceWeights):
    """Gates in the order input, output, forget, cell, as ONNX has them."""

    kind: ClassVar[str] = "lstm_attention"

    input_weight: Float32  # (4H, S)
    state_weight: Float32  # (4H, H)
    bias: Float32  # (4H,)
    key: Float32  # (H, A)
    query: Float32  # (H, A)
    query_bias: Float32  # (A,)
    energy: Float32  # (A, 1)

    def states(self, steps: Float32) -> Float32:
        """h of each step, (N, T, H)."""
        num_rows, num_steps, _ = steps.shape
        width = self.state_weight.shape[1]
        hidden, cell = np.zeros((num_rows, width), np.float32), np.zeros((num_rows, width), np.float32)
        drive = steps @ self.input_weight.T + self.bias
        states = np.empty((num_rows, num_steps, width), np.float32)
        for step in range(num_steps):
            gates = drive[:, step] + hidden @ self.state_weight.T
            opened = _sigmoid(gates[:, : 3 * width])
            cell = opened[:, 2 * width :] * cell + opened[:, :width] * np.tanh(gates[:, 3 * width :])
            hidden = opened[:, width : 2 * width] * np.tanh(cell)
            states[:, step] = hidden
        return states

    def attention(self, states: Float32) -> Float32:
        """How much of the answer each step has, (N, T); rows sum to 1."""
        last_query = states[:, -1:] @ self.query + self.query_bias
        energy = (np.tanh(states @ self.key + last_query) @ self.energy)[..., 0]
        power = np.exp(energy - energy.max(axis=1, keepdims=True))
        return np.asarray(power / power.sum(axis=1, keepdims=True), np.float32)

    def forward(self, steps: Float32, extras: Float32) -> Float64:
        states = self.states(steps)
        context = (self.attention(states)[..., None] * states).sum(axis=1)
        return self.head.forward(np.concatenate([context, states[:, -1], extras], axis=1))

    def _add_net(self, graph: Any, steps: str, extras: str) -> str:
        width = self.state_weight.shape[1]
        by_time = graph.add("Transpose", steps, perm=[1, 0, 2])
        bias = np.concatenate([self.bias, np.zeros_like(self.bias)])[None]
        lstm = graph.add(
            "LSTM", by_time, graph.constant(self.input_weight[None]), graph.constant(self.state_weight[None]),
            graph.constant(bias), hidden_size=width,
        )  # fmt: skip
        states = graph.add("Squeeze", lstm, graph.constant(np.array([1])))  # (T, N, H)
        last = graph.add("Gather", states, graph.constant(np.array(-1)), axis=0)
        projected = graph.add("MatMul", last, graph.constant(self.query))
        last_query = graph.add("Add", projected, graph.constant(self.query_bias))
        keyed = graph.add("Add", graph.add("MatMul", states, graph.constant(self.key)), last_query)
        energy = graph.add("MatMul", graph.add("Tanh", keyed), graph.constant(self.energy))  # (T, N, 1)
        share = graph.add("Softmax", energy, axis=0)
        weighted = graph.add("Mul", share, states)
        context = graph.add("ReduceSum", weighted, graph.constant(np.array([0])), keepdims=0)
        return self.head.add_to(graph, graph.add("Concat", context, last, extras, axis=1))


@dataclass(frozen=True, slots=True, eq=False)
class Tcn(SequenceWeights):
    """Layer l sees the steps t, t - 2^l, t - 2^(l+1)."""

    kind: ClassVar[str] = "tcn"

    input_weight: Float32  # (S, H)
    input_bias: Float32  # (H,)
    kernels: Float32  # (L, H, H, 3) out, in, step: the latest last
    biases: Float32  # (L, H)

    def forward(self, steps: Float32, extras: Float32) -> Float64:
        hidden = steps @ self.input_weight + self.input_bias  # (N, T, H)
        num_steps = hidden.shape[1]
        for layer, (kernel, bias) in enumerate(zip(self.kernels, self.biases, strict=True)):
            reach = 2**layer
            padded = np.pad(hidden, ((0, 0), (2 * reach, 0), (0, 0)))
            taps = [padded[:, tap * reach : tap * reach + num_steps] @ kernel[:, :, tap].T for tap in range(3)]
            hidden = hidden + np.maximum(taps[0] + taps[1] + taps[2] + bias, 0)
        return self.head.forward(np.concatenate([hidden.mean(axis=1), hidden[:, -1], extras], axis=1))

    def _add_net(self, graph: Any, steps: str, extras: str) -> str:
        entered = graph.add("MatMul", steps, graph.constant(self.input_weight))
        entered = graph.add("Add", entered, graph.constant(self.input_bias))
        hidden = graph.add("Transpose", entered, perm=[0, 2, 1])  # (N, H, T)
        for layer, (kernel, bias) in enumerate(zip(self.kernels, self.biases, strict=True)):
            reach = 2**layer
            seen = graph.add(
                "Conv", hidden, graph.constant(kernel), graph.constant(bias), dilations=[reach], pads=[2 * reach, 0]
            )
            hidden = graph.add("Add", hidden, graph.add("Relu", seen))
        last = graph.add("Gather", hidden, graph.constant(np.array(-1)), axis=2)
        mean = graph.add("ReduceMean", hidden, axes=[2], keepdims=0)
        return self.head.add_to(graph, graph.add("Concat", mean, last, extras, axis=1))


def _sigmoid(values: Float32) -> Float32:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * values)), np.float32)


def _read_fields(arrays: dict[str, NDArray[np.generic]], prefix: str, kind: type) -> dict[str, Any]:
    return {field.name: arrays[prefix + field.name] for field in fields(kind)}
