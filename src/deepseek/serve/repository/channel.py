"""What two processes of a group say to each other over a socket: news, and questions with their answers.

    channel = Channel(told={"counts": hear}, asked={"load": load})
    await channel.connect(socket)
    listening = create_task(channel.listen())          # until the other end is gone
    channel.tell("counts", {...})
    found = await channel.ask("load", ["loans", ""])   # raises what was raised there, PeerGoneError when nobody answers

One JSON array a line: what it is (tell, ask, found, wrong), its number, what it is about, and the content. Both ends
are ours and of one version. Questions are answered in the order in which they get their answer, not in which they came.
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
    """The other end is gone, and answers no more."""


class Channel:
    """One end."""

    def __init__(self) -> None:
        self.told: dict[str, Callable[[Any], None]] = {}  # who hears what is told
        self.asked: dict[str, Callable[[Any], Awaitable[Any]]] = {}  # who answers what is asked
        self.heard_s = 0.0  # when the other end said something last, on the loop's clock; 0 before the first time
        self._reader: asyncio.StreamReader  # from connect() on
        self._writer: asyncio.StreamWriter | None = None
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._answering: set[asyncio.Task[None]] = set()
        self.gone = False  # whether the other end is

    async def connect(self, connection: socket.socket) -> None:
        """Once the event loop runs."""
        self._reader, self._writer = await asyncio.open_unix_connection(sock=connection, limit=MAX_MESSAGE_BYTES)

    async def listen(self) -> None:
        """Hear and answer until the other end is gone. Whoever waits for an answer then gets a PeerGoneError."""
        loop = asyncio.get_running_loop()
        try:
            with contextlib.suppress(ConnectionResetError):
                while line := await self._reader.readline():
                    self.heard_s = loop.time()
                    self._hear(*_decode(line))
        finally:
            self.gone = True
            waiting, self._waiting = self._waiting, {}
            for told in waiting.values():
                if not told.done():
                    told.set_exception(PeerGoneError())

    def tell(self, what: str, content: Any) -> None:
        """Nobody answers. What is told to one that is gone is lost."""
        self._send(TELL, 0, what, content)

    async def ask(self, what: str, content: Any = None) -> Any:
        """What the other end finds. Raises what was raised there; PeerGoneError."""
        if self.gone:
            raise PeerGoneError
        number = next(self._numbers)
        told = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._send(ASK, number, what, content)
        try:
            return await told
        finally:
            self._waiting.pop(number, None)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def _hear(self, kind: str, number: int, what: str, content: Any) -> None:
        if kind == TELL:
            self.told[what](content)
        elif kind == ASK:
            task = asyncio.get_running_loop().create_task(self._answer(number, what, content))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
        elif (told := self._waiting.get(number)) is not None and not told.done():
            if kind == FOUND:
                told.set_result(content)
            else:
                told.set_exception(restore_error(content) or unknown_error(content))

    async def _answer(self, number: int, what: str, content: Any) -> None:
        try:
            self._send(FOUND, number, what, await self.asked[what](content))
        except Exception as error:  # noqa: BLE001  (whoever asked is told, or would wait for ever)
            self._send(WRONG, number, what, describe_error(error))

    def _send(self, *message: Any) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(_encode(message) + b"\n")


def describe_error(error: Exception) -> dict[str, str]:
    """An error as it goes to another process.

    >>> from deepseek.errors import CheckError
    >>> raised(described(CheckError("it is damaged", fix="copy it again")))
    CheckError('it is damaged')
    """
    told = error.to_dict() if isinstance(error, DeepseekError) else {"message": str(error)}
    return told | {"kind": type(error).__name__}


def restore_error(wrong: Mapping[str, str]) -> DeepseekError | None:
    """The error that was described; None when it was none of ours."""
    kind = next((kind for kind in _error_classes(DeepseekError) if kind.__name__ == wrong["kind"]), None)
    if kind is None or kind.__init__ is not DeepseekError.__init__:
        return None
    return kind(wrong["message"], expected=wrong.get("expected", ""), fix=wrong.get("fix", ""))


def unknown_error(wrong: Mapping[str, str]) -> DeepseekError:
    """The error for one that is none of ours."""
    return DeepseekError(
        f"{wrong['kind']}: {wrong['message']}",
        expected="that the other process does what it is asked",
        fix="see what it has logged",
    )


def _error_classes(kind: type[DeepseekError]) -> Iterator[type[DeepseekError]]:
    yield kind
    for each in kind.__subclasses__():
        yield from _error_classes(each)
