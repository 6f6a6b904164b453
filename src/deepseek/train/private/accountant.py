"""How much noise a budget asks for, and what noised steps have cost: Opacus' accountant of privacy loss distributions.

    noise = noise_for(3.0, 1e-6, Sampling(0.1, 300), earlier)      # in clipping norms
    epsilon = epsilon_of([NoisySteps(noise, Sampling(0.1, 300))], 1e-6)

A step takes every row with the chance `sample_rate`, clips what it says to a length of 1 and adds Gaussian noise to the
sum (Abadi et al. 2016); the losses of all steps are composed numerically (Gopi et al. 2021), and what is returned is
the upper end of EPSILON_ERROR. Renyi bounds would ask for more noise.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from deepseek.extras import need
from deepseek.train.private.budget import BudgetSpentError

EPSILON_ERROR = 0.01
USED_SHARE = 0.98  # of epsilon, at least, that the noise which is found spends
LEAST_NOISE, MOST_NOISE = 0.2, 1e4
MOST_TRIALS = 40


@dataclass(frozen=True, slots=True)
class Sampling:
    """How often a row is looked at."""

    sample_rate: float  # chance of a row to be in a step; 1: every row is in every step
    num_steps: int


@dataclass(frozen=True, slots=True)
class NoisySteps:
    """Steps of one sampled Gaussian mechanism."""

    noise: float  # standard deviation on the sum, in clipping norms
    sampling: Sampling


def epsilon_of(spent: Sequence[NoisySteps], delta: float) -> float:
    """What all these steps together cost, at a delta; 0 of none.

    >>> epsilon_of([], 1e-6)
    0.0
    """
    if not spent:
        return 0.0
    accountant = need("opacus.accountants", extra="dp").PRVAccountant()
    accountant.history = [(each.noise, each.sampling.sample_rate, each.sampling.num_steps) for each in spent]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # logarithms of zero, which the accountant means to take
        return float(accountant.get_epsilon(delta, eps_error=EPSILON_ERROR))


def noise_for(epsilon: float, delta: float, sampling: Sampling, earlier: Sequence[NoisySteps] = ()) -> float:
    """A noise with which the steps and all earlier ones cost between USED_SHARE of epsilon and epsilon, found by the
    secant rule on logarithms. BudgetSpentError where the earlier ones have spent it, or no noise is enough."""
    spent = epsilon_of(earlier, delta)
    if spent + EPSILON_ERROR >= USED_SHARE * epsilon:
        raise BudgetSpentError(
            f"epsilon {spent:.3g} is spent on these rows", expected=f"less than {epsilon:g}, the budget",
            fix="learn from other rows, or let the people whose rows they are allow a larger epsilon",
        )  # fmt: skip
    aim = math.log((1 + USED_SHARE) / 2 * epsilon)
    points: list[tuple[float, float]] = []  # logarithms of noise and of how far its epsilon is from the aim
    guess = 0.0
    for _ in range(MOST_TRIALS):
        cost = epsilon_of([*earlier, NoisySteps(math.exp(guess), sampling)], delta)
        is_least = guess <= math.log(LEAST_NOISE)
        if cost <= epsilon and (cost >= USED_SHARE * epsilon or is_least):
            return math.exp(guess)
        points.append((guess, math.log(cost) - aim))
        guess = _next_guess(points)
        if guess > math.log(MOST_NOISE):
            break
    raise BudgetSpentError(
        f"no noise keeps {sampling.num_steps:,} steps within what is left of epsilon {epsilon:g}",
        expected=f"more than {spent:.3g} + {EPSILON_ERROR}, or fewer steps",
        fix="take fewer epochs or smaller batches, or learn from other rows",
    )


def _next_guess(points: list[tuple[float, float]]) -> float:
    """Where the line through the nearest points on both sides of the aim is 0; a step on where all are on one side."""
    above = [point for point in points if point[1] > 0]  # too little noise
    below = [point for point in points if point[1] <= 0]
    if not above or not below:
        last = points[-1]
        return max(math.log(LEAST_NOISE), last[0] + (1.3 * last[1] or 0.1))
    (low, high_cost), (high, low_cost) = max(above), min(below)
    share = min(0.9, max(0.1, high_cost / (high_cost - low_cost)))
    return low + share * (high - low)
