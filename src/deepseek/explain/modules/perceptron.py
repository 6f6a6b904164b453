"""nn.dense.Perceptron as a plain torch module from its joined input (N, D) to its raw scores (N, K)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deepseek.nn.dense import Perceptron


class PerceptronModule(nn.Module):
    """hidden_0, relu_0, hidden_1, ..., last, and skip beside all of them, where it is not zero."""

    def __init__(self, weights: Perceptron) -> None:
        super().__init__()
        self.hidden = nn.ModuleList()
        for weight, bias in zip(weights.weights, weights.biases, strict=True):
            layer = nn.Linear(weight.shape[0], weight.shape[1])
            layer.weight.data = torch.from_numpy(weight.T.copy())
            layer.bias.data = torch.from_numpy(bias.copy())
            self.hidden.append(layer)
        self.relu = nn.ReLU()
        self.skip: nn.Linear | None = None
        if weights.skip.any():
            self.skip = nn.Linear(weights.skip.shape[0], weights.skip.shape[1], bias=False)
            self.skip.weight.data = torch.from_numpy(weights.skip.T.copy())

    def forward(self, x: Tensor) -> Tensor:
        hidden = x
        for place, layer in enumerate(self.hidden):
            hidden = layer(hidden if place == 0 else self.relu(hidden))
        return hidden if self.skip is None else hidden + self.skip(x)
