"""Runs in the learner's process: answers, and the memory that an answer takes."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from typing import Any


def answers(learner: Any, rows: Sequence[Sequence[float]]) -> list[object]:
    return [learner.answer([float(value) for value in row]) for row in rows]


def memory(learner: Any, row: Sequence[float]) -> int:
    """Bytes at the highest point of an answer, with what is kept for the next."""
    tracemalloc.start()
    learner.answer([float(value) for value in row])
    return tracemalloc.get_traced_memory()[1]


def refusals(learner: Any, rows: Sequence[Sequence[float]]) -> list[str]:
    """Whether each is refused: ValueError, or "" where it is answered. Other errors are the learner's."""
    kinds = []
    for row in rows:
        try:
            learner.answer(list(row))
            kinds.append("")
        except ValueError as error:
            kinds.append(type(error).__name__)
    return kinds
