"""A server that is killed, stopped and overloaded in the middle of its work: no accepted request is lost."""

from __future__ import annotations

import os
import random
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.servers.load import PREDICT, CheckedLoad, Load, engines_below, engines_of, until
from support.servers.serving import Server, children, started


@pytest.fixture
def server(cancer_bundle: Path) -> Iterator[Server]:
    with started(cancer_bundle, "--workers", "2") as running:
        yield running


@pytest.fixture
def body(server: Server) -> Any:
    return httpx.get(f"{server.url}/v1/models/cancer/example").json()


def ready(server: Server) -> int:
    return httpx.get(f"{server.url}/v2/health/ready").status_code


def test_killed_engines_lose_no_request_and_are_started_again(server: Server, body: Any) -> None:
    load = Load(server.url, 8, body)
    before = engines_of(server)
    assert len(before) == 2
    for _ in range(3):
        load.wait_for_answers()
        os.kill(engines_of(server)[0], signal.SIGKILL)
        until(lambda: len(engines_of(server)) == 2)
    load.wait_for_answers()
    load.end()
    assert load.broken == []
    assert set(load.statuses) == {200}
    assert not set(before) & set(engines_of(server))


def test_while_no_engine_lives_the_server_is_not_ready_but_alive(server: Server, body: Any) -> None:
    def killed() -> bool:
        for pid in engines_of(server):
            os.kill(pid, signal.SIGKILL)
        return ready(server) == 503

    until(killed)
    assert httpx.get(f"{server.url}/v2/health/live").status_code == 200
    until(lambda: ready(server) == 200)
    assert httpx.post(f"{server.url}{PREDICT}", json=body).status_code == 200


def test_sigterm_under_load_loses_no_accepted_request(server: Server, body: Any) -> None:
    load = Load(server.url, 8, body)
    load.wait_for_answers()
    assert server.stop() == 0
    load.end()
    assert load.broken == []
    assert set(load.statuses) == {200}


def test_engines_end_with_a_front_end_that_was_killed(server: Server) -> None:
    pids = engines_of(server)
    server.process.kill()
    until(lambda: not any(Path(f"/proc/{pid}/cmdline").exists() and b"deepseek" in _cmdline(pid) for pid in pids))


@pytest.mark.slow
def test_random_kills_under_load_give_right_answers_or_errors_and_are_counted(cancer_bundle: Path) -> None:
    """Front ends and engines die at random: a connection may break, but no answer is wrong, and every death is told."""
    rng = random.Random(7)
    killed = {"engine": 0, "front_end": 0}
    with started(cancer_bundle, "--front-ends", "2", "--workers", "1") as server:
        body = httpx.get(f"{server.url}/v1/models/cancer/example").json()
        right = httpx.post(f"{server.url}{PREDICT}", json=body).json()

        def counts() -> dict[str, int]:
            try:
                processes: dict[str, int] = httpx.get(f"{server.url}/v1/stats").json()["processes"]
            except httpx.TransportError:
                return {}
            return processes

        def whole() -> bool:
            fronts = children(server.process.pid)
            engines = [each for pid in fronts for each in engines_below(pid)]
            return len(fronts) == len(engines) == 2 and {ready(server) for _ in range(4)} == {200}

        load = CheckedLoad(server.url, 6, body, right)
        for kind in ("engine", "front_end", "engine", "front_end"):
            fronts = sorted(children(server.process.pid))
            pids = fronts if kind == "front_end" else [each for pid in fronts for each in engines_below(pid)]
            os.kill(rng.choice(pids), signal.SIGKILL)
            killed[kind] += 1
            until(lambda: counts().get("front_end_died", 0) == killed["front_end"], 60)
            until(lambda: _safely(whole), 60)
        until(lambda: load.num_right > 50)
        load.end()
        until(lambda: counts().get("front_end_restarted", 0) == killed["front_end"], 60)
        assert load.wrong == []
        assert set(load.statuses) <= {200, 503}
        # An engine that dies with its front end is not counted: nobody is left who would miss it.
        assert counts()["front_end_died"] == 2
        assert server.stop() == 0


def _safely(true: Callable[[], bool]) -> bool:
    try:
        return true()
    except (httpx.TransportError, OSError):  # a process is gone between two looks
        return False


def _cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_a_thousand_slow_connections_do_not_stop_service(server: Server, body: Any) -> None:
    def answer_100() -> float:
        """How many seconds 100 requests take, one after another."""
        start_s = time.monotonic()
        with httpx.Client(base_url=server.url, timeout=60) as client:
            assert {client.post(PREDICT, json=body).status_code for _ in range(100)} == {200}
        return time.monotonic() - start_s

    alone_s = answer_100()
    slow = [socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1]))) for _ in range(1_000)]
    try:
        for connection in slow:
            connection.sendall(
                b"POST /v1/models/loans:predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n{"
            )
        assert answer_100() < 10 + 20 * alone_s  # a machine that is busy with others is busy in both
    finally:
        for connection in slow:
            connection.close()


def test_a_signal_to_the_whole_group_is_left_to_the_front_end(server: Server, body: Any) -> None:
    """As a terminal sends Ctrl-C, and a service manager SIGTERM."""
    for pid in engines_of(server):
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGINT)
    before = engines_of(server)
    assert httpx.post(f"{server.url}{PREDICT}", json=body).status_code == 200
    assert engines_of(server) == before
