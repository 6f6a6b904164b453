"""Many updates to one: the weighted mean, and rules that some malicious parties cannot pull far.

    trimmed mean, median: Yin et al. 2018 (definitions 1, 2);  Krum: Blanchard et al. 2017 (section 4)

Robust rules count every party once, whatever its rows: a malicious party would state many.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deepseek.contracts import Float64
from deepseek.errors import CheckError
from deepseek.privacy.rounds.answer import Answer
from deepseek.privacy.study.settings import RoundSettings


@dataclass(frozen=True, slots=True)
class Combined:
    """One vector out of many."""

    vector: Float64  # (B,)
    parties: tuple[str, ...]  # whose answers are in it


def check_answer(answer: Answer, size: int) -> None:
    """CheckError for an answer of another size, or with a number that is not finite."""
    if answer.vector.shape != (size,):
        raise CheckError(
            f"{answer.party} sent {answer.vector.size} numbers",
            expected=f"{size}, as the model of the study has",
            fix="check that the party has the study's own version",
        )
    if not np.isfinite(answer.vector).all():
        raise CheckError(
            f"{answer.party} sent numbers that are not finite",
            expected="finite numbers",
            fix="look for rows with infinite values, or lower rounds.lr",
        )


def weighted_mean(answers: Sequence[Answer]) -> Combined:
    """Of all answers, by weight."""
    total = sum(answer.weight for answer in answers)
    vector = sum((answer.weight / total * answer.vector for answer in answers), np.zeros(answers[0].vector.shape))
    return Combined(np.asarray(vector, np.float64), tuple(answer.party for answer in answers))


def combine_updates(answers: Sequence[Answer], rounds: RoundSettings) -> Combined:
    """The answers to a training task by the study's rule, each bounded in length first where the study says so."""
    if rounds.norm_bound is not None:
        answers = [_bound_length(answer, rounds.norm_bound) for answer in answers]
    names = tuple(answer.party for answer in answers)
    if rounds.rule == "mean":
        return weighted_mean(answers)
    stacked = np.stack([answer.vector for answer in answers])
    if rounds.rule == "median":
        return Combined(np.median(stacked, axis=0), names)
    if rounds.rule == "trimmed_mean":
        inner = np.sort(stacked, axis=0)[rounds.num_malicious : len(stacked) - rounds.num_malicious]
        return Combined(inner.mean(axis=0), names)
    chosen = choose_by_krum(stacked, rounds.num_malicious)
    return Combined(stacked[chosen].mean(axis=0), tuple(names[place] for place in chosen))


def choose_by_krum(stacked: Float64, num_malicious: int) -> list[int]:
    """Multi-Krum: the n - f updates of (n, B) whose n - f - 2 nearest neighbors are nearest, by number.

    >>> choose_by_krum(np.array([[0.0], [0.1], [0.2], [0.1], [9.0]]), 1)
    [0, 1, 2, 3]
    """
    num = len(stacked)
    squares = (stacked**2).sum(axis=1)
    distances = np.maximum(squares[:, None] + squares[None] - 2 * stacked @ stacked.T, 0)
    np.fill_diagonal(distances, np.inf)
    nearest = np.sort(distances, axis=1)[:, : max(1, num - num_malicious - 2)]
    order = np.argsort(nearest.sum(axis=1), kind="stable")
    return sorted(order[: num - num_malicious].tolist())


def _bound_length(answer: Answer, most: float) -> Answer:
    length = float(np.linalg.norm(answer.vector))
    return answer if length <= most else Answer(answer.party, answer.vector * (most / length), answer.weight)
