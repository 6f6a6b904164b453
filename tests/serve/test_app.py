"""The application by itself: overload, deadlines, keys, and bugs of an engine."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from deepseek.contracts import Event, Float32, Scores
from deepseek.engines import Runtime
from deepseek.errors import DeepseekError
from deepseek.serve import App, Settings, create_app
from support.servers.serving import serving

PREDICT = "/v1/models/loans:predict"


class Events:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.all: list[Event] = []

    def emit(self, event: Event) -> None:
        self.all.append(event)

    def of(self, kind: str) -> list[Event]:
        return [event for event in self.all if event.kind == kind]


class Held:
    """A runtime whose engine waits until it is let go, or raises."""

    def __init__(self, runtime: Runtime, *, error: Exception | None = None) -> None:
        self._runtime = runtime
        self._error = error
        self.held = False  # once the server has started
        self.go = threading.Event()
        self.num_scored = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runtime, name)

    def score(self, features: Float32) -> Scores:
        if not self.held:
            time.sleep(0.005)  # too dear for the event loop, so that it may be held later
            return self._runtime.score(features)
        if self._error is not None:
            raise self._error
        self.go.wait(60)
        self.num_scored += len(features)
        return self._runtime.score(features)


def ask(app: App, work: Callable[[httpx.AsyncClient], Awaitable[Any]], *, hold: Held | None = None) -> Any:
    """Run `work` with a client of the app; `hold` is held from the start on."""

    async def run() -> Any:
        async with serving(app) as url, httpx.AsyncClient(base_url=url) as client:
            if hold is not None:
                hold.held = True
            return await work(client)

    return asyncio.run(run())


def test_a_full_queue_answers_429_with_retry_after_and_loses_nobody_else(
    runtimes: dict[str, Runtime], loan: dict[str, Any]
) -> None:
    held = Held(runtimes["loans"])
    app = create_app({"loans": held}, settings=Settings(max_queued_rows=4, batch_size=1))

    async def work(client: httpx.AsyncClient) -> list[httpx.Response]:
        asking = [asyncio.create_task(client.post(PREDICT, json={"instances": [loan]})) for _ in range(6)]
        await asyncio.sleep(0.2)
        held.go.set()
        return await asyncio.gather(*asking)

    answers = ask(app, work, hold=held)
    assert sorted(answer.status_code for answer in answers) == [200] * 4 + [429] * 2
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json()["error"]["code"] == "overloaded"


def test_a_request_past_its_deadline_is_answered_504_and_never_computed(
    runtimes: dict[str, Runtime], loan: dict[str, Any]
) -> None:
    held = Held(runtimes["loans"])
    app = create_app({"loans": held}, settings=Settings(batch_size=1))

    async def work(client: httpx.AsyncClient) -> list[int]:
        body = {"instances": [loan]}
        first = asyncio.create_task(client.post(PREDICT, json=body))
        await asyncio.sleep(0.05)
        late = asyncio.create_task(client.post(PREDICT, json=body, headers={"x-timeout-ms": "50"}))
        await asyncio.sleep(0.2)
        held.go.set()
        return [(await first).status_code, (await late).status_code]

    assert ask(app, work, hold=held) == [200, 504]
    assert held.num_scored == 1


def test_health_answers_while_a_large_request_is_computed(runtimes: dict[str, Runtime], loan: dict[str, Any]) -> None:
    held = Held(runtimes["loans"])
    app = create_app({"loans": held})

    async def work(client: httpx.AsyncClient) -> tuple[int, int]:
        large = asyncio.create_task(client.post(PREDICT, json={"instances": [loan] * 1_000}))
        await asyncio.sleep(0.1)
        health = await client.get("/v2/health/ready")
        held.go.set()
        return health.status_code, (await large).status_code

    assert ask(app, work, hold=held) == (200, 200)


@pytest.mark.parametrize("kind", [RuntimeError, DeepseekError])
def test_a_bug_in_an_engine_is_500_without_its_inside_and_the_log_has_it(
    runtimes: dict[str, Runtime], loan: dict[str, Any], kind: type[Exception]
) -> None:
    events = Events()
    held = Held(runtimes["loans"], error=kind("secret inside"))
    app = create_app({"loans": held}, sinks=[events])

    async def work(client: httpx.AsyncClient) -> list[httpx.Response]:
        body = {"instances": [loan]}
        return [await client.post(PREDICT, json=body, headers={"x-request-id": "r-1"}), await client.get("/v1/models")]

    failed, after = ask(app, work, hold=held)
    assert (failed.status_code, after.status_code) == (500, 200)
    assert "secret" not in failed.text
    assert "r-1" in failed.json()["error"]["fix"]
    assert "secret inside" in events.of("request")[0].fields["traceback"]


def test_events_say_what_happened(runtimes: dict[str, Runtime], loan: dict[str, Any]) -> None:
    events = Events()
    app = create_app(runtimes, sinks=[events])

    async def work(client: httpx.AsyncClient) -> None:
        await client.post(PREDICT, json={"instances": [loan, loan | {"age": None}]})
        await client.post(PREDICT, content=b"{", headers={"content-type": "application/json"})

    ask(app, work)
    good, bad = events.of("request")
    assert (good.model_name, good.model_version, good.status, good.num_rows) == ("loans", "1", 200, 2)
    assert good.duration_s >= good.queue_s >= 0
    assert good.fields["flags"] == {("age", "imputed"): 1}
    assert good.fields["route"] == "/v1/models/M:predict"
    assert (bad.status, bad.fields["error"]) == (400, "malformed")
    assert events.of("batch")[-1].num_rows == 2


def test_without_an_explainer_explain_is_501(runtimes: dict[str, Runtime], loan: dict[str, Any]) -> None:
    app = create_app(runtimes)
    body = {"instances": [loan]}
    assert ask(app, lambda client: client.post("/v1/models/loans:explain", json=body)).status_code == 501


def test_without_a_key_only_health_and_the_console_answer(
    runtimes: dict[str, Runtime], loan: dict[str, Any], tmp_path: Path
) -> None:
    file = tmp_path / "keys"
    file.write_text(hashlib.sha256(b"open sesame").hexdigest())
    app = create_app(runtimes, settings=Settings(api_keys_file=str(file)))

    async def work(client: httpx.AsyncClient) -> dict[str, int]:
        paths = ["/v2/health/live", "/v2/health/ready", "/", "/v1/models", "/metrics", "/openapi.json", "/nothing"]
        statuses = {path: (await client.get(path)).status_code for path in paths}
        key = {"authorization": "Bearer open sesame"}
        statuses["with key"] = (await client.post(PREDICT, json={"instances": [loan]}, headers=key)).status_code
        statuses["wrong key"] = (await client.get("/v1/models", headers={"authorization": "Bearer x"})).status_code
        return statuses

    assert ask(app, work) == {
        "/v2/health/live": 200, "/v2/health/ready": 200, "/": 200, "/v1/models": 401, "/metrics": 401,
        "/openapi.json": 401, "/nothing": 401, "with key": 200, "wrong key": 401,
    }  # fmt: skip


def test_a_draining_server_is_not_ready_but_answers_and_closes(
    runtimes: dict[str, Runtime], loan: dict[str, Any]
) -> None:
    app = create_app(runtimes)
    app.drain()

    async def work(client: httpx.AsyncClient) -> tuple[int, int, str]:
        ready = await client.get("/v2/health/ready")
        answer = await client.post(PREDICT, json={"instances": [loan]})
        return ready.status_code, answer.status_code, answer.headers["connection"]

    assert ask(app, work) == (503, 200, "close")


def test_a_server_without_models_is_not_ready() -> None:
    assert ask(create_app({}), lambda client: client.get("/v2/health/ready")).status_code == 503
