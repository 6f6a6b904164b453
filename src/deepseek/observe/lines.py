"""Lines to a file or stream from a thread of its own, so that a slow disk or terminal never holds a request up.

Lines wait in memory, at most `max_lines`; beyond it they are counted as lost, not waited for. `close` writes the rest.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import BinaryIO, Generic, TypeVar

Line = TypeVar("Line")

WAIT_S = 0.1  # lines that arrive within it are written together


class LineWriter(Generic[Line]):
    """Takes an object per line, encodes and writes it later."""

    def __init__(
        self, stream: BinaryIO, encode: Callable[[Line], bytes], *, max_lines: int = 100_000, name: str = "log"
    ) -> None:
        self.num_lost = 0
        self._stream = stream
        self._encode = encode
        self._max_lines = max_lines
        self._lines: deque[Line] = deque()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"{name}-writer", daemon=True)
        self._thread.start()

    def write(self, line: Line) -> None:
        """Queue one line. Never blocks."""
        if len(self._lines) >= self._max_lines:
            self.num_lost += 1
        else:
            self._lines.append(line)

    def close(self) -> None:
        """Write what waits, and end the thread."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(WAIT_S):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        taken = [self._lines.popleft() for _ in range(len(self._lines))]
        if not taken:
            return
        try:
            self._stream.write(b"".join(self._encode(line) for line in taken))
            self._stream.flush()
        except OSError:  # a full disk or a closed pipe: the server goes on, the loss is counted
            self.num_lost += len(taken)
