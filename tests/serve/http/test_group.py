"""Several front ends on one port: one ready line, one set of counters, one end."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from deepseek.errors import InputError
from deepseek.observe.audit import check_audit
from deepseek.serve.core.ready_line import ReadyLine
from deepseek.serve.http import group as group_module
from deepseek.serve.http.group import FrontEndGroup, MemberProcess, Membership
from support.servers.serving import Server, children, started, until

PREDICT = "/v1/models/loans:predict"
RATE = 20
KEYS = {b"alone": f"requests={RATE}/s", b"many": f"requests={RATE}/s"}


@pytest.fixture
def audit(tmp_path: Path) -> Path:
    return tmp_path / "audit.log"


@pytest.fixture
def group(loans: Path, audit: Path) -> Iterator[Server]:
    # Behind "--" everything is a model's name, in the children's command as well.
    with started("--front-ends", "2", "--workers", "1", "--audit-log", audit, "--", loans) as running:
        yield running


def ask(group: Server, loan: dict[str, Any], num_requests: int) -> set[int]:
    """Each on a connection of its own, so that the kernel deals them out."""
    body = {"instances": [loan]}
    # Unverified, for there is no TLS: to read the system's certificates for each connection takes 5 ms.
    return {httpx.post(f"{group.url}{PREDICT}", json=body, verify=False).status_code for _ in range(num_requests)}


def answered(group: Server) -> float:
    lines = httpx.get(f"{group.url}/metrics").text.splitlines()
    name = 'deepseek_requests_total{model_name="loans",model_version="1",status="200"} '
    return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))


@pytest.mark.slow
def test_any_front_end_tells_the_counts_of_all_even_of_one_that_was_killed(
    group: Server, loan: dict[str, Any], audit: Path
) -> None:
    members = children(group.process.pid)
    assert len(members) == 2
    assert ask(group, loan, 40) == {200}
    assert [answered(group) for _ in range(5)] == [40.0] * 5, "whichever is asked has the counts of this moment"
    stats = httpx.get(f"{group.url}/v1/stats").json()["models"]
    assert [(model["name"], model["num_requests"]) for model in stats] == [("loans", 40)]

    os.kill(min(members), signal.SIGKILL)
    until(lambda: len(children(group.process.pid) - members) == 1)
    until(lambda: _asks(group, loan))
    assert min(answered(group) for _ in range(12)) >= 60, "the one that came later knows what the dead one counted"
    assert group.stop() == 0
    audits = sorted(audit.parent.glob("audit.log.*"))
    assert [path.name for path in audits] == ["audit.log.0", "audit.log.1"]
    assert [check_audit(path) for path in audits] == [[], []]


@pytest.mark.slow
def test_the_death_of_a_front_end_is_logged_once_counted_and_told(loans: Path, loan: dict[str, Any]) -> None:
    with started(loans, "--front-ends", "2", "--workers", "1", environ={"DEEPSEEK_LOG_LEVEL": "info"}) as group:
        killed, other = sorted(children(group.process.pid))
        os.kill(killed, signal.SIGKILL)

        def has_told() -> bool:
            try:
                processes = httpx.get(f"{group.url}/v1/stats").json()["processes"]
            except httpx.TransportError:  # the kernel had dealt the connection to the one that died
                return False
            return (processes["front_end_died"], processes["front_end_restarted"]) == (1, 1)

        until(has_told, 60)
        assert all(has_told() for _ in range(6)), "each front end tells it, not only the one that heard it"
        metrics = httpx.get(f"{group.url}/metrics").text
        assert 'deepseek_process_deaths_total{process="front_end"} 1.0' in metrics
        assert 'deepseek_process_restarts_total{process="front_end"} 1.0' in metrics
        (new,) = children(group.process.pid) - {killed, other}
        assert group.stop() == 0
        assert group.process.stderr is not None
        lines = [json.loads(line) for line in group.process.stderr.read().splitlines() if line.startswith("{")]
    changes = [line["deepseek"] | {"level": line["log.level"]} for line in lines if "change" in line["deepseek"]]
    logged_changes = [(each["change"], each["process"], each["pid"], each["level"]) for each in changes]
    assert logged_changes == [("died", "front_end", killed, "warning"), ("restarted", "front_end", new, "info")]
    assert changes[0]["exit_code"] == -signal.SIGKILL


def _asks(group: Server, loan: dict[str, Any]) -> bool:
    try:
        return ask(group, loan, 20) == {200}
    except httpx.TransportError:
        return False


@pytest.mark.slow
def test_one_that_is_killed_while_it_starts_again_is_started_once_more(group: Server, loan: dict[str, Any]) -> None:
    known = children(group.process.pid)
    os.kill(min(known), signal.SIGKILL)
    until(lambda: len(children(group.process.pid) - known) == 1)
    (starting,) = children(group.process.pid) - known
    os.kill(starting, signal.SIGKILL)
    known.add(starting)
    until(lambda: len(children(group.process.pid) - known) == 1)
    until(lambda: _asks(group, loan))  # a connection may still be dealt to the one that is gone


@pytest.mark.slow
def test_grpc_comes_back_at_the_same_port_with_the_front_end_that_spoke_it(loans: Path) -> None:
    grpc = pytest.importorskip("grpc")
    with started(loans, "--front-ends", "2", "--workers", "0", "--grpc-port", "0") as server:

        def answers() -> bool:
            with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
                try:
                    channel.unary_unary("/inference.GRPCInferenceService/ServerReady")(b"", timeout=30)
                except grpc.RpcError:
                    return False
                return True

        assert answers()
        for _ in range(2):  # whichever of them speaks it
            before = children(server.process.pid)
            os.kill(min(before), signal.SIGKILL)
            until(lambda before=before: len(children(server.process.pid) - before) == 1)
            until(answers)
        os.kill(max(children(server.process.pid)), signal.SIGKILL)
        until(answers)
        assert server.stop() == 0


def test_front_ends_end_with_a_parent_that_was_killed(group: Server) -> None:
    members = children(group.process.pid)
    group.process.kill()
    until(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in members))


def test_a_port_that_is_taken_is_said_at_once(group: Server, loans: Path) -> None:
    port = group.url.rsplit(":", 1)[1]
    with (
        pytest.raises(AssertionError, match=f"port {port} on 127.0.0.1 is in use"),
        started(loans, "--front-ends", "2", "--port", port),
    ):
        pass


@pytest.mark.slow
def test_every_front_end_reads_the_keys_again_after_a_signal_to_their_parent(loans: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(hashlib.sha256(b"old").hexdigest())
    with started(loans, "--front-ends", "2", "--workers", "0", "--api-keys", keys) as server:

        def statuses(key: str) -> set[int]:
            headers = {"authorization": f"Bearer {key}"}
            models = f"{server.url}/v1/models"
            return {httpx.get(models, headers=headers, verify=False).status_code for _ in range(20)}

        assert statuses("old") == {200}
        keys.write_text(hashlib.sha256(b"new").hexdigest())
        os.kill(server.process.pid, signal.SIGHUP)
        until(lambda: statuses("new") == {200})
        assert statuses("old") == {401}
        assert server.stop() == 0


@pytest.mark.slow
def test_the_rate_of_a_key_holds_for_all_front_ends_together(loans: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("".join(f"{hashlib.sha256(key).hexdigest()} {rate}\n" for key, rate in KEYS.items()))
    with started("--front-ends", "2", "--workers", "0", "--api-keys", keys, "--", loans) as server:

        async def ask(client: httpx.AsyncClient, key: str) -> httpx.Response:
            return await client.get("/v1/models", headers={"authorization": f"Bearer {key}"})

        async def alone() -> list[int]:
            async with httpx.AsyncClient(base_url=server.url) as client:  # one connection, to one of them
                return [(await ask(client, "alone")).status_code for _ in range(RATE)]

        async def many() -> tuple[int, float, list[httpx.Response]]:
            """Four clients on new connections: how many were let through, in how long, and the last answers."""
            apart = httpx.Limits(max_keepalive_connections=0)
            async with httpx.AsyncClient(base_url=server.url, limits=apart) as client:
                begun_s = time.monotonic()
                responses: list[httpx.Response] = []
                while time.monotonic() < begun_s + 3:
                    responses += await asyncio.gather(*[ask(client, "many") for _ in range(4)])
                took_s = time.monotonic() - begun_s
                return sum(each.status_code == 200 for each in responses), took_s, responses[-20:]

        assert asyncio.run(alone()) == [200] * RATE, "what one front end lets through alone is all of it"
        passed, took_s, last = asyncio.run(many())
        # a client that stands still asks less than it may: only what is let through beyond the rate is a fault
        assert RATE < passed <= 1.5 * (RATE * took_s + RATE), "twice that is let through where they do not share"
        refused = [each for each in last if each.status_code == 429]
        assert len(refused) > len(last) / 2
        assert all(int(each.headers["retry-after"]) >= 1 for each in refused)


@pytest.mark.parametrize("member", ["", "3", "3:1", "3:1:8000", "x:1:8000:0", "3:-1:8000:0"])
def test_the_option_of_members_is_not_for_users(member: str) -> None:
    with pytest.raises(InputError, match="--member"):
        Membership.read(member)


SAYS_ONE_THING = """
import socket, sys, time
parent = socket.socket(fileno=int(sys.argv[1]))
parent.sendall(b'["tell", 0, "ready", {"url": "x", "models": [], "pid": 0}]\\n')
time.sleep(60)
"""


def test_a_front_end_that_says_nothing_any_more_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_module, "LIVENESS_INTERVAL_S", 0.02)
    monkeypatch.setattr(group_module, "SILENCE_TIMEOUT_S", 0.3)
    monkeypatch.setattr(
        group_module, "member_command", lambda member: [sys.executable, "-c", SAYS_ONE_THING, str(member.descriptor)]
    )
    lines: list[ReadyLine] = []
    group = FrontEndGroup(8000, 1, lines.append)

    async def run() -> tuple[set[int], set[int]]:
        serving = asyncio.create_task(group.serve())
        while not lines:
            await asyncio.sleep(0.01)
        before = now = children(os.getpid())
        while now == before or not now:
            await asyncio.sleep(0.01)
            now = children(os.getpid())
        os.kill(os.getpid(), signal.SIGTERM)
        await serving
        return before, now

    first, second = asyncio.run(asyncio.wait_for(run(), 20))
    assert lines[0].front_ends == list(first - second)


COUNTS_SIGNALS = """
import pathlib, signal, sys, time
told = pathlib.Path(sys.argv[1])
signal.signal(signal.SIGTERM, lambda *_: told.write_text(told.read_text() + "x"))
told.touch()
while not told.read_text():
    time.sleep(0.01)
time.sleep(0.2)
"""


def test_a_member_that_was_told_to_stop_is_not_told_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second signal would end its requests."""
    marker = tmp_path / "told"
    command = [sys.executable, "-c", COUNTS_SIGNALS, str(marker)]
    monkeypatch.setattr("deepseek.serve.http.group.member_command", lambda _: command)
    member = MemberProcess(0, 8000)
    until(marker.exists)
    member.signal(signal.SIGTERM)
    until(lambda: marker.read_text() == "x")

    async def end() -> None:
        await asyncio.gather(member.run(lambda *_: None, {}, []), member.end())

    asyncio.run(end())
    assert marker.read_text() == "x"
