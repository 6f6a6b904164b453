"""The privacy loss of DP-SGD on a party's own rows (Abadi et al. 2016): (epsilon, delta) of single rows.

Every step takes each row with the chance q = batch_size / rows, clips each row's gradient to clip_norm and adds
Gaussian noise of noise * clip_norm to their sum. The accountant is Opacus': privacy loss distributions (Gopi et al.
2021), within EPSILON_ERROR; the Renyi accountant gives more. Neighbors are two tables of one party that differ in the
presence of one row; how many rows a party has is known. A party with few rows pays more for the same rounds, for q is
larger.
"""

from __future__ import annotations

import functools
import math
import warnings

from deepseek.extras import need
from deepseek.privacy.study.settings import StudySettings

EPSILON_ERROR = 0.01
MEANING = (
    "neighboring tables of one party differ in one row; each party has checked by its own number of rows that all "
    "rounds together stay within this epsilon; the numbers of rows are known"
)


def num_steps(settings: StudySettings, num_rows: int) -> int:
    """Steps of one round."""
    return settings.rounds.local_epochs * max(1, math.ceil(num_rows / settings.rounds.batch_size))


def sample_rate(settings: StudySettings, num_rows: int) -> float:
    """The chance q of a row to be in a step."""
    return min(1.0, settings.rounds.batch_size / num_rows)


@functools.cache
def epsilon_of_rows(settings: StudySettings, num_rows: int, num_rounds: int) -> float:
    """Of so many rounds, at the study's delta, by a party of so many rows to learn from."""
    accountants = need("opacus.accountants", extra="dp")
    accountant = accountants.PRVAccountant()
    budget = settings.budget
    accountant.history = [(budget.noise, sample_rate(settings, num_rows), num_rounds * num_steps(settings, num_rows))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # logarithms of zero, which the accountant means to take
        return float(accountant.get_epsilon(budget.delta, eps_error=EPSILON_ERROR))
