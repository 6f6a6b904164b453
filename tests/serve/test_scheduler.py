"""Batching of rows: what is computed together, what is not computed, and who gets which scores."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

import numpy as np
import pytest

from deepseek.contracts import Float32, Scores
from deepseek.errors import BusyError, DeadlineError
from deepseek.serve.limits import Gate
from deepseek.serve.scheduler import Scheduler

FAR = 1e9  # a deadline that never passes


class Engine:
    """Doubles its first feature, and remembers how many rows came together, and where."""

    def __init__(self, *, delay_s: float = 0.0, poison: float | None = None) -> None:
        self.batches: list[int] = []
        self.threads: set[str] = set()
        self._delay_s = delay_s
        self._poison = poison

    def score(self, features: Float32) -> Scores:
        self.batches.append(len(features))
        self.threads.add(threading.current_thread().name)
        time.sleep(self._delay_s)
        if self._poison is not None and (features == self._poison).any():
            raise ArithmeticError("a poisoned row")
        doubled = features[:, :1] * 2
        return Scores(doubled, doubled)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2, "pool") as pool:
        yield pool


Make = Callable[..., Scheduler]


@pytest.fixture
def make(threads: ThreadPoolExecutor) -> Make:
    def made(engine: Engine, *, batch_rows: int = 8, limit_rows: int = 100, row_s: float = 1e-5) -> Scheduler:
        gate = Gate(limit_rows, row_s=row_s)
        return Scheduler(
            engine.score, small=threads, large=threads, batch_rows=batch_rows, gate=gate, emit=lambda *_: None
        )

    return made


def rows(*values: float) -> Float32:
    return np.array([[value] for value in values], np.float32)


async def ask(scheduler: Scheduler, *values: float, deadline_s: float = FAR) -> list[float]:
    scores, _ = await scheduler.score(rows(*values), deadline_s)
    return [float(value) for value in scores.output[:, 0]]


def test_requests_of_one_moment_are_one_batch_and_each_gets_its_own_rows(make: Make) -> None:
    engine = Engine()

    async def run() -> list[list[float]]:
        scheduler = make(engine)
        return await asyncio.gather(ask(scheduler, 1), ask(scheduler, 2, 3), ask(scheduler, 4))

    assert asyncio.run(run()) == [[2], [4, 6], [8]]
    assert engine.batches == [4]


def test_a_batch_holds_no_more_rows_than_its_size(make: Make) -> None:
    engine = Engine()

    async def run() -> None:
        scheduler = make(engine, batch_rows=4)
        await asyncio.gather(*(ask(scheduler, 1, 1, 1) for _ in range(4)), ask(scheduler, 1))

    asyncio.run(run())
    assert sum(engine.batches) == 13
    assert max(engine.batches) <= 4


def test_cheap_batches_stay_in_the_loop_and_dear_ones_go_to_a_thread(make: Make) -> None:
    cheap, dear = Engine(), Engine()

    async def run() -> None:
        await ask(make(cheap), 1)
        await ask(make(dear, row_s=0.5), 1)

    asyncio.run(run())
    assert cheap.threads == {"MainThread"}
    assert all(name.startswith("pool") for name in dear.threads)


def test_the_loop_answers_others_while_a_thread_computes(make: Make) -> None:
    engine = Engine(delay_s=0.3)

    async def run() -> float:
        asking = asyncio.create_task(ask(make(engine, row_s=0.5), 1))
        await asyncio.sleep(0)
        started_s = perf_counter()
        for _ in range(10):
            await asyncio.sleep(0.001)
        took_s = perf_counter() - started_s
        await asking
        return took_s

    assert asyncio.run(run()) < 0.25


def test_a_single_row_does_not_wait_behind_a_large_request(make: Make) -> None:
    engine = Engine(delay_s=0.2)

    async def run() -> list[str]:
        done: list[str] = []

        async def one(name: str, *values: float) -> None:
            await ask(scheduler, *values)
            done.append(name)

        scheduler = make(engine, batch_rows=2, limit_rows=1_000, row_s=0.5)
        large = [asyncio.create_task(one("large", *range(50))) for _ in range(2)]
        await asyncio.sleep(0.01)
        await one("single", 1)
        await asyncio.gather(*large)
        return done

    assert asyncio.run(run()).index("single") < 2


def test_a_request_whose_deadline_passed_is_never_computed(make: Make) -> None:
    engine = Engine(delay_s=0.1)

    async def run() -> list[object]:
        scheduler = make(engine, batch_rows=1, row_s=0.5)
        now_s = perf_counter()
        return await asyncio.gather(
            ask(scheduler, 1), ask(scheduler, 2, deadline_s=now_s + 0.02), ask(scheduler, 3), return_exceptions=True
        )

    first, late, last = asyncio.run(run())
    assert first == [2]
    assert last == [6]
    assert isinstance(late, DeadlineError)
    assert engine.batches == [1, 1]


def test_a_full_queue_refuses_and_takes_again_when_it_is_empty(make: Make) -> None:
    engine = Engine(delay_s=0.05)

    async def run() -> list[object]:
        scheduler = make(engine, batch_rows=2, limit_rows=4, row_s=0.5)
        found = await asyncio.gather(*(ask(scheduler, 1, 2) for _ in range(4)), return_exceptions=True)
        return [*found, await ask(scheduler, 5), scheduler.gate.num_rows]

    *answers, last, num_waiting = asyncio.run(run())
    assert [isinstance(answer, BusyError) for answer in answers] == [False, False, True, True]
    assert last == [10]
    assert num_waiting == 0


def test_a_poisoned_row_fails_its_own_request_only(make: Make) -> None:
    engine = Engine(poison=13.0)

    async def run() -> list[object]:
        scheduler = make(engine)
        found = await asyncio.gather(*(ask(scheduler, value) for value in (1, 13, 3)), return_exceptions=True)
        return [*found, scheduler.gate.num_rows]

    first, poisoned, last, num_waiting = asyncio.run(run())
    assert (first, last, num_waiting) == ([2], [6], 0)
    assert isinstance(poisoned, ArithmeticError)


def test_a_request_that_was_cancelled_is_not_computed_and_leaves_the_queue(make: Make) -> None:
    engine = Engine(delay_s=0.1)

    async def run() -> int:
        scheduler = make(engine, batch_rows=1, row_s=0.5)
        first = asyncio.create_task(ask(scheduler, 1))
        await asyncio.sleep(0.02)
        second = asyncio.create_task(ask(scheduler, 2))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.gather(first, second, return_exceptions=True)
        await ask(scheduler, 3)
        return scheduler.gate.num_rows

    assert asyncio.run(run()) == 0
    assert engine.batches == [1, 1]


@pytest.mark.parametrize("moment_s", [0.0, 0.05])
def test_a_leader_that_is_cancelled_leaves_the_others_their_answers(make: Make, moment_s: float) -> None:
    """Before its batch begins, and while it is computed in a thread."""
    engine = Engine(delay_s=0.1)

    async def run() -> list[object]:
        scheduler = make(engine, row_s=0.5)
        leader, *others = [asyncio.create_task(ask(scheduler, value)) for value in (1, 2, 3)]
        await asyncio.sleep(moment_s)
        leader.cancel()
        found = await asyncio.gather(*others)
        return [*found, await ask(scheduler, 4), scheduler.gate.num_rows]

    assert asyncio.run(run()) == [[4], [6], [8], 0]


def test_the_next_leader_may_be_cancelled_at_the_moment_it_is_chosen(make: Make) -> None:
    engine = Engine(delay_s=0.05)

    async def run() -> list[object]:
        scheduler = make(engine, batch_rows=1, row_s=0.5)
        first, second, third = [asyncio.create_task(ask(scheduler, value)) for value in (1, 2, 3)]
        first.add_done_callback(lambda _: second.cancel())
        found = await asyncio.gather(first, third)
        return [*found, await ask(scheduler, 4), scheduler.gate.num_rows]

    assert asyncio.run(run()) == [[2], [6], [8], 0]
