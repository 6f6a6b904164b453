"""Two judges of an answer: is the first intent right, and is the question one that the assistant knows at all.

    signals = judge_signals(head_scores, pooled, known)             # (N, S), what both judges look at
    judges.right.probabilities(signals)                             # (N,), calibrated

Both are logistic regressions on a few signals of the heads: how sure the pool is, how far the second intent is, the
raw height of the scores (a softmax forgets it), and whether the heads agree. A regression has few numbers, so a few
hundred held rows calibrate it.

Shapes: N questions, H heads, C intents, S signals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Arrays, Float32, Float64

TINY = 1e-9
NUM_POOL_SIGNALS, NUM_HEAD_SIGNALS = 5, 3


@dataclass(frozen=True)
class ConfidenceModel:
    """A logistic regression on standardized signals."""

    mean: Float64  # (S,)
    divisor: Float64  # (S,)
    weights: Float64  # (S,)
    bias: float

    def probabilities(self, signals: Float64) -> Float64:
        """(N, S) -> (N,)."""
        logits = self.bias + np.clip((signals - self.mean) / self.divisor, -8, 8) @ self.weights
        return np.asarray(1 / (1 + np.exp(-np.clip(logits, -30, 30))), np.float64)

    def to_arrays(self, prefix: str) -> Arrays:
        """For the bundle's weights."""
        return {
            f"{prefix}.mean": self.mean, f"{prefix}.divisor": self.divisor, f"{prefix}.weights": self.weights,
            f"{prefix}.bias": np.array([self.bias]),
        }  # fmt: skip

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Float64], prefix: str) -> ConfidenceModel:
        """What to_arrays() gave. KeyError for a part that is missing."""
        mean, divisor, weights = (arrays[f"{prefix}.{part}"] for part in ("mean", "divisor", "weights"))
        return cls(mean, divisor, weights, float(arrays[f"{prefix}.bias"][0]))


def softmax(scores: Float64) -> Float64:
    """Rows (N, C) to shares that sum to 1."""
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def judge_signals(heads: Sequence[Float32], pooled: Float64, known: Float64) -> Float64:
    """What the judges look at, (N, S).

    `heads`: raw scores (N, C) of each; `pooled`: the pool's logits (N, C); `known`: (N,) share of the question's words
    that were seen in training.
    """
    shares = softmax(pooled)
    ranked = np.sort(shares, axis=1)[:, ::-1]
    first, second = ranked[:, 0], ranked[:, 1] if shares.shape[1] > 1 else np.zeros(len(shares))
    best = pooled.argmax(axis=1)
    rows = np.arange(len(best))
    entropy = -(shares * np.log(shares + TINY)).sum(axis=1)
    signals = [
        np.log(first + TINY) - np.log(1 - first + TINY), np.log(first + TINY) - np.log(second + TINY), entropy, known,
        np.mean([head.argmax(axis=1) == best for head in heads], axis=0),
    ]  # fmt: skip
    for head in heads:
        signals += [head[rows, best], head.max(axis=1), _energy(head)]
    return np.stack([np.asarray(signal, np.float64) for signal in signals], axis=1)


def num_signals(num_heads: int) -> int:
    """S, of a pool of `num_heads`."""
    return NUM_POOL_SIGNALS + NUM_HEAD_SIGNALS * num_heads


def energy_places(num_signals: int) -> NDArray[np.int64]:
    """Which of the S signals are energies, one of each head.

    >>> energy_places(num_signals(2)).tolist()
    [7, 10]
    """
    return np.arange(NUM_POOL_SIGNALS + NUM_HEAD_SIGNALS - 1, num_signals, NUM_HEAD_SIGNALS, dtype=np.int64)


def _energy(scores: Float32) -> Float64:
    """The logarithm of the sum of powers, (N,): high where some intent fits well (Liu et al. 2020, arXiv 2010.03759,
    formula 4)."""
    top = scores.max(axis=1).astype(np.float64)
    return np.asarray(top + np.log(np.exp(scores - top[:, None]).sum(axis=1)))
