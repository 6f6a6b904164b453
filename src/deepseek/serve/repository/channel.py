"""Messages between two processes of a group over a socket: notifications, and requests with responses.

    channel = Channel(); channel.listeners["counts"] = on_counts; channel.responders["load"] = load
    await channel.connect(socket)
    listening = create_task(channel.listen())          # until the other end is gone
    channel.notify("counts", {...})
    result = await channel.request("load", ["loans", ""])  # raises what was raised there; PeerGoneError

One JSON array a line: what it is (tell, ask, found, wrong), its number, what it is about, and the content. Both ends
are ours and of one version. Responses come in the order in which they are made.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from itertools import count
from typing import Any

import msgspec

from deepseek.errors import DeepseekError

MAX_MESSAGE_BYTES = 1 << 26  # of a message
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
TELL, ASK, FOUND, WRONG = "tell", "ask", "found", "wrong"


class PeerGoneError(Exception):
    """The other end is gone and will not respond."""


class Channel:
    """One end of the connection."""

    def __init__(self) -> None:
        self.listeners: dict[str, Callable[[Any], None]] = {}  # called with a notification, by topic
        self.responders: dict[str, Callable[[Any], Awaitable[Any]]] = {}  # answers a request, by topic
        self.last_message_s = 0.0  # time of the last message, on the loop's clock; 0 before the first
        self._reader: asyncio.StreamReader  # from connect() on
        self._writer: asyncio.StreamWriter | None = None
        self._numbers = count(1)
        self._pending: dict[int, asyncio.Future[Any]] = {}
        self._response_tasks: set[asyncio.Task[None]] = set()
        self.is_closed = False  # whether the other end is gone

    async def connect(self, connection: socket.socket) -> None:
        """Connect to the socket. The event loop must be running."""
        self._reader, self._writer = await asyncio.open_unix_connection(sock=connection, limit=MAX_MESSAGE_BYTES)

    async def listen(self) -> None:
        """Handle messages until the other end is gone. Pending requests then raise PeerGoneError."""
        loop = asyncio.get_running_loop()
        try:
            # What was being written to an end that is gone comes back to the reader as a broken pipe.
            with contextlib.suppress(ConnectionError):
                while line := await self._reader.readline():
                    self.last_message_s = loop.time()
                    self._dispatch(*_decode(line))
        finally:
            self.is_closed = True
            pending, self._pending = self._pending, {}
            for reply in pending.values():
                if not reply.done():
                    reply.set_exception(PeerGoneError())

    def notify(self, topic: str, content: Any) -> None:
        """Send a notification. It is lost when the other end is gone."""
        self._send(TELL, 0, topic, content)

    async def request(self, topic: str, content: Any = None) -> Any:
        """Send a request, and return the response. Raises what was raised there; PeerGoneError."""
        if self.is_closed:
            raise PeerGoneError
        number = next(self._numbers)
        reply = self._pending[number] = asyncio.get_running_loop().create_future()
        self._send(ASK, number, topic, content)
        try:
            return await reply
        finally:
            self._pending.pop(number, None)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def _dispatch(self, kind: str, number: int, topic: str, content: Any) -> None:
        if kind == TELL:
            self.listeners[topic](content)
        elif kind == ASK:
            task = asyncio.get_running_loop().create_task(self._respond(number, topic, content))
            self._response_tasks.add(task)
            task.add_done_callback(self._response_tasks.discard)
        elif (reply := self._pending.get(number)) is not None and not reply.done():
            if kind == FOUND:
                reply.set_result(content)
            else:
                reply.set_exception(restore_error(content) or unknown_error(content))

    async def _respond(self, number: int, topic: str, content: Any) -> None:
        try:
            self._send(FOUND, number, topic, await self.responders[topic](content))
        except Exception as error:  # noqa: BLE001  (the other end gets it, or would wait for ever)
            self._send(WRONG, number, topic, describe_error(error))

    def _send(self, *message: Any) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(_encode(message) + b"\n")


def describe_error(error: Exception) -> dict[str, str]:
    """An error as JSON for another process.

    >>> from deepseek.errors import CheckError
    >>> restore_error(describe_error(CheckError("it is damaged", fix="copy it again")))
    CheckError('it is damaged')
    """
    fields = error.to_dict() if isinstance(error, DeepseekError) else {"message": str(error)}
    return fields | {"kind": type(error).__name__}


def restore_error(description: Mapping[str, str]) -> DeepseekError | None:
    """The error from its description; None when its class is not one of ours."""
    kind = next((kind for kind in _error_classes(DeepseekError) if kind.__name__ == description["kind"]), None)
    if kind is None or kind.__init__ is not DeepseekError.__init__:
        return None
    return kind(description["message"], expected=description.get("expected", ""), fix=description.get("fix", ""))


def unknown_error(description: Mapping[str, str]) -> DeepseekError:
    """A DeepseekError in the place of one whose class is not one of ours."""
    return DeepseekError(
        f"{description['kind']}: {description['message']}",
        expected="that the other process does what it is asked",
        fix="see what it has logged",
    )


def _error_classes(kind: type[DeepseekError]) -> Iterator[type[DeepseekError]]:
    yield kind
    for subclass in kind.__subclasses__():
        yield from _error_classes(subclass)
