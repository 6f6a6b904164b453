"""Messages of any bytes on standard input, each behind its length: four bytes, little-endian, then the message.

    gateway | deepseek stream engines --state state --from frames:- > answers.ndjson

Blocks of vibration hold line feeds, so lines cannot carry them. As with lines there is no place to go on from: what is
sent again is known by machine and time, and is answered as then. What came while others were answered is read together,
up to GATHER_BYTES: a source that is faster waits in its pipe and not in this process's memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import select
import struct
import uuid

from deepseek.errors import TooLargeError
from deepseek.serve.streams.messages import MAX_BATCH, Message

LENGTH = struct.Struct("<I")
MAX_MESSAGE_BYTES = 1 << 24
BUFFER_BYTES = 1 << 25
GATHER_BYTES = 1 << 24  # that are answered together, or one message: some 160 machine-seconds of two axes at 25.6 kHz
PIPE_BYTES = 1 << 20  # that a pipe holds, where the system allows it: by default 64 KiB, read 3,000 times a second


class FrameSource:
    """Frames of a file descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._run = uuid.uuid4().hex[:12]  # positions of one run are no others'
        self._buffer = bytearray(BUFFER_BYTES)
        self._start = self._stop = 0  # of what was read and not yet given out
        self._number = 0
        self._has_ended = False
        with contextlib.suppress(OSError, AttributeError):  # a file, or a system that allows no more or knows it not
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    async def start(self, last_position: str) -> None:
        """Frames are read from where the descriptor stands."""

    async def read(self) -> list[Message]:
        bodies = await asyncio.get_running_loop().run_in_executor(None, self._read)
        first = self._number
        self._number += len(bodies)
        return [Message(f"{self._run}:{first + place}", body) for place, body in enumerate(bodies)]

    async def close(self) -> None:
        """The descriptor is the caller's."""

    def _read(self) -> list[bytes]:
        """The messages that are there; waits for one. TooLargeError for one beyond the limit."""
        while not self._has_frame() and not self._has_ended:
            self._fill()
        while not self._has_ended and self._stop - self._start < GATHER_BYTES and self._has_more():
            self._fill()
        return self._take()

    def _has_frame(self) -> bool:
        size = self._stop - self._start
        return size >= LENGTH.size and size >= LENGTH.size + self._next_length()

    def _next_length(self) -> int:
        (length,) = LENGTH.unpack_from(self._buffer, self._start)
        if length > MAX_MESSAGE_BYTES:
            raise TooLargeError(
                f"frame {self._number + 1} says that it has {length:,} bytes",
                expected=f"at most {MAX_MESSAGE_BYTES:,}", fix="send four bytes of length, then the message",
            )  # fmt: skip
        return int(length)

    def _has_more(self) -> bool:
        """Whether a read would not wait."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        return any(event & select.POLLIN for _, event in poll.poll(0))

    def _fill(self) -> None:
        """One read behind what is there, which moves to the front where the room behind it ends."""
        if self._start and self._stop + PIPE_BYTES > len(self._buffer):
            rest = self._stop - self._start
            self._buffer[:rest] = self._buffer[self._start : self._stop]
            self._start, self._stop = 0, rest
        number = os.readv(self._descriptor, [memoryview(self._buffer)[self._stop :]])
        self._has_ended = not number
        self._stop += number

    def _take(self) -> list[bytes]:
        """The whole messages of the buffer."""
        bodies: list[bytes] = []
        while len(bodies) < MAX_BATCH and self._has_frame():
            first = self._start + LENGTH.size
            self._start = first + self._next_length()
            bodies.append(bytes(memoryview(self._buffer)[first : self._start]))
        return bodies
