"""Linear models and multi-layer perceptrons as named arrays, with forward passes in numpy.

A perceptron reads its numeric features standardised and its categories through embeddings, side by side:

    x0 = [ (s(x[numeric]) - mean) / scale, embedding_0[x[codes[0]]], embedding_1[x[codes[1]]], ... ]
    x(i+1) = relu(x(i) @ weight_i + bias_i)            the last layer without relu, plus x0 @ skip
    s(x)   = sign(x) log(1 + |x|) where `logged`, else x: a skewed feature enters twice, as it is and by its logarithm

It is what nn.mlp trains in torch; serving and explaining need no torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float32, Float64


def signed_log(numbers: Float32, logged: NDArray[np.bool_]) -> Float32:
    """Columns of (N, Q) where `logged` (Q,) by sign(x) log(1 + |x|), the others as they are.

    >>> signed_log(np.array([[np.e - 1, 2.0]], np.float32), np.array([True, False])).tolist()
    [[1.0, 2.0]]
    """
    if not logged.any():
        return numbers
    return np.where(logged, np.sign(numbers) * np.log(1 + np.abs(numbers)), numbers)


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
    logged: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))  # (Q,); empty: none
    # D positions -> prepared feature, filled on construction
    owner: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))

    def __post_init__(self) -> None:
        if not len(self.logged):
            object.__setattr__(self, "logged", np.zeros(len(self.numeric), np.bool_))
        widths = [np.full(table.shape[1], code) for table, code in zip(self.embeddings, self.codes, strict=True)]
        object.__setattr__(self, "owner", np.concatenate([self.numeric, *widths]).astype(np.int32))

    def join(self, features: Float32) -> Float32:
        """The network's input (N, D) for prepared features (N, F)."""
        parts = [(signed_log(features[:, self.numeric], self.logged) - self.mean) / self.scale]
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
            name: getattr(self, name) for name in ("numeric", "mean", "scale", "codes", "skip", "baseline", "logged")
        }
        for name, many in (("embedding", self.embeddings), ("weight", self.weights), ("bias", self.biases)):
            named.update({f"{name}_{index}": array for index, array in enumerate(many)})
        return named

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[np.generic]]) -> Perceptron:
        def many(name: str) -> list[Float32]:
            count = sum(key.startswith(f"{name}_") for key in arrays)
            return [np.asarray(arrays[f"{name}_{index}"], np.float32) for index in range(count)]

        return cls(
            numeric=np.asarray(arrays["numeric"], np.int32),
            mean=np.asarray(arrays["mean"], np.float32),
            scale=np.asarray(arrays["scale"], np.float32),
            codes=np.asarray(arrays["codes"], np.int32),
            embeddings=many("embedding"),
            weights=many("weight"),
            biases=many("bias"),
            skip=np.asarray(arrays["skip"], np.float32),
            baseline=np.asarray(arrays["baseline"], np.float32),
            logged=np.asarray(arrays["logged"], np.bool_),
        )
