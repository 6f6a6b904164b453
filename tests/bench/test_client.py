"""The client of a benchmark against servers that answer in every way that HTTP has, and against a rate."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import perf_counter

import pytest
import uvloop

from deepseek.bench import BenchRequest
from deepseek.bench.client import RECONNECT_PAUSE_S, LoadClient, LoadPlan

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
REQUEST = BenchRequest("http://127.0.0.1/p", (b"{}",)).requests()


def answering(*pieces: bytes, pause_s: float = 0.0, close: bool = False) -> Serve:
    """Answers each request with these pieces, sent one by one."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"{}"):
                for piece in pieces:
                    await asyncio.sleep(pause_s)
                    writer.write(piece)
                if close:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    return serve


async def loaded(
    serve: Serve, *, num_connections: int = 2, seconds: float = 0.3, rate: float | None = None
) -> LoadClient:
    tasks: set[asyncio.Task[None]] = set()

    async def kept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())  # type: ignore[arg-type]
        await serve(reader, writer)

    server = await asyncio.start_server(kept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = LoadClient(LoadPlan("127.0.0.1", port, REQUEST, num_connections, seconds, 0.05, rate))
    await client.run()
    server.close()
    if tasks:
        await asyncio.wait(tasks)  # each ends with its connection
    return client


def closed_load(serve: Serve, *, num_counted: int = 1) -> LoadClient:
    """What a closed load saw, measured longer where this process was kept waiting until little was left of the time."""
    for seconds in (0.3, 1.0, 5.0):
        client = asyncio.run(loaded(serve, seconds=seconds))
        if client.statuses.total() >= num_counted:
            break
    return client


WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@pytest.mark.parametrize(
    "pieces",
    [
        (WHOLE,),
        (WHOLE[:10], WHOLE[10:30], WHOLE[30:-1], WHOLE[-1:]),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", b"0\r\n\r\n"),
    ],
    ids=["at once", "in pieces", "chunked"],
)
def test_each_answer_is_counted_once_it_is_whole(pieces: tuple[bytes, ...]) -> None:
    client = closed_load(answering(*pieces, pause_s=0.001), num_counted=4)
    assert set(client.statuses) == {200}
    assert client.statuses[200] == len(client.latencies_s) > 3
    assert min(client.latencies_s) > 0.001 * len(pieces)


def test_a_closed_load_counts_what_is_answered_in_its_time_whenever_it_was_sent() -> None:
    client, now_s = LoadClient(LoadPlan("127.0.0.1", 1, REQUEST, 1, 1.0, 0.0, None)), perf_counter()
    client._start_s, client._stop_s = now_s - 1, now_s + 1_000
    client.count_response(200, came_s=now_s - 5, sent_s=now_s - 5)
    assert client.statuses.total() == 1
    client._stop_s = now_s - 0.5
    client.count_response(200, came_s=now_s - 0.9, sent_s=now_s - 0.9)
    assert client.statuses.total() == 1


def test_other_statuses_are_counted_apart_and_have_no_latency() -> None:
    client = closed_load(answering(WHOLE.replace(b"200 OK", b"429 No"), pause_s=0.001))
    assert set(client.statuses) == {429}
    assert not client.latencies_s


def test_a_connection_that_closes_after_its_answer_is_made_again() -> None:
    closing = WHOLE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    client = closed_load(answering(closing, close=True), num_counted=2)
    assert set(client.statuses) == {200}
    assert client.statuses[200] > 1


@pytest.mark.parametrize("is_connecting", [False, True])
def test_a_connection_that_is_about_to_be_made_again_when_the_load_ends_does_not_stay(is_connecting: bool) -> None:
    async def run() -> int:
        num_open = 0

        async def kept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal num_open
            num_open += 1
            await reader.read()
            num_open -= 1
            writer.close()

        server = await asyncio.start_server(kept, "127.0.0.1", 0)
        client = LoadClient(LoadPlan("127.0.0.1", server.sockets[0].getsockname()[1], REQUEST, 1, 1.0, 0.0, None))
        client._start_reconnecting()
        await asyncio.sleep(RECONNECT_PAUSE_S if is_connecting else 0)
        client.close()
        await asyncio.sleep(5 * RECONNECT_PAUSE_S)
        server.close()
        return num_open

    assert asyncio.run(run()) == 0


def test_a_connection_that_breaks_counts_its_request_as_lost() -> None:
    client = closed_load(answering(WHOLE[:20], close=True))
    assert set(client.statuses) == {0}


def test_at_a_rate_requests_come_by_themselves_and_wait_in_the_latency() -> None:
    """One connection, 20 ms an answer, 100 a second for 0.3 s: the last waits for those before it.

    However long this process is kept waiting, that many answers take so long, and the last request came in time.
    """
    client = asyncio.run(loaded(answering(WHOLE, pause_s=0.02), num_connections=1, seconds=0.3, rate=100))
    num_answers = client.statuses[200]
    assert 20 < num_answers < 50
    assert max(client.latencies_s) > 0.0199 * num_answers - 0.3
    assert client.statuses.total() == num_answers


async def turned_away(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that takes no more connections says so before it has read anything."""
    writer.write(WHOLE.replace(b"200 OK", b"503 No"))
    writer.close()


def test_a_server_that_turns_connections_away_ends_no_measurement() -> None:
    """On the loop that the client really runs on, which takes no bytes for a closed connection."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        client = runner.run(loaded(turned_away, num_connections=20, seconds=1.0))
    assert client.statuses.keys() <= {0, 503}
    assert client.statuses.total() > 0
    assert not client.latencies_s


def test_requests_are_whole_and_taken_in_turn() -> None:
    first, second = BenchRequest("http://h:1/p", (b"a", b"bc"), {"authorization": "Bearer k"}).requests()
    assert first == (
        b"POST /p HTTP/1.1\r\nhost: h:1\r\ncontent-type: application/json\r\nauthorization: Bearer k\r\n"
        b"content-length: 1\r\n\r\na"
    )
    assert second.endswith(b"content-length: 2\r\n\r\nbc")
