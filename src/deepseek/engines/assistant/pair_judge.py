"""Whether two questions ask the same, by the upper layers of an encoder that read both: numpy alone, as they were
learned in torch (nn/question_pairs.py).

    judge = PairJudge.from_arrays(settings, arrays)
    judge.probabilities([(states_of_one, states_of_another)])        # (N,), states (L, H) behind judge.depth layers

Pairs of about one length are computed together, MAX_BATCH_PAIRS at a time; nothing is padded with more than the longest
of them needs, and padding changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Arrays, Float32, JsonObject

MAX_BATCH_PAIRS = 16
MAX_TOKENS = 32  # of a question that are read
NO_TOKEN, MASKED = -1, np.float32(-1e4)
DIFFERENCE, PRODUCT, TOTAL, DISTANCE = 1.0, 2.0, 0.1, 10.0  # as in nn/question_pairs.py
LINEAR_PARTS = ("q", "k", "v", "o", "up", "down")
PREFIX = "pairs."

StatePair = tuple[Float32, Float32]  # (L, H) of two questions


@dataclass(frozen=True, slots=True)
class PairSettings:
    """Sizes of a judge, and which encoder it reads."""

    encoder: str  # name
    depth: int  # layers of the encoder below, which read each question alone
    num_layers: int
    num_heads: int
    activation: str  # tanh (GELU in that form) or relu
    norm_eps: float

    def to_dict(self) -> JsonObject:
        """For assistant.json."""
        return asdict(self)


@dataclass(frozen=True)
class PairJudge:
    """Layers and head. Safe to share between threads."""

    settings: PairSettings
    weights: Mapping[
        str, Float32
    ]  # "layer0.q.weight" (out, in), "layer0.q.bias", "layer0.other" (heads,), "wide.weight"

    @property
    def depth(self) -> int:
        return self.settings.depth

    def probabilities(self, pairs: Sequence[StatePair]) -> Float32:
        """(N,) that the two questions of a pair ask the same; whichever comes first."""
        return np.asarray(1 / (1 + np.exp(-np.clip(self.logits(pairs), -30, 30))), np.float32)

    def logits(self, pairs: Sequence[StatePair]) -> Float32:
        """(N,) above 0 where they sooner ask the same than not."""
        logits = np.empty(len(pairs), np.float32)
        for rows in pair_batches([len(first) + len(second) for first, second in pairs], MAX_BATCH_PAIRS):
            states, part = join_pairs([pairs[row] for row in rows])
            logits[rows] = self._batch_logits(states, part)
        return logits

    def _batch_logits(self, x: Float32, part: NDArray[np.int64]) -> Float32:
        is_own = (part[:, :, None] == part[:, None, :])[:, None]
        is_none = (part == NO_TOKEN)[:, None, None]
        for place in range(self.settings.num_layers):
            other = self.weights[f"layer{place}.other"][None, :, None, None]
            x = self._layer(f"layer{place}", x, np.where(is_none, MASKED, np.where(is_own, np.float32(0), other)))
        first, second = (_unit((x * (part == side)[..., None]).sum(axis=1)) for side in (0, 1))
        root = x.shape[2] ** 0.5
        distance = 1 - (first * second).sum(axis=1, keepdims=True)
        parts = [
            DIFFERENCE * root * np.abs(first - second), PRODUCT * root * first * second,
            TOTAL * root * (first + second), DISTANCE * distance,
        ]  # fmt: skip
        wide = gelu(self._linear("wide", np.concatenate(parts, axis=1).astype(np.float32)))
        return np.asarray(self._linear("out", wide)[:, 0], np.float32)

    def _layer(self, name: str, x: Float32, bias: Float32) -> Float32:
        """(N, L, H) -> (N, L, H); `bias` (N, heads, L, L) on the scores."""
        num, length, width = x.shape
        heads = self.settings.num_heads
        q, k, v = (
            self._linear(f"{name}.{part}", x).reshape(num, length, heads, -1).transpose(0, 2, 1, 3) for part in "qkv"
        )
        scores = (q * np.float32((width // heads) ** -0.5)) @ k.transpose(0, 1, 3, 2) + bias
        powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = (powers / powers.sum(axis=-1, keepdims=True)) @ v
        mixed = np.ascontiguousarray(mixed.transpose(0, 2, 1, 3)).reshape(num, length, width)
        x = self._norm(f"{name}.norm1", x + self._linear(f"{name}.o", mixed))
        up = self._linear(f"{name}.up", x)
        up = np.maximum(up, 0) if self.settings.activation == "relu" else gelu(up)
        return self._norm(f"{name}.norm2", x + self._linear(f"{name}.down", up))

    def _linear(self, name: str, x: Float32) -> Float32:
        flat = x.reshape(-1, x.shape[-1]) @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]
        return np.asarray(flat.reshape(*x.shape[:-1], -1), np.float32)

    def _norm(self, name: str, x: Float32) -> Float32:
        centered = x - x.mean(axis=-1, keepdims=True)
        variance = np.square(centered).mean(axis=-1, keepdims=True)
        normal = centered / np.sqrt(variance + np.float32(self.settings.norm_eps))
        return np.asarray(normal * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"], np.float32)

    def to_arrays(self) -> Arrays:
        """For the bundle's weights, in float16."""
        return {f"{PREFIX}{name}": values.astype(np.float16) for name, values in self.weights.items()}

    @classmethod
    def from_arrays(cls, settings: JsonObject, arrays: Arrays) -> PairJudge:
        """What settings.to_dict() and to_arrays() gave. KeyError, TypeError or ValueError for a part that does not
        fit."""
        own = PairSettings(**settings)
        names = [name for name in arrays if name.startswith(PREFIX)]
        judge = cls(own, {name.removeprefix(PREFIX): arrays[name].astype(np.float32) for name in names})
        judge._check()
        return judge

    def _check(self) -> None:
        needed = ["wide.weight", "wide.bias", "out.weight", "out.bias"]
        for place in range(self.settings.num_layers):
            parts = [f"{part}.{kind}" for part in (*LINEAR_PARTS, "norm1", "norm2") for kind in ("weight", "bias")]
            needed += [f"layer{place}.{part}" for part in ("other", *parts)]
        missing = [name for name in needed if name not in self.weights]
        if missing:
            raise KeyError(f"{PREFIX}{missing[0]}")


def join_pairs(pairs: Sequence[StatePair]) -> tuple[Float32, NDArray[np.int64]]:
    """States (N, L, H) of both questions one behind the other, each cut to MAX_TOKENS, and which is whose (N, L).

    >>> states, part = join_pairs([(np.ones((1, 4), np.float32), np.ones((2, 4), np.float32))])
    >>> states.shape, part.tolist()
    ((1, 3, 4), [[0, 1, 1]])
    """
    cut = [tuple(side[:MAX_TOKENS] for side in pair) for pair in pairs]
    length = max(len(first) + len(second) for first, second in cut)
    states = np.zeros((len(cut), length, cut[0][0].shape[1]), np.float32)
    part = np.full((len(cut), length), NO_TOKEN, np.int64)
    for row, (first, second) in enumerate(cut):
        middle, end = len(first), len(first) + len(second)
        states[row, :middle], states[row, middle:end] = first, second
        part[row, :middle], part[row, middle:end] = 0, 1
    return states, part


def gelu(x: Float32) -> Float32:
    """GELU in its form with tanh (Hendrycks and Gimpel 2016, arXiv 1606.08415, section 2)."""
    inner = np.float32(0.7978845608) * (x + np.float32(0.044715) * x * x * x)
    return np.asarray(np.float32(0.5) * x * (1 + np.tanh(inner)), np.float32)


def _unit(rows: Float32) -> Float32:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), np.float32)


def pair_batches(lengths: Sequence[int], size: int) -> Iterator[list[int]]:
    """Places of pairs of about one length, `size` at a time.

    >>> list(pair_batches([9, 3, 8], 2))
    [[1, 2], [0]]
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    for start in range(0, len(order), size):
        yield order[start : start + size]
