"""Runs an application in this process, from the ready line to the last answer.

    listener = bind(settings.host, settings.port)        # before models are loaded: a taken port is said at once
    run(app, listener)      # first line on stdout: {"event": "ready", ...}; returns after SIGTERM or Ctrl-C

Stopping: readiness turns off, the listener closes after the connections that the kernel had already accepted were
taken over, every answer closes its connection, idle connections get GRACE_S for a request that is on its way, and
requests in work are finished. A second signal ends at once. While models are still being opened, one ends that.

SIGHUP reads the API keys and the certificate again; files that cannot be used leave what was there.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import os
import resource
import signal
import socket
import ssl
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import msgspec

from deepseek.contracts import Event, JsonObject
from deepseek.errors import InputError
from deepseek.serve.app import App
from deepseek.serve.core.ready_line import ReadyLine
from deepseek.serve.core.tls import HANDSHAKE_TIMEOUT_S, TlsCertificate, reload_certificate, server_context
from deepseek.serve.http.connection import Connection, ServerState
from deepseek.serve.http.group import GroupMember

if TYPE_CHECKING:
    from deepseek.serve.grpc import GrpcServer

GRACE_S = 1.0
BACKLOG = 2_048
FILE_CHECK_S = 1.0  # between two checks that a file descriptor is free
SPARE_FILES = 256  # file descriptors besides connections: sockets to engines, mapped weights, logs


def run(app: App, listener: socket.socket, member: GroupMember | None = None) -> None:
    """Serve on a bound socket until a signal, printing the ready line once connections are taken.

    A `child` of a group tells its parent instead, which prints it once.
    """
    with asyncio.Runner(loop_factory=_event_loop()) as runner:
        runner.run(Server(app, listener, member).serve())


def _event_loop() -> Callable[[], asyncio.AbstractEventLoop]:
    if find_spec("uvloop"):
        import uvloop

        loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
        return loop
    return asyncio.new_event_loop


def print_ready_line(line: ReadyLine) -> None:
    """Print the ready line: the first on stdout, one JSON object. InputError when nothing can be written there."""
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


def bind(host: str, port: int, *, shared: bool = False, first: bool = True, option: str = "--port") -> socket.socket:
    """A socket at the address. `shared`: the front ends of a group all have it; the `first` must find it free.
    `option` names the port's option in errors.

    InputError that says what to do when the address is taken or not ours.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (socket.gaierror, UnicodeError) as error:  # an empty or too long label fails before the lookup
        reason = error.strerror if isinstance(error, OSError) else "it is no name of a host"
        raise InputError(
            f"the host {host!r} is not known: {reason}",
            fix="--host 127.0.0.1",
            expected="a name or an address of this machine",
        ) from error
    try:
        return _bind_socket(family, address, shared=shared, first=first)
    except OSError as error:
        raise _bind_error(error, host, port, option) from error


def _bind_socket(family: int, address: Any, *, shared: bool, first: bool) -> socket.socket:
    """A socket at the address. OSError.

    Connections that were closed a moment ago keep a port for a minute from all but who has SO_REUSEADDR, as they had
    it themselves: so every socket has it that listens. The one with which a group's parent holds the port has only
    SO_REUSEPORT where that suffices, because then the kernel refuses everybody outside of the group from the start: a
    second server that had both could take its share of the connections.
    """
    if not shared:
        return _bind_with_options(family, address, socket.SO_REUSEADDR)
    if not first:
        return _bind_with_options(family, address, socket.SO_REUSEPORT, socket.SO_REUSEADDR)
    _bind_with_options(family, address, socket.SO_REUSEADDR).close()
    try:
        return _bind_with_options(family, address, socket.SO_REUSEPORT)
    except OSError:  # connections of a server without front ends were closed there a moment ago
        return _bind_with_options(family, address, socket.SO_REUSEPORT, socket.SO_REUSEADDR)


def _bind_with_options(family: int, address: Any, *options: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        for option in options:
            listener.setsockopt(socket.SOL_SOCKET, option, 1)
        listener.bind(address)
    except BaseException:
        listener.close()
        raise
    listener.set_inheritable(False)
    return listener


def listen(listener: socket.socket, host: str) -> None:
    """Listen on a bound socket. InputError when another process was faster: a port is free until somebody listens."""
    try:
        listener.listen(BACKLOG)  # uvloop does not report that it cannot
    except OSError as error:
        raise _bind_error(error, host, listener.getsockname()[1], "--port") from error


def raise_file_limit(num_connections: int) -> None:
    """Raise the limit of open files for so many connections, as far as the system allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    num_files = num_connections + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < num_files:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (num_files if hard == resource.RLIM_INFINITY else min(num_files, hard), hard)
        )


def has_free_file() -> bool:
    """Whether this process can open one more file or connection."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return error.errno not in (errno.EMFILE, errno.ENFILE)
    return True


def listener_url(listener: socket.socket, host: str, scheme: str = "http") -> str:
    """The URL by which a client on this machine reaches the listener."""
    port = listener.getsockname()[1]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"{scheme}://{shown}:{port}"


def _bind_error(error: OSError, host: str, port: int, option: str) -> InputError:
    if error.errno == errno.EADDRINUSE:
        return InputError(
            f"port {port} on {host} is in use",
            expected="a free port",
            fix=f"serve at {option} 0, which picks a free one",
        )
    if error.errno == errno.EACCES:
        return InputError(
            f"port {port} on {host} needs more rights", expected="a port above 1023", fix=f"{option} 8000"
        )
    return InputError(
        f"{host} port {port} cannot be bound: {error.strerror}",
        fix=f"--host 127.0.0.1 {option} 8000",
        expected="an address of this machine, and a port that may be used",
    )


class Server:
    """Accepts connections until a signal, then drains: no accepted request is lost."""

    def __init__(self, app: App, listener: socket.socket, member: GroupMember | None = None) -> None:
        self._app = app
        self._listener = listener
        self._member = member
        self._tls: ssl.SSLContext | None = None
        self._grpc: GrpcServer | None = None
        self._num_signals = 0
        self._stop_event = asyncio.Event()

    async def serve(self) -> None:
        """Start the app, serve until a signal, and drain. InputError when the ready line cannot be written."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop)
        if self._member is None:
            loop.add_signal_handler(signal.SIGINT, self._stop)
        else:  # a terminal sends it to the whole group, and the parent passes it on
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            await self._member.join(self._stop)
        settings = self._app.settings
        if settings.tls_cert and settings.tls_key:
            self._tls = server_context(settings.tls_cert, settings.tls_key)
            self._warn_of(TlsCertificate.read(settings.tls_cert, settings.tls_key))
        if settings.tls_cert or settings.api_keys_file:  # without files to read again, SIGHUP ends the server as usual
            loop.add_signal_handler(signal.SIGHUP, self._reload_files)
        raise_file_limit(settings.max_connections)
        url = listener_url(self._listener, settings.host, "https" if self._tls else "http")
        if not await self._start_app():
            return
        # Loaded models stay: the garbage collector need not visit them again, nor run every 700 new objects.
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000)
        try:
            await self._answer(url)
        finally:
            await self._app.close()
            if self._member is not None:
                self._member.leave()

    async def _start_app(self) -> bool:
        """Start the app. False when a signal came before it was ready; a second one then ends the process at once."""
        starting = asyncio.create_task(self._app.start())
        stopping = asyncio.create_task(self._stop_event.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not self._stop_event.is_set():
            await starting
            return True
        for number in (signal.SIGTERM, signal.SIGINT):  # threads are waited for: one may be converting a model
            signal.signal(number, signal.SIG_DFL)
        starting.cancel()
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await starting
        finally:
            await self._app.close()
        return False

    async def _answer(self, url: str) -> None:
        """Accept connections until a signal, and drain."""
        settings = self._app.settings
        listen(self._listener, settings.host)
        grpc = self._grpc = await self._start_grpc()
        state = ServerState(self._app)
        server = await asyncio.get_running_loop().create_server(
            lambda: Connection(state),
            sock=self._listener,
            backlog=BACKLOG,
            ssl=self._tls,
            ssl_handshake_timeout=self._handshake_s,
        )
        watching = asyncio.get_running_loop().create_task(self._watch_files(state))
        try:
            grpc_port = msgspec.UNSET if grpc is None else grpc.port
            line = ReadyLine(
                url=url, models=[*self._app.models, *self._app.generators], pid=os.getpid(), grpc_port=grpc_port
            )
            (print_ready_line if self._member is None else self._member.tell_ready)(line)
            await self._stop_event.wait()
        finally:
            watching.cancel()
            stopping = asyncio.create_task(grpc.stop(settings.drain_s)) if grpc is not None else None
            await self._drain(state, server)
            if stopping is not None:
                await stopping

    async def _watch_files(self, state: ServerState) -> None:
        """Emit when no file descriptor is free, and when one is again: meanwhile the event loop accepts no connection,
        and clients are cut off or wait."""
        had_free = True
        while True:
            await asyncio.sleep(FILE_CHECK_S)
            has_free = has_free_file()
            if has_free == had_free:
                continue
            had_free = has_free
            fields: JsonObject = {"state": "file descriptors are free again", "connections": len(state.connections)}
            if not has_free:
                limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
                fields |= {
                    "state": "no file descriptor is free: connections are cut off", "change": "out_of_files",
                    "warning": f"{limit} may be open; raise it (ulimit -n), or lower --max-connections", "limit": limit,
                }  # fmt: skip
            self._app.emit(Event("server", fields=fields))

    async def _start_grpc(self) -> GrpcServer | None:
        settings = self._app.settings
        if settings.grpc_port is None:
            return None
        from deepseek.serve.grpc import start_grpc

        tls = (
            TlsCertificate.read(settings.tls_cert, settings.tls_key) if settings.tls_cert and settings.tls_key else None
        )
        return await start_grpc(self._app, settings.host, settings.grpc_port, tls=tls)

    @property
    def _handshake_s(self) -> float | None:
        """The time limit of a TLS handshake; None without TLS, as create_server() wants it."""
        return HANDSHAKE_TIMEOUT_S if self._tls else None

    def _reload_files(self) -> None:
        """Read the API keys and the certificate again; emit what was read, or why it was not."""
        for renew_one, subject in ((self._app.renew_keys, "API keys"), (self._renew_tls, "certificate")):
            try:
                fields = {"state": f"read again: {subject}"} if renew_one() else {}
            except InputError as error:
                fields = {"state": f"what was read before holds on: {subject}", "error": str(error)}
            if fields:
                self._app.emit(Event("server", fields=fields))

    def _renew_tls(self) -> bool:
        settings = self._app.settings
        if self._tls is None or not settings.tls_cert or not settings.tls_key:
            return False
        reload_certificate(self._tls, settings.tls_cert, settings.tls_key)
        tls = TlsCertificate.read(settings.tls_cert, settings.tls_key)
        self._warn_of(tls)
        if self._grpc is not None:
            self._grpc.renew(tls)
        return True

    def _warn_of(self, tls: TlsCertificate) -> None:
        if warning := tls.warning(datetime.now(UTC)):
            self._app.emit(Event("server", fields={"state": "the certificate is not valid now", "warning": warning}))

    def _stop(self) -> None:
        self._num_signals += 1
        self._stop_event.set()

    async def _drain(self, state: ServerState, server: asyncio.Server) -> None:
        self._app.drain()
        await self._stop_listening(state, server)
        await self._until(lambda: not state.connections, GRACE_S)
        state.close()
        await self._until(lambda: not state.is_busy and not state.connections, self._app.settings.drain_s)
        state.abort()

    async def _until(self, is_done: Callable[[], bool], limit_s: float) -> None:
        """Wait, but not after a second signal."""
        loop = asyncio.get_running_loop()
        stop_s = loop.time() + limit_s
        while not is_done() and loop.time() < stop_s and self._num_signals < 2:
            await asyncio.sleep(0.01)

    async def _stop_listening(self, state: ServerState, server: asyncio.Server) -> None:
        """Close the listener, after taking over connections that the kernel has accepted: closing would reset them."""
        loop = asyncio.get_running_loop()
        copy = self._listener.dup()
        server.close()
        self._listener.close()
        await asyncio.sleep(0)
        accepted: list[socket.socket] = []
        copy.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                accepted.append(copy.accept()[0])
        copy.close()
        handovers = (
            loop.connect_accepted_socket(
                lambda: Connection(state), connection, ssl=self._tls, ssl_handshake_timeout=self._handshake_s
            )
            for connection in accepted
        )
        await asyncio.gather(*handovers, return_exceptions=True)  # a failed handshake is the client's problem
