"""The privacy loss of rounds of noised sums: (epsilon, delta) of whole parties.

In every round each party's update is at most clip_norm long and the sum has Gaussian noise of noise * clip_norm. Every
party is asked in every round, so that T rounds are one Gaussian mechanism of noise / sqrt(T) (Dong et al. 2022,
corollary 3.3), whose delta at an epsilon is exact (Balle and Wang 2018, theorem 8); no accountant's bound is needed:

    delta(epsilon) = Phi(mu / 2 - epsilon / mu) - exp(epsilon) Phi(-mu / 2 - epsilon / mu),    mu = sqrt(T) / noise

Neighbors are two studies that differ in the presence of one party. For one row of a party the loss is no larger, and
this module promises nothing smaller for it.
"""

from __future__ import annotations

import functools
import math

from deepseek.extras import need
from deepseek.privacy.study.settings import BudgetSettings, StudySettings

LARGEST_EPSILON = 1e6
MEANING = (
    "neighboring studies differ in one whole party; the noise is what min_parties honest parties add together, and the "
    "number of rows of each party and the final parameters are known"
)


def delta_of(epsilon: float, noise: float, num_rounds: int) -> float:
    """The exact delta at an epsilon."""
    log_ndtr = need("scipy.special", extra="tabular").log_ndtr
    mu = math.sqrt(num_rounds) / noise
    first = log_ndtr(mu / 2 - epsilon / mu)
    second = epsilon + log_ndtr(-mu / 2 - epsilon / mu)
    return float(math.exp(first) * -math.expm1(min(0.0, second - first)))


def epsilon_of(noise: float, num_rounds: int, delta: float) -> float:
    """The smallest epsilon at a delta, within 1e-9 of itself; infinite without noise.

    >>> epsilon_of(1.0, 1, 1e-5) < epsilon_of(1.0, 4, 1e-5) < epsilon_of(0.5, 4, 1e-5)
    True
    """
    if num_rounds == 0:
        return 0.0
    if noise == 0:
        return math.inf
    low, high = 0.0, 1.0
    while delta_of(high, noise, num_rounds) > delta:
        low, high = high, 2 * high
        if high > LARGEST_EPSILON:
            return math.inf
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if delta_of(middle, noise, num_rounds) > delta else (low, middle)
    return high


@functools.cache
def affordable_rounds(settings: StudySettings) -> int:
    """Rounds of the study that its budget of parties pays for: all of them where it has none."""
    num_rounds, budget = settings.num_training_tasks, settings.budget
    if budget.unit == "record" or budget.epsilon is None or _fits(budget, num_rounds):
        return num_rounds
    low, high = 0, num_rounds
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _fits(budget, middle) else (low, middle)
    return low


def _fits(budget: BudgetSettings, num_rounds: int) -> bool:
    return budget.epsilon is None or epsilon_of(budget.noise, num_rounds, budget.delta) <= budget.epsilon
