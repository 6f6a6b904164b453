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
from deepseek.serve.core.request import Request, Response, StreamingResponse
from deepseek.serve.http.reader import MAX_HEAD_BYTES, RequestReader
from deepseek.serve.http.sender import StreamSender

KEEP_ALIVE_TIMEOUT_S = 75.0  # that a connection may be idle
#: A client that still sends when it is refused is heard until it stops for so long: closing at once could take the
#: answer back, because unread bytes reset the connection.
LINGER_TIMEOUT_S = 1.0
#: Connections above the limit that are told so at a time; what comes on top of them is cut off without a word.
MAX_REJECTED_CONNECTIONS = 256
LARGE_READ_BYTES = 64 * 1024  # of a read, after which others have their turn
SWEEP_INTERVAL_S = 1.0  # between two looks for connections that are out of time


class ServerState:
    """What the connections of one server share."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.loop = asyncio.get_running_loop()
        self.connections: set[Connection] = set()
        self.num_turned_away = 0  # of the connections: those above the limit, while they are told so
        self.num_working = 0  # requests that are being answered, those of lost connections too
        self._holding: list[Connection] = []  # with answers that are sent at the end of this turn of the loop
        self._sweep()

    @property
    def full(self) -> bool:
        """Whether there are more connections than this server takes."""
        return len(self.connections) - self.num_turned_away > self.app.settings.max_connections

    @property
    def busy(self) -> bool:
        """Whether a request is being read or answered."""
        return self.num_working > 0 or any(connection.busy for connection in self.connections)

    def hold(self, connection: Connection) -> None:
        """Send what it holds soon. The answers of a batch go out in a row: sent between the making of one and the next,
        each would wake a client that sleeps again before the next comes, on a core that an engine needs."""
        if not self._holding:
            self.loop.call_soon(self._send_held)
        self._holding.append(connection)

    def _send_held(self) -> None:
        holding, self._holding = self._holding, []
        for connection in holding:
            connection.send_held()

    def close(self) -> None:
        """Close what is not busy. What is busy closes after its answer, once the app is draining."""
        for connection in [found for found in self.connections if not found.busy]:
            connection.close()

    def abort(self) -> None:
        """Close everything, and look no more for what is late."""
        self._timer.cancel()
        for connection in list(self.connections):
            connection.close()

    def _sweep(self) -> None:
        # One timer for all: starting and stopping one for each request costs more than looking at all once a second.
        self.date = formatdate(usegmt=True).encode()
        now_s = self.loop.time()
        for connection in [found for found in self.connections if found.due_s < now_s]:
            connection.give_up()
        self._timer = self.loop.call_later(min(SWEEP_INTERVAL_S, self.app.settings.body_timeout_s / 4), self._sweep)


class Connection(RequestReader, asyncio.Protocol):
    """Takes what its reader finds, and answers one call after the other."""

    def __init__(self, hub: ServerState) -> None:
        super().__init__(hub.app)
        self._hub = hub
        self._transport: asyncio.Transport | None = None  # None again once the connection is lost
        # What is being answered:
        self._waiting: deque[tuple[Request, bool]] = deque()  # calls, and whether the connection lives on after each
        self._keeps = True  # whether the connection lives on after it
        self._sender: StreamSender | None = None  # of its answer, when that goes in pieces
        self._held = b""  # an answer that is sent at the end of this turn of the loop
        # How things stand:
        self._ended = False  # nothing more comes
        self._full = False  # the client does not read its answers
        self._unsent = inf  # bytes that waited for it when patience ended last
        self._turned_away = False  # one above the limit
        self._paused = False  # we do not read, because requests wait
        self.due_s = inf  # when patience ends, on the loop's clock
        self._last_s = inf  # when it ends at the latest

    @property
    def busy(self) -> bool:
        return self._working is not None or bool(self._waiting) or self._call is not None

    def close(self) -> None:
        """Close when what was written has been sent."""
        self.send_held()
        if self._transport is not None:
            self._transport.close()

    def send_held(self) -> None:
        """Hand over the answer that was held, if there is one."""
        data, self._held = self._held, b""
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def give_up(self) -> None:
        """Patience has ended: with a body that does not come, or with a connection that is not used."""
        self.due_s = inf
        if self._full and self._transport is not None:
            unsent = self._transport.get_write_buffer_size()
            if unsent < self._unsent:  # slowly, but it reads
                self._unsent = unsent
                self._wait(KEEP_ALIVE_TIMEOUT_S)
                return
        elif self._paused:
            return  # it is we who do not read
        if self._call is not None and self._call.refused is None:
            self._refuse(self._call, slow_body_error(self._settings.body_timeout_s))
        elif self._transport is not None and not self._working:
            self._transport.abort()  # close() would wait for a client that does not read

    # What the event loop calls:

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are none by isinstance
        self._hub.connections.add(self)
        self._wait(KEEP_ALIVE_TIMEOUT_S)
        if self._hub.full:
            self._turn_away()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = self._parser = None
        self._hub.connections.discard(self)
        self._hub.num_turned_away -= self._turned_away
        self._waiting.clear()
        if self._sender is not None:
            self._sender.cancel()
        elif self._working is not None:
            self._app.cancel(self._working)
        if self._call is not None and self._call.refused is None:
            self._refuse(self._call, DisconnectedError("the client went away"))

    def eof_received(self) -> bool:
        """Keep a half-closed connection open while its requests are answered."""
        self._ended = True
        # Over TLS both directions end together.
        return self._working is not None and self._transport is not None and self._transport.can_write_eof()

    def pause_writing(self) -> None:
        self._full = True
        if self._sender is not None:
            self._sender.pause()
        self._unsent = inf
        self._wait(KEEP_ALIVE_TIMEOUT_S)

    def resume_writing(self) -> None:
        self._full = False
        if self._sender is not None:
            self._sender.resume()
        self._wait(KEEP_ALIVE_TIMEOUT_S)
        self._next()

    def data_received(self, data: bytes) -> None:
        if len(data) >= LARGE_READ_BYTES:
            self._let_others_read()
        if self._deaf:
            self._wait(LINGER_TIMEOUT_S)
            self.due_s = min(self.due_s, self._last_s)
        elif not (self._reading or self._raw_bytes or self._working or self._waiting):
            call = self._app.heads.find(data, self._settings)
            if call is not None:
                self._begin(call, True)
                return
            self._whole = data
        while data and not self._deaf and self._parser is not None:
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
            if self._held_bytes > MAX_HEAD_BYTES and not self._deaf:
                self._refuse_bytes()

    def _refuse(self, call: Request, error: DeepseekError) -> None:
        """Answer with an error although the body has not been read, unless something else was found before."""
        self._body = BytesIO()
        if call.refused is None:
            call.refused = error
        self._queue(call)

    def _turn_away(self) -> None:
        """Answer without having read anything."""
        self._turned_away = self._deaf = True
        self._hub.num_turned_away += 1
        if self._hub.num_turned_away <= MAX_REJECTED_CONNECTIONS:
            self._queue(
                Request("", "", {}, self._settings, refused=too_many_connections_error(self._settings.max_connections))
            )
        elif self._transport is not None:
            self._transport.abort()

    def _refuse_bytes(self) -> None:
        """Answer to what is no request, and hear no more."""
        self._deaf = True
        self._call = None
        error = self._fault or malformed_head_error(max(self._head_bytes, self._held_bytes), MAX_HEAD_BYTES)
        self._queue(Request("", "", {}, self._settings, refused=error))

    def _queue(self, call: Request) -> None:
        keeps = self._parser is not None and not self._deaf and self._parser.should_keep_alive()
        if keeps and self._whole and call.refused is None:
            self._app.heads.remember(self._whole, call)
        self._whole = b""
        self._waiting.append((call, keeps))
        self._next()
        self._listen(not self._waiting)

    def _next(self) -> None:
        """Begin with the next call, if there is one and the client reads what it is told."""
        if self._waiting and self._working is None and not (self._full and self._transport is not None):
            self._begin(*self._waiting.popleft())

    def _begin(self, call: Request, keeps: bool) -> None:
        self._hub.num_working += 1
        self.due_s = inf
        self._working, self._keeps = call, keeps
        if call.refused is None:
            self._app.begin(call, self._answered)
        else:  # later: its body may be on its way, and once that was read the connection can go on
            self._hub.loop.call_soon(self._app.begin, call, self._answered)

    def _answered(self, call: Request, answer: Response | StreamingResponse) -> None:
        """Write an answer, leave its event behind, and go on."""
        # Behind a body that nobody wants any more the next request could not be told from it.
        unread = self._call is call or self._deaf
        keeps = self._keeps and not unread and not self._ended and not self._app.draining
        if isinstance(answer, StreamingResponse):
            keeps = keeps and not call.http10
            more = b"" if call.http10 else b"transfer-encoding: chunked\r\n"
            self._write(render_head(call, answer, self._hub.date, more, keeps))
            done = partial(self._sent, call, answer.status, keeps)
            self._sender = StreamSender(answer.chunks, self._write, done, in_chunks=not call.http10)
            return
        try:
            if self._transport is not None:
                self._hold(render_response(call, answer, self._hub.date, keeps))
            self._app.report(call, answer.status)
        except BaseException:
            keeps = False
            raise
        finally:
            self._over(keeps, unread)

    def _sent(self, call: Request, status: int, keeps: bool, whole: bool) -> None:
        """A stream has ended. Without its last chunk the client knows that something is missing."""
        self._sender = None
        self._app.report(call, status if whole else DisconnectedError.status)
        self._over(keeps and whole, unread=False)

    def _over(self, keeps: bool, unread: bool) -> None:
        """An answer was written."""
        if self._working is not None and self._working.share is not None:
            self._working.share.give_back()
        self._working = None
        self._hub.num_working -= 1
        if keeps:
            self._go_on()
        else:
            self._end(unread)

    def _go_on(self) -> None:
        if self._waiting:
            self._hub.loop.call_soon(self._go_on_with_next)  # not from here: a pipeline may be long
        else:
            self._wait(self._settings.body_timeout_s if self._reading else KEEP_ALIVE_TIMEOUT_S)

    def _go_on_with_next(self) -> None:
        self._next()
        self._listen(not self._waiting)

    def _end(self, unread: bool) -> None:
        """The last answer was written: close, or first drop what the client is still sending."""
        self._deaf = True
        self._waiting.clear()
        self.send_held()
        if self._transport is None or self._transport.is_closing():
            return
        if unread and not self._ended:
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
        if self._transport is not None and not self._paused and not self._transport.is_closing():
            self._transport.pause_reading()
            self._hub.loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        if self._transport is not None and not self._paused and not self._transport.is_closing():
            self._transport.resume_reading()

    def _wait(self, patience_s: float) -> None:
        self.due_s = self._hub.loop.time() + patience_s

    def _listen(self, wanted: bool) -> None:
        """Read on, or leave what comes in the kernel's buffer."""
        if self._transport is None or self._transport.is_closing() or wanted is not self._paused:
            return
        self._paused = not wanted
        if wanted:
            self._transport.resume_reading()
            if self._reading:
                self._wait(self._settings.body_timeout_s)
        else:
            self._transport.pause_reading()

    def _hold(self, data: bytes) -> None:
        """One answer: of those that are pipelined each would be another that the client may not read."""
        if self._held:
            self._write(data)
        else:
            self._held = data
            self._hub.hold(self)

    def _write(self, data: bytes) -> None:
        self.send_held()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)
