"""Runs an application with uvicorn in this process, from the ready line to the last answer.

    listener = bind(settings.host, settings.port)        # before models are loaded: a taken port is said at once
    run(app, listener)      # first line on stdout: {"event": "ready", ...}; returns after SIGTERM or Ctrl-C

Stopping: readiness turns off, the listener closes after the connections that the kernel had already accepted were
taken over, every answer closes its connection, idle connections get GRACE_S for a request that is on its way, and
requests in work are finished. A second signal ends at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from http import HTTPStatus
from importlib.util import find_spec
from types import FrameType
from typing import Any

import msgspec
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from deepseek.errors import InputError, MalformedError
from deepseek.serve.app import App
from deepseek.serve.protocols.errors import LongHeadError, error_body

GRACE_S = 1.0
KEEP_ALIVE_S = 75
BACKLOG = 2_048
MAX_HEAD_BYTES = 64 * 1024  # of a request line and its headers
LINGER_S = 1.0  # for a client that still sends when it is refused


def run(app: App, listener: socket.socket) -> None:
    """Serve on a bound socket until a signal, printing the ready line once connections are taken."""
    config = uvicorn.Config(
        app,
        http=Protocol,
        loop="uvloop" if find_spec("uvloop") else "asyncio",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=round(app.settings.drain_s),
        backlog=BACKLOG,
    )
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    server = Server(config, app, url_of(listener, app.settings.host))
    server.run([listener])
    if server.trouble is not None:
        raise server.trouble


def print_ready(app: App, url: str) -> None:
    """The ready line: the first on stdout, one JSON object. InputError when nothing can be written there."""
    line = {"event": "ready", "url": url, "models": list(app.models), "pid": os.getpid()}
    try:
        if sys.stdout is None:
            raise OSError(errno.EBADF, "it is closed")
        # Past Python's buffer, which would try a refused line again at the end of the process.
        os.write(sys.stdout.fileno(), msgspec.json.encode(line) + b"\n")
    except OSError as error:
        raise InputError(
            f"the ready line cannot be written: {error.strerror}",
            expected="a terminal, a file on a disk with room, or a pipe that is read",
            fix="send stdout elsewhere, such as to /dev/null",
        ) from error


def bind(host: str, port: int) -> socket.socket:
    """A socket at the address. InputError that says what to do when it is taken or not ours."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except socket.gaierror as error:
        raise InputError(
            f"the host {host!r} is not known: {error.strerror}",
            fix="--host 127.0.0.1",
            expected="a name or an address of this machine",
        ) from error
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise _bind_error(error, host, port) from error
    listener.set_inheritable(False)
    return listener


def url_of(listener: socket.socket, host: str) -> str:
    """Where a client on this machine reaches the listener."""
    port = listener.getsockname()[1]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{shown}:{port}"


def _bind_error(error: OSError, host: str, port: int) -> InputError:
    if error.errno == errno.EADDRINUSE:
        return InputError(
            f"port {port} on {host} is in use", expected="a free port", fix="serve at --port 0, which picks a free one"
        )
    if error.errno == errno.EACCES:
        return InputError(f"port {port} on {host} needs more rights", expected="a port above 1023", fix="--port 8000")
    return InputError(
        f"{host} port {port} cannot be bound: {error.strerror}",
        fix="--host 127.0.0.1 --port 8000",
        expected="an address of this machine, and a port that may be used",
    )


class Protocol(HttpToolsProtocol):
    """uvicorn's, with a bound on headers, and our error body for what never becomes a request."""

    _head_bytes = 0  # of the request line and the headers, as far as the parser has told them
    _held_bytes = 0  # that the parser keeps to itself, because what they belong to has not ended
    _refused = False

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._held_bytes += len(data)
        super().data_received(data)
        if self._held_bytes > MAX_HEAD_BYTES and not self._refused:
            self.send_400_response("")

    def on_message_begin(self) -> None:
        self._head_bytes = self._held_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + len(": \r\n"))
        super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        self._held_bytes = 0
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        """Say why, then drop what still comes for LINGER_S: closing at once could take the answer back."""
        self._refused = True
        error = _head_error(max(self._head_bytes, self._held_bytes))
        body = error_body(error)
        head = f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\ncontent-type: application/json\r\n"
        head += f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        self.transport.write(head.encode() + body)
        self.transport.write_eof()
        self.loop.call_later(LINGER_S, self.transport.close)

    def _count(self, num_bytes: int) -> None:
        self._held_bytes = 0
        self._head_bytes += num_bytes
        if self._head_bytes > MAX_HEAD_BYTES:
            raise ValueError("the parser passes it on as an HttpParserError")


def _head_error(num_bytes: int) -> InputError:
    if num_bytes > MAX_HEAD_BYTES:
        return LongHeadError(
            "the request line and the headers are too long",
            expected=f"at most {MAX_HEAD_BYTES // 1024} KiB together",
            fix="put the rows into the body, and leave out headers and cookies that this server does not need",
        )
    return MalformedError(
        "this is not an HTTP/1.1 request",
        expected="a valid request line and headers, not encrypted",
        fix="ask at http:// (not https://) with an HTTP client such as curl",
    )


class Server(uvicorn.Server):
    """uvicorn's, with a drain that loses nothing and an exit code of 0 after a signal."""

    def __init__(self, config: uvicorn.Config, app: App, url: str) -> None:
        super().__init__(config)
        self._app = app
        self._url = url
        self.trouble: InputError | None = None  # why it could not begin

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        try:
            print_ready(self._app, self._url)
        except InputError as error:
            self.trouble, self.should_exit = error, True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.drain()
        await self._stop_listening(sockets or [])
        stop_at = asyncio.get_running_loop().time() + GRACE_S
        while self.server_state.connections and asyncio.get_running_loop().time() < stop_at:
            await asyncio.sleep(0.01)
        await super().shutdown(sockets)

    async def _stop_listening(self, listeners: list[socket.socket]) -> None:
        """Close the listeners, after taking over what the kernel has accepted for them: closing resets the rest."""
        loop = asyncio.get_running_loop()
        copies = [listener.dup() for listener in listeners]
        for server in self.servers:
            server.close()
        for listener in listeners:
            listener.close()
        await asyncio.sleep(0)
        waiting: list[socket.socket] = []
        for copy in copies:
            copy.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    waiting.append(copy.accept()[0])
            copy.close()
        for connection in waiting:
            await loop.connect_accepted_socket(self._protocol, connection)

    def _protocol(self) -> Any:
        return Protocol(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, but a signal that was obeyed is not raised again afterwards: it would end us with its code."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            self.force_exit = True
        self.should_exit = True
