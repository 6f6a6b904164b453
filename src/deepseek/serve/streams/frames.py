"""Messages of any bytes on standard input, each behind its length: four bytes, little-endian, then the message.

    gateway | deepseek stream engines --state state --from frames:- > answers.ndjson

Blocks of vibration hold line feeds, so lines cannot carry them. As with lines there is no place to go on from: what is
sent again is known by machine and time, and is answered as then. A thread reads while others are answered, so that what
came meanwhile is answered together: a pipe holds a few milliseconds of a fleet, and its writer would wait. It reads
GATHER_BYTES ahead: a source that is faster waits in its pipe and not in this process's memory. What a slower source
sends waits there, too, as long as the pipe has room, and is read by whoever takes messages: each time that a thread
wakes costs more than what it reads.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import select
import struct
import threading
import time
import uuid
from typing import ClassVar

from deepseek.errors import StorageError, TooLargeError
from deepseek.serve.streams.messages import MAX_BATCH, Message

LENGTH = struct.Struct("<I")
MAX_MESSAGE_BYTES = 1 << 24
BUFFER_BYTES = 1 << 25
GATHER_BYTES = 1 << 24  # that are read ahead, or one message: some 160 machine-seconds of two axes at 25.6 kHz
PIPE_BYTES = 1 << 20  # that a pipe holds, where the system allows it: by default 64 KiB, read 3,000 times a second
USUAL_PIPE_BYTES = 1 << 16
#: After a reading that found less than FULL of what the pipe holds: until it holds as much, at the rate of the latest
#: readings. A pause of one length would let the writer of a fast source wait at a pipe that is full.
FULL = 1 / 2
LEAST_PAUSE_S, MOST_PAUSE_S = 0.001, 0.128
RATE_MEMORY = 0.8  # of the mean rate, that a reading leaves
POLL_MS = 100  # until the thread looks whether it is to end


class FrameSource:
    """Frames of a file descriptor."""

    needs_loop: ClassVar[bool] = False

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._run = uuid.uuid4().hex[:12]  # positions of one run are no others'
        self._buffer = bytearray(BUFFER_BYTES)
        self._start = self._stop = 0  # of what was read and not yet given out
        self._number = 0
        self._has_ended = self._is_closed = False
        self._error: OSError | None = None
        self._lock = threading.RLock()  # around all of it but the bytes behind `stop`, which are the thread's
        self._arrived = threading.Condition(self._lock)  # a message did, or the end
        self._asked = threading.Condition(self._lock)  # the thread is, to go on
        self._is_resting = False  # the thread, which then leaves the bytes behind `stop` to whoever holds the lock
        self._is_awaited = False  # a message, by who has found none
        self._bytes_per_s, self._read_s, self._rest_until_s = 0.0, time.monotonic(), 0.0
        self._pipe_bytes = _widen_pipe(descriptor)
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)
        self._reader = threading.Thread(target=self._run_reader, name="frames", daemon=True)

    async def start(self, last_position: str) -> None:
        """Frames are read from where the descriptor stands."""
        self._reader.start()

    async def read(self) -> list[Message]:
        """The messages that are there; waits for one. TooLargeError for one beyond the limit, StorageError where the
        input cannot be read."""
        bodies = self._take(is_waiting=False)
        if bodies is None:
            bodies = await asyncio.get_running_loop().run_in_executor(None, self._take)
        first = self._number
        self._number += len(bodies or ())
        return [Message(f"{self._run}:{first + place}", body) for place, body in enumerate(bodies or ())]

    async def close(self) -> None:
        """The descriptor is the caller's."""
        with self._lock:
            self._is_closed = True
            self._arrived.notify_all()
            self._asked.notify_all()

    def _run_reader(self) -> None:
        """In the thread: until the end of the input, or of this source."""
        while not self._has_ended and self._make_room():
            if self._poll.poll(POLL_MS) and not self._is_closed:  # then the descriptor may be another's already
                self._read_some()
                self._rest()

    def _read_some(self) -> None:
        """Bytes into the buffer, which has room for them; waits for one."""
        number = 0
        try:
            number = os.readv(self._descriptor, [memoryview(self._buffer)[self._stop : self._stop + PIPE_BYTES]])
        except OSError as error:
            self._error = error
        with self._lock:
            self._stop += number
            self._has_ended = not number
            self._rest_until_s = self._end_of_rest(number)
            if self._has_ended or (self._is_awaited and self._has_frame()):
                self._is_awaited = False
                self._arrived.notify_all()

    def _end_of_rest(self, number: int) -> float:
        """When the pipe will be FULL, of whose source `number` bytes came since the reading before; 0 where it was."""
        now_s = time.monotonic()
        latest = number / max(now_s - self._read_s, 1e-6)
        self._bytes_per_s = RATE_MEMORY * self._bytes_per_s + (1 - RATE_MEMORY) * latest
        self._read_s = now_s
        wanted = FULL * self._pipe_bytes
        if number >= wanted:
            return 0.0
        return now_s + min(max(wanted / max(self._bytes_per_s, 1.0), LEAST_PAUSE_S), MOST_PAUSE_S)

    def _rest(self) -> None:
        """Lets the pipe fill again, until a while after it was last read, or until somebody waits for a message."""
        with self._lock:
            self._is_resting = True
            while not (self._is_closed or self._is_awaited or self._has_ended):
                if (rest_s := self._rest_until_s - time.monotonic()) <= 0:
                    break
                self._asked.wait(rest_s)
            self._is_resting = False

    def _make_room(self) -> bool:
        """For one reading, once less than enough waits; False at the end of this source."""
        with self._lock:
            while not self._is_closed and self._stop - self._start >= GATHER_BYTES and self._has_frame():
                self._asked.wait()
            self._move_rest()
            return not self._is_closed

    def _move_rest(self) -> None:
        """To the front, where the buffer has no room for a reading behind it."""
        if self._stop + PIPE_BYTES > len(self._buffer):
            rest = self._stop - self._start
            self._buffer[:rest] = self._buffer[self._start : self._stop]
            self._start, self._stop = 0, rest

    def _take(self, *, is_waiting: bool = True) -> list[bytes] | None:
        """The whole messages that are there, MAX_BATCH at most. Where there is none it waits for one, or gives None;
        an empty list is the end."""
        with self._lock:
            if self._is_resting and not self._has_ended and self._poll.poll(0):
                self._move_rest()
                self._read_some()
            while not (self._has_frame() or self._has_ended or self._is_closed):
                if not is_waiting:
                    return None
                self._is_awaited = True
                self._asked.notify_all()
                self._arrived.wait()
            self._is_awaited = False
            if self._error is not None:
                raise StorageError(
                    f"the input cannot be read: {self._error}", expected="frames", fix="check what writes them"
                ) from self._error
            bodies = self._cut_frames()
            if not self._is_resting:
                self._asked.notify_all()  # there is room again
            return bodies

    def _cut_frames(self) -> list[bytes]:
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


def _widen_pipe(descriptor: int) -> int:
    """How many bytes a pipe holds: PIPE_BYTES where the system allows it. A file counts as such a pipe."""
    try:
        return fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    except (OSError, AttributeError):  # a file, or a system that allows no more or knows it not
        return USUAL_PIPE_BYTES
