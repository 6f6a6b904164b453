"""HTTP/1.1 on the wire: bodies in pieces and over the limit, pipelines, half-closed and slow clients, upgrades."""

from __future__ import annotations

import asyncio
import io
import json
import socket
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import pytest

from deepseek.contracts import Event
from deepseek.engines import Runtime
from deepseek.serve import App, Settings, create_app
from deepseek.serve.core.request import Response
from deepseek.serve.http import connection
from support.servers.serving import serving

PREDICT = b"/v1/models/loans:predict"
MODELS = b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\n"


class Events:
    """A sink that remembers requests."""

    def __init__(self) -> None:
        self.all: list[Event] = []

    def emit(self, event: Event) -> None:
        if event.kind == "request":
            self.all.append(event)


class Wire:
    """A client that sends bytes as they are and reads answers one by one."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self, *, body: bool = True) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 10)
        status, *lines = head.decode().split("\r\n")[:-2]
        headers = dict(line.lower().split(": ", 1) for line in lines)
        size = int(headers["content-length"]) if body else 0
        return int(status.split()[1]), headers, await self.reader.readexactly(size)

    async def rest(self) -> bytes:
        """What comes until the server closes."""
        return await asyncio.wait_for(self.reader.read(), 10)


def talk(app: App, work: Callable[[Wire], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with serving(app) as url:
            wire = Wire(*await asyncio.open_connection("127.0.0.1", int(url.rsplit(":", 1)[1])))
            try:
                return await work(wire)
            finally:
                wire.writer.close()

    return asyncio.run(run())


def post(body: bytes, *headers: bytes, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    lines = [b"POST %b HTTP/1.1" % PREDICT, b"host: localhost", b"content-length: %d" % size]
    return b"\r\n".join([*lines, *headers, b"", body])


@pytest.fixture(scope="module")
def row(loan: dict[str, Any]) -> bytes:
    return json.dumps({"instances": [loan]}).encode()


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
def app(runtimes: dict[str, Runtime], events: Events) -> App:
    return create_app(runtimes, settings=Settings(max_body_bytes=1_024, body_timeout_s=0.2), sinks=[events])


def test_a_request_may_come_byte_by_byte(app: App, row: bytes) -> None:
    async def work(wire: Wire) -> int:
        for byte in post(row):
            wire.send(bytes([byte]))
            await asyncio.sleep(0)
        return (await wire.answer())[0]

    assert talk(app, work) == 200


def test_a_chunked_body_is_joined_and_its_trailers_are_not_headers(app: App, row: bytes, events: Events) -> None:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (row[:7], row[7:]))
    head = b"POST %b HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n" % PREDICT

    async def work(wire: Wire) -> list[int]:
        wire.send(head + chunks + b"0\r\nx-request-id: trailer\r\n\r\n" + post(row))
        return [(await wire.answer())[0], (await wire.answer())[0]]

    assert talk(app, work) == [200, 200]
    assert events.all[0].fields["request_id"] != "trailer"


def test_pipelined_requests_are_answered_in_their_order(app: App, row: bytes) -> None:
    async def work(wire: Wire) -> list[tuple[int, str]]:
        wire.send(b"".join(post(row, b"x-request-id: r-%d" % number) + MODELS + b"\r\n" for number in range(50)))
        answers = [await wire.answer() for _ in range(100)]
        return [(status, headers["x-request-id"]) for status, headers, _ in answers[::2]]

    assert talk(app, work) == [(200, f"r-{number}") for number in range(50)]


def test_a_client_that_pipelines_and_does_not_read_is_not_computed_for(app: App, events: Events) -> None:
    """Its answers would pile up in memory."""

    async def work(wire: Wire) -> int:
        page = b"GET /docs HTTP/1.1\r\nhost: localhost\r\n\r\n"
        wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
        wire.send(page * 20_000)
        await asyncio.sleep(1.0)
        return len(events.all)

    assert 0 < talk(app, work) < 2_000


@pytest.mark.parametrize("head", [b"connection: close\r\n", b""])
def test_the_connection_lives_as_long_as_the_client_asks(app: App, head: bytes) -> None:
    async def work(wire: Wire) -> tuple[dict[str, str], bytes]:
        version = b"1.1" if head else b"1.0"
        wire.send(b"GET /v1/models HTTP/%b\r\nhost: localhost\r\n%b\r\n" % (version, head))
        _, headers, _ = await wire.answer()
        return headers, await wire.rest()

    headers, rest = talk(app, work)
    assert headers["connection"] == "close"
    assert rest == b""


def test_a_stream_has_no_chunks_for_a_client_of_http_1_0(app: App) -> None:
    async def pieces() -> AsyncGenerator[bytes, None]:
        yield b"data: one\n\n"
        yield b"data: two\n\n"

    async def work(wire: Wire) -> bytes:
        wire.send(b"POST /v1/stream HTTP/1.0\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n")
        return await wire.rest()

    app.router.add_post("/v1/stream", lambda _: Response(b"", media_type=b"text/event-stream", chunks=pieces()))
    head, _, body = talk(app, work).partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head
    assert b"connection: close" in head
    assert body == b"data: one\n\ndata: two\n\n"


def test_every_answer_has_a_date_and_the_security_headers(app: App) -> None:
    async def work(wire: Wire) -> dict[str, str]:
        wire.send(MODELS + b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\n")
        return (await wire.answer())[1]

    headers = talk(app, work)
    assert headers["date"].endswith("gmt")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["traceparent"].startswith("00-4bf9")
    assert "connection" not in headers


def test_head_has_the_headers_of_get_and_no_body(app: App) -> None:
    async def work(wire: Wire) -> tuple[int, int]:
        wire.send(b"HEAD /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n" + MODELS + b"\r\n")
        _, headers, _ = await wire.answer(body=False)
        return int(headers["content-length"]), (await wire.answer())[0]

    length, status = talk(app, work)
    assert length > 0
    assert status == 200


def test_a_client_that_half_closes_gets_its_answer(app: App, row: bytes) -> None:
    async def work(wire: Wire) -> tuple[int, bytes]:
        wire.send(post(row))
        wire.writer.write_eof()
        return (await wire.answer())[0], await wire.rest()

    assert talk(app, work) == (200, b"")


def test_a_client_that_waits_for_100_continue_is_told_to_go_on(app: App, row: bytes) -> None:
    async def work(wire: Wire) -> tuple[bytes, int]:
        head, body = post(row, b"expect: 100-continue").split(b"\r\n\r\n")
        wire.send(head + b"\r\n\r\n")
        head_bytes = await asyncio.wait_for(wire.reader.readuntil(b"\r\n\r\n"), 5)
        wire.send(body)
        return head_bytes, (await wire.answer())[0]

    assert talk(app, work) == (b"HTTP/1.1 100 Continue\r\n\r\n", 200)


@pytest.mark.parametrize("path", [b"/nothing", PREDICT])
def test_a_refused_client_that_waits_for_100_continue_is_told_at_once(app: App, path: bytes) -> None:
    async def work(wire: Wire) -> int:
        length = b"5" if path == b"/nothing" else b"5000"
        wire.send(
            b"POST %b HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: %b\r\n\r\n"
            % (path, length)
        )
        return (await wire.answer())[0]

    assert talk(app, work) == (404 if path == b"/nothing" else 413)


def test_an_upgrade_is_not_taken_and_the_request_is_answered(app: App, row: bytes) -> None:
    upgrade = (b"connection: Upgrade, HTTP2-Settings", b"upgrade: h2c", b"http2-settings: AAMAAABkAAQAAP__")

    async def work(wire: Wire) -> list[int]:
        wire.send(MODELS + b"\r\n".join(upgrade) + b"\r\n\r\n")
        heads = [(await wire.answer())[0]]
        wire.send(post(row, *upgrade)[:-7])
        await asyncio.sleep(0.05)
        wire.send(post(row, *upgrade)[-7:] + post(row))
        return [*heads, (await wire.answer())[0], (await wire.answer())[0]]

    assert talk(app, work) == [200, 200, 200]


def test_chunks_behind_an_offered_upgrade_are_refused(app: App) -> None:
    """The parser cannot read them; better refused than answered as an empty body."""

    async def work(wire: Wire) -> int:
        head = b"transfer-encoding: chunked\r\nconnection: Upgrade\r\nupgrade: h2c\r\n\r\n"
        wire.send(b"POST %b HTTP/1.1\r\nhost: localhost\r\n" % PREDICT + head + b"2\r\n{}\r\n0\r\n\r\n")
        return (await wire.answer())[0]

    assert talk(app, work) == 400


def test_a_body_over_the_limit_is_refused_before_it_is_read(app: App, events: Events) -> None:
    async def work(wire: Wire) -> tuple[int, dict[str, str], bytes]:
        wire.send(post(b"x" * 100, length=2_000))
        status, headers, _ = await wire.answer()
        wire.send(b"x" * 1_900)  # as clients do that read only after they have sent all
        return status, headers, await wire.rest()

    status, headers, rest = talk(app, work)
    assert (status, headers["connection"], rest) == (413, "close", b"")
    assert [event.fields["error"] for event in events.all] == ["too_large"]


def test_a_chunked_body_over_the_limit_is_refused_as_soon_as_it_passes_it(app: App) -> None:
    async def work(wire: Wire) -> int:
        wire.send(b"POST %b HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n" % PREDICT)
        wire.send((b"1f4\r\n" + b"x" * 500 + b"\r\n") * 3)
        return (await wire.answer())[0]

    assert talk(app, work) == 413


def test_a_client_that_never_stops_sending_is_cut_off(app: App) -> None:
    async def work(wire: Wire) -> None:
        wire.send(post(b"", length=10_000_000))
        assert (await wire.answer())[0] == 413
        for _ in range(100):
            wire.send(b"x" * 1_000)
            await wire.writer.drain()
            await asyncio.sleep(0.05)

    with pytest.raises(ConnectionError):
        talk(app, work)


def test_a_refused_request_with_its_body_leaves_the_connection_alive(app: App) -> None:
    async def work(wire: Wire) -> list[int]:
        wire.send(post(b"{}", b"x: y").replace(PREDICT, b"/nothing") + MODELS + b"\r\n")
        return [(await wire.answer())[0], (await wire.answer())[0]]

    assert talk(app, work) == [404, 200]


@pytest.mark.parametrize("sent", [b"POST %b HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n{" % PREDICT])
def test_a_body_that_does_not_come_is_408_and_the_connection_is_closed(app: App, events: Events, sent: bytes) -> None:
    async def work(wire: Wire) -> tuple[int, bytes]:
        wire.send(sent)
        return (await wire.answer())[0], await wire.rest()

    assert talk(app, work) == (408, b"")
    assert events.all[0].fields["route"] == "/v1/models/M:predict"


def test_a_body_that_waits_behind_other_requests_is_not_given_up(
    runtimes: dict[str, Runtime], row: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its client may have sent all of it: it is the server that does not read on."""
    app = create_app(runtimes, settings=Settings(body_timeout_s=0.2))
    find = app.admit

    def admit(call: Any) -> None:
        find(call)
        answer = call.handler

        def later(call: Any) -> None:
            asyncio.get_running_loop().call_later(0.6, answer, call)

        call.handler = later

    monkeypatch.setattr(app, "admit", admit)

    async def work(wire: Wire) -> list[int]:
        wire.send(post(row) + post(row) + post(row)[:-9])
        await asyncio.sleep(0.1)
        wire.send(post(row)[-9:])
        return [(await wire.answer())[0] for _ in range(3)]

    assert talk(app, work) == [200, 200, 200]


def test_headers_that_do_not_come_are_given_up(runtimes: dict[str, Runtime], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes within the limit of the one before, all together do not. The loop's clock is put forward: a byte
    that was sent at the moment of giving up would be answered with a reset."""
    app = create_app(runtimes, settings=Settings(body_timeout_s=30))

    async def work(wire: Wire) -> tuple[bool, bytes]:
        loop = asyncio.get_running_loop()
        now_s, ahead_s = loop.time, 0.0
        monkeypatch.setattr(loop, "time", lambda: now_s() + ahead_s)
        for byte in b"GET":
            wire.send(bytes([byte]))
            for _ in range(20):
                await asyncio.sleep(0)
            ahead_s += 12
            early = wire.reader.at_eof()
        return early, await wire.rest()

    assert talk(app, work) == (False, b"")


def test_an_idle_connection_is_closed(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "KEEP_ALIVE_TIMEOUT_S", 0.1)

    async def work(wire: Wire) -> bytes:
        wire.send(MODELS + b"\r\n")
        await wire.answer()
        return await wire.rest()

    assert talk(app, work) == b""


@pytest.mark.slow
def test_a_client_that_reads_slowly_gets_all_of_a_large_answer(
    runtimes: dict[str, Runtime], loan: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes longer than an idle connection may live, but it goes on reading."""
    monkeypatch.setattr(connection, "KEEP_ALIVE_TIMEOUT_S", 0.3)
    app = create_app(runtimes, settings=Settings(body_timeout_s=0.2))

    async def work(wire: Wire) -> int:
        wire.writer.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        wire.send(post(json.dumps({"instances": [loan] * 16_000}).encode()))
        head = await asyncio.wait_for(wire.reader.readuntil(b"\r\n\r\n"), 10)
        size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        left = size
        while left:
            left -= len(await wire.reader.read(40_000)) or left + 1
            await asyncio.sleep(0.05)
        return size

    started_s = time.perf_counter()
    assert talk(app, work) > 1_000_000
    assert time.perf_counter() - started_s > 1.0


def test_a_client_that_leaves_in_the_middle_of_its_body_is_in_the_log(app: App, events: Events) -> None:
    async def work(wire: Wire) -> None:
        wire.send(post(b"{", length=9))
        await asyncio.sleep(0.05)
        wire.writer.close()
        await asyncio.sleep(0.05)

    talk(app, work)
    assert [(event.status, event.fields["error"]) for event in events.all] == [(499, "disconnected")]


def test_what_is_no_request_is_in_the_log(app: App, events: Events) -> None:
    async def work(wire: Wire) -> int:
        wire.send(b"\x16\x03\x01\x02\x00")
        return (await wire.answer())[0]

    assert talk(app, work) == 400
    assert [(event.status, event.fields["error"]) for event in events.all] == [(400, "malformed")]


@pytest.mark.parametrize("target", [b"/caf\xc3\xa9", b"nonsense", b"http://"])
def test_a_target_that_is_no_path_is_400(app: App, target: bytes) -> None:
    async def work(wire: Wire) -> int:
        wire.send(b"GET " + target + b" HTTP/1.1\r\nhost: localhost\r\n\r\n")
        return (await wire.answer())[0]

    assert talk(app, work) == 400


def test_a_bug_in_reading_is_not_called_the_client_s_fault(
    app: App, monkeypatch: pytest.MonkeyPatch, log_text: io.StringIO
) -> None:
    def broken(_: Any) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(app, "admit", broken)

    async def work(wire: Wire) -> bytes:
        wire.send(MODELS + b"\r\n")
        return await wire.rest()

    assert talk(app, work) == b""
    assert "a bug" in log_text.getvalue()
