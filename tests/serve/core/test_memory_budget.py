"""Bodies on the wire that would fill a server: many large ones, and one that comes in pieces of nothing."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from deepseek.engines import Runtime
from deepseek.serve import App, Settings, create_app
from support.servers.serving import serving

MIB = 1 << 20
HEAD = b"POST /v1/models/loans:predict HTTP/1.1\r\nhost: localhost\r\n"


@pytest.fixture
def app(runtimes: dict[str, Runtime]) -> App:
    return create_app(runtimes, settings=Settings(max_body_bytes=MIB))


async def status_of(reader: asyncio.StreamReader) -> tuple[int, Any]:
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
    size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return int(head.split()[1]), json.loads(await reader.readexactly(size))


def test_large_bodies_share_what_there_is_and_it_is_given_back(app: App, loan: dict[str, Any]) -> None:
    body = json.dumps({"instances": [loan]}).encode().ljust(900_000)
    whole = HEAD + b"content-length: %d\r\n\r\n" % len(body) + body

    async def run() -> None:
        async with serving(app) as url:
            port = int(url.rsplit(":", 1)[1])
            held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
            for _, writer in held:
                writer.write(whole[:-1])
                await writer.drain()
            while app.bodies.taken_bytes < 3 * MIB:
                await asyncio.sleep(0.01)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(whole)
            status, answer = await status_of(reader)
            assert (status, answer["error"]["code"]) == (503, "too_many_bodies")
            for each, (reader, writer) in enumerate(held):
                if each == 2:
                    writer.close()  # its client goes away
                    continue
                writer.write(whole[-1:])
                assert (await status_of(reader))[0] == 200
            while app.bodies.taken_bytes:
                await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(run(), 60))


def test_a_body_in_chunks_of_a_byte_is_refused_and_one_in_small_chunks_is_not(app: App, loan: dict[str, Any]) -> None:
    async def sent(chunk: bytes, body: bytes) -> int:
        async with serving(app) as url:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rsplit(":", 1)[1]))
            writer.write(HEAD + b"transfer-encoding: chunked\r\n\r\n")
            size = len(chunk)
            chunks = [b"%x\r\n%b\r\n" % (size, chunk)] * 40_000 if not body else []
            chunks += [b"1\r\n%b\r\n" % body[at : at + 1] for at in range(len(body))]
            writer.write(b"".join(chunks) + b"0\r\n\r\n")
            status, _ = await status_of(reader)
            writer.close()
            return status

    assert asyncio.run(sent(b" ", b"")) == 400
    assert asyncio.run(sent(b"", json.dumps({"instances": [loan] * 200}).encode())) == 200


@pytest.mark.parametrize("path", ["/v2/repository/index", "/v2/repository/models/loans/unload", "/v1/models", "/none"])
def test_a_route_that_takes_no_rows_takes_no_large_body(app: App, path: str) -> None:
    async def run() -> int:
        async with serving(app) as url:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rsplit(":", 1)[1]))
            method = "GET" if path == "/v1/models" else "POST"
            writer.write(f"{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\n\r\n".encode())
            return (await status_of(reader))[0]

    assert asyncio.run(run()) == (404 if path == "/none" else 413)
