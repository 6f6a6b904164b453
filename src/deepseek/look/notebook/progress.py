"""How far a long job is, in the cell of a notebook: a bar, what is going on, and for training the curve of the loss.

    progress = notebook_progress()                 # None outside of a notebook
    progress("trial 3: xgboost", 0.4)              # the display of the cell is written over

IPython is never imported: where a notebook runs this, it is there already. A display is written over a few times a
second at most, and is taken away when the work is done: the result shows itself.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

from deepseek.look.charts import Line, progress
from deepseek.look.notebook.card import card
from deepseek.look.numbers import duration
from deepseek.look.words import Html, Text, Words, escape

DRAW_PERIOD_S = 0.25  # between two drawings
MIN_SHARE = 0.02  # below it a guess of the rest would jump about
_CHART_PX = 480


def is_notebook() -> bool:
    """Whether this runs in the kernel of a notebook, whose cells show HTML."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and hasattr(shell, "kernel")


def notebook_progress(title: Words) -> NotebookProgress | None:
    """A progress for this cell; None outside of a notebook."""
    return NotebookProgress(title) if is_notebook() else None


class NotebookProgress:
    """Called with what is going on and the share of the work that is done (0 to 1); 1 takes the display away."""

    def __init__(self, title: Words) -> None:
        self.title = title
        self._start_s = time.monotonic()
        self._next_s = 0.0
        self._display: Any = None

    def __call__(self, message: str, share: float) -> None:
        self.draw(message, share)

    def draw(self, message: str, share: float | None, losses: Sequence[tuple[float, float]] = ()) -> None:
        """Write over the display, unless that was done just now. `share`: None where nobody knows how much is left;
        `losses`: (step, loss) so far."""
        now_s = time.monotonic()
        is_done = share is not None and share >= 1
        if now_s < self._next_s and not is_done:
            return
        self._next_s = now_s + DRAW_PERIOD_S
        self._show("" if is_done else self.html(message, share, losses))

    def close(self) -> None:
        """Take the display away."""
        if self._display is not None:
            self._show("")

    def html(self, message: str, share: float | None, losses: Sequence[tuple[float, float]] = ()) -> str:
        """The card of this moment."""
        passed_s = time.monotonic() - self._start_s
        passed = f"{duration(passed_s)} passed"
        bar, left = "", ""
        if share is not None:
            bar = f'<div class="meter"><div style="width:{100 * min(1.0, max(0.0, share)):.1f}%"></div></div>'
            left = f", {duration(passed_s * (1 - share) / share)} left" if share > MIN_SHARE else ""
        percent = "" if share is None else f"{share:.0%}  "
        text = Html(f'{bar}<p class="soft">{percent}{escape(message)}, {escape(passed + left)}</p>')
        plot = Html("")
        if len(losses) > 1:
            loss = Text("training loss", "训练损失")
            plot = progress(
                [Line(loss, losses)], title=loss, width=_CHART_PX, x_label=Text("step", "步"), y_label=loss,
            )  # fmt: skip
        return card(self.title, "", text, plot)

    def _show(self, html: str) -> None:
        display = sys.modules["IPython"].display
        content = display.HTML(html)
        if self._display is None:
            self._display = display.display(content, display_id=True)
        else:
            self._display.update(content)
