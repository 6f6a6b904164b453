"""Explanations: each row for its own class, in a process of their own, bounded and given up like predictions."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from deepseek.cli.support.serving import explainer_of, reasons_for
from deepseek.contracts import Attribution, Event, Float32
from deepseek.engines import Runtime
from deepseek.engines.process.attributions import explain_rows, unpack_rows
from deepseek.errors import BusyError, DeadlineError, InputError
from deepseek.serve import App, Settings, create_app
from deepseek.serve.core.request import Request
from deepseek.serve.models import explanations as explanations_module
from deepseek.serve.models.adapter import adapt_model
from deepseek.serve.models.explanations import ExplainerPool, ExplanationConfig, ModelExplanations
from deepseek.serve.models.names import check_name
from support.servers.serving import serving

EXPLAIN, PREDICT = "/v1/models/loans:explain", "/v1/models/loans:predict"
FEATURES = np.array([[1], [2], [3], [4]], np.float32)


class Echo:
    """Attributes everything to the one feature, and remembers which rows came for which class."""

    def __init__(self, pause_s: float = 0.0) -> None:
        self.asked: list[tuple[str | None, list[float]]] = []
        self._pause_s = pause_s

    def explain(self, features: Float32, *, target: str | None = None) -> Attribution:
        time.sleep(self._pause_s)
        values = features.astype(np.float64)
        self.asked.append((target, values[:, 0].tolist()))
        return Attribution(("x",), values, np.zeros(len(values)), values[:, 0], "log-odds", "echo", target)


def test_rows_of_one_class_go_together_and_come_back_in_order() -> None:
    echo = Echo()
    arrays = explain_rows(echo, ["a", "b", "c"], {"features": FEATURES, "targets": np.array([0, 1, 0, -1])})
    assert echo.asked == [("a", [1, 3]), ("b", [2]), (None, [4])]
    unpacked_rows = unpack_rows(arrays)
    assert [(attribution.target, attribution.values[at, 0]) for attribution, at in unpacked_rows] == [
        ("a", 1), ("b", 2), ("a", 3), (None, 4),
    ]  # fmt: skip
    assert {(attribution.names, attribution.scale, attribution.method) for attribution, _ in unpacked_rows} == {
        (("x",), "log-odds", "echo")
    }


def explanations(runtime: Runtime, limit: int = 100, pause_s: float = 0.0) -> Callable[[float], Awaitable[int]]:
    """How many rows of FEATURES are explained, once it is asked for with a time limit."""
    settings = Settings(max_queued_rows=limit)
    explainers = ExplainerPool(ExplanationConfig(lambda _: Echo(pause_s)), lambda _: None, engines=False)
    explainer_pool = ModelExplanations("loans", adapt_model(runtime), explainers, settings, lambda *_: None)

    async def make(limit_s: float) -> int:
        call = Request("POST", EXPLAIN, {b"x-timeout-ms": str(round(limit_s * 1e3)).encode()}, settings)
        return len(await explainer_pool.explain(call, FEATURES, [None] * 4))

    return make


@pytest.mark.slow
def test_rows_that_a_full_queue_would_refuse_are_not_prepared(
    runtimes: dict[str, Runtime], loan: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared: list[int] = []

    async def work(app: App, client: httpx.AsyncClient) -> Any:
        body = {"instances": [loan] * 3}
        await client.post(EXPLAIN, json=body)  # the process is there
        (pid,) = app.explainers.pids
        os.kill(pid, signal.SIGSTOP)
        waiting = [asyncio.create_task(client.post(EXPLAIN, json=body)) for _ in range(3)]
        await asyncio.sleep(0.3)
        face = app.models["loans"].adapter
        prepare = face.prepare
        monkeypatch.setattr(face, "prepare", lambda records: prepared.append(len(records)) or prepare(records))
        late = await client.post(EXPLAIN, json=body)
        os.kill(pid, signal.SIGCONT)
        return late, [(await each).status_code for each in waiting]

    (late, others), _ = ask(runtimes, work, engine_timeout_s=60, max_queued_rows=6)
    assert late.status_code == 429
    assert int(late.headers["retry-after"]) >= 1
    assert prepared == []
    assert others.count(200) >= 2


def test_a_full_queue_refuses_and_a_past_deadline_is_not_explained(runtimes: dict[str, Runtime]) -> None:
    async def run() -> list[Any]:
        busy, slow = explanations(runtimes["loans"], limit=4), explanations(runtimes["loans"], pause_s=0.1)
        tasks = busy(60), busy(60), slow(0.05)
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, refused, late = asyncio.run(run())
    assert first == 4
    assert isinstance(refused, BusyError)
    assert refused.retry_after_s >= 1
    assert isinstance(late, DeadlineError)


class Events:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.all: list[Event] = []

    def emit(self, event: Event) -> None:
        self.all.append(event)


def ask(
    runtimes: dict[str, Runtime],
    work: Callable[[App, httpx.AsyncClient], Awaitable[Any]],
    module: str = "deepseek.explain.process",
    engine_timeout_s: float = 1.0,
    max_queued_rows: int = 1_000,
) -> tuple[Any, Events]:
    """What `work` makes of a server with an engine process, and what happened to it."""
    events = Events()
    settings = Settings(workers=1, engine_timeout_s=engine_timeout_s, max_queued_rows=max_queued_rows)
    app = create_app(runtimes, settings=settings, sinks=[events], reason_codes=reasons_for, explain_module=module)

    async def run() -> Any:
        async with serving(app) as url, httpx.AsyncClient(base_url=url, timeout=30) as client:
            try:
                return await work(app, client)
            finally:
                await app.explainers.close()
                assert app.processes is not None
                await app.processes.close()

    return asyncio.run(run()), events


def states(events: Events) -> list[str]:
    return [event.fields["state"] for event in events.all if event.kind == "server"]


@pytest.mark.slow
def test_a_process_explains_what_the_explainer_would_have_here(
    runtimes: dict[str, Runtime], loan: dict[str, Any]
) -> None:
    async def work(app: App, client: httpx.AsyncClient) -> Any:
        assert app.explainers.pids == []
        rows = [loan | {"age": age} for age in (20.0, 30.0, 60.0)]
        answer = (await client.post(EXPLAIN, json={"instances": rows, "target": "no"})).json()["explanations"]
        assert len(app.explainers.pids) == 1
        return rows, answer

    (rows, answer), events = ask(runtimes, work)
    runtime = runtimes["loans"]
    expected = explainer_of(runtime).explain(runtime.prepare(rows).features, target="no")
    assert [row["target"] for row in answer] == ["no"] * 3
    assert {(row["scale"], row["method"]) for row in answer} == {(expected.scale, expected.method)}
    values = np.array([[row["values"][name] for name in expected.names] for row in answer])
    np.testing.assert_allclose(values, expected.values, atol=1e-9)
    np.testing.assert_allclose([row["output"] for row in answer], expected.output, atol=1e-9)
    (explained,) = [event for event in events.all if event.kind == "explain"]
    assert explained.num_rows == 3
    assert explained.duration_s > 0
    kinds = [event.kind for event in events.all]
    asked_for = kinds[kinds.index("server", kinds.index("model")) :]
    assert "batch" not in asked_for, kinds  # the answers themselves were not needed


@pytest.mark.slow
def test_a_killed_process_is_replaced_and_its_request_answered(
    runtimes: dict[str, Runtime], loan: dict[str, Any]
) -> None:
    async def work(app: App, client: httpx.AsyncClient) -> Any:
        body = {"instances": [loan]}
        await client.post(EXPLAIN, json=body)
        (pid,) = app.explainers.pids
        os.kill(pid, signal.SIGSTOP)
        task = asyncio.create_task(client.post(EXPLAIN, json=body))
        await asyncio.sleep(0.1)
        os.kill(pid, signal.SIGKILL)
        return (await task).status_code, pid in app.explainers.pids

    answer, events = ask(runtimes, work)
    assert answer == (200, False)
    assert states(events).count("an engine process died") == 1


DIES = """
import os
from deepseek.engines.process.worker import run_worker

class Dies:
    def run(self, arrays):
        os._exit(1)

run_worker(lambda spec: Dies())
"""


@pytest.mark.slow
def test_a_request_with_which_two_processes_die_is_given_up(
    runtimes: dict[str, Runtime], loan: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dies.py").write_text(DIES)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))

    async def work(_: App, client: httpx.AsyncClient) -> Any:
        lost = await client.post(EXPLAIN, json={"instances": [loan]})
        return lost.status_code, lost.json()["error"]["code"]

    answer, events = ask(runtimes, work, module="dies")
    assert answer == (503, "engine_lost")
    assert states(events).count("an engine process died") == 2


HANGS = """
import os, time
from deepseek.engines.process.worker import run_worker
from deepseek.explain.process import open_explainer

def open_model(spec):
    if not os.path.exists(BEEN):
        open(BEEN, "w").close()
        time.sleep(600)
    return open_explainer(spec)

run_worker(open_model)
"""


@pytest.mark.slow
def test_a_process_that_hangs_while_it_opens_a_model_is_killed_and_another_explains(
    runtimes: dict[str, Runtime], loan: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    been = tmp_path / "been"
    (tmp_path / "hangs.py").write_text(HANGS.replace("BEEN", repr(str(been))))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    monkeypatch.setattr(explanations_module, "OPEN_TIMEOUT_S", 2.0)
    body = {"instances": [loan]}

    async def work(app: App, client: httpx.AsyncClient) -> Any:
        killed = asyncio.create_task(client.post(EXPLAIN, json=body))
        late = await client.post(EXPLAIN, json=body, headers={"x-timeout-ms": "300"})
        (pid,) = app.explainers.pids
        predicted = {(await client.post(PREDICT, json=body)).status_code for _ in range(10)}
        assert not killed.done()
        outcomes = [late, await killed]
        monkeypatch.setattr(app.explainers._processes, "_open_s", 60.0)  # a busy machine
        again = await client.post(EXPLAIN, json=body)
        return (
            predicted,
            [(each.status_code, each.json()["error"]["code"]) for each in outcomes],
            again.status_code,
            pid,
        )

    (predicted, explained, again, pid), events = ask(runtimes, work, module="hangs")
    assert predicted == {200}
    assert explained == [(504, "deadline"), (503, "engine_lost")]
    assert again == 200
    (said,) = [event.fields for event in events.all if "does not open a model" in str(event.fields.get("state"))]
    assert said["engine_pid"] == pid
    assert said["model"].startswith("loans@")
    assert not Path(f"/proc/{pid}/exe").exists()


LACKS = """
from deepseek.engines.process.worker import run_worker
from deepseek.errors import ExtraError

def open_model(spec):
    with open(OPENED, "a") as file:
        file.write("x")
    raise ExtraError("xgboost is not installed", expected="the extra", fix="install it")

run_worker(open_model)
"""


@pytest.mark.slow
def test_what_is_not_installed_is_said_and_not_looked_for_again(
    runtimes: dict[str, Runtime], loan: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = tmp_path / "opened"
    (tmp_path / "lacks.py").write_text(LACKS.replace("OPENED", repr(str(opened))))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))

    async def work(_: App, client: httpx.AsyncClient) -> Any:
        responses = [await client.post(EXPLAIN, json={"instances": [loan]}) for _ in range(2)]
        return [(answer.status_code, answer.json()["error"]["fix"]) for answer in responses]

    responses, _ = ask(runtimes, work, module="lacks")
    assert responses == [(501, "install it")] * 2
    assert opened.read_text() == "x"


@pytest.mark.slow
def test_predictions_go_on_while_nothing_is_explained(runtimes: dict[str, Runtime], loan: dict[str, Any]) -> None:
    async def work(app: App, client: httpx.AsyncClient) -> Any:
        body = {"instances": [loan]}
        await client.post(EXPLAIN, json=body)
        (pid,) = app.explainers.pids
        os.kill(pid, signal.SIGSTOP)
        late = asyncio.create_task(client.post(EXPLAIN, json=body, headers={"x-timeout-ms": "1500"}))
        await asyncio.sleep(0.1)
        statuses = {(await client.post(PREDICT, json=body)).status_code for _ in range(10)}
        waits = not late.done()
        status = (await late).status_code
        with suppress(ProcessLookupError):  # it did not answer for so long that it was killed, and is reaped by now
            os.kill(pid, signal.SIGCONT)
        return statuses, waits, status

    answer, _ = ask(runtimes, work, engine_timeout_s=60)
    assert answer == ({200}, True, 504)


@pytest.mark.slow
def test_reasons_come_from_the_process_and_a_model_that_was_closed_is_opened_again(
    runtimes: dict[str, Runtime], loan: dict[str, Any]
) -> None:
    async def work(app: App, client: httpx.AsyncClient) -> Any:
        body = {"instances": [loan] * 60, "reasons": 2}  # so many that they are written in a thread
        first = await client.post(PREDICT, json=body)
        await app.explainers.close_model(app.models["loans"].key)
        again = await client.post(PREDICT, json=body)
        return first.json() == again.json(), first.json()["predictions"][59]["reasons"], len(app.explainers.pids)

    (same, reasons, num_processes), _ = ask(runtimes, work)
    assert same
    assert len(reasons) == 2
    assert reasons[0]["column"] in loan
    assert num_processes == 1


@pytest.mark.parametrize("name", ["loans", "loans-2.1", "贷款", "my loans", "a{b}&c"])
def test_a_plain_name_can_stand_in_a_route(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize("name", ["", "a/b", "a:predict", "a?b", " a", "a\n", "a%20", "../x", "..", ".a", "a" * 129])
def test_a_name_that_would_break_a_route_is_refused(name: str) -> None:
    with pytest.raises(InputError):
        check_name(name)
