"""Lines of JSON on standard input and output.

Input that is a file or a pipe has no place to go on from: what is sent again has the ids of then, and is answered as
then.
"""

from __future__ import annotations

import asyncio
import os
import select
import uuid
from collections.abc import Sequence
from typing import ClassVar

from deepseek.errors import TooLargeError
from deepseek.serve.streams.messages import MAX_BATCH, Message

READ_BYTES = 1 << 16
MAX_LINE_BYTES = 1 << 20


class LineSource:
    """Lines of a file descriptor."""

    needs_loop: ClassVar[bool] = False

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._run = uuid.uuid4().hex[:12]  # positions of one run are no others'
        self._lines: list[bytes] = []
        self._rest = b""
        self._number = 0
        self._has_ended = False

    async def start(self, last_position: str) -> None:
        """Lines are read from where the descriptor stands."""

    async def read(self) -> list[Message]:
        while not self._lines and not self._has_ended:
            data = await asyncio.get_running_loop().run_in_executor(None, os.read, self._descriptor, READ_BYTES)
            self._has_ended = not data
            *lines, self._rest = (self._rest + (data or b"\n")).split(b"\n")
            if len(self._rest) > MAX_LINE_BYTES:
                raise TooLargeError(
                    f"line {self._number + len(lines) + 1} is longer than {MAX_LINE_BYTES} bytes",
                    expected="one event a line",
                    fix="send NDJSON: one object a line",
                )
            self._lines += [line for line in lines if line.strip()]
        taken, self._lines = self._lines[:MAX_BATCH], self._lines[MAX_BATCH:]
        first = self._number
        self._number += len(taken)
        return [Message(f"{self._run}:{first + place}", line) for place, line in enumerate(taken)]

    async def close(self) -> None:
        """The descriptor is the caller's."""


class LineSink:
    """Lines to a file descriptor."""

    needs_loop: ClassVar[bool] = False

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)

    async def last_position(self) -> str:
        return ""

    async def write(self, answers: Sequence[Message]) -> None:
        data = memoryview(b"".join(answer.body + b"\n" for answer in answers))
        while data:  # a pipe takes a part
            if self._poll.poll(0):  # then so much is taken without waiting, which a thread would cost more than
                data = data[os.write(self._descriptor, data[: select.PIPE_BUF]) :]
            else:
                data = data[await asyncio.get_running_loop().run_in_executor(None, os.write, self._descriptor, data) :]

    async def close(self) -> None:
        """The descriptor is the caller's."""
