"""Local steps of a party in one round: FedAvg (McMahan et al. 2017, algorithm 1), FedProx (Li et al. 2020, formula 2),
SCAFFOLD (Karimireddy et al. 2020, algorithm 1, option II).

    step:        y <- y - lr (gradient(y) + proximity (y - x) + c - c_own)
    own control: c_own+ = c_own - c + (x - y) / (num_steps lr)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from deepseek.contracts import Float64
from deepseek.privacy.accounting.records import num_steps, sample_rate
from deepseek.privacy.parties.inputs import InputRows
from deepseek.privacy.parties.objective import Objective
from deepseek.privacy.study.settings import RoundSettings, StudySettings
from deepseek.train.private.noise import secure_normal, secure_uniform

if TYPE_CHECKING:
    from deepseek.privacy.parties.module import ModuleObjective


@dataclass(frozen=True, slots=True)
class LocalSteps:
    """What a party has learned in a round."""

    change: Float64  # (P,) of the parameters
    num_steps: int


def train_locally(
    objective: Objective | ModuleObjective, parameters: Float64, rows: InputRows, rounds: RoundSettings,
    rng: np.random.Generator, correction: Float64 | None = None,
) -> LocalSteps:  # fmt: skip
    """Passes over a party's rows from the shared parameters (P,). `correction` (P,): added to each gradient."""
    proximity = rounds.proximity if rounds.strategy == "fedprox" else 0.0
    own, num_steps = parameters.copy(), 0
    for _ in range(rounds.local_epochs):
        order = rng.permutation(len(rows))
        for start in range(0, len(rows), rounds.batch_size):
            gradient = objective.gradient(own, rows.take(order[start : start + rounds.batch_size]))
            if proximity:
                gradient += proximity * (own - parameters)
            if correction is not None:
                gradient += correction
            own -= rounds.lr * gradient
            num_steps += 1
    return LocalSteps(own - parameters, num_steps)


def train_privately(
    objective: Objective | ModuleObjective, parameters: Float64, rows: InputRows, settings: StudySettings
) -> LocalSteps:  # fmt: skip
    """The same by DP-SGD (Abadi et al. 2016, algorithm 1): each step takes every row by chance, clips its gradient and
    adds noise to the sum. Which rows are taken is nobody's to know, so that the choice is not of the study's seed."""
    rounds, budget = settings.rounds, settings.budget
    proximity = rounds.proximity if rounds.strategy == "fedprox" else 0.0
    rate, steps = sample_rate(settings, len(rows)), num_steps(settings, len(rows))
    own = parameters.copy()
    for _ in range(steps):
        picked = rows.take(np.flatnonzero(secure_uniform(len(rows)) < rate))
        total = objective.clipped_sum(own, picked, budget.clip_norm)
        noisy = total + budget.noise * budget.clip_norm * secure_normal(len(total))
        gradient = noisy / (rate * len(rows)) + objective.decay_gradient(own) + proximity * (own - parameters)
        own -= rounds.lr * gradient
    return LocalSteps(own - parameters, steps)


def updated_control(own: Float64, shared: Float64, steps: LocalSteps, lr: float) -> Float64:
    """The party's control variate (P,) after a round, from its own and the shared one before it."""
    return own - shared - steps.change / (steps.num_steps * lr)
