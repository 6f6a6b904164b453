"""The privacy loss of DP-SGD on a party's own rows (Abadi et al. 2016): (epsilon, delta) of single rows.

Every step takes each row with the chance q = batch_size / rows, clips each row's gradient to clip_norm and adds
Gaussian noise of noise * clip_norm to their sum; train/private/accountant.py adds up what that costs. A level of trees
is one step in which every row is (TreeObjective.row_norm). Neighbors are two tables of one party that differ in the
presence of one row; how many rows a party has is known. A party with few rows pays more for the same rounds of steps,
for q is larger.
"""

from __future__ import annotations

import functools
import math

from deepseek.privacy.study.settings import StudySettings
from deepseek.train.private.accountant import NoisySteps, Sampling, epsilon_of

MEANING = (
    "neighboring tables of one party differ in one row; each party has checked by its own number of rows that all "
    "rounds together stay within this epsilon; the numbers of rows are known"
)


def num_steps(settings: StudySettings, num_rows: int) -> int:
    """Steps of one round: of trees one, in which every row is."""
    if settings.model.trees is not None:
        return 1
    return settings.rounds.local_epochs * max(1, math.ceil(num_rows / settings.rounds.batch_size))


def sample_rate(settings: StudySettings, num_rows: int) -> float:
    """The chance q of a row to be in a step."""
    if settings.model.trees is not None:
        return 1.0
    return min(1.0, settings.rounds.batch_size / num_rows)


@functools.cache
def epsilon_of_rows(settings: StudySettings, num_rows: int, num_rounds: int) -> float:
    """Of so many rounds, at the study's delta, by a party of so many rows to learn from."""
    sampling = Sampling(sample_rate(settings, num_rows), num_rounds * num_steps(settings, num_rows))
    return epsilon_of([NoisySteps(settings.budget.noise, sampling)], settings.budget.delta)
