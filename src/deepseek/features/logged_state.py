"""What every state in a folder has: the lock of the folder, the log, when it is synced, and when a snapshot is due.

class MyStore(LoggedState):                # folder None: in memory alone
    ...
snapshots = SnapshotSchedule(store.start_snapshot, every=1_000_000)
snapshots.count(len(rows))
snapshots.begin_when_due()                 # written by a thread of its own
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from deepseek.errors import StorageError
from deepseek.features.folder import SnapshotWork
from deepseek.features.log import EventLog


class LoggedState:
    """A state whose changes are in a log before they count. One thread at a time, but for flush()."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._sequence = 0  # of the last record
        self._log: EventLog | None = None  # None: in memory
        self._lock: int | None = None  # descriptor that holds the folder
        self._syncing = threading.Lock()  # around syncs of the log, and its change for another

    @property
    def sequence(self) -> int:
        """The last record of the log."""
        return self._sequence

    @property
    def synced_sequence(self) -> int:
        """The last record that is on the disk; in memory, the last one."""
        return self._sequence if self._log is None else self._log.synced_sequence

    def flush(self) -> int:
        """Brings all that came to the disk, and gives `synced_sequence`. Another thread may go on meanwhile: what it
        brings waits for the next."""
        with self._syncing:
            if self._log is not None:
                self._log.sync()
            return self.synced_sequence

    def close(self) -> None:
        """Flushes, and lets the folder go; a second time it does nothing."""
        try:
            if self._log is not None and not self._log.is_closed:
                self.flush()
        finally:
            if self._log is not None:
                self._log.close()
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _append(self, kind: int, *parts: bytes | memoryview) -> None:
        """Writes a record, in memory counts it."""
        self._sequence = self._sequence + 1 if self._log is None else self._log.append(kind, *parts)

    def _begin_log(self, folder: Path) -> None:
        """Brings the log to the disk, and goes on in a new file: what stands before it goes into a snapshot."""
        self.flush()
        log = EventLog.create(folder, self._sequence + 1)
        with self._syncing:
            if self._log is not None and self._log.path != log.path:
                self._log.close()
            self._log = log


class SnapshotSchedule:
    """Snapshots of a state, one at a time: everybody waits until it is copied, and nobody until the copy is written."""

    def __init__(self, start: Callable[[], SnapshotWork | None], every: int) -> None:
        """`start` copies the state; `every`: rows that are logged until the next one is due."""
        self.every = every
        self.last: Future[Path] | None = None  # that was begun last
        self._start = start
        self._num_logged = 0  # rows since the last one
        self._writer = ThreadPoolExecutor(1, "snapshot")

    def count(self, num_rows: int) -> None:
        """So many rows were logged."""
        self._num_logged += num_rows

    def begin_when_due(self) -> None:
        """Begin one when it is due and none is being written. Without room for it the log goes on until the next."""
        if self._num_logged < self.every or (self.last is not None and not self.last.done()):
            return
        with contextlib.suppress(StorageError, OSError):
            work = self._start()
            self._num_logged = 0
            if work is not None:
                self.last = self._writer.submit(work.write)

    def close(self) -> bool:
        """Wait for the one that is being written. Whether something stands in the log alone: rows since, or all of one
        that could not be written."""
        self._writer.shutdown()
        return self._num_logged > 0 or (self.last is not None and self.last.exception() is not None)
