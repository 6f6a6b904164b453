"""Sends an answer in chunks (RFC 9112, section 7.1), no faster than the client reads them.

A client of HTTP/1.0 gets the bytes alone, and the end of the connection for their end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

LAST_CHUNK = b"0\r\n\r\n"


class StreamSender:
    """One answer on its way. `done` is told once whether all of it was sent."""

    def __init__(
        self,
        chunks: AsyncGenerator[bytes, None],
        write: Callable[[bytes], None],
        done: Callable[[bool], None],
        *,
        in_chunks: bool = True,
    ) -> None:
        self._chunks = chunks
        self._in_chunks = in_chunks
        self._write = write
        self._room = asyncio.Event()
        self._room.set()
        self._task = asyncio.get_running_loop().create_task(self._send())
        self._task.add_done_callback(lambda task: done(not task.cancelled() and task.exception() is None))

    def pause(self) -> None:
        """The client does not read."""
        self._room.clear()

    def resume(self) -> None:
        self._room.set()

    def cancel(self) -> None:
        """The client has gone: whoever makes the chunks is told so by the end of their generator."""
        self._task.cancel()

    async def _send(self) -> None:
        async with aclosing(self._chunks) as chunks:
            async for chunk in chunks:
                if chunk:  # an empty one would be the end
                    await self._room.wait()
                    self._write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if self._in_chunks else chunk)
        if self._in_chunks:
            self._write(LAST_CHUNK)
