"""The client for event loops: HTTP/1.1 over asyncio streams, with connections that are kept.

The same verbs as Client, each to be awaited. Many calls at a time take as many connections.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from deepseek.client.answers import PredictResponse
from deepseek.client.attempts import (
    MAX_RETRIES,
    TIMEOUT_S,
    Attempts,
    normalize_key,
    request_headers,
    split_url,
    tls_context,
)
from deepseek.client.verbs import ApiMethods, Request, RequestFlow, Response
from deepseek.contracts import Attribution, Float32
from deepseek.errors import DeepseekError

Result = TypeVar("Result")
MAX_HEAD_BYTES = 64 * 1024  # of an answer's status line and headers
MAX_IDLE = 64  # connections that are kept


class BrokenResponseError(ConnectionError):
    """What came back is no HTTP/1.1 answer."""


class AsyncClient:
    """Asks the server at `url`; parameters and verbs as those of Client. For use in one event loop."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        api_key: str | None = None,
        timeout_s: float = TIMEOUT_S,
        max_retries: int = MAX_RETRIES,
        ca_file: str | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._parts = split_url(self.url)
        self._tls = tls_context(ca_file) if self._parts.scheme == "https" else None
        self._api_key = normalize_key(api_key)
        self._timeout_s = timeout_s
        self._max_retries = max_retries
        self._verbs = ApiMethods()
        self._idle: list[_Connection] = []

    async def predict(
        self, rows: Any, *, model: str | None = None, reasons: int = 0, timeout_s: float | None = None
    ) -> PredictResponse:
        """As Client.predict."""
        return await self._run(self._verbs.predict(rows, model, reasons), timeout_s)

    async def explain(
        self, rows: Any, *, model: str | None = None, target: str | None = None, timeout_s: float | None = None
    ) -> Attribution:
        """As Client.explain."""
        return await self._run(self._verbs.explain(rows, model, target), timeout_s)

    async def embed(self, texts: Sequence[str], *, model: str | None = None, timeout_s: float | None = None) -> Float32:
        """As Client.embed."""
        return await self._run(self._verbs.embed(texts, model), timeout_s)

    async def models(self, *, timeout_s: float | None = None) -> list[dict[str, Any]]:
        """As Client.models."""
        return await self._run(self._verbs.models(), timeout_s)

    async def ready(self, *, timeout_s: float | None = None) -> bool:
        """As Client.ready."""
        return await self._run(self._verbs.ready(), timeout_s)

    async def close(self) -> None:
        """Close the connections."""
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
        await asyncio.sleep(0)  # their sockets are closed in the loop's next turn, which may be its last

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _run(self, steps: RequestFlow[Result], timeout_s: float | None) -> Result:
        tries = Attempts(self.url, self._timeout_s if timeout_s is None else timeout_s, self._max_retries)
        try:
            request = next(steps)
            while True:
                try:
                    response = await self._ask(request, tries)
                except DeepseekError as error:  # the verb may know another way
                    request = steps.throw(error)
                else:
                    request = steps.send(response)
        except StopIteration as end:
            result: Result = end.value
            return result

    async def _ask(self, request: Request, tries: Attempts) -> Response:
        while True:
            left_s = tries.left_s()
            try:
                async with asyncio.timeout(left_s):
                    response = await self._send(request, left_s)
            except TimeoutError as error:
                raise tries.late() from error
            except (OSError, EOFError) as error:
                tries.lost(error)
                continue
            wait_s = tries.after(request, response)
            if wait_s is None:
                return response
            await asyncio.sleep(wait_s)

    async def _send(self, request: Request, left_s: float) -> Response:
        connection = self._idle.pop() if self._idle else await self._connect()
        try:
            response = await connection.ask(request, self._parts, request_headers(request, self._api_key, left_s))
        except BaseException:
            connection.close()
            raise
        if response.headers.get("connection", "").lower() == "close" or len(self._idle) >= MAX_IDLE:
            connection.close()
        else:
            self._idle.append(connection)
        return response

    async def _connect(self) -> _Connection:
        port = self._parts.port or (443 if self._tls is not None else 80)
        return _Connection(
            *await asyncio.open_connection(self._parts.hostname, port, ssl=self._tls, limit=MAX_HEAD_BYTES)
        )


class _Connection:
    """One connection, which asks one thing at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def close(self) -> None:
        self._writer.close()

    async def ask(self, request: Request, parts: Any, headers: dict[str, str]) -> Response:
        named = {"host": parts.netloc.rpartition("@")[2], "content-length": str(len(request.body)), **headers}
        head = f"{request.method} {parts.path}{request.path} HTTP/1.1\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in named.items()) + "\r\n"
        self._writer.write(head.encode("latin-1") + request.body)
        await self._writer.drain()
        status, found = await self._head()
        while 100 <= status < 200:
            status, found = await self._head()
        return Response(status, found, await self._body(found))

    async def _head(self) -> tuple[int, dict[str, str]]:
        try:
            text = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = text.removesuffix("\r\n\r\n").split("\r\n")
            version, code = first.split(" ")[:2]
            pairs = [line.split(":", 1) for line in lines]
            found = {name.strip().lower(): value.strip() for name, value in pairs}
            if not version.startswith("HTTP/1."):
                raise ValueError(version)
            return int(code), found
        except (ValueError, asyncio.LimitOverrunError) as error:
            raise BrokenResponseError("what came back is no HTTP/1.1") from error

    async def _body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return await _read_chunked(self._reader.readuntil, self._reader.readexactly)
        length = headers.get("content-length", "")
        if not length.isdigit():
            raise BrokenResponseError("the answer does not say how long it is")
        return await self._reader.readexactly(int(length))


async def _read_chunked(
    until: Callable[[bytes], Awaitable[bytes]], exactly: Callable[[int], Awaitable[bytes]]
) -> bytes:  # fmt: skip
    """A body in chunks, as a proxy may send it."""
    parts: list[bytes] = []
    while True:
        text = (await until(b"\r\n")).split(b";")[0].strip()
        try:
            size = int(text, 16)
        except ValueError as error:
            raise BrokenResponseError("a chunk does not say how long it is") from error
        if not size:
            while await until(b"\r\n") != b"\r\n":
                pass
            return b"".join(parts)
        parts.append((await exactly(size + 2))[:-2])
