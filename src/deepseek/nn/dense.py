"""Linear models and multi-layer perceptrons as named arrays, with forward passes in numpy.

A perceptron reads its numeric features scaled and its categories through embeddings, side by side:

    x0 = [ c((s(x[numeric]) - centre) / scale), embedding_0[x[codes[0]]], embedding_1[x[codes[1]]], ... ]
    x(i+1) = relu(x(i) @ weight_i + bias_i)            the last layer without relu, plus x0 @ skip
    s(x)   = sign(x) log(1 + |x|) where `logged`, else x: a skewed feature enters twice, as it is and by its logarithm
    c(z)   = z / sqrt(1 + (z / clip)^2): about z in the middle, never beyond ±clip (RealMLP: Holzmüller et al. 2024,
             "Better by Default", robust scaling and smooth clipping)

nn.mlp trains it in torch; serving and explaining need no torch. Embeddings, weights and skip are float32 in computation
and stored as float16 where that changes none of them, as nn.mlp rounds them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float32, Float64

#: Scaled numbers are clamped here before smooth_clip, which is at its limit by then: larger squares overflow.
MAX_SCALED = 1e15


def signed_log(numbers: Float32, logged: NDArray[np.bool_]) -> Float32:
    """Columns of (N, Q) where `logged` (Q,) by sign(x) log(1 + |x|), the others as they are.

    >>> signed_log(np.array([[np.e - 1, 2.0]], np.float32), np.array([True, False])).tolist()
    [[1.0, 2.0]]
    """
    if not logged.any():
        return numbers
    return np.where(logged, np.sign(numbers) * np.log(1 + np.abs(numbers)), numbers)


def smooth_clip(numbers: Float32, clip: float) -> Float32:
    """z / sqrt(1 + (z / clip)^2) of each number, whatever the shape; an infinite `clip` leaves them as they are.

    >>> smooth_clip(np.array([0, 0.1, 4, -np.inf], np.float32), 3).round(4).tolist()
    [0.0, 0.09989999979734421, 2.4000000953674316, -3.0]
    """
    if math.isinf(clip):
        return numbers
    cut = np.clip(numbers, -MAX_SCALED, MAX_SCALED)
    clipped: Float32 = cut / np.sqrt(1 + (cut / np.float32(clip)) ** 2)
    return clipped


def narrow_to_float16(array: Float32) -> NDArray[np.floating]:
    """The array as float16 if that changes none of its numbers, else unchanged.

    >>> [narrow_to_float16(np.array([x], np.float32)).dtype.name for x in (0.5, 0.1, 1e6)]
    ['float16', 'float32', 'float32']
    """
    with np.errstate(over="ignore"):  # a number too large for float16 becomes infinite, and so differs
        half = array.astype(np.float16)
    return half if np.array_equal(half, array) else array


@dataclass(frozen=True, slots=True)
class Linear:
    """margin = features @ coef + bias, on prepared features that are not standardized (the scaling is folded in)."""

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
    centre: Float32  # (Q,)
    scale: Float32  # (Q,) never zero
    codes: NDArray[np.int32]  # (E,) features that enter through an embedding
    embeddings: list[Float32]  # E tables (levels, width); a code beyond the last level reads level 0, "other"
    weights: list[Float32]  # (H_i, H_(i+1))
    biases: list[Float32]  # (H_(i+1),)
    skip: Float32  # (D, K) the linear path from the input to the margin
    baseline: Float32  # (D,) mean of the joined input over the training rows: the baseline of explanations
    logged: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))  # (Q,); empty: none
    clip: float = math.inf  # scaled numbers stay within ±clip; infinite: as they are
    # D positions -> prepared feature, filled on construction
    owner: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))

    def __post_init__(self) -> None:
        if not len(self.logged):
            object.__setattr__(self, "logged", np.zeros(len(self.numeric), np.bool_))
        widths = [np.full(table.shape[1], code) for table, code in zip(self.embeddings, self.codes, strict=True)]
        object.__setattr__(self, "owner", np.concatenate([self.numeric, *widths]).astype(np.int32))

    def join(self, features: Float32) -> Float32:
        """The network's input (N, D) for prepared features (N, F)."""
        numbers = signed_log(features[:, self.numeric], self.logged)
        with np.errstate(over="ignore"):  # what is too far for float32 becomes infinite, and is clipped
            parts = [smooth_clip((numbers - self.centre) / self.scale, self.clip)]
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
            name: getattr(self, name) for name in ("numeric", "centre", "scale", "codes", "baseline", "logged")
        }
        named |= {"clip": np.array([self.clip], np.float32), "skip": narrow_to_float16(self.skip)}
        for name, array_list in (("embedding", self.embeddings), ("weight", self.weights)):
            named.update({f"{name}_{index}": narrow_to_float16(array) for index, array in enumerate(array_list)})
        named.update({f"bias_{index}": array for index, array in enumerate(self.biases)})
        return named

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[np.generic]]) -> Perceptron:
        """The inverse of arrays(). Bundles older than `clip` have `mean` for `centre`, and no `clip`."""

        def many(name: str) -> list[Float32]:
            count = sum(key.startswith(f"{name}_") for key in arrays)
            return [np.asarray(arrays[f"{name}_{index}"], np.float32) for index in range(count)]

        return cls(
            numeric=np.asarray(arrays["numeric"], np.int32),
            centre=np.asarray(arrays["centre" if "centre" in arrays else "mean"], np.float32),
            scale=np.asarray(arrays["scale"], np.float32),
            codes=np.asarray(arrays["codes"], np.int32),
            embeddings=many("embedding"),
            weights=many("weight"),
            biases=many("bias"),
            skip=np.asarray(arrays["skip"], np.float32),
            baseline=np.asarray(arrays["baseline"], np.float32),
            logged=np.asarray(arrays["logged"], np.bool_),
            clip=float(np.asarray(arrays.get("clip", np.inf)).item()),
        )
