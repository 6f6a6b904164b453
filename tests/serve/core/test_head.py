"""Every route, asked rightly and wrongly: each answer has the security headers, asks for a key and tells no insides."""

from __future__ import annotations

import asyncio
import hashlib
import platform
import re
from collections.abc import AsyncGenerator
from importlib.metadata import version
from typing import Any

import httpx
import pytest

from deepseek.engines import Runtime
from deepseek.observe.live import LiveStats
from deepseek.observe.metrics import Metrics
from deepseek.serve import App, Pages, Settings, create_app
from deepseek.serve.core.request import Request, Response
from support.servers.serving import serving

HEADERS = {
    "x-content-type-options": "nosniff", "x-frame-options": "DENY", "cache-control": "no-store",
    "referrer-policy": "no-referrer", "cross-origin-resource-policy": "same-origin",
}  # fmt: skip
KEY = {"authorization": "Bearer open sesame"}
OPEN = {"/", "/v2/health/live", "/v2/health/ready"}
INSIDES = re.compile(
    "|".join(
        [
            *(rf"{name}[^a-z]{{0,3}}{re.escape(version(name))}" for name in ("numpy", "onnxruntime", "msgspec")),
            "Traceback", r'File \\*"', "site-packages", r"\.py\b", re.escape(platform.python_version()), "uvloop",
            "httptools",
        ]
    ),
    re.IGNORECASE,
)  # fmt: skip


class Broken:
    """A model whose engine raises what it should not."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runtime, name)

    def score(self, features: Any) -> Any:
        if len(features) == 3:
            raise RuntimeError("a secret of the engine")
        return self._runtime.score(features)


async def _pieces() -> AsyncGenerator[bytes, None]:
    for _ in range(3):
        yield b"data: piece\n\n"


def _stream(_: Request) -> Response:
    return Response(b"", media_type=b"text/event-stream", chunks=_pieces())


@pytest.fixture(scope="module")
def app(runtimes: dict[str, Runtime], tmp_path_factory: pytest.TempPathFactory) -> App:
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text(hashlib.sha256(b"open sesame").hexdigest())
    models: Any = {"loans": runtimes["loans"], "broken": Broken(runtimes["prices"])}
    metrics, live = Metrics(), LiveStats()
    pages = Pages(metrics=metrics.exposition, stats=live.snapshot)
    application = create_app(models, settings=Settings(api_keys_file=str(keys)), sinks=[metrics, live], pages=pages)
    application.router.add_post("/v1/stream", _stream)
    return application


@pytest.fixture(scope="module")
def answers(app: App, loan: dict[str, Any]) -> dict[str, httpx.Response]:
    """What was asked -> the answer: every route with each method, with a key and without, right and wrong bodies."""
    bodies: dict[str, Any] = {
        "an example": {"instances": [loan]}, "no JSON": b"{", "nothing": b"",
        "three": {"instances": [{"area": 1, "rooms": 2}] * 3},
    }  # fmt: skip

    async def run() -> dict[str, httpx.Response]:
        by_request = {}
        async with serving(app) as url, httpx.AsyncClient(base_url=url, timeout=30) as client:
            for path in [*app.router.routes, "/nothing", "/v1/models/nobody"]:
                for method in ("GET", "HEAD", "POST", "DELETE", "OPTIONS"):
                    for key in ({}, KEY, {"authorization": "Bearer wrong"}):
                        name = f"{method} {path} {key.get('authorization', 'no key')}"
                        by_request[name] = await client.request(method, path, headers=key)
                for what, body in bodies.items():
                    sent = {"content": body} if isinstance(body, bytes) else {"json": body}
                    by_request[f"POST {path} {what}"] = await client.post(path, headers=KEY, **sent)
        return by_request

    return asyncio.run(run())


def test_every_answer_has_the_security_headers_once(answers: dict[str, httpx.Response]) -> None:
    assert len(answers) > 400
    for what, answer in answers.items():
        for name, value in HEADERS.items():
            assert answer.headers.get_list(name) == [value], what
        assert "server" not in answer.headers
        if answer.headers["content-type"].startswith("text/html"):
            assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


def test_all_but_health_and_the_console_needs_a_key(answers: dict[str, httpx.Response]) -> None:
    for what, answer in answers.items():
        _, path, more = what.split(" ", 2)
        if more in ("no key", "Bearer wrong") and path not in OPEN:
            assert answer.status_code == 401, what
        else:
            assert answer.status_code != 401, what


def test_no_answer_tells_of_the_inside(answers: dict[str, httpx.Response]) -> None:
    for what, answer in answers.items():
        if " /docs " in what or " / " in what:  # pages speak of clients in Python
            continue
        assert not INSIDES.search(answer.text), (what, answer.text[:300])
        assert "secret" not in answer.text, what
    assert answers["POST /v1/models/broken:predict three"].status_code == 500


def test_a_stream_was_among_them(answers: dict[str, httpx.Response]) -> None:
    answer = answers["POST /v1/stream an example"]
    assert answer.headers["transfer-encoding"] == "chunked"
    assert answer.text == "data: piece\n\n" * 3
