"""Redis Streams: an entry's field "data" is one event; answers are entries with the fields "data" and "position".

An answer has the id of the entry that it answers (of another source: its running number). Redis refuses an id that is
not above the last, so an answer that was written before a connection broke cannot be written twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from deepseek.errors import InputError
from deepseek.extras import need
from deepseek.serve.streams.messages import MAX_BATCH, Message, Reconnecting, without_password

BLOCK_MS = 200  # that one reading waits; a signal is seen after it
TIMEOUT_S = 5.0
FIELD, POSITION = b"data", b"position"


class _RedisEnd:
    """A connection to one stream, which is made anew when it breaks."""

    needs_loop: ClassVar[bool] = True

    def __init__(self, url: str, key: str, tell: Callable[[str], None]) -> None:
        need("redis", extra="stream")
        from redis import asyncio as redis
        from redis.exceptions import (
            AuthenticationError,
            AuthenticationWrongNumberOfArgsError,
            BusyLoadingError,
            ConnectionError,  # noqa: A004
            NoPermissionError,
            TimeoutError,  # noqa: A004
        )

        self.key = key
        self.client: Any = redis.Redis.from_url(url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S)
        refusals = (AuthenticationError, AuthenticationWrongNumberOfArgsError, NoPermissionError)
        errors = (ConnectionError, TimeoutError, BusyLoadingError, OSError, *refusals)
        self.retry = Reconnecting(
            f"{without_password(url)}/{key}", errors, tell, lambda error: isinstance(error, refusals)
        )

    async def close(self) -> None:
        await self.client.aclose()


class RedisSource(_RedisEnd):
    """Entries of a stream, from a position on. Ends after `idle_s` without one, if that is not None."""

    def __init__(self, url: str, key: str, tell: Callable[[str], None], idle_s: float | None) -> None:
        super().__init__(url, key, tell)
        self._last = b"0-0"
        self._idle_s = idle_s

    async def start(self, last_position: str) -> None:
        if _is_entry_id(last_position):
            self._last = last_position.encode()

    async def read(self) -> list[Message]:
        waited_s = 0.0
        while True:
            entries = await self.retry.run(self._read)
            if entries:
                self._last = entries[-1][0]
                return [Message(name.decode(), fields.get(FIELD, b"")) for name, fields in entries]
            waited_s += BLOCK_MS / 1e3
            if self._idle_s is not None and waited_s >= self._idle_s:
                return []

    async def _read(self) -> list[Any]:
        received = await self.client.xread({self.key: self._last}, count=MAX_BATCH, block=BLOCK_MS)
        streams = list(received.values()) if isinstance(received, dict) else [entries for _, entries in received or []]
        if not streams:
            return []
        (entries,) = streams
        while entries and isinstance(entries[0], list) and entries[0] and isinstance(entries[0][0], (list, tuple)):
            (entries,) = entries  # the newer protocol wraps them once more
        return list(entries)


class RedisSink(_RedisEnd):
    """Answers to a stream."""

    async def last_position(self) -> str:
        entries = await self.retry.run(lambda: self.client.xrevrange(self.key, count=1))
        return "" if not entries else entries[0][1].get(POSITION, b"").decode()

    async def write(self, answers: Sequence[Message]) -> None:
        await self.retry.run(lambda: self._write(answers))

    async def _write(self, answers: Sequence[Message]) -> None:
        from redis.exceptions import ResponseError

        pipeline = self.client.pipeline(transaction=False)
        for answer in answers:
            fields = {FIELD: answer.body, POSITION: answer.position.encode()}
            pipeline.xadd(self.key, fields, id=_entry_id(answer.position))
        for result in await pipeline.execute(raise_on_error=False):
            if isinstance(result, ResponseError) and "equal or smaller" in str(result):
                continue  # it was written before the connection broke
            if isinstance(result, BaseException):
                raise result


def _is_entry_id(position: str) -> bool:
    first, _, second = position.partition("-")
    return first.isdecimal() and second.isdecimal()


def _entry_id(position: str) -> str:
    """The id of the answer to a message: its own, or one that its source's running number makes."""
    if _is_entry_id(position):
        return position
    if position.isdecimal():
        return f"{position}-0"
    run, _, number = position.partition(":")
    if run and number.isdecimal():
        return "*"
    raise InputError(f"{position!r} is no position", expected="a number", fix="read from NATS, Redis or lines")
