"""Steps over all rows at once, each with noise: T of them are one Gaussian mechanism of noise / sqrt(T).

    parameters = learn(objective, rows, LearningSettings(), clip_norm=1.0, noise=14.0, rng)

All rows are in each step, so that nothing is won by hiding which rows were drawn, and the loss is exact. What is kept
is the mean of the later steps' parameters, whose noise is smaller and costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deepseek.contracts import Float64
from deepseek.privacy.parties.inputs import InputRows
from deepseek.privacy.parties.objective import Objective
from deepseek.train.private.noise import secure_normal


@dataclass(frozen=True, slots=True)
class LearningSettings:
    """How a table is learned from. Chosen on made-up loans and a month of payments (docs/log.md)."""

    num_steps: int = 60
    lr: float = 1.0
    momentum: float = 0.5
    averaged_share: float = 0.5  # of the steps, the last, whose parameters are averaged


def learn(
    objective: Objective, rows: InputRows, settings: LearningSettings, *, clip_norm: float, noise: float, seed: int
) -> Float64:
    """Parameters (P,). `noise`: of one step, standard deviation on the sum in clip_norms. `seed`: of the first
    parameters, not of the noise."""
    parameters = objective.initial(seed)
    velocity, total = np.zeros_like(parameters), np.zeros_like(parameters)
    num_averaged = max(1, round(settings.averaged_share * settings.num_steps))
    for step in range(settings.num_steps):
        clipped = objective.clipped_sum(parameters, rows, clip_norm)
        noised = clipped + noise * clip_norm * secure_normal(len(parameters))
        gradient = noised / max(1, len(rows)) + objective.decay_gradient(parameters)
        velocity = settings.momentum * velocity + gradient
        parameters = parameters - settings.lr * velocity
        if step >= settings.num_steps - num_averaged:
            total += parameters
    return np.asarray((total / num_averaged).astype(np.float32), np.float64)
