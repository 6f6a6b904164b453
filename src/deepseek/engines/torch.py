"""The engine for perceptrons in torch, for machines that have it: each part a small module made from its arrays.

Linear parts run in numpy, tree parts are not supported.
"""

from __future__ import annotations

import numpy as np

from deepseek.contracts import Engine, Float32, Float64, Scores
from deepseek.engines.registry import Source
from deepseek.extras import need
from deepseek.nn.dense import Perceptron
from deepseek.nn.model import Model, combine
from deepseek.nn.trees import TreeTable

need("torch", extra="train")

import torch  # noqa: E402  (after the door, so that its absence is an ExtraError)
from torch import Tensor, nn  # noqa: E402

from deepseek.nn.mlp import scaled  # noqa: E402


class PerceptronModule(nn.Module):
    """nn.dense.Perceptron as a module: prepared features (N, F) float32 -> raw scores (N, K) float32."""

    numeric: Tensor
    logged: Tensor
    centre: Tensor
    scale: Tensor
    skip: Tensor

    def __init__(self, weights: Perceptron) -> None:
        super().__init__()
        self.codes, self.clip = weights.codes.tolist(), weights.clip
        self.register_buffer("numeric", torch.as_tensor(weights.numeric.astype(np.int64)))
        for name in ("centre", "scale", "skip", "logged"):
            self.register_buffer(name, torch.as_tensor(getattr(weights, name)))
        self.embeddings = nn.ParameterList(torch.as_tensor(table) for table in weights.embeddings)
        self.layers = nn.ModuleList(
            _layer(weight, bias) for weight, bias in zip(weights.weights, weights.biases, strict=True)
        )
        # one module an activation: explanations hook into each of them apart
        self.activations = nn.ModuleList(nn.ReLU() for _ in weights.weights[1:])

    def join(self, features: Tensor) -> Tensor:
        """The network's input (N, D)."""
        parts = [scaled(features[:, self.numeric], self.logged, self.centre, self.scale, self.clip)]
        for table, code in zip(self.embeddings, self.codes, strict=True):
            level = features[:, code].long()
            parts.append(table[torch.where((level >= 0) & (level < len(table)), level, 0)])
        return torch.cat(parts, dim=1)

    def from_joined(self, joined: Tensor) -> Tensor:
        """Raw scores (N, K) from the network's input (N, D)."""
        hidden = joined
        for index, layer in enumerate(self.layers):
            hidden = layer(hidden)
            if index < len(self.activations):
                hidden = self.activations[index](hidden)
        return hidden + joined @ self.skip

    def forward(self, features: Tensor) -> Tensor:
        return self.from_joined(self.join(features))


def _layer(weight: Float32, bias: Float32) -> nn.Linear:
    layer = nn.Linear(*weight.shape)
    layer.weight = nn.Parameter(torch.as_tensor(np.ascontiguousarray(weight.T)), requires_grad=False)
    layer.bias = nn.Parameter(torch.as_tensor(bias), requires_grad=False)
    return layer


class TorchEngine:
    """Safe to share between threads: inference changes nothing in the modules."""

    kind = "torch"

    def __init__(self, model: Model) -> None:
        self._model = model
        self._modules: dict[int, PerceptronModule] = {
            index: PerceptronModule(part.weights).eval()
            for index, part in enumerate(model.parts)
            if isinstance(part.weights, Perceptron)
        }

    @classmethod
    def open(cls, source: Source) -> Engine:
        """Torch takes its threads from the process (torch.set_num_threads), not from `source`."""
        return cls(source.load_model())

    @staticmethod
    def supports(model: Model) -> bool:
        """Whether there is a perceptron and no tree part."""
        kinds = {type(part.weights) for part in model.parts}
        return Perceptron in kinds and TreeTable not in kinds

    @torch.inference_mode()
    def score(self, features: Float32) -> Scores:
        """Scores for prepared features (N, F)."""
        rows = torch.as_tensor(features)
        raw = {index: self._raw(index, rows, features) for index in range(len(self._model.parts))}
        return combine(self._model, raw)

    def _raw(self, index: int, rows: Tensor, features: Float32) -> Float64:
        if index in self._modules:
            raw: Float32 = self._modules[index](rows).numpy()
            return raw.astype(np.float64)
        return self._model.parts[index].weights.margin(features)

    def close(self) -> None:
        """Let the modules go."""
        self._modules = {}
