"""The nets of weights.py as torch modules: course (B, T, S) and extras (B, E) -> (B,), on the scale of a scaled target.

net = LstmAttentionNet(num_signals=18, num_extras=1)
net.to_weights(course, baseline, scale=38.0, mean=80.0)     # plain arrays, in the target's own units
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deepseek.contracts import Float32
from deepseek.nn.recurrent.weights import Course, Head, LstmAttention, Tcn


class LstmAttentionNet(nn.Module):
    """An LSTM, and additive attention of its last state over all."""

    def __init__(self, *, num_signals: int, num_extras: int, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.lstm = nn.LSTM(num_signals, width, batch_first=True)
        self.key = nn.Linear(width, width, bias=False)
        self.query = nn.Linear(width, width)
        self.energy = nn.Linear(width, 1, bias=False)
        self.head = _head(2 * width + num_extras, width)

    def forward(self, steps: Tensor, extras: Tensor) -> Tensor:
        states, _ = self.lstm(self.dropout(steps))  # (B, T, H)
        last = states[:, -1]
        energy = self.energy(torch.tanh(self.key(states) + self.query(last)[:, None]))
        context = (energy.softmax(dim=1) * states).sum(dim=1)
        answer: Tensor = self.head(torch.cat([context, last, extras], dim=1))
        return answer[:, 0]

    def to_weights(self, course: Course, baseline: Float32, *, scale: float, mean: float) -> LstmAttention:
        """Plain arrays of the same net; the target's scale goes into the last layer."""

        def gates(parameter: Tensor) -> Float32:
            # torch has input, forget, cell, output
            opened, forget, cell, out = np.split(_array(parameter), 4)
            return np.concatenate([opened, out, forget, cell])

        lstm: Any = self.lstm
        return LstmAttention(
            course=course, head=_head_weights(self.head, scale, mean), baseline=baseline,
            input_weight=gates(lstm.weight_ih_l0), state_weight=gates(lstm.weight_hh_l0),
            bias=np.asarray(np.add(gates(lstm.bias_ih_l0), gates(lstm.bias_hh_l0)), np.float32),
            key=_array(self.key.weight.T), query=_array(self.query.weight.T), query_bias=_array(self.query.bias),
            energy=_array(self.energy.weight.T),
        )  # fmt: skip


class TcnNet(nn.Module):
    """Dilated causal convolutions with residuals."""

    def __init__(self, *, num_signals: int, num_extras: int, width: int, dropout: float, num_layers: int = 3) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.enter = nn.Linear(num_signals, width)
        self.layers = nn.ModuleList(nn.Conv1d(width, width, 3, dilation=2**layer) for layer in range(num_layers))
        self.head = _head(2 * width + num_extras, width)

    def forward(self, steps: Tensor, extras: Tensor) -> Tensor:
        hidden = self.enter(self.dropout(steps)).transpose(1, 2)  # (B, H, T)
        for layer, convolution in enumerate(self.layers):
            padded = nn.functional.pad(hidden, (2 * 2**layer, 0))
            hidden = hidden + torch.relu(convolution(padded))
        answer: Tensor = self.head(torch.cat([hidden.mean(dim=2), hidden[:, :, -1], extras], dim=1))
        return answer[:, 0]

    def to_weights(self, course: Course, baseline: Float32, *, scale: float, mean: float) -> Tcn:
        """Plain arrays of the same net; the target's scale goes into the last layer."""
        layers: Any = self.layers
        return Tcn(
            course=course, head=_head_weights(self.head, scale, mean), baseline=baseline,
            input_weight=_array(self.enter.weight.T), input_bias=_array(self.enter.bias),
            kernels=np.stack([_array(layer.weight) for layer in layers]),
            biases=np.stack([_array(layer.bias) for layer in layers]),
        )  # fmt: skip


def _head(num_inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(num_inputs, width), nn.ReLU(), nn.Linear(width, 1))


def _head_weights(head: nn.Sequential, scale: float, mean: float) -> Head:
    first: Any = head[0]
    last: Any = head[2]
    return Head(
        _array(first.weight.T), _array(first.bias),
        (_array(last.weight.T) * scale).astype(np.float32), (_array(last.bias) * scale + mean).astype(np.float32),
    )  # fmt: skip


def _array(parameter: Tensor) -> Float32:
    return np.ascontiguousarray(parameter.detach().numpy(), np.float32)
