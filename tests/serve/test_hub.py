"""The number of connections is bounded: who comes when the server is full is told so, and nobody else suffers."""

from __future__ import annotations

import asyncio
import resource
import select
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from deepseek.contracts import Event
from deepseek.engines import Runtime
from deepseek.serve import Settings, create_app
from deepseek.serve.http import connection
from deepseek.serve.run import SPARE_FILES, raise_file_limit
from support.servers.serving import serving

LIVE = b"GET /v2/health/live HTTP/1.1\r\nhost: localhost\r\n\r\n"
LIMIT = 3
Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def talk(runtimes: dict[str, Runtime], work: Callable[[Callable[[], Awaitable[Pair]]], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        app = create_app({"loans": runtimes["loans"]}, settings=Settings(max_connections=LIMIT))
        async with serving(app) as url:
            opened: list[Pair] = []

            async def connect() -> Pair:
                opened.append(await asyncio.open_connection("127.0.0.1", int(url.rsplit(":", 1)[1])))
                return opened[-1]

            try:
                return await work(connect)
            finally:
                for _, writer in opened:
                    writer.close()

    return asyncio.run(run())


async def ask_status(pair: Pair) -> int:
    """The status of an answer to a request."""
    reader, writer = pair
    writer.write(LIVE)
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    size = next(int(line[16:]) for line in head.split(b"\r\n") if line.startswith(b"content-length"))
    await reader.readexactly(size)
    return int(head.split()[1])


def test_one_connection_too_many_is_503_and_closed_and_those_that_are_open_go_on(runtimes: dict[str, Runtime]) -> None:
    async def work(connect: Any) -> Any:
        pairs = [await connect() for _ in range(LIMIT)]
        first = [await ask_status(pair) for pair in pairs]
        reader, writer = await connect()
        writer.write(LIVE)
        refusal = await asyncio.wait_for(reader.read(), 10)
        return first, refusal, [await ask_status(pair) for pair in pairs]

    first, refusal, again = talk(runtimes, work)
    assert first == again == [200] * LIMIT
    assert refusal.startswith(b"HTTP/1.1 503")
    for part in (b"connection: close", b"retry-after: 1", b'"too_many_connections"', b"at most 3 at a time"):
        assert part in refusal
    assert refusal.count(b"HTTP/1.1") == 1


def test_a_place_that_becomes_free_is_taken_at_once(runtimes: dict[str, Runtime]) -> None:
    """Although connections that were turned away are still being told so."""

    async def work(connect: Any) -> list[int]:
        pairs = [await connect() for _ in range(LIMIT)]
        assert [await ask_status(pair) for pair in pairs] == [200] * LIMIT
        statuses = [await ask_status(await connect()) for _ in range(2)]
        pairs[0][1].close()
        await asyncio.sleep(0.05)
        return [*statuses, await ask_status(await connect()), await ask_status(await connect())]

    assert talk(runtimes, work) == [503, 503, 200, 503]


def test_those_that_are_told_so_are_bounded_too(runtimes: dict[str, Runtime], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "MAX_REJECTED_CONNECTIONS", 2)

    async def work(connect: Any) -> list[bytes]:
        kept = [await connect() for _ in range(LIMIT)]
        assert [await ask_status(pair) for pair in kept] == [200] * LIMIT
        statuses = []
        for _ in range(4):
            reader, _ = await connect()
            try:
                statuses.append(await asyncio.wait_for(reader.read(12), 10))
            except ConnectionError:
                statuses.append(b"")
        return statuses

    assert talk(runtimes, work) == [b"HTTP/1.1 503"] * 2 + [b""] * 2


def test_the_system_s_limit_on_open_files_is_raised_as_far_as_it_goes() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1_024, hard))
        raise_file_limit(1_000)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (1_000 + SPARE_FILES, hard)
        raise_file_limit(10)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (1_000 + SPARE_FILES, hard)
        raise_file_limit(10**6)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] in (hard, 10**6 + SPARE_FILES)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Looking:
    """A sink that counts the clients whose answer has come, each time that one is answered."""

    def __init__(self, clients: list[socket.socket]) -> None:
        self.seen: list[int] = []
        self._clients = clients

    def emit(self, event: Event) -> None:
        if event.kind == "request":
            self.seen.append(len(select.select(self._clients, [], [], 0)[0]))


def test_answers_of_one_turn_are_sent_in_a_row_after_all_of_them_were_made(runtimes: dict[str, Runtime]) -> None:
    clients: list[socket.socket] = []
    looking = Looking(clients)

    async def run() -> list[bytes]:
        async with serving(create_app({"loans": runtimes["loans"]}, sinks=[looking])) as url:
            for _ in range(4):
                clients.append(socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1]))))
            await asyncio.sleep(0.1)
            for client in clients:
                client.sendall(LIVE)
            await asyncio.sleep(0.1)
            return [client.recv(4_096) for client in clients]

    try:
        assert all(answer.startswith(b"HTTP/1.1 200") for answer in asyncio.run(run()))
    finally:
        for client in clients:
            client.close()
    assert looking.seen == [0, 0, 0, 0]
