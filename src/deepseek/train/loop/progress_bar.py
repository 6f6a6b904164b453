"""The progress bar of the loop: on stderr, silent when nobody looks there or when another process shows one.

rich is imported when a bar is drawn. What a step pays is one look at the clock.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from deepseek.train.loop.stream import num_rows

DRAW_PERIOD_S = 0.2  # between two drawings


class ProgressBar:
    """`with ProgressBar(shown) as bar: bar.update(epoch, step, window, loss)`."""

    def __init__(self, shown: bool, num_steps: int | None, start: int) -> None:
        self.shown = shown and sys.stderr.isatty()
        self._num_steps, self._start = num_steps, start
        self._next_s = 0.0
        self._rows, self._since_s = 0, time.monotonic()
        self._bar: Any = None

    def __enter__(self) -> ProgressBar:
        if self.shown:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (
                TextColumn("epoch {task.fields[epoch]}"), BarColumn(), MofNCompleteColumn(),
                TextColumn("loss {task.fields[loss]:.4g}"), TextColumn("{task.fields[rate]:,.0f} rows/s"),
                TimeRemainingColumn(),
            )  # fmt: skip
            self._bar = Progress(*columns, console=Console(file=sys.stderr), transient=True, auto_refresh=False)
            self._bar.add_task("", total=self._num_steps, completed=self._start, epoch=0, loss=float("nan"), rate=0.0)
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, epoch: int, step: int, window: list[Any], loss: float) -> None:
        """Called after each step; draws a few times a second."""
        if not self.shown:
            return
        self._rows += sum(map(num_rows, window))
        now_s = time.monotonic()
        if now_s < self._next_s:
            return
        rate = self._rows / max(1e-9, now_s - self._since_s)
        self._bar.update(self._bar.task_ids[0], completed=step, epoch=epoch, loss=loss, rate=rate, refresh=True)
        self._next_s = now_s + DRAW_PERIOD_S
