"""An assistant behind a real server in the test's event loop, and a desk that its hand-overs reach."""

from __future__ import annotations

import asyncio
import functools
import json
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx

from deepseek.serve import Settings
from support.assistant.servers import make_app
from support.servers.serving import serving


def in_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test that is a coroutine, run in an event loop of its own."""

    @functools.wraps(test)
    def run(*args: Any, **fixtures: Any) -> None:
        asyncio.run(test(*args, **fixtures))

    return run


class Client:
    """Asks one assistant."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def ask(self, verb: str, *, status: int = 200, **body: Any) -> dict[str, Any]:
        answer = await self.http.post(f"/v1/models/help:{verb}", json=body)
        assert answer.status_code == status, answer.text
        values: dict[str, Any] = answer.json()
        return values

    async def say(self, text: str, conversation: str = "", **more: Any) -> dict[str, Any]:
        return await self.ask("converse", message=text, conversation=conversation, **more)


@asynccontextmanager
async def assistant(state: Path, *, webhook: str = "", settings: Settings | None = None) -> AsyncIterator[Client]:
    """A client of the assistant whose conversations are in `state`."""
    app = make_app(state, webhook=webhook, settings=settings)
    async with serving(app) as url, httpx.AsyncClient(base_url=url, timeout=60) as http:
        yield Client(http)
    await app.close()


class Desk:
    """What the people who take over have received. `status`: what it answers."""

    def __init__(self) -> None:
        self.status = 200
        self.notes: list[dict[str, Any]] = []
        self.heads: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        self.num_requests = 0
        self.arrived = threading.Event()
        self.url = ""

    def take(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers["content-length"]))
        self.num_requests += 1
        if self.status == 200:
            self.heads.append({name.lower(): value for name, value in handler.headers.items()})
            self.bodies.append(body)
            self.notes.append(json.loads(body))
        handler.send_response(self.status)
        handler.send_header("content-length", "0")
        if self.status == 302:
            handler.send_header("location", "/elsewhere")
        handler.end_headers()
        self.arrived.set()
