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
from importlib.util import find_spec
from types import FrameType
from typing import Any

import msgspec
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from deepseek.errors import InputError, MalformedError
from deepseek.serve.app import App
from deepseek.serve.protocols.errors import error_body

GRACE_S = 1.0
KEEP_ALIVE_S = 75
BACKLOG = 2_048


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
    Server(config, app, url_of(listener, app.settings.host)).run([listener])


def print_ready(app: App, url: str) -> None:
    """The ready line: the first on stdout, one JSON object."""
    line = {"event": "ready", "url": url, "models": list(app.models), "pid": os.getpid()}
    sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
    sys.stdout.flush()


def bind(host: str, port: int) -> socket.socket:
    """A socket at the address. InputError that says what to do when it is taken or not ours."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except socket.gaierror as error:
        raise InputError(f"the host {host!r} is not known: {error.strerror}", fix="--host 127.0.0.1") from error
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
    return InputError(f"{host} port {port} cannot be bound: {error.strerror}", fix="--host 127.0.0.1 --port 8000")


class Protocol(HttpToolsProtocol):
    """uvicorn's, with our error body for bytes that are no HTTP."""

    def send_400_response(self, msg: str) -> None:
        error = MalformedError("this is not an HTTP/1.1 request", expected="a valid request line and headers")
        body = error_body(error)
        head = f"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        self.transport.write(head.encode() + b"connection: close\r\n\r\n" + body)
        self.transport.close()


class Server(uvicorn.Server):
    """uvicorn's, with a drain that loses nothing and an exit code of 0 after a signal."""

    def __init__(self, config: uvicorn.Config, app: App, url: str) -> None:
        super().__init__(config)
        self._app = app
        self._url = url

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print_ready(self._app, self._url)

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
