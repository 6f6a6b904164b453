"""The client for event loops: HTTP/1.1 over asyncio streams, with connections that are kept.

The same methods as Client, each to be awaited. Many calls at a time take as many connections.
"""

from __future__ import annotations

import asyncio
from time import perf_counter
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import SplitResult

from deepseek.client.attempts import TRANSPORT_ERRORS
from deepseek.client.messages import Request, RequestFlow, Response
from deepseek.client.verbs import AwaitedClient

Result = TypeVar("Result")
MAX_HEAD_BYTES = 64 * 1024  # of a response's status line and headers
MAX_IDLE = 64  # connections that are kept


class BrokenResponseError(ConnectionError):
    """What came back is no HTTP/1.1 response."""


class AsyncClient(AwaitedClient):
    """Asks the server at `url`, in one event loop. Parameters and methods: see BaseClient."""

    def _prepare(self) -> None:
        self._idle: list[_Connection] = []

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

    async def run(self, flow: RequestFlow[Result]) -> Result:
        """Send what a flow asks for and return its result."""
        try:
            request = next(flow)
            while True:
                try:
                    await asyncio.sleep(request.delay_s)
                    async with asyncio.timeout(request.due_s - perf_counter()):
                        response = await self._send(request)
                except TRANSPORT_ERRORS as error:
                    request = flow.throw(error)
                else:
                    request = flow.send(response)
        except StopIteration as end:
            result: Result = end.value
            return result

    async def _send(self, request: Request) -> Response:
        connection = self._idle.pop() if self._idle else await self._connect()
        try:
            response = await connection.send(request, self._address)
        except BaseException:
            connection.abort()
            raise
        if response.headers.get("connection", "").lower() == "close" or len(self._idle) >= MAX_IDLE:
            connection.close()
        else:
            self._idle.append(connection)
        return response

    async def _connect(self) -> _Connection:
        port = self._address.port or (443 if self._tls is not None else 80)
        return _Connection(
            *await asyncio.open_connection(self._address.hostname, port, ssl=self._tls, limit=MAX_HEAD_BYTES)
        )


class _Connection:
    """One connection, which has one request on its way at most."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def close(self) -> None:
        self._writer.close()

    def abort(self) -> None:
        """Close at once: what was not sent yet would keep the socket open for as long as the server does not read."""
        self._writer.transport.abort()

    async def send(self, request: Request, address: SplitResult) -> Response:
        """The response to a request. BrokenResponseError or EOFError when it is not whole."""
        host = address.netloc.rpartition("@")[2]
        headers = {"host": host, "content-length": str(len(request.body)), **request.headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"{request.method} {address.path}{request.path} HTTP/1.1\r\n{lines}\r\n"
        self._writer.write(head.encode("latin-1") + request.body)
        await self._writer.drain()
        status, response_headers = await self._read_head()
        while 100 <= status < 200:
            status, response_headers = await self._read_head()
        return Response(status, response_headers, await self._read_body(response_headers))

    async def _read_head(self) -> tuple[int, dict[str, str]]:
        try:
            text = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = text.removesuffix("\r\n\r\n").split("\r\n")
            version, status = first.split(" ")[:2]
            pairs = [line.split(":", 1) for line in lines]
            headers = {name.strip().lower(): value.strip() for name, value in pairs}
            if not version.startswith("HTTP/1."):
                raise ValueError(version)
            return int(status), headers
        except (ValueError, asyncio.LimitOverrunError) as error:
            raise BrokenResponseError("what came back is no HTTP/1.1") from error

    async def _read_body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return await self._read_chunked()
        length = headers.get("content-length", "")
        if not length.isdigit():
            raise BrokenResponseError("the answer does not say how long it is")
        return await self._reader.readexactly(int(length))

    async def _read_chunked(self) -> bytes:
        """A body in chunks, as a proxy may send it."""
        parts: list[bytes] = []
        while True:
            size_text = (await self._reader.readuntil(b"\r\n")).split(b";")[0].strip()
            try:
                size = int(size_text, 16)
            except ValueError as error:
                raise BrokenResponseError("a chunk does not say how long it is") from error
            if not size:
                while await self._reader.readuntil(b"\r\n") != b"\r\n":
                    pass
                return b"".join(parts)
            parts.append((await self._reader.readexactly(size + 2))[:-2])
