"""The progress bar of the loop: on stderr, silent when nobody looks there or when another process shows one; in a
notebook the curve of the loss, in the output of the cell.

rich is imported when a bar is drawn. What a step pays is one look at the clock.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from deepseek.look.notebook.progress import notebook_progress
from deepseek.look.words import Text
from deepseek.train.loop.stream import num_rows

DRAW_PERIOD_S = 0.2  # between two drawings
MAX_POINTS = 400  # of the curve in a notebook; then every second one goes


class ProgressBar:
    """`with ProgressBar(shown) as bar: bar.update(epoch, step, window, loss)`."""

    def __init__(self, shown: bool, num_steps: int | None, start: int) -> None:
        self._notebook = notebook_progress(Text("Training", "训练")) if shown else None
        self._losses: list[tuple[float, float]] = []
        self.shown = self._notebook is not None or (shown and sys.stderr.isatty())
        self._num_steps, self._start = num_steps, start
        self._next_s = 0.0
        self._rows, self._since_s = 0, time.monotonic()
        self._bar: Any = None

    def __enter__(self) -> ProgressBar:
        if self.shown and self._notebook is None:
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
        if self._notebook is not None:
            self._notebook.close()

    def update(self, epoch: int, step: int, window: list[Any], loss: float) -> None:
        """Called after each step; draws a few times a second."""
        if not self.shown:
            return
        self._rows += sum(map(num_rows, window))
        now_s = time.monotonic()
        if now_s < self._next_s:
            return
        rate = self._rows / max(1e-9, now_s - self._since_s)
        self._next_s = now_s + DRAW_PERIOD_S
        if self._notebook is not None:
            self._losses = [
                *(self._losses if len(self._losses) < MAX_POINTS else self._losses[::2]),
                (float(step), loss),
            ]
            share = step / self._num_steps if self._num_steps else None
            self._notebook.draw(f"epoch {epoch}, loss {loss:.4g}, {rate:,.0f} rows/s", share, self._losses)
            return
        self._bar.update(self._bar.task_ids[0], completed=step, epoch=epoch, loss=loss, rate=rate, refresh=True)
