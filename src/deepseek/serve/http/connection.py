"""One HTTP/1.1 connection: bytes to calls, answers to bytes. httptools (llhttp) parses.

    hub = ServerState(app)
    await loop.create_server(lambda: Connection(hub), sock=listener)

uvicorn's protocol for ASGI cost more CPU per small request than checking, scoring and recording it together
(docs/decisions/0005); what is left out here is what a model server does not need: upgrades, streams, middleware.

Bounds: headers by MAX_HEAD_BYTES, bodies by the settings, and what does not arrive in time is given up. A request that
is refused by its headers (no key, no such route, too large) is answered before its body is read, and nothing of the
body is kept. Pipelined requests are answered in their order, one at a time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from email.utils import formatdate
from functools import partial
from io import BytesIO
from math import inf
from typing import cast

import httptools

from deepseek.errors import DeepseekError
from deepseek.http_errors import DisconnectedError
from deepseek.serve.app import App
from deepseek.serve.core.errors import malformed_head_error, slow_body_error, too_many_connections_error
from deepseek.serve.core.head import render_head, render_response
from deepseek.serve.core.request import Request, Response
from deepseek.serve.http.reader import MAX_HEAD_BYTES, RequestReader
from deepseek.serve.http.sender import StreamSender

KEEP_ALIVE_TIMEOUT_S = 75.0  # that a connection may be idle
#: A client that still sends when it is refused is read from until it stops for so long: closing at once could take
#: the response back, because unread bytes reset the connection.
LINGER_TIMEOUT_S = 1.0
#: Connections above the limit that get a 503 at a time; those on top of them are cut off without a response.
MAX_REJECTED_CONNECTIONS = 256
LARGE_READ_BYTES = 64 * 1024  # of a read, after which others have their turn
SWEEP_INTERVAL_S = 1.0  # between two looks for connections that have timed out


class ServerState:
    """The state that the connections of one server share."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.loop = asyncio.get_running_loop()
        self.connections: set[Connection] = set()
        self.num_rejected = 0  # connections above the limit, while they get their 503
        self.num_active = 0  # requests that are being answered, those of lost connections too
        self._holders: list[Connection] = []  # connections whose responses are sent at the end of this turn of the loop
        self._sweep()

    @property
    def is_full(self) -> bool:
        """Whether there are more connections than this server takes."""
        return len(self.connections) - self.num_rejected > self.app.settings.max_connections

    @property
    def is_busy(self) -> bool:
        """Whether a request is being read or answered."""
        return self.num_active > 0 or any(connection.is_busy for connection in self.connections)

    def send_later(self, connection: Connection) -> None:
        """Send the held response of a connection soon. The responses of a batch go out in a row: sent one by one, each
        would wake a client that sleeps again before the next comes, on a core that an engine needs."""
        if not self._holders:
            self.loop.call_soon(self._flush_held)
        self._holders.append(connection)

    def _flush_held(self) -> None:
        holders, self._holders = self._holders, []
        for connection in holders:
            connection.flush_held()

    def close(self) -> None:
        """Close idle connections. Busy ones close after their response, once the app is draining; bodies that are
        answered while they come end here."""
        for connection in list(self.connections):
            if connection.is_busy:
                connection.end_body()
            else:
                connection.close()

    def abort(self) -> None:
        """Close all connections, and stop the timer."""
        self._timer.cancel()
        for connection in list(self.connections):
            connection.close()

    def _sweep(self) -> None:
        # One timer for all: starting and stopping one for each request costs more than looking at all once a second.
        self.date = formatdate(usegmt=True).encode()
        now_s = self.loop.time()
        for connection in [connection for connection in self.connections if connection.due_s < now_s]:
            connection.time_out()
        self._timer = self.loop.call_later(min(SWEEP_INTERVAL_S, self.app.settings.body_timeout_s / 4), self._sweep)


class Connection(RequestReader, asyncio.Protocol):
    """One connection: answers the requests that its reader finds one after the other."""

    def __init__(self, server: ServerState) -> None:
        super().__init__(server.app)
        self._server = server
        self._transport: asyncio.Transport | None = None  # None before it is made and once it is lost
        #: Requests that wait, and whether the connection is kept alive after each.
        self._pending: deque[tuple[Request, bool]] = deque()
        self._keeps_alive = True  # whether it is kept alive after the request that is being answered
        self._sender: StreamSender | None = None  # of the response that is being sent, when it is a stream
        self._held_response = b""  # a response that is sent at the end of this turn of the loop
        # The state of the connection:
        self._has_ended = False  # the client sends nothing more
        self._is_write_paused = False  # the client does not read its responses
        self._unsent = inf  # bytes in the write buffer at the last timeout
        self._is_rejected = False  # whether it is one above the limit
        self._is_read_paused = False  # we do not read, because requests wait
        self.due_s = inf  # when it times out, on the loop's clock
        self._last_s = inf  # when lingering ends at the latest

    @property
    def is_busy(self) -> bool:
        return self._active_request is not None or bool(self._pending) or self._partial_request is not None

    @property
    def _is_idle(self) -> bool:
        return self._active_request is None and not self._pending

    def end_body(self) -> None:
        """Answer what has come of a body that is answered while it comes, and take no more of it."""
        if self._body_stream is not None:
            self._body_stream.end(is_whole=False)

    def close(self) -> None:
        """Close once everything that was written is sent."""
        self.flush_held()
        if self._transport is not None:
            self._transport.close()

    def flush_held(self) -> None:
        """Write the held response, if there is one."""
        data, self._held_response = self._held_response, b""
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def time_out(self) -> None:
        """End a connection whose body does not come, or that is not used."""
        self.due_s = inf
        if self._is_write_paused and self._transport is not None:
            unsent = self._transport.get_write_buffer_size()
            if unsent < self._unsent:  # slowly, but it reads
                self._unsent = unsent
                self._wait(KEEP_ALIVE_TIMEOUT_S)
                return
        elif self._is_read_paused:
            return  # we are not reading
        if self._partial_request is not None and self._partial_request.rejection is None:
            self._refuse(self._partial_request, slow_body_error(self._settings.body_timeout_s))
        elif self._body_stream is not None and not self._is_write_paused:
            self.end_body()
        elif self._transport is not None and (not self._active_request or self._body_stream is not None):
            self._transport.abort()  # close() would wait for a client that does not read

    # Callbacks of the event loop:

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are none by isinstance
        self._server.connections.add(self)
        self._wait(KEEP_ALIVE_TIMEOUT_S)
        if self._server.is_full:
            self._reject_connection()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = self._parser = None
        self._server.connections.discard(self)
        self._server.num_rejected -= self._is_rejected
        self._pending.clear()
        self.end_body()
        if self._sender is not None:
            self._sender.cancel()
        elif self._active_request is not None:
            self._app.cancel(self._active_request)
        if self._partial_request is not None and self._partial_request.rejection is None:
            self._refuse(self._partial_request, DisconnectedError("the client went away"))

    def eof_received(self) -> bool:
        """Keep a half-closed connection open while its requests are answered."""
        self._has_ended = True
        self.end_body()
        # Over TLS both directions end together.
        return self._active_request is not None and self._transport is not None and self._transport.can_write_eof()

    def pause_writing(self) -> None:
        self._is_write_paused = True
        if self._sender is not None:
            self._sender.pause()
        self._unsent = inf
        self._wait(KEEP_ALIVE_TIMEOUT_S)

    def resume_writing(self) -> None:
        self._is_write_paused = False
        if self._sender is not None:
            self._sender.resume()
        self._wait(KEEP_ALIVE_TIMEOUT_S)
        self._next()

    def data_received(self, data: bytes) -> None:
        if len(data) >= LARGE_READ_BYTES:
            self._let_others_read()
        if self._is_ignoring:
            self._wait(LINGER_TIMEOUT_S)
            self.due_s = min(self.due_s, self._last_s)
        elif not (self._reading or self._raw_bytes or self._active_request or self._pending):
            request = self._app.head_cache.find(data, self._settings)
            if request is not None:
                self._begin(request, True)
                return
            self._request_bytes = data
        while data and not self._is_ignoring and self._parser is not None:
            if self._raw_bytes:
                data = self._take_raw(data)
                continue
            self._held_bytes += len(data)
            try:
                self._parser.feed_data(data)
                data = b""
            except httptools.HttpParserUpgrade as stop:
                data = data[stop.args[0] :]
            except httptools.HttpParserError as error:
                cause = error.__context__
                if cause is not None and not isinstance(cause, (ValueError, httptools.HttpParserError)):
                    raise cause from None  # a bug of ours in one of the methods below
                self._refuse_bytes()
            if self._held_bytes > MAX_HEAD_BYTES and not self._is_ignoring:
                self._refuse_bytes()
        if self._stream_chunks:
            self._feed_stream()

    def _refuse(self, request: Request, error: DeepseekError) -> None:
        """Answer with an error although the body has not been read, unless the request was refused before."""
        self._body = BytesIO()
        if request.rejection is None:
            request.rejection = error
        self._queue(request)

    def _reject_connection(self) -> None:
        """Answer a connection above the limit without reading from it."""
        self._is_rejected = self._is_ignoring = True
        self._server.num_rejected += 1
        if self._server.num_rejected <= MAX_REJECTED_CONNECTIONS:
            self._queue(
                Request(
                    "", "", {}, self._settings, rejection=too_many_connections_error(self._settings.max_connections)
                )
            )
        elif self._transport is not None:
            self._transport.abort()

    def _refuse_bytes(self) -> None:
        """Answer bytes that are no request, and ignore what follows."""
        self._is_ignoring = True
        self._partial_request = None
        error = self._head_error or malformed_head_error(max(self._head_bytes, self._held_bytes), MAX_HEAD_BYTES)
        self._queue(Request("", "", {}, self._settings, rejection=error))

    def _queue(self, request: Request) -> None:
        keeps = self._parser is not None and not self._is_ignoring and self._parser.should_keep_alive()
        if keeps and self._request_bytes and request.rejection is None and request.body_stream is None:
            self._app.head_cache.remember(self._request_bytes, request)
        self._request_bytes = b""
        self._pending.append((request, keeps))
        self._next()
        self._listen(not self._pending)

    def _next(self) -> None:
        """Begin the next request, if there is one and the client reads its responses."""
        if (
            self._pending
            and self._active_request is None
            and not (self._is_write_paused and self._transport is not None)
        ):
            self._begin(*self._pending.popleft())

    def _begin(self, request: Request, keeps: bool) -> None:
        self._server.num_active += 1
        self.due_s = inf
        self._active_request, self._keeps_alive = request, keeps
        if request.rejection is None:
            self._app.handle(request, self._send_response)
        else:  # later: its body may be on its way, and once that was read the connection can go on
            self._server.loop.call_soon(self._app.handle, request, self._send_response)

    def _send_response(self, request: Request, response: Response) -> None:
        """Write a response, emit its event, and continue with the connection."""
        # The next request cannot be found behind a body that is not read.
        unread = self._partial_request is request or self._is_ignoring
        keeps = self._keeps_alive and not unread and not self._has_ended and not self._app.draining
        if response.chunks is not None:
            keeps = keeps and not request.is_http10
            extra_lines = b"" if request.is_http10 else b"transfer-encoding: chunked\r\n"
            self._write(render_head(request, response, self._server.date, extra_lines, keeps))
            on_sent = partial(self._finish_stream, request, response.status, keeps)
            self._sender = StreamSender(response.chunks, self._write, on_sent, in_chunks=not request.is_http10)
            return
        try:
            if self._transport is not None:
                self._send_later(render_response(request, response, self._server.date, keeps))
            self._app.report(request, response.status)
        except BaseException:
            keeps = False
            raise
        finally:
            self._finish_response(keeps, unread)

    def _finish_stream(self, request: Request, status: int, keeps: bool, whole: bool) -> None:
        """Finish a streamed response. Without its last chunk the client knows that something is missing."""
        self._sender = None
        self._app.report(request, status if whole else DisconnectedError.status)
        unread = request.body_stream is not None and self._reading
        self._body_stream = None
        self._finish_response(keeps and whole and not unread, unread)

    def _finish_response(self, keeps: bool, unread: bool) -> None:
        """Free what the request held, and keep the connection alive or end it."""
        if self._active_request is not None and self._active_request.reservation is not None:
            self._active_request.reservation.give_back()
        self._active_request = None
        self._server.num_active -= 1
        if keeps:
            self._continue()
        else:
            self._end(unread)

    def _continue(self) -> None:
        if self._pending:
            self._server.loop.call_soon(self._continue_with_next)  # not from here: a pipeline may be long
        else:
            self._wait(self._settings.body_timeout_s if self._reading else KEEP_ALIVE_TIMEOUT_S)

    def _continue_with_next(self) -> None:
        self._next()
        self._listen(not self._pending)

    def _end(self, unread: bool) -> None:
        """Close after the last response, or first drop what the client is still sending."""
        self._is_ignoring = True
        self._pending.clear()
        self.flush_held()
        if self._transport is None or self._transport.is_closing():
            return
        if unread and not self._has_ended:
            if self._transport.can_write_eof():
                self._transport.write_eof()
            self._listen(True)
            self._wait(LINGER_TIMEOUT_S)
            self._last_s = self.due_s + self._settings.body_timeout_s
        else:
            self._transport.close()
            self._wait(KEEP_ALIVE_TIMEOUT_S)

    def _let_others_read(self) -> None:
        """Read no more in this turn of the loop, which would take 8 MB of a fast sender before it looks at others."""
        if self._transport is not None and not self._is_read_paused and not self._transport.is_closing():
            self._transport.pause_reading()
            self._server.loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        if self._transport is not None and not self._is_read_paused and not self._transport.is_closing():
            self._transport.resume_reading()

    def _wait(self, patience_s: float) -> None:
        self.due_s = self._server.loop.time() + patience_s

    def _listen(self, is_wanted: bool) -> None:
        """Read on, or leave what comes in the kernel's buffer."""
        if self._transport is None or self._transport.is_closing() or is_wanted is not self._is_read_paused:
            return
        self._is_read_paused = not is_wanted
        if is_wanted:
            self._transport.resume_reading()
            if self._reading:
                self._wait(self._settings.body_timeout_s)
        else:
            self._transport.pause_reading()

    def _send_later(self, data: bytes) -> None:
        """Hold one response. A second, of pipelined requests, is written at once: the client may not read them."""
        if self._held_response:
            self._write(data)
        else:
            self._held_response = data
            self._server.send_later(self)

    def _write(self, data: bytes) -> None:
        self.flush_held()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)
