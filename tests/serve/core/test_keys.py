"""API keys: what their file may say, who is let in, and how much each may ask for, over HTTP and over gRPC."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from deepseek.contracts import Event
from deepseek.engines import Runtime
from deepseek.errors import InputError
from deepseek.http_errors import RateLimitError, UnauthorizedError
from deepseek.serve import App, Settings, create_app
from deepseek.serve.core.keys import SHARE_INTERVAL_S, ApiKeys, UsageByKey
from support.servers.serving import serving, started

PREDICT = "/v1/models/loans:predict"


def hashed(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file of keys, from lines."""

    def written(*lines: str) -> Path:
        path = tmp_path / "keys"
        path.write_text("\n".join(lines))
        return path

    return written


@pytest.fixture
def keys(write: Write) -> ApiKeys:
    return ApiKeys.read(write("# two keys", f"{hashed('alpha')}  # alpha", "", hashed("beta").upper()))


def test_what_one_front_end_lets_through_another_owes(write: Write) -> None:
    path = write(f"{hashed('alpha')} rows=10/m requests=3/m burst=60s", hashed("beta"))

    async def run() -> None:
        here, there = ApiKeys.read(path), ApiKeys.read(path)
        usages: list[UsageByKey] = []
        here.share(usages.append)
        client, other = here.check(b"Bearer alpha"), there.check(b"Bearer alpha")
        for _ in range(2):
            client.take_request()
            client.take_rows(4)
        here.check(b"Bearer beta").take_rows(100)
        assert not usages
        await asyncio.sleep(3 * SHARE_INTERVAL_S)
        assert usages == [{hashed("alpha"): (2, 8)}], "together, and nothing of keys without rates"
        there.owe(msgspec.json.decode(msgspec.json.encode(usages[0])))
        there.owe({hashed("gamma"): (1, 1)})  # it is not in the file that was read here
        other.take_request()
        with pytest.raises(RateLimitError):
            other.take_request()
        with pytest.raises(RateLimitError):
            other.take_rows(3)
        other.take_rows(2)

    asyncio.run(run())


@pytest.mark.parametrize("header", [b"Bearer alpha", b"bearer beta", b"Bearer  beta "])
def test_a_known_key_passes(keys: ApiKeys, header: bytes) -> None:
    keys.check(header)


@pytest.mark.parametrize("header", [None, b"", b"alpha", b"Basic alpha", b"Bearer gamma", b"Bearer "])
def test_anything_else_is_unauthorized(keys: ApiKeys, header: bytes | None) -> None:
    with pytest.raises(UnauthorizedError):
        keys.check(header)


def test_a_client_has_the_name_that_its_line_says_or_the_beginning_of_its_hash(write: Write) -> None:
    api_keys = ApiKeys.read(write(f"{hashed('alpha')} name=acme.eu # since March", hashed("beta")))
    assert api_keys.check(b"Bearer alpha").name == "acme.eu"
    assert api_keys.check(b"Bearer beta").name == f"key-{hashed('beta')[:8]}"


def test_rates_of_a_key_are_its_own(write: Write) -> None:
    api_keys = ApiKeys.read(write(f"{hashed('alpha')} requests=2/s rows=1000/m burst=3s", hashed("beta")))
    alpha, beta = api_keys.check(b"Bearer alpha"), api_keys.check(b"Bearer beta")
    for _ in range(6):  # those of three seconds
        alpha.take_request()
    with pytest.raises(RateLimitError, match="used up its requests"):
        alpha.take_request()
    alpha.take_rows(50)
    with pytest.raises(RateLimitError, match="used up its rows") as caught:
        alpha.take_rows(50)
    assert caught.value.retry_after_s == 3
    for _ in range(100):
        beta.take_request()
        beta.take_rows(1_000)


@pytest.mark.parametrize("content", ["", "# no key\n", "secret-in-plain-text\n"])
def test_a_file_without_usable_hashes_is_refused(write: Write, content: str) -> None:
    with pytest.raises(InputError) as caught:
        ApiKeys.read(write(content))
    assert "sha256sum" in caught.value.fix
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("name=", "name= is not right"),
        ("name=a/b", "name= is not right"),
        ("name=a name=b", "name= is not right"),
        ("requests=0/s", "requests= is not right"),
        ("requests=5", "once requests=N/s, N/m or N/h"),
        ("rows=5/day", "rows= is not right"),
        ("burst=0s", "burst= is not right"),
        ("burst=9999s", "burst= is not right"),
        ("row=5/s", "Did you mean 'rows'?"),
        ("my-secret", "a word after its hash that is not known. Expected: name, requests, rows, burst"),
    ],
)
def test_a_line_that_says_something_else_is_refused(write: Write, more: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        ApiKeys.read(write("", f"{hashed('alpha')} {more}"))
    assert "line 2 of " in str(caught.value)
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_key_stands_once(write: Write) -> None:
    with pytest.raises(InputError, match="has the hash of a line before it"):
        ApiKeys.read(write(hashed("alpha"), hashed("alpha")))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        ApiKeys.read(tmp_path / "absent")


class Events:
    """A sink that remembers requests."""

    def __init__(self) -> None:
        self.all: list[Event] = []

    def emit(self, event: Event) -> None:
        if event.kind == "request":
            self.all.append(event)


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
def app(runtimes: dict[str, Runtime], write: Write, events: Events) -> App:
    file = write(f"{hashed('few')} name=few requests=3/m burst=60s", f"{hashed('rows')} rows=10/m burst=60s")
    return create_app(runtimes, settings=Settings(api_keys_file=str(file)), sinks=[events])


def ask(app: App, work: Callable[[httpx.AsyncClient], Any]) -> Any:
    async def run() -> Any:
        async with serving(app) as url, httpx.AsyncClient(base_url=url) as client:
            return await work(client)

    return asyncio.run(run())


def test_the_rate_holds_on_one_connection_with_a_known_head(app: App, loan: dict[str, Any], events: Events) -> None:
    async def work(client: httpx.AsyncClient) -> list[httpx.Response]:
        return [
            await client.post(PREDICT, json={"instances": [loan]}, headers=bearer(key))
            for key in ["few"] * 5 + ["rows"]
        ]

    *answers, other = ask(app, work)
    assert len(app.head_cache) == 2  # so most of them were not parsed
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert other.status_code == 200
    assert 15 <= int(answers[-1].headers["retry-after"]) <= 20
    assert answers[-1].json()["error"]["code"] == "rate_limited"
    assert [event.fields["client"] for event in events.all[:5]] == ["few"] * 5
    assert "Bearer" not in repr(events.all)


def test_rows_are_counted_whatever_they_come_in(app: App, loan: dict[str, Any]) -> None:
    async def work(client: httpx.AsyncClient) -> list[int]:
        columns = {"columns": list(loan), "rows": [list(loan.values())] * 4}
        bodies: list[tuple[str, Any]] = [
            (PREDICT, {"instances": [loan] * 4}), (PREDICT, columns), (PREDICT, {"instances": [loan] * 4}),
            (PREDICT.replace("predict", "explain"), {"instances": [loan] * 4}), (PREDICT, {"instances": [loan]}),
        ]  # fmt: skip
        return [(await client.post(path, json=body, headers=bearer("rows"))).status_code for path, body in bodies]

    assert ask(app, work) == [200, 200, 429, 429, 200]


def test_requests_that_are_refused_count_and_health_does_not(app: App) -> None:
    async def work(client: httpx.AsyncClient) -> list[int]:
        paths = ["/v2/health/live"] * 5 + ["/nothing"] * 4
        return [(await client.get(path, headers=bearer("few"))).status_code for path in paths]

    assert ask(app, work) == [200] * 5 + [404] * 3 + [429]


def test_a_key_that_is_taken_out_works_no_more_although_its_head_is_known(
    app: App, write: Write, loan: dict[str, Any]
) -> None:
    async def work(client: httpx.AsyncClient) -> list[int]:
        async def status(key: str) -> int:
            return (await client.post(PREDICT, json={"instances": [loan]}, headers=bearer(key))).status_code

        statuses = [await status("rows"), await status("new")]
        write(hashed("new"))
        statuses += [await status("rows")]
        app.renew_keys()
        statuses += [await status("rows"), await status("new")]
        write("nonsense")
        with pytest.raises(InputError):
            app.renew_keys()
        return [*statuses, await status("rows"), await status("new")]

    assert ask(app, work) == [200, 401, 200, 401, 200, 401, 200]


def test_the_rate_holds_over_grpc(app: App) -> None:
    grpc = pytest.importorskip("grpc")
    from deepseek.serve.grpc import start_grpc

    async def work() -> list[Any]:
        server = await start_grpc(app, "127.0.0.1", 0)
        statuses: list[Any] = []
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            call = channel.unary_unary("/inference.GRPCInferenceService/ServerMetadata")
            few, other = ("authorization", "Bearer few"), ("authorization", "Bearer other")
            for metadata in [[few]] * 4 + [[few, few], [other, few], [few, other]]:
                try:
                    await call(b"", metadata=metadata)
                    statuses.append(grpc.StatusCode.OK)
                except grpc.aio.AioRpcError as error:
                    statuses.append(error.code())
        await server.stop(0)
        return statuses

    ok, spent, twice = grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAUTHENTICATED
    assert asyncio.run(work()) == [ok] * 3 + [spent] + [twice] * 3


@pytest.fixture
def audit(tmp_path: Path) -> Path:
    return tmp_path / "audit.ndjson"


def test_a_signal_reads_the_file_again_and_the_audit_names_the_client(
    loans: Path, loan: dict[str, Any], write: Write, audit: Path
) -> None:
    file = write(f"{hashed('old')} name=acme")
    with started(loans, "--api-key-file", file, "--audit-log", audit, "--workers", "0") as server:
        with httpx.Client(base_url=server.url) as client:

            def status(key: str) -> int:
                return client.post(PREDICT, json={"instances": [loan]}, headers=bearer(key)).status_code

            assert (status("old"), status("new")) == (200, 401)
            write(hashed("new"))
            os.kill(server.process.pid, signal.SIGHUP)
            assert until(lambda: status("new") == 200)
            assert status("old") == 401
        assert server.stop() == 0
    first, *_ = [json.loads(line) for line in audit.read_text().splitlines()]
    assert first["user.name"] == "acme"


def until(true: Callable[[], bool], limit_s: float = 60) -> bool:
    end_s = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end_s, "it did not happen in time"
        time.sleep(0.02)
    return True
