"""A run under a budget, before its first step: how rows are drawn, how much noise is added, what stands in the ledger.

plan = plan_steps(PrivacyBudget(3.0, 1e-6), num_rows, batch_size, epochs, run="runs/a")
plan.noise, plan.sampling.sample_rate
plan.spent()                                # evidence: PrivacySpent
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from deepseek.train.private.accountant import NoisySteps, Sampling, epsilon_of, noise_for
from deepseek.train.private.budget import MEANING, BudgetSpentError, PrivacyBudget
from deepseek.train.private.ledger import open_ledger


@dataclass(frozen=True, slots=True)
class PrivacySpent:
    """What stands in run.json and in the bundle of a private run."""

    epsilon: float  # of this run alone
    delta: float
    noise: float  # standard deviation on each sum, in clipping norms
    clip_norm: float
    sample_rate: float
    num_steps: int
    num_rows: int
    total_epsilon: float  # with all earlier runs of the ledger
    num_earlier_runs: int
    has_ledger: bool
    unit: str = "record"
    meaning: str = MEANING

    @property
    def words(self) -> str:
        """What a run has cost its rows, in a line."""
        earlier = f"; {self.total_epsilon:.3g} with {self.num_earlier_runs} earlier" if self.num_earlier_runs else ""
        return f"epsilon {self.epsilon:.3g} at delta {self.delta:g}, noise {self.noise:.3g}{earlier}"


@dataclass(frozen=True, slots=True)
class StepPlan:
    """Noised steps that a budget pays for."""

    noise: float
    clip_norm: float
    sampling: Sampling
    num_rows: int

    @property
    def steps(self) -> NoisySteps:
        return NoisySteps(self.noise, self.sampling)


def sampling_of(num_rows: int, batch_size: int, epochs: int) -> Sampling:
    """As many steps as passes in batches would take, each of batch_size rows on average.

    >>> sampling_of(1000, 100, 3)
    Sampling(sample_rate=0.1, num_steps=30)
    """
    return Sampling(min(1.0, batch_size / num_rows), epochs * steps_per_epoch(num_rows, batch_size))


def steps_per_epoch(num_rows: int, batch_size: int) -> int:
    """Steps after which a row has been drawn once on average."""
    return max(1, math.ceil(num_rows / batch_size))


def plan_steps(
    budget: PrivacyBudget, num_rows: int, sampling: Sampling, *, run: str, what: str, extra_delta: float = 0.0
) -> tuple[StepPlan, PrivacySpent]:
    """Find the noise and write the run into the ledger. `extra_delta`: what the run spends of delta beside its steps.
    InputError for a delta that is too large for the rows, BudgetSpentError for what the budget does not pay for."""
    budget.check(num_rows)
    if budget.ledger is None:
        plan = _plan(budget, budget.delta - extra_delta, num_rows, sampling, [])
        return plan, _spent(plan, budget, budget.delta - extra_delta, [], 0)
    with open_ledger(Path(budget.ledger)) as ledger:
        earlier, delta = ledger.spent_before(run), budget.delta - extra_delta - ledger.delta_before(run)
        plan = _plan(budget, delta, num_rows, sampling, earlier)
        ledger.record(run, what, (plan.steps,), extra_delta)
        num_earlier = sum(entry.run != run for entry in ledger.entries)
    return plan, _spent(plan, budget, delta, earlier, num_earlier)


def _plan(
    budget: PrivacyBudget, delta: float, num_rows: int, sampling: Sampling, earlier: list[NoisySteps]
) -> StepPlan:
    if delta <= 0:
        raise BudgetSpentError(
            f"the delta of {budget.delta:g} is spent on these rows", expected="a delta of which something is left",
            fix="learn from other rows",
        )  # fmt: skip
    return StepPlan(noise_for(budget.epsilon, delta, sampling, earlier), budget.clip_norm, sampling, num_rows)


def _spent(
    plan: StepPlan, budget: PrivacyBudget, delta: float, earlier: list[NoisySteps], num_earlier: int
) -> PrivacySpent:
    alone = epsilon_of([plan.steps], delta)
    return PrivacySpent(
        epsilon=alone, delta=budget.delta, noise=plan.noise, clip_norm=plan.clip_norm,
        sample_rate=plan.sampling.sample_rate, num_steps=plan.sampling.num_steps, num_rows=plan.num_rows,
        total_epsilon=epsilon_of([*earlier, plan.steps], delta) if earlier else alone,
        num_earlier_runs=num_earlier, has_ledger=budget.ledger is not None,
    )  # fmt: skip
