"""Least squares over columns that stay apart: what one house computes in a round, beside the sums from the other.

    error  = inputs @ weights - target          (N,), of the house with the target; without it in the other
    gradient of a house = inputs.T @ (own error + the other's error) / N + weight_decay * weights

The error of both is the sum of theirs, so that a house needs of the other its inputs' products with that error: D sums
over all rows. Each house takes its step by its own second moments, half as long as it would alone, which never
overshoots with two houses (the joint matrix of moments is at most twice that of the blocks), with Nesterov's momentum.

Two classes are learned as 0 and 1; the direction is Fisher's discriminant (Fisher 1936), and the score becomes a
probability by Platt's scaling on rows that were held back. A logistic loss would need a polynomial in its place, which
diverges where classes part well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deepseek.contracts import Float64

PRECONDITION_RIDGE = 0.01  # beside second moments of about 1: directions that hardly vary are not learned from noise


@dataclass(frozen=True, slots=True)
class HouseWeights:
    """After a round."""

    weights: Float64  # (D,)
    velocity: Float64  # (D,)

    @classmethod
    def zeros(cls, width: int) -> HouseWeights:
        return cls(np.zeros(width), np.zeros(width))


@dataclass(frozen=True, slots=True)
class HouseLearner:
    """A house's standardized training rows."""

    inputs: Float64  # (N, D)
    target: Float64 | None  # (N,) with mean 0, in the house that has it
    weight_decay: float
    momentum: float

    def ahead(self, state: HouseWeights) -> Float64:
        """The weights (D,) at which the next round measures."""
        return state.weights + self.momentum * state.velocity

    def error(self, state: HouseWeights) -> Float64:
        """This house's part of the error of each row (N,)."""
        score = self.inputs @ self.ahead(state)
        return np.asarray(score if self.target is None else score - self.target, np.float64)

    def step(self, state: HouseWeights, products: Float64, share: float = 0.5) -> HouseWeights:
        """After a round in which the other house's error came in as inputs.T @ error (D,). `share`: of the step that a
        house takes alone."""
        ahead, num_rows = self.ahead(state), len(self.inputs)
        gradient = (self.inputs.T @ self.error(state) + products) / num_rows + self.weight_decay * ahead
        moments = self.inputs.T @ self.inputs / num_rows
        ridge = (self.weight_decay + PRECONDITION_RIDGE) * np.eye(len(moments))
        velocity = self.momentum * state.velocity - share * np.linalg.solve(moments + ridge, gradient)
        return HouseWeights(state.weights + velocity, velocity)

    def learn_alone(self, num_rounds: int) -> Float64:
        """Weights (D,) after as many rounds with these inputs alone."""
        state = HouseWeights.zeros(self.inputs.shape[1])
        for _ in range(num_rounds):
            state = self.step(state, np.zeros(self.inputs.shape[1]))
        return state.weights
