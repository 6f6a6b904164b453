"""How far a long job is, on stderr: in a terminal one line that is written over; elsewhere, in a log say, a line every
few seconds, so that nobody wonders whether it still runs. A job that is done before the first of them writes none."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from typing import TextIO

from deepseek.look.numbers import duration
from deepseek.look.terminal import escape_for_terminal

MIN_SHARE = 0.02  # below it a guess of the rest would jump about
INTERVAL_S = 5.0  # between two lines where there is no terminal


class Progress:
    """Called with what is going on and the share of the work that is done (0 to 1)."""

    def __init__(self, *, stream: TextIO | None = None, interval_s: float = INTERVAL_S) -> None:
        self._start_s = time.monotonic()
        self._stream = sys.stderr if stream is None else stream
        self._is_terminal = self._stream.isatty()
        self._interval_s = interval_s
        self._latest = ("starting", 0.0)
        self._closed = threading.Event()
        self._writer: threading.Thread | None = None
        if not self._is_terminal:
            self._writer = threading.Thread(target=self._write_lines, name="progress", daemon=True)
            self._writer.start()

    def __call__(self, message: str, share: float) -> None:
        self._latest = (message, share)
        if self._is_terminal:
            width = shutil.get_terminal_size().columns - 1
            self._stream.write(f"\r{escape_for_terminal(self.line(message, share), one_line=True)[:width]:<{width}}")
            self._stream.flush()

    def line(self, message: str, share: float) -> str:
        passed_s = time.monotonic() - self._start_s
        left = f", {duration(passed_s * (1 - share) / share)} left" if MIN_SHARE < share < 1 else ""
        return f"{share:4.0%}  {message}{left}"

    def close(self) -> None:
        """Wipe the line, so that what follows starts on a clean one; no further line is written."""
        self._closed.set()
        if self._writer is not None:
            self._writer.join()
            self._writer = None
        if self._is_terminal:
            self._stream.write(f"\r{' ' * (shutil.get_terminal_size().columns - 1)}\r")
            self._stream.flush()

    def _write_lines(self) -> None:
        """A line at each interval, whether or not something was told since: one step may take minutes."""
        while not self._closed.wait(self._interval_s):
            line = f"{self.line(*self._latest)}, {duration(time.monotonic() - self._start_s)} passed"
            self._stream.write(escape_for_terminal(line, one_line=True) + "\n")
            self._stream.flush()
