"""How far a long job is: one line on stderr that is written over, and silence where nobody looks."""

from __future__ import annotations

import shutil
import sys
import time

from deepseek.look.numbers import duration
from deepseek.look.terminal import escape_for_terminal

MIN_SHARE = 0.02  # below it a guess of the rest would jump about


class Progress:
    """Called with what is going on and the share of the work that is done (0 to 1)."""

    def __init__(self) -> None:
        self._start_s = time.monotonic()
        self._shown = sys.stderr.isatty()

    def __call__(self, message: str, share: float) -> None:
        if self._shown:
            width = shutil.get_terminal_size().columns - 1
            sys.stderr.write(f"\r{escape_for_terminal(self.line(message, share), one_line=True)[:width]:<{width}}")
            sys.stderr.flush()

    def line(self, message: str, share: float) -> str:
        passed_s = time.monotonic() - self._start_s
        left = f", {duration(passed_s * (1 - share) / share)} left" if MIN_SHARE < share < 1 else ""
        return f"{share:4.0%}  {message}{left}"

    def close(self) -> None:
        """Wipe the line, so that what follows starts on a clean one."""
        if self._shown:
            sys.stderr.write(f"\r{' ' * (shutil.get_terminal_size().columns - 1)}\r")
            sys.stderr.flush()
