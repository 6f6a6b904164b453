"""How far a training is, as a share of all of it."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, float], object]


def ignore_progress(what: str, share: float) -> None:
    """What hears of progress where nobody does."""


def part_progress(progress: Progress, low: float, high: float) -> Progress:
    """What hears of a part of the work, which is `low` to `high` of the whole.

    >>> shares = []
    >>> part_progress(lambda what, share: shares.append(share), 0.5, 1.0)("reading", 0.5)
    >>> shares
    [0.75]
    """

    def hear(what: str, share: float) -> None:
        progress(what, low + (high - low) * share)

    return hear
