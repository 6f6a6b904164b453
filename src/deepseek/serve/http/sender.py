"""Sends a response in chunks (RFC 9112, section 7.1), no faster than the client reads them.

A client of HTTP/1.0 gets the bytes alone; the end of the connection ends them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

LAST_CHUNK = b"0\r\n\r\n"


class StreamSender:
    """One streamed response. `done` is called once with whether all of it was sent."""

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
        self._writable = asyncio.Event()
        self._writable.set()
        self._task = asyncio.get_running_loop().create_task(self._send())
        self._task.add_done_callback(lambda task: done(not task.cancelled() and task.exception() is None))

    def pause(self) -> None:
        """Stop writing: the client does not read."""
        self._writable.clear()

    def resume(self) -> None:
        self._writable.set()

    def cancel(self) -> None:
        """Stop, because the client has disconnected. The generator of the chunks is closed."""
        self._task.cancel()

    async def _send(self) -> None:
        async with aclosing(self._chunks) as chunks:
            async for chunk in chunks:
                if chunk:  # an empty one would be the end
                    await self._writable.wait()
                    self._write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if self._in_chunks else chunk)
        if self._in_chunks:
            self._write(LAST_CHUNK)
