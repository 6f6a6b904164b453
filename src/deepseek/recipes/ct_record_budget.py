"""How long the study of CT slices takes: how many epochs a budget buys each training, and how far the study is.

    budget = StudyBudget(budget_s=120, progress=progress)
    epochs = budget.affordable_epochs(pilot, num_times=13.0, share=0.35)    # inf without a budget

A budget decides how many epochs and nets there are, by the time that a few rows take, and nothing else.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from deepseek.automl.multimodal_plan import ANSWER_COST
from deepseek.automl.search import Budget

MIN_EPOCH_S = 1e-6
ALMOST_ALL = 0.9  # of what is left is planned with: a few rows tell the cost of the others to some 10 %
MIN_SHARE_USED = 0.7  # below it the study says that more time buys nothing


@dataclass
class StudyBudget:
    """The budget of a study and its progress."""

    budget_s: float | None = None  # CPU seconds of all threads; None: the epochs that the choices name
    progress: Callable[[str, float], None] | None = None  # called with what is done now and the share done, 0 to 1
    warnings: list[str] = field(default_factory=list)
    epochs: dict[str, int] = field(default_factory=dict)  # of each training; "nets" is how many diagnose

    def __post_init__(self) -> None:
        self._clock = Budget(self.budget_s, time.process_time())
        self._step = ("starting", 0.0, 0.0)

    def used_s(self) -> float:
        """CPU seconds since the study began."""
        return self._clock.used_s()

    def left_s(self) -> float:
        """CPU seconds that are left; inf without a budget."""
        return math.inf if self.budget_s is None else max(0.0, self.budget_s - self.used_s())

    def begin(self, message: str, start: float, end: float) -> None:
        """A step of the study begins: it takes the progress from `start` to `end`, 0 to 1."""
        self._step = (message, start, end)
        self.tell("", 0.0)

    def tell(self, detail: str, part: float) -> None:
        """Part of the step, 0 to 1, is done."""
        message, start, end = self._step
        if self.progress is not None:
            self.progress(f"{message}, {detail}" if detail else message, start + (end - start) * min(part, 1.0))

    def tell_epoch(self, epoch: int, num_epochs: int) -> None:
        """Epoch number `epoch`, from 1, has begun or ended."""
        self.tell(f"epoch {min(epoch, num_epochs)} of {num_epochs}", epoch / num_epochs)

    def affordable_epochs(
        self, pilot: Callable[[int], object], *, num_times: float, share: float, num_answers: float = 0.0,
        is_frozen: bool = False,
    ) -> float:  # fmt: skip
        """How many epochs a `share` of what is left buys; inf without a budget.

        pilot: trains on a few rows for the number of epochs that it is called with. num_times: how many times as much
        as theirs the rows of an epoch cost; num_answers: how many times as many are answered at the end. is_frozen:
        the first epoch runs encoders whose outputs the others read."""
        if self.budget_s is None:
            return math.inf
        pilot(1)  # whatever happens once, such as imports
        first_s = _cpu_seconds(pilot, 1)
        later_s = max((_cpu_seconds(pilot, 3) - first_s) / 2, MIN_EPOCH_S)
        left_s = share * self.left_s() - num_answers * ANSWER_COST * later_s
        if is_frozen:
            left_s -= max(first_s - later_s, 0.0) * num_times
        return max(left_s, 0.0) / (later_s * num_times)

    def choose_epochs(self, training: str, wanted: int, affordable: float) -> int:
        """As many as are wanted and can be afforded, at least one; a warning where they are fewer than wanted."""
        chosen = max(1, min(wanted, int(min(affordable, wanted))))
        self.epochs[training] = chosen
        if chosen < wanted:
            self.warnings.append(f"the budget was enough for {chosen} of {wanted} epochs of {training}")
        return chosen

    def choose_rows(
        self, training: str, rows: NDArray[np.int64], affordable: float, *, least: int
    ) -> NDArray[np.int64]:
        """As many of the rows, spread evenly, as are affordable once, at least `least`; a warning where these are
        fewer than all."""
        num = min(len(rows), max(least, int(min(affordable, 1.0) * len(rows))))
        if num < len(rows):
            self.warnings.append(f"the budget was enough to learn from {num} of {len(rows)} rows in {training}")
        return rows[np.linspace(0, len(rows) - 1, num).round().astype(np.int64)]

    def finish(self) -> None:
        """Say what became of the budget, where that was not what was asked."""
        if self.budget_s is None:
            return
        share = self.used_s() / self.budget_s
        if share > 1.1:
            self.warnings.append(
                f"the study took {self.used_s():.0f} s of CPU time, and the budget is {self.budget_s:.0f} s: "
                "each training had the least that it can have"
            )
        elif share < MIN_SHARE_USED:
            self.warnings.append(f"{self.used_s():.0f} of {self.budget_s:.0f} s were used: more time buys nothing here")


def _cpu_seconds(pilot: Callable[[int], object], num_epochs: int) -> float:
    start_s = time.process_time()
    pilot(num_epochs)
    return time.process_time() - start_s
