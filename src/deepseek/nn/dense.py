"""Linear models and multi-layer perceptrons as named arrays, with forward passes in numpy.

A perceptron reads its numeric features standardised and its categories through embeddings, side by side:

    x0 = [ (x[numeric] - mean) / scale, embedding_0[x[codes[0]]], embedding_1[x[codes[1]]], ... ]
    x(i+1) = relu(x(i) @ weight_i + bias_i)            the last layer without relu, plus x0 @ skip

It is what nn.mlp trains in torch; serving and explaining need no torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float32, Float64


@dataclass(frozen=True, slots=True)
class Linear:
    """margin = features @ coef + bias, on prepared features that are not standardised (the scaling is folded in)."""

    coef: Float64  # (F, K)
    bias: Float64  # (K,)
    mean: Float64  # (F,) of the training rows: the baseline of explanations

    def margin(self, features: Float32) -> Float64:
        return features.astype(np.float64) @ self.coef + self.bias

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        return {"coef": self.coef, "bias": self.bias, "mean": self.mean}

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[np.generic]]) -> Linear:
        return cls(**{name: np.asarray(arrays[name], np.float64) for name in ("coef", "bias", "mean")})


@dataclass(frozen=True, slots=True)
class Perceptron:
    """A trained multi-layer perceptron. H_i is the width of layer i, D the width of the joined input."""

    numeric: NDArray[np.int32]  # (Q,) features that enter as numbers
    mean: Float32  # (Q,)
    scale: Float32  # (Q,) never zero
    codes: NDArray[np.int32]  # (E,) features that enter through an embedding
    embeddings: list[Float32]  # E tables (levels, width); a code beyond the last level reads level 0, "other"
    weights: list[Float32]  # (H_i, H_(i+1))
    biases: list[Float32]  # (H_(i+1),)
    skip: Float32  # (D, K) the linear path from the input to the margin
    baseline: Float32  # (D,) mean of the joined input over the training rows: the baseline of explanations
    # D positions -> prepared feature, filled on construction
    owner: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))

    def __post_init__(self) -> None:
        widths = [np.full(table.shape[1], code) for table, code in zip(self.embeddings, self.codes, strict=True)]
        object.__setattr__(self, "owner", np.concatenate([self.numeric, *widths]).astype(np.int32))

    def join(self, features: Float32) -> Float32:
        """The network's input (N, D) for prepared features (N, F)."""
        parts = [(features[:, self.numeric] - self.mean) / self.scale]
        for table, code in zip(self.embeddings, self.codes, strict=True):
            level = features[:, code].astype(np.int64)
            parts.append(table[np.where((level >= 0) & (level < len(table)), level, 0)])
        return np.concatenate(parts, axis=1).astype(np.float32)

    def margin(self, features: Float32) -> Float64:
        """Raw scores (N, K)."""
        joined = self.join(features)
        hidden = joined
        for index, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = hidden @ weight + bias
            if index < len(self.weights) - 1:
                hidden = np.maximum(hidden, 0)
        return (hidden + joined @ self.skip).astype(np.float64)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        named: dict[str, NDArray[np.generic]] = {
            name: getattr(self, name) for name in ("numeric", "mean", "scale", "codes", "skip", "baseline")
        }
        for name, many in (("embedding", self.embeddings), ("weight", self.weights), ("bias", self.biases)):
            named.update({f"{name}_{index}": array for index, array in enumerate(many)})
        return named

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[np.generic]]) -> Perceptron:
        def many(name: str) -> list[Float32]:
            count = sum(key.startswith(f"{name}_") for key in arrays)
            return [np.asarray(arrays[f"{name}_{index}"], np.float32) for index in range(count)]

        single = {name: np.asarray(arrays[name], np.float32) for name in ("mean", "scale", "skip", "baseline")}
        whole = {name: np.asarray(arrays[name], np.int32) for name in ("numeric", "codes")}
        return cls(**whole, **single, embeddings=many("embedding"), weights=many("weight"), biases=many("bias"))  # type: ignore[arg-type]
