"""A new queue whenever enough was labeled, chosen by a process of its own, so that the page never waits for it."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

LOG_NAME = "next.log"
EVERY = 20  # new labels after which the queue is chosen again
WAIT_S = 5.0  # for a process that is told to end


class QueueRefresher:
    """Starts `deepseek label next` for a project: at once, and again after every EVERY labels. One at a time."""

    def __init__(self, folder: Path, every: int = EVERY) -> None:
        self._folder, self._every = folder, every
        self._num_new = every
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self.note(0)

    def note(self, num: int) -> None:
        """So many labels were kept."""
        with self._lock:
            self._num_new += num
            is_busy = self._process is not None and self._process.poll() is None
            if self._num_new < self._every or is_busy:
                return
            self._num_new = 0
            command = [sys.executable, "-m", "deepseek", "label", "next", str(self._folder), "--json"]
            with (self._folder / LOG_NAME).open("wb") as log:  # why it failed, where it does
                self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def close(self) -> None:
        """End what is still choosing; the queue stays as it was."""
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                self._process.terminate()
                try:
                    self._process.wait(WAIT_S)
                except subprocess.TimeoutExpired:
                    self._process.kill()
                    self._process.wait()
