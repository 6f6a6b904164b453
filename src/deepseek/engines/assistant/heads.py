"""Heads: what scores the intents of a question, from its terms or from its embedding. Plain arrays, numpy alone.

    TermHead(weights, bias).scores(rows)              # rows of TermWeights.rows() -> (N, C)
    KernelHead(bank, dual, intents, gamma).scores(vectors)   # vectors (N, D) of length 1 -> two of (N, C)
    CosineHead(directions).scores(vectors)            # of an encoder that was fine-tuned

A kernel head is kernel ridge regression to one column for each intent, 1 for its own questions and 0 for others: the
kernel is exp(-gamma |x - y|^2) (Saunders et al. 1998, "Ridge regression learning algorithm in dual variables"). Its
bank holds the questions that were learned, so the nearest question of each intent costs nothing more: that is a head of
its own, and all there is to know of an intent with a single question.

Shapes: N questions, V terms, D numbers of an embedding, B questions that were learned, C intents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float32
from deepseek.engines.assistant.terms import TermRow

CHUNK_QUESTIONS = 512  # whose likeness to the bank is in memory at a time
COSINE_SCALE = 20.0  # of fine-tuned encoders: logits between -20 and 20


@dataclass(frozen=True)
class TermHead:
    """Linear scores of terms."""

    weights: Float32  # (V, C)
    bias: Float32  # (C,)

    def scores(self, rows: Sequence[TermRow]) -> Float32:
        """(N, C); the bias alone for a question without a known term."""
        scores = np.empty((len(rows), len(self.bias)), np.float32)
        for place, (ids, values) in enumerate(rows):
            scores[place] = values @ self.weights[ids] + self.bias
        return scores


@dataclass(frozen=True)
class KernelHead:
    """Kernel ridge regression on embeddings."""

    bank: Float32  # (B, D), rows of length 1
    dual: Float32  # (B, C)
    intents: NDArray[np.int32]  # (B,) of each question of the bank; they rise
    gamma: float

    def scores(self, vectors: Float32) -> tuple[Float32, Float32]:
        """(N, D) of length 1 -> the regression (N, C), and the cosine to the nearest question of each intent (N, C)."""
        num_intents = self.dual.shape[1]
        regression = np.empty((len(vectors), num_intents), np.float32)
        nearest = np.empty((len(vectors), num_intents), np.float32)
        for start in range(0, len(vectors), CHUNK_QUESTIONS):
            chunk = slice(start, start + CHUNK_QUESTIONS)
            cosines = vectors[chunk] @ self.bank.T
            nearest[chunk] = nearest_of_each(cosines, self.intents, num_intents)
            regression[chunk] = gaussian_kernel(cosines, self.gamma) @ self.dual
        return regression, nearest


@dataclass(frozen=True)
class CosineHead:
    """Cosines to one direction for each intent."""

    directions: Float32  # (C, D), rows of length 1

    def scores(self, vectors: Float32) -> Float32:
        """(N, D) of length 1 -> (N, C), between -COSINE_SCALE and COSINE_SCALE."""
        return np.asarray(COSINE_SCALE * (vectors @ self.directions.T), np.float32)


def gaussian_kernel(cosines: Float32, gamma: float) -> Float32:
    """exp(-gamma |x - y|^2) of vectors of length 1, from their cosines."""
    return np.asarray(np.exp((-2 * gamma) * (1 - cosines)), np.float32)


def nearest_of_each(cosines: Float32, intents: NDArray[np.int32], num_intents: int) -> Float32:
    """Cosines (N, B) to questions whose intents (B,) rise -> the highest of each intent (N, C), -1 where it has none.

    >>> nearest_of_each(np.array([[0.25, 0.5, 0.75]], np.float32), np.array([0, 0, 2], np.int32), 3).tolist()
    [[0.5, -1.0, 0.75]]
    """
    present, starts = np.unique(intents, return_index=True)
    nearest = np.full((len(cosines), num_intents), -1, np.float32)
    nearest[:, present] = np.maximum.reduceat(cosines, starts, axis=1)
    return nearest
