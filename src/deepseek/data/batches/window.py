"""The bytes of an open file from an offset on, for several readers that each have a position of their own."""

from __future__ import annotations

import io
import os


class FileWindow(io.RawIOBase):
    """A read-only view of an open descriptor from offset `start` on. Closing it leaves the descriptor open."""

    def __init__(self, descriptor: int, start: int = 0) -> None:
        super().__init__()
        self._descriptor, self._start, self._at = descriptor, start, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = os.pread(self._descriptor, len(buffer), self._start + self._at)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        begin = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.num_bytes}[whence]
        self._at = max(0, begin + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    @property
    def num_bytes(self) -> int:
        return max(0, os.fstat(self._descriptor).st_size - self._start)


def open_buffered(descriptor: int, start: int = 0) -> io.BufferedReader:
    """A buffered reader of a descriptor from offset `start` on, with a position of its own."""
    return io.BufferedReader(FileWindow(descriptor, start))
