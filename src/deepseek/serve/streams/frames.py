"""Messages of any bytes on standard input, each behind its length: four bytes, little-endian, then the message.

    gateway | deepseek stream engines --state state --from frames:- > answers.ndjson

Blocks of vibration hold line feeds, so lines cannot carry them. As with lines there is no place to go on from: what is
sent again is known by machine and time, and is answered as then. A thread reads while others are answered, so that what
came meanwhile is answered together: a pipe holds a few milliseconds of a fleet, and its writer would wait. It reads
GATHER_BYTES ahead: a source that is faster waits in its pipe and not in this process's memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import select
import struct
import threading
import time
import uuid

from deepseek.errors import StorageError, TooLargeError
from deepseek.serve.streams.messages import MAX_BATCH, Message

LENGTH = struct.Struct("<I")
MAX_MESSAGE_BYTES = 1 << 24
BUFFER_BYTES = 1 << 25
GATHER_BYTES = 1 << 24  # that are read ahead, or one message: some 160 machine-seconds of two axes at 25.6 kHz
PIPE_BYTES = 1 << 20  # that a pipe holds, where the system allows it: by default 64 KiB, read 3,000 times a second
PAUSE_S = 0.004  # after a reading that found little, so that the next finds more
POLL_MS = 100  # until the thread looks whether it is to end


class FrameSource:
    """Frames of a file descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._run = uuid.uuid4().hex[:12]  # positions of one run are no others'
        self._buffer = bytearray(BUFFER_BYTES)
        self._start = self._stop = 0  # of what was read and not yet given out
        self._number = 0
        self._has_ended = self._is_closed = False
        self._error: OSError | None = None
        self._changed = threading.Condition()  # around all of it but the bytes behind `stop`, which are the thread's
        self._reader = threading.Thread(target=self._run_reader, name="frames", daemon=True)
        with contextlib.suppress(OSError, AttributeError):  # a file, or a system that allows no more or knows it not
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    async def start(self, last_position: str) -> None:
        """Frames are read from where the descriptor stands."""
        self._reader.start()

    async def read(self) -> list[Message]:
        """The messages that are there; waits for one. TooLargeError for one beyond the limit, StorageError where the
        input cannot be read."""
        bodies = await asyncio.get_running_loop().run_in_executor(None, self._take)
        first = self._number
        self._number += len(bodies)
        return [Message(f"{self._run}:{first + place}", body) for place, body in enumerate(bodies)]

    async def close(self) -> None:
        """The descriptor is the caller's."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _run_reader(self) -> None:
        """In the thread: until the end of the input, or of this source."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        number = 1
        while number and self._make_room():
            if not poll.poll(POLL_MS):
                continue
            try:
                number = os.readv(self._descriptor, [memoryview(self._buffer)[self._stop : self._stop + PIPE_BYTES]])
            except OSError as error:
                number, self._error = 0, error
            with self._changed:
                self._stop += number
                self._has_ended = not number
                self._changed.notify_all()
            if 0 < number < PIPE_BYTES // 2:
                time.sleep(PAUSE_S)

    def _make_room(self) -> bool:
        """For one reading, once less than enough waits; False at the end of this source."""
        with self._changed:
            while not self._is_closed and self._stop - self._start >= GATHER_BYTES and self._has_frame():
                self._changed.wait()
            if self._stop + PIPE_BYTES > len(self._buffer):
                rest = self._stop - self._start
                self._buffer[:rest] = self._buffer[self._start : self._stop]
                self._start, self._stop = 0, rest
            return not self._is_closed

    def _take(self) -> list[bytes]:
        """The whole messages of the buffer, MAX_BATCH at most; waits for one. None at the end."""
        with self._changed:
            while not (self._has_frame() or self._has_ended or self._is_closed):
                self._changed.wait()
            if self._error is not None:
                raise StorageError(
                    f"the input cannot be read: {self._error}", expected="frames", fix="check what writes them"
                ) from self._error
            bodies: list[bytes] = []
            while len(bodies) < MAX_BATCH and self._has_frame():
                first, length = self._start + LENGTH.size, self._next_length()
                if length > MAX_MESSAGE_BYTES:
                    if bodies:
                        break  # those before it are answered first
                    raise TooLargeError(
                        f"frame {self._number + 1} says that it has {length:,} bytes",
                        expected=f"at most {MAX_MESSAGE_BYTES:,}", fix="send four bytes of length, then the message",
                    )  # fmt: skip
                self._start = first + length
                bodies.append(bytes(memoryview(self._buffer)[first : self._start]))
            self._changed.notify_all()
            return bodies

    def _has_frame(self) -> bool:
        """Whether a whole frame is there, or one whose length is beyond the limit."""
        size = self._stop - self._start
        if size < LENGTH.size:
            return False
        return (length := self._next_length()) > MAX_MESSAGE_BYTES or size >= LENGTH.size + length

    def _next_length(self) -> int:
        (length,) = LENGTH.unpack_from(self._buffer, self._start)
        return int(length)
