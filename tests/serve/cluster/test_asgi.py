"""The application behind an ASGI server answers what it answers behind our own front end, byte for byte."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from deepseek.contracts import Event
from deepseek.engines import Runtime
from deepseek.serve import App, Settings, create_app
from deepseek.serve.cluster.asgi import AsgiApp
from support.servers.serving import serving

JSON = {"content-type": "application/json"}
PREDICT = "/v1/models/loans:predict"
ROW = json.dumps({"instances": [{"age": 33.5, "income": 2400.0, "purpose": "car"}]}).encode()
#: Method, path, body and headers.
REQUESTS: list[tuple[str, str, bytes, dict[str, str]]] = [
    ("GET", "/v1/models", b"", {}),
    ("HEAD", "/v1/models", b"", {}),
    ("GET", "/v1/models/loans", b"", {}),
    ("GET", "/v1/models/lones", b"", {}),
    ("GET", "/v1%2Fmodels", b"", {}),
    ("GET", "/v2/health/ready", b"", {}),
    ("GET", "/v2/models/loans", b"", {}),
    ("GET", "/docs", b"", {}),
    ("GET", "/metrics", b"", {}),
    ("GET", "/nowhere", b"", {}),
    ("DELETE", PREDICT, b"", {}),
    ("POST", PREDICT, ROW, JSON),
    ("POST", PREDICT, b'{"columns": ["age", "income", "purpose"], "rows": [[1, 2, "car"], [3, null, "x"]]}', JSON),
    ("POST", PREDICT, b'{"instances": [{"age": 1}]}', JSON),
    ("POST", PREDICT, b'{"instances": [', JSON),
    ("POST", PREDICT, b"{}", {"content-type": "text/plain"}),
    ("POST", PREDICT, b"", JSON),
    ("POST", PREDICT, b"{}" + b" " * 3_000, JSON),  # above max_body_bytes
    ("POST", PREDICT, ROW, JSON | {"x-timeout-ms": "soon"}),
    ("POST", PREDICT, ROW, JSON | {"traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01"}),
    ("POST", "/v2/models/loans/infer", b'{"inputs": []}', JSON | {"accept": "*/*"}),
]
#: Headers that are the front end's own, here uvicorn's.
FRONT = {"date", "server", "connection", "transfer-encoding", "x-request-id"}


@asynccontextmanager
async def behind_uvicorn(app: App) -> AsyncIterator[str]:
    await app.start()
    config = uvicorn.Config(AsgiApp(app), host="127.0.0.1", port=0, lifespan="on", log_level="error")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started and not task.done():
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


def make(loans: Path, *sinks: Any, **settings: Any) -> App:
    return create_app({"loans": Runtime.open(loans)}, settings=Settings(**settings), sinks=sinks)


def answer_of(answer: httpx.Response) -> tuple[int, bytes, dict[str, str]]:
    return (
        answer.status_code,
        answer.content,
        {name: text for name, text in answer.headers.items() if name not in FRONT},
    )


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_every_answer_is_what_our_own_front_end_says(loans: Path, workers: int) -> None:
    async def run() -> None:
        ours, theirs = (make(loans, max_body_bytes=2_048, workers=workers) for _ in range(2))
        async with serving(ours) as one, behind_uvicorn(theirs) as two, httpx.AsyncClient(timeout=20) as client:
            for method, path, body, headers in REQUESTS:
                answers = [
                    answer_of(await client.request(method, url + path, content=body, headers=headers))
                    for url in (one, two)
                ]
                assert answers[0] == answers[1], (method, path, body[:80])
        await ours.close()

    asyncio.run(run())


def test_a_model_that_needs_a_key_needs_it_behind_the_door(loans: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(hashlib.sha256(b"secret").hexdigest() + " name=acme requests=1/h")

    async def run() -> None:
        app = make(loans, api_keys_file=str(keys))
        async with behind_uvicorn(app) as url, httpx.AsyncClient(timeout=20) as client:
            statuses = []
            for key in ("", "Bearer wrong", "Bearer secret", "Bearer secret"):
                answer = await client.post(url + PREDICT, content=ROW, headers=JSON | {"authorization": key})
                statuses.append(answer.status_code)
            assert statuses == [401, 401, 200, 429]
            assert (await client.get(url + "/v2/health/live")).status_code == 200

    asyncio.run(run())


def test_what_two_readers_could_understand_differently_is_refused(loans: Path) -> None:
    async def ask(url: str, head: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(head + b"host: here\r\nconnection: close\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        return answer

    async def run() -> None:
        async with behind_uvicorn(make(loans)) as url:
            twice = await ask(url, b"GET /v1/models HTTP/1.1\r\nx-timeout-ms: 1\r\nx-timeout-ms: 9000\r\n")
            assert b" 400 " in twice.splitlines()[0]
            assert b"stands twice" in twice

    asyncio.run(run())


def test_a_body_that_does_not_come_or_is_too_large_is_given_up(loans: Path) -> None:
    events: list[Event] = []

    class Sink:
        def emit(self, event: Event) -> None:
            events.append(event)

    async def large() -> AsyncIterator[bytes]:  # without a content-length
        for _ in range(100):
            yield b" " * 1_024

    async def silent() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(1)

    async def run() -> None:
        app = make(loans, Sink(), body_timeout_s=0.3, max_body_bytes=65_536)
        async with behind_uvicorn(app) as url, httpx.AsyncClient(timeout=20) as client:
            assert (await client.post(url + PREDICT, content=large(), headers=JSON)).status_code == 413
            assert (await client.post(url + PREDICT, content=silent(), headers=JSON)).status_code == 408
            assert (await client.post(url + PREDICT, content=ROW, headers=JSON)).status_code == 200

    asyncio.run(run())
    assert [event.status for event in events if event.kind == "request"] == [413, 408, 200]


def test_a_server_whose_keys_are_gone_does_not_start(loans: Path, tmp_path: Path) -> None:
    from deepseek.errors import InputError

    with pytest.raises(InputError, match="API keys"):
        make(loans, api_keys_file=str(tmp_path / "none"))
