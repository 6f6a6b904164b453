"""Ctrl-C and SIGTERM: the first asks the loop to save and stop after its step, the second stops at once.

The handlers stand only while the loop runs, in the main thread, and where there is a checkpoint to write.
"""

from __future__ import annotations

import contextlib
import importlib
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class StopSignal:
    """Whether this process was told to stop: `is_requested` turns true at the first signal."""

    is_requested = False

    @contextmanager
    def handle_signals(self, active: bool) -> Iterator[None]:
        """Take SIGINT and SIGTERM inside, where `active`; the handlers that stood before stand again afterwards."""
        if not active or threading.current_thread() is not threading.main_thread():
            yield
            return
        before: dict[int, Any] = {}

        def restore() -> None:
            while before:
                number, handler = before.popitem()
                signal.signal(number, handler)

        def ask(_number: int, _frame: FrameType | None) -> None:
            self.is_requested = True
            restore()

        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, ask)
        try:
            yield
        finally:
            restore()


def interruption(step: int) -> KeyboardInterrupt:
    """What ends a run that was told to stop, with the step that it has saved. torch shows what it has compiled at
    Python's exit, by a package that it imports only then, if it is there; what that runs makes Python forget that a
    Ctrl-C has ended the program, which then exits with 1 instead of 130. So it is imported before."""
    with contextlib.suppress(ImportError):
        importlib.import_module("tabulate")
    return KeyboardInterrupt(step)
