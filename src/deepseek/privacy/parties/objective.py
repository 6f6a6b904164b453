"""A linear model or a perceptron as one flat vector of parameters, with its gradient, in numpy.

    x0 = inputs,  x(i+1) = relu(x(i) @ weight_i + bias_i),  margin = the last layer without relu        (N, K)
    loss = mean of log loss, or of half the squared error, + weight_decay / 2 * sum of squared weights

numpy, because a party's process starts in a fraction of a second then and needs no torch. The flat vector is what
parties send: layer by layer, weights in C order before biases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float64, Task
from deepseek.privacy.parties.inputs import InputRows, num_inputs
from deepseek.privacy.study.definition import Study


@dataclass(frozen=True, slots=True)
class Objective:
    """The shape of the model, and what its parameters should minimize."""

    sizes: tuple[int, ...]  # D, hidden widths, K
    task: Task
    weight_decay: float

    @classmethod
    def of(cls, study: Study) -> Objective:
        model = study.settings.model
        return cls((num_inputs(study), *model.widths, study.num_margins), study.task, model.weight_decay)

    @property
    def num_parameters(self) -> int:
        return sum((fan_in + 1) * fan_out for fan_in, fan_out in pairwise(self.sizes))

    def initial(self, seed: int) -> Float64:
        """Parameters (P,) to begin with: zeros of a linear model; He et al. 2015 (formula 10) of hidden layers."""
        rng = np.random.default_rng(seed)
        flat = []
        for layer, (fan_in, fan_out) in enumerate(pairwise(self.sizes)):
            is_last = layer == len(self.sizes) - 2
            deviation = 0.0 if is_last else np.sqrt(2 / fan_in)
            flat += [rng.normal(0, 1, fan_in * fan_out) * deviation, np.zeros(fan_out)]
        return np.concatenate(flat).astype(np.float32).astype(np.float64)  # as parties get them

    def layers(self, parameters: Float64) -> list[tuple[Float64, Float64]]:
        """Views (weight, bias) of the flat parameters, layer by layer."""
        views, start = [], 0
        for fan_in, fan_out in pairwise(self.sizes):
            middle, end = start + fan_in * fan_out, start + (fan_in + 1) * fan_out
            views.append((parameters[start:middle].reshape(fan_in, fan_out), parameters[middle:end]))
            start = end
        return views

    def margin(self, parameters: Float64, inputs: NDArray[Any]) -> Float64:
        """Raw scores (N, K)."""
        return self._activations(self.layers(parameters), inputs)[-1]

    def probabilities(self, parameters: Float64, inputs: NDArray[Any]) -> Float64:
        """Class probabilities (N, C), or values (N, 1) in the study's scale."""
        return probabilities_of(self.task, self.margin(parameters, inputs))

    def gradient(self, parameters: Float64, rows: InputRows) -> Float64:
        """Of the loss on these rows, (P,)."""
        layers = self.layers(parameters)
        activations = self._activations(layers, rows.inputs)
        error = self._output_error(activations[-1], rows.target) / len(rows)
        parts: list[Float64] = []
        for layer in range(len(layers) - 1, -1, -1):
            weight, _ = layers[layer]
            below = activations[layer]
            parts = [(below.T @ error + self.weight_decay * weight).ravel(), error.sum(axis=0), *parts]
            if layer:
                error = (error @ weight.T) * (below > 0)
        return np.concatenate(parts)

    def clipped_sum(self, parameters: Float64, rows: InputRows, clip_norm: float) -> Float64:
        """The sum (P,) over these rows of each row's gradient, scaled down to clip_norm where it is longer; without
        weight decay, which no row has a part in. A row's gradient of a layer is an outer product, whose length needs no
        gradient of its own (Goodfellow 2015)."""
        layers = self.layers(parameters)
        activations = self._activations(layers, rows.inputs)
        errors = [self._output_error(activations[-1], rows.target)]
        for layer in range(len(layers) - 1, 0, -1):
            errors.insert(0, (errors[0] @ layers[layer][0].T) * (activations[layer] > 0))
        squares = sum(
            (error**2).sum(axis=1) * ((below**2).sum(axis=1) + 1)
            for error, below in zip(errors, activations, strict=False)
        )
        factor = np.minimum(1, clip_norm / np.maximum(np.sqrt(squares), 1e-12))[:, None]
        parts = []
        for error, below in zip(errors, activations, strict=False):
            parts += [(below.T @ (error * factor)).ravel(), (error * factor).sum(axis=0)]
        return np.concatenate(parts)

    def decay_gradient(self, parameters: Float64) -> Float64:
        """The gradient (P,) of the weight decay alone."""
        parts = []
        for weight, bias in self.layers(parameters):
            parts += [self.weight_decay * weight.ravel(), np.zeros(len(bias))]
        return np.concatenate(parts)

    def _activations(self, layers: Sequence[tuple[Float64, Float64]], inputs: NDArray[Any]) -> list[Float64]:
        activations = [np.asarray(inputs, np.float64)]
        for layer, (weight, bias) in enumerate(layers):
            out = activations[-1] @ weight + bias
            activations.append(np.maximum(out, 0) if layer < len(layers) - 1 else out)
        return activations

    def _output_error(self, margin: Float64, target: NDArray[Any]) -> Float64:
        """Derivative (N, K) of each row's loss by its margin."""
        if self.task == "multiclass":
            error = _softmax(margin)
            error[np.arange(len(target)), target] -= 1
            return error
        expected = _sigmoid(margin) if self.task == "binary" else margin
        return np.asarray(expected - target[:, None], np.float64)


def probabilities_of(task: Task, margin: Float64) -> Float64:
    """Class probabilities (N, C), or values (N, 1), of raw scores (N, K)."""
    if task == "regression":
        return margin
    if task == "binary":
        positive = _sigmoid(margin)
        return np.concatenate([1 - positive, positive], axis=1)
    return _softmax(margin)


def _sigmoid(margin: Float64) -> Float64:
    return np.asarray(1 / (1 + np.exp(-np.clip(margin, -500, 500))))


def _softmax(margin: Float64) -> Float64:
    powers = np.exp(margin - margin.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
