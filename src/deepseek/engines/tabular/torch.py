"""The engine for perceptrons in torch, for machines that have it: each part a small module made from its arrays.

    open_engine("torch-compile", source)        # a kind for each mode of engines/execution_mode.py

Linear parts run in numpy, tree parts are not supported.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import numpy as np

from deepseek.contracts import Engine, Float32, Float64, Scores
from deepseek.engines.execution_mode import compile_module, find_mode, torch_has_gpu
from deepseek.engines.registry import Source
from deepseek.extras import need
from deepseek.nn.dense import Perceptron
from deepseek.nn.model import Model, combine
from deepseek.nn.trees import TreeTable

need("torch", extra="train")

import torch  # noqa: E402  (after the door, so that its absence is an ExtraError)
from torch import Tensor, nn  # noqa: E402

from deepseek.nn.mlp import scale_numbers  # noqa: E402


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
            _linear_layer(weight, bias) for weight, bias in zip(weights.weights, weights.biases, strict=True)
        )
        # one module an activation: explanations hook into each of them apart
        self.activations = nn.ModuleList(nn.ReLU() for _ in weights.weights[1:])

    def join(self, features: Tensor) -> Tensor:
        """The network's input (N, D)."""
        parts = [scale_numbers(features[:, self.numeric], self.logged, self.centre, self.scale, self.clip)]
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


def _linear_layer(weight: Float32, bias: Float32) -> nn.Linear:
    layer = nn.Linear(*weight.shape)
    layer.weight = nn.Parameter(torch.as_tensor(np.ascontiguousarray(weight.T)), requires_grad=False)
    layer.bias = nn.Parameter(torch.as_tensor(bias), requires_grad=False)
    return layer


class TorchEngine:
    """Safe to share between threads: inference changes nothing in the modules. MissingError where this machine lacks
    what the kind needs."""

    kind = "torch"

    def __init__(self, model: Model, *, num_features: int = 0) -> None:
        self._model, self._mode = model, find_mode(self.kind)
        self._modules: dict[int, PerceptronModule] = {
            index: PerceptronModule(part.weights).eval().to(self._mode.device)
            for index, part in enumerate(model.parts)
            if isinstance(part.weights, Perceptron)
        }
        self._batch_calls: dict[int, Callable[[Tensor], Tensor]] = dict(self._modules)  # what computes two rows or more
        if self._mode.compiled:
            # two numbers of rows that differ, so that one program holds for all; of one row it would be another
            def examples() -> list[tuple[Tensor]]:
                return [(torch.zeros(rows, num_features, device=self._mode.device),) for rows in (3, 5)]

            self._batch_calls = {index: compile_module(module, examples) for index, module in self._modules.items()}

    @classmethod
    def open(cls, source: Source) -> Engine:
        """Torch takes its threads from the process (torch.set_num_threads), not from `source`."""
        return cls(source.load_model(), num_features=source.num_features)

    @classmethod
    def supports(cls, model: Model) -> bool:
        """Whether there is a perceptron and no tree part, and the device."""
        kinds = {type(part.weights) for part in model.parts}
        return Perceptron in kinds and TreeTable not in kinds and ("cuda" not in cls.kind or torch_has_gpu())

    @torch.inference_mode()
    def score(self, features: Float32) -> Scores:
        """Scores for prepared features (N, F)."""
        rows = torch.as_tensor(features).to(self._mode.device)
        raw = {index: self._raw(index, rows, features) for index in range(len(self._model.parts))}
        return combine(self._model, raw)

    def _raw(self, index: int, rows: Tensor, features: Float32) -> Float64:
        if index not in self._modules:
            return self._model.parts[index].weights.margin(features)
        call = self._batch_calls[index] if len(rows) > 1 else self._modules[index]
        narrow = torch.autocast(self._mode.device, torch.bfloat16) if self._mode.bf16 else contextlib.nullcontext()
        with narrow:
            raw: Float32 = call(rows).float().cpu().numpy()
        return raw.astype(np.float64)

    def close(self) -> None:
        """Let the modules go."""
        self._modules, self._batch_calls = {}, {}


class CompiledTorchEngine(TorchEngine):
    """Exact; opening it takes seconds."""

    kind = "torch-compile"


class Bf16TorchEngine(TorchEngine):
    """Lossy: dense layers in bfloat16."""

    kind = "torch-bf16"


class CudaTorchEngine(TorchEngine):
    """Exact, on a GPU."""

    kind = "torch-cuda"


class CudaBf16TorchEngine(TorchEngine):
    """Lossy, on a GPU."""

    kind = "torch-cuda-bf16"
