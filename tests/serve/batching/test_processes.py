"""Engine processes that do not answer: they are killed, what they held is done again, and others take their place."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from deepseek.contracts import Event
from deepseek.engines import Runtime
from deepseek.serve import App, Settings, create_app
from deepseek.serve.batching import processes, scheduler, workers
from deepseek.serve.batching.latency_model import LatencyModel
from deepseek.serve.batching.workers import LocalWorker, WorkerPool
from support.servers.serving import serving

PREDICT = "/v1/models/loans:predict"
LIMIT_S = 1.0


class Events:
    """A sink that remembers what happened to the server."""

    def __init__(self) -> None:
        self.states: list[str] = []

    def emit(self, event: Event) -> None:
        if event.kind == "server":
            self.states.append(event.fields["state"])


def ask(
    runtimes: dict[str, Runtime], num_workers: int, work: Callable[[App, httpx.AsyncClient], Awaitable[Any]]
) -> Any:
    """What `work` makes of a server with engine processes, and what happened to them."""
    events = Events()
    settings = Settings(workers=num_workers, engine_timeout_s=LIMIT_S)
    app = create_app({"loans": runtimes["loans"]}, settings=settings, sinks=[events])

    async def run() -> Any:
        async with serving(app) as url, httpx.AsyncClient(base_url=url, timeout=30) as client:
            try:
                return await work(app, client)
            finally:
                assert app.processes is not None
                await app.processes.close()

    return asyncio.run(run()), events.states


@pytest.mark.slow
def test_a_stopped_process_is_killed_and_no_request_is_lost(runtimes: dict[str, Runtime], loan: dict[str, Any]) -> None:
    async def work(app: App, client: httpx.AsyncClient) -> Any:
        assert app.processes is not None
        (pid,) = app.processes.pids
        os.kill(pid, signal.SIGSTOP)
        started_s = time.perf_counter()
        requests = [client.post(PREDICT, json={"instances": [loan]}) for _ in range(8)]
        answers = await asyncio.gather(*requests)
        took_s = time.perf_counter() - started_s
        return [answer.status_code for answer in answers], took_s, pid in app.processes.pids

    (statuses, took_s, lives), states = ask(runtimes, 1, work)
    assert statuses == [200] * 8
    assert took_s > LIMIT_S
    assert not lives
    assert states == [
        "started", "an engine process does not answer and is killed", "an engine process died",
        "an engine process was started again",
    ]  # fmt: skip


def test_a_killed_process_leaves_no_zombie_and_is_told_once_with_its_signal(
    runtimes: dict[str, Runtime], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "FIRST_PAUSE_S", 30.0)  # until another would start, and sweep up behind it
    changes: list[Event] = []

    class Changes:
        def emit(self, event: Event) -> None:
            if "change" in event.fields:
                changes.append(event)

    async def work() -> list[bool]:
        app = create_app({"loans": runtimes["loans"]}, settings=Settings(workers=2), sinks=[Changes()])
        async with serving(app):
            assert app.processes is not None
            killed = app.processes.pids[0]
            os.kill(killed, signal.SIGKILL)
            end_s = time.monotonic() + 60
            while not changes and time.monotonic() < end_s:
                await asyncio.sleep(0.01)
            there = [Path(f"/proc/{pid}").exists() for pid in (killed, *app.processes.pids)]
            await app.processes.close()
            assert changes[0].fields["engine_pid"] == killed
            return there

    assert asyncio.run(work()) == [False, True]
    fields = [{name: event.fields[name] for name in ("process", "change", "exit_code")} for event in changes]
    assert fields == [{"process": "engine", "change": "died", "exit_code": -signal.SIGKILL}]


@pytest.mark.slow
def test_a_process_that_opens_a_model_meanwhile_is_given_its_time(
    runtimes: dict[str, Runtime], loan: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "OPENING_PATIENCE_S", 1.0)

    async def work(app: App, client: httpx.AsyncClient) -> Any:
        assert app.processes is not None
        (pid,) = before = app.processes.pids
        os.kill(pid, signal.SIGSTOP)  # a model that takes long to open
        opening = asyncio.create_task(app.processes.open("again", app.models["loans"].adapter.spec))
        await asyncio.sleep(0)
        request = asyncio.create_task(client.post(PREDICT, json={"instances": [loan]}))
        await asyncio.sleep(2 * LIMIT_S)
        os.kill(pid, signal.SIGCONT)
        await opening
        return (await request).status_code, before == app.processes.pids

    (status, same), states = ask(runtimes, 1, work)
    assert (status, same) == (200, True)
    assert not [state for state in states if "killed" in state]


class Clock:
    """Stands still until it is set."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    virtual_clock = Clock()
    monkeypatch.setattr(workers, "perf_counter", virtual_clock)
    return virtual_clock


def test_a_worker_is_overdue_once_and_not_after_it_has_answered(clock: Clock) -> None:
    pool = WorkerPool()
    late, early = LocalWorker({}), LocalWorker({})
    for worker in (late, early):
        pool.watch(worker, 10)
    pool.free(early)
    clock.now_s += 10
    assert pool.overdue() == []
    clock.now_s += 1
    assert pool.overdue() == [late]
    assert pool.overdue() == []


def test_while_the_front_end_stood_still_itself_no_worker_became_overdue(clock: Clock) -> None:
    pool = WorkerPool()
    worker = LocalWorker({})
    pool.watch(worker, 10)
    clock.now_s += 3_600
    assert pool.overdue(late_s=3_599) == []
    clock.now_s += 11
    assert pool.overdue() == [worker]


@pytest.mark.parametrize(
    ("batch_s", "patience_s"),
    [(0.0, 60.0), (0.001, scheduler.PATIENCE_S), (3.0, 30.0), (20.0, 60.0)],
    ids=["nothing is known", "short", "long", "very long"],
)
def test_patience_is_several_times_what_is_foreseen_within_limits(batch_s: float, patience_s: float) -> None:
    pool = WorkerPool()
    model_scheduler = scheduler.Scheduler(
        "m", pool, batch_rows=8, limit_rows=100, emit=lambda *_: None, join=lambda _: {}, concat=lambda _: {}
    )
    model_scheduler.latency = LatencyModel()
    if batch_s:
        model_scheduler.latency.learn(8, batch_s)
    assert model_scheduler._patience_s(8) == pytest.approx(patience_s)
