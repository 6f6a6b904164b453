"""The body of a request that is answered while it comes.

stream = BodyStream(listen)      # listen(False): read no more from the client for now
stream.feed(data); stream.end()
async for lines in stream: ...   # whole lines, as many as have come since the last
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from deepseek.errors import TooLargeError

#: Bytes that wait before the client is read no more.
MAX_WAITING_BYTES = 64 * 1024
MAX_LINE_BYTES = 64 * 1024
NDJSON_TYPES = frozenset([b"application/x-ndjson", b"application/jsonl", b"application/x-jsonlines"])


def is_ndjson(media_type: bytes) -> bool:
    """Whether a body is said to be lines of JSON."""
    return media_type.split(b";")[0].strip().lower() in NDJSON_TYPES


class BodyStream:
    """Lines of a body in their order. For one reader, in the thread of the event loop."""

    def __init__(self, listen: Callable[[bool], None]) -> None:
        """`listen` says whether more shall be read from the client."""
        self._listen = listen
        self._data = bytearray()
        self._has_ended = False
        self._error: Exception | None = None
        self._is_full = False
        self._has_news = asyncio.Event()

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the body."""
        if self._has_ended:
            return
        self._data += data
        if len(self._data) >= MAX_WAITING_BYTES and not self._is_full:
            self._is_full = True
            self._listen(False)
        self._has_news.set()

    def end(self, *, is_whole: bool = True) -> None:
        """Nothing more comes. A last line without a line feed counts where the body `is_whole`, and is dropped where
        it was cut off."""
        if self._has_ended:
            return
        if is_whole and self._data and not self._data.endswith(b"\n"):
            self._data += b"\n"
        self._has_ended = True
        self._has_news.set()

    def fail(self, error: Exception) -> None:
        """Nothing more is taken: the reader gets the error behind the lines that have come."""
        self._error = error
        self.end(is_whole=False)

    def __aiter__(self) -> BodyStream:
        return self

    async def __anext__(self) -> list[bytes]:
        """The whole lines that have come, at least one; blank ones are passed over. TooLargeError for one that is
        too long, and the error of fail()."""
        while True:
            await self._has_news.wait()
            self._has_news.clear()
            lines = self._take_lines()
            if self._is_full:
                self._is_full = False
                self._listen(True)
            if lines:
                if self._has_ended:
                    self._has_news.set()  # for the next call, which finds the end
                return lines
            if self._has_ended:
                self._has_news.set()
                raise self._error or StopAsyncIteration

    def _take_lines(self) -> list[bytes]:
        end = self._data.rfind(b"\n") + 1
        whole, rest = bytes(self._data[:end]), self._data[end:]
        lines = [line for line in whole.split(b"\n") if line and not line.isspace()]
        if len(rest) > MAX_LINE_BYTES or any(len(line) > MAX_LINE_BYTES for line in lines):
            raise TooLargeError(
                "a line is too long", expected=f"at most {MAX_LINE_BYTES:,} bytes", fix="send one event a line"
            )
        self._data = rest
        return lines
