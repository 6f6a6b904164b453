"""Lines to a file or stream from a thread of its own, so that a slow disk or terminal never holds a request up.

Entries wait in memory, at most `max_lines`; beyond it they are counted as lost, not waited for. `close` writes what
waits.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Generic, Protocol, TypeVar

Line = TypeVar("Line")

FLUSH_INTERVAL_S = 0.1  # lines that arrive within it are written together


class RawStream(Protocol):
    """A stream without a buffer: what `write` took is written, and what it did not take never will be."""

    def write(self, data: memoryview, /) -> int | None: ...


class LineWriter(Generic[Line]):
    """Takes an object per line, and hands them on together a little later."""

    def __init__(
        self,
        append: Callable[[Sequence[Line]], int],
        *,
        max_lines: int = 100_000,
        name: str = "log",
        gather: Callable[[], None] = lambda: None,
        interval_s: float = FLUSH_INTERVAL_S,
    ) -> None:
        """`append` writes lines in their order, in the thread, and returns how many of them were written whole.
        `gather` is called there before, each `interval_s`."""
        self._num_dropped = self._num_failed = 0  # each changed by one thread
        self._append = append
        self._gather = gather
        self._interval_s = interval_s
        self._max_lines = max_lines
        self._lines: deque[Line] = deque()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"{name}-writer", daemon=True)
        self._thread.start()

    @property
    def num_lost(self) -> int:
        """Entries that had no room, and lines that could not be written."""
        return self._num_dropped + self._num_failed

    def write(self, lines: Sequence[Line]) -> None:
        """Queue lines. Never blocks."""
        room = max(0, self._max_lines - len(self._lines))
        self._lines.extend(lines[:room])
        self._num_dropped += max(0, len(lines) - room)

    def put(self, line: Line) -> None:
        """Queue one line: a third of the cost of write(). Never blocks."""
        if len(self._lines) < self._max_lines:
            self._lines.append(line)
        else:
            self._num_dropped += 1

    def close(self) -> None:
        """Write what waits, and end the thread."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        self._gather()
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        if lines:
            self._num_failed += len(lines) - self._append(lines)


def write_lines(stream: RawStream, lines: Sequence[bytes]) -> tuple[int, int, OSError | None]:
    """How many of the lines were written whole, how many bytes of the next one were, and what stopped the writing.

    A full disk takes the first part of a write and refuses the rest, so that a line may break off anywhere.

    >>> import io
    >>> write_lines(io.BytesIO(), [b"one\\n", b"two\\n"])
    (2, 0, None)
    """
    data = memoryview(b"".join(lines))
    num_bytes, write_error = 0, None
    try:
        while num_bytes < len(data):
            num_bytes += stream.write(data[num_bytes:]) or _raise_blocked()
    except OSError as error:  # a full disk or a closed pipe: the server goes on, the loss is counted
        write_error = error
    ends = [0, *accumulate(map(len, lines))]
    num_whole = bisect_right(ends, num_bytes) - 1
    return num_whole, num_bytes - ends[num_whole], write_error


def _raise_blocked() -> int:
    raise BlockingIOError("the stream takes nothing")
