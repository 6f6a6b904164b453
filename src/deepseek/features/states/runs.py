"""How a state begins and ends, learned by days: expectation and maximization over days in which a key was sound or
compromised (a hidden semi-Markov chain whose run lengths are free).

    run, odds, posterior = learn_run(evidence, run)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from deepseek.features.hidden.parameters import RunLength

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
KEYS_AT_ONCE = 1_000
MOST_EVIDENCE = 30.0  # nats of one day
PSEUDO_DAYS, PSEUDO_RATE = 0.3, 0.03  # of runs of each length that were never seen
LEAST_RATE, MOST_RATE = 1e-4, 0.999


@dataclass(frozen=True, eq=False)
class LearnedRun:
    """Of D days and N keys."""

    run: RunLength
    posterior: Array  # (D, N): chance of being compromised, by all days
    others: Array  # (D, N): the same without what was seen on the day itself


def learn_run(evidence: Array, run: RunLength, num_sound: int, iterations: int) -> LearnedRun:
    """`evidence` (D, N): log of how many times as likely what was seen of a key on a day is where it is compromised;
    `num_sound`: keys beside these of which nothing speaks for it."""
    num_days, num_keys = evidence.shape
    quotients = np.exp(np.clip(evidence, -MOST_EVIDENCE, MOST_EVIDENCE)).astype(np.float32)
    posterior = np.zeros((num_days, num_keys), np.float32)
    for _ in range(iterations):
        longest = len(run.ends)
        ended, at_risk, begun, sound = np.zeros(longest), np.zeros(longest), 0.0, float(num_sound * num_days)
        for first in range(0, num_keys, KEYS_AT_ONCE):
            keys = slice(first, first + KEYS_AT_ONCE)
            forward = _go_forward(quotients[:, keys], run)
            posterior[-1, keys] = 1 - forward[-1, 0]
            counts = _go_back(quotients[:, keys], run, forward, posterior[:, keys])
            ended, at_risk, begun, sound = ended + counts[0], at_risk + counts[1], begun + counts[2], sound + counts[3]
        rates = (ended + PSEUDO_DAYS * PSEUDO_RATE) / (at_risk + PSEUDO_DAYS)
        ends = np.append(np.clip(rates, LEAST_RATE, MOST_RATE)[:-1], 1.0)
        run = replace(run, start=float(np.clip(begun / max(sound, 1.0), 1e-7, 0.5)), ends=tuple(ends.tolist()))
    odds = posterior / np.maximum(1 - posterior, 1e-9) / quotients
    return LearnedRun(run, posterior, odds / (1 + odds))


def _go_forward(quotients: Array, run: RunLength) -> Array:
    """(D, 1 + A, N): chances of being sound, and compromised for 1 to A days, by the days until each."""
    num_days, num_keys = quotients.shape
    ends = np.array(run.ends, np.float32)[:, None]
    forward = np.zeros((num_days, len(ends) + 1, num_keys), np.float32)
    before = np.zeros((len(ends) + 1, num_keys), np.float32)
    before[0] = 1
    for day in range(num_days):
        now, leaving = forward[day], before[1:] * ends
        now[2:] = before[1:-1] - leaving[:-1]
        now[1] = before[0] * run.start
        now[0] = before[0] * (1 - run.start) + leaving.sum(axis=0)
        now[1:] *= quotients[day]
        now /= now.sum(axis=0)
        before = now
    return forward


def _go_back(quotients: Array, run: RunLength, forward: Array, posterior: Array) -> tuple[Array, Array, float, float]:
    """Runs that ended after 1 to A days, days at risk of it (A,), runs begun, days sound; fills in `posterior`."""
    ends = np.array(run.ends, np.float32)[:, None]
    ended, at_risk, begun, sound = np.zeros(len(ends)), np.zeros(len(ends)), 0.0, 0.0
    behind = np.ones(forward.shape[1:], np.float32)
    for day in range(len(forward) - 1, 0, -1):
        weight = behind.copy()
        weight[1:] *= quotients[day]
        before = forward[day - 1]
        going_on = np.zeros_like(weight[1:])
        going_on[:-1] = weight[2:]
        behind = np.empty_like(weight)
        behind[0] = (1 - run.start) * weight[0] + run.start * weight[1]
        behind[1:] = ends * weight[0] + (1 - ends) * going_on
        total = (before * behind).sum(axis=0)
        ending = (before[1:] * ends * (weight[0] / total)).sum(axis=1)
        ended += ending
        at_risk += ending + (before[1:] * (1 - ends) * (going_on / total)).sum(axis=1)
        begun += float((before[0] * run.start * weight[1] / total).sum())
        sound += float((before[0] * (run.start * weight[1] + (1 - run.start) * weight[0]) / total).sum())
        behind /= total
        posterior[day - 1] = 1 - before[0] * behind[0]
    return ended, at_risk, begun, sound
