"""Batching of rows: what is computed together, what is not computed, and who gets which outputs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

import pytest

from deepseek.contracts import Arrays
from deepseek.errors import BusyError, DeadlineError
from deepseek.serve.batching.jobs import Job
from deepseek.serve.batching.scheduler import JOINED_SLICES_S, SLICE_S, Scheduler
from deepseek.serve.batching.workers import EngineLostError, LocalWorker, WorkerPool
from support.servers.batching import FAR, Asking, Engine, concat, join, rows, run, tell


def test_requests_of_one_moment_are_one_batch_and_each_gets_its_own_rows() -> None:
    engine = Engine()

    async def work() -> Any:
        asking = Asking(engine)
        jobs = [asking.job(1), asking.job(2, 3), asking.job(4)]
        asking.scheduler.submit(*(job for job, _ in jobs))
        return await asyncio.gather(*(future for _, future in jobs)), asking.emitted

    assert run(work) == ([[2], [4, 6], [8]], [4])
    assert engine.batches == [4]


def test_what_comes_while_a_batch_is_computed_is_the_next_one() -> None:
    engine = Engine(delay_s=0.05)

    async def work() -> None:
        asking = Asking(engine)
        await asyncio.gather(*(asking.ask(value) for value in range(5)))

    run(work)
    assert engine.batches == [1, 4]


def test_a_batch_holds_no_more_rows_of_several_requests_than_its_size() -> None:
    engine = Engine(delay_s=0.01)

    async def work() -> None:
        asking = Asking(engine, batch_rows=4)
        await asyncio.gather(*(asking.ask(1, 1, 1) for _ in range(4)), asking.ask(1))

    run(work)
    assert sum(engine.batches) == 13
    assert max(engine.batches) <= 4


def test_two_workers_compute_side_by_side() -> None:
    engine = Engine()
    both = threading.Barrier(2, timeout=30)  # nobody passes alone
    compute = engine.run
    engine.run = lambda arrays: (both.wait(), compute(arrays))[1]  # type: ignore[method-assign]

    async def work() -> Any:
        asking = Asking(engine, batch_rows=1, num_workers=2)
        return await asyncio.gather(asking.ask(1), asking.ask(2))

    assert run(work) == [[2], [4]]


def test_a_large_request_goes_in_slices_and_comes_back_in_order() -> None:
    engine = Engine(delay_s=0.001)

    async def work() -> Any:
        asking = Asking(engine, batch_rows=4, num_workers=2, limit_rows=1_000)
        return await asking.ask(*range(50))

    assert run(work) == [2.0 * value for value in range(50)]
    assert len(engine.batches) > 1


def test_a_slice_of_a_large_request_is_as_large_as_its_time_allows() -> None:
    engine = Engine()

    async def work() -> Any:
        asking = Asking(engine, batch_rows=4, limit_rows=1_000)
        asking.scheduler.latency.learn(1, SLICE_S / 100)
        return await asking.ask(*range(60))

    run(work)
    assert engine.batches == [60]


def test_a_single_row_does_not_wait_behind_a_large_request() -> None:
    engine = Engine(delay_s=0.05)

    async def work() -> list[str]:
        done: list[str] = []

        async def one(name: str, *values: float) -> None:
            await asking.ask(*values)
            done.append(name)

        asking = Asking(engine, batch_rows=2, limit_rows=1_000)
        large = [asyncio.create_task(one("large", *range(20))) for _ in range(2)]
        await asyncio.sleep(0.01)
        await one("single", 1)
        await asyncio.gather(*large)
        return done

    assert run(work)[0] == "single"


def test_large_requests_that_take_a_short_time_go_together() -> None:
    engine = Engine()

    async def work() -> Any:
        asking = Asking(engine, batch_rows=4, limit_rows=1_000)
        asking.scheduler.latency.learn(1, JOINED_SLICES_S / 25)
        jobs = [asking.job(*range(start, start + 10)) for start in (0, 10, 20, 30)]
        for job, _ in jobs:
            asking.scheduler.admit(job)
        asking.scheduler.submit(*(job for job, _ in jobs))
        return await asyncio.gather(*(future for _, future in jobs))

    answers = run(work)
    assert engine.batches == [20, 20]
    assert answers == [[2.0 * value for value in range(start, start + 10)] for start in (0, 10, 20, 30)]


def test_rows_of_like_length_are_computed_together_and_none_is_left_behind() -> None:
    engine = Engine()
    lengths = [10, 90, 11, 91, 12, 92, 13, 93]

    async def work() -> None:
        asking = Asking(engine, batch_rows=2, row_units=100)
        jobs = [asking.job(length, cost=length) for length in lengths]
        for job, _ in jobs:
            asking.scheduler.admit(job)
        asking.scheduler.submit(*(job for job, _ in jobs))
        await asyncio.gather(*(future for _, future in jobs))

    run(work)
    assert engine.values == [10, 11, 90, 91, 12, 13, 92, 93]


def test_workers_share_what_waits_where_batches_are_long() -> None:
    engine = Engine(delay_s=0.05)

    async def work() -> None:
        asking = Asking(engine, batch_rows=8, row_units=100, num_workers=2)
        jobs = [asking.job(number, cost=10) for number in range(8)]
        for job, _ in jobs:
            asking.scheduler.admit(job)
        asking.scheduler.submit(*(job for job, _ in jobs))
        await asyncio.gather(*(future for _, future in jobs))

    run(work)
    assert engine.batches[:2] == [4, 2]


def test_rows_of_like_length_are_looked_for_among_those_of_one_batch() -> None:
    """Else a long row would be passed over again and again, and come late with others that were."""
    engine = Engine()

    async def work() -> None:
        asking = Asking(engine, batch_rows=2, row_units=100)
        jobs = [asking.job(length, cost=length) for length in (10, 90, 91, 92, 11)]
        for job, _ in jobs:
            asking.scheduler.admit(job)
        asking.scheduler.submit(*(job for job, _ in jobs))
        await asyncio.gather(*(future for _, future in jobs))

    run(work)
    assert engine.values == [10, 90, 91, 92, 11]


def test_what_is_not_worth_two_batches_is_not_shared() -> None:
    """A batch takes 0.1 s and 1 ms for each unit: one of 0.4 s, nearly 300 units, is as large as one need be."""
    engine = Engine(delay_s=0.05)

    async def work() -> None:
        asking = Asking(engine, batch_rows=8, row_units=100, num_workers=2)
        for num_units in (10, 50):
            asking.scheduler.latency.learn(num_units, 0.1 + 0.001 * num_units)
        jobs = [asking.job(number, cost=50) for number in range(8)]
        for job, _ in jobs:
            asking.scheduler.admit(job)
        asking.scheduler.submit(*(job for job, _ in jobs))
        await asyncio.gather(*(future for _, future in jobs))

    run(work)
    assert engine.batches[:2] == [5, 3]  # more than the share, which is 4; and what is left


def test_who_waits_longest_is_in_the_next_batch_however_long_its_rows_are() -> None:
    engine = Engine()

    async def work() -> None:
        asking = Asking(engine, batch_rows=2, row_units=100)
        jobs = [asking.job(length, cost=length) for length in (10, 90, *range(10, 40))]
        for job, _ in jobs:
            asking.scheduler.admit(job)
        asking.scheduler.submit(*(job for job, _ in jobs))
        await asyncio.gather(*(future for _, future in jobs))

    run(work)
    assert engine.values.index(90) == 2


def test_a_batch_costs_no_more_than_its_rows_are_laid_out_for() -> None:
    engine = Engine()

    async def work() -> None:
        asking = Asking(engine, batch_rows=8, row_units=10)
        jobs = [asking.job(number, cost=30) for number in range(5)] + [asking.job(5, cost=500), asking.job(6, cost=1)]
        for job, _ in jobs:
            asking.scheduler.admit(job)
        asking.scheduler.submit(*(job for job, _ in jobs))
        await asyncio.gather(*(future for _, future in jobs))

    run(work)
    assert engine.batches == [3, 2, 1, 1]  # 30 + 30 + 1, 30 + 30, 30, and the one that fits into no batch


def test_the_more_urgent_go_first() -> None:
    engine = Engine(delay_s=0.02)

    async def work() -> None:
        asking = Asking(engine, batch_rows=1)
        first = asyncio.create_task(asking.ask(0))
        await asyncio.sleep(0)
        await asyncio.gather(first, *(asking.ask(value, priority=value) for value in (2, 1, 0)))

    run(work)
    assert engine.values == [0, 0, 1, 2]


def test_a_request_whose_deadline_passed_is_never_computed_and_told_at_once() -> None:
    engine = Engine(delay_s=0.4)

    async def work() -> Any:
        asking = Asking(engine, batch_rows=1)
        first = asyncio.create_task(asking.ask(1))
        await asyncio.sleep(0)
        job, late = asking.job(2)
        asking.scheduler.submit(job)
        job.deadline_s = perf_counter()  # passes after it was let in, however busy the machine
        with pytest.raises(DeadlineError):
            await late
        assert not first.done(), "the late one does not wait for the engine"
        return await first, asking.scheduler.num_rows

    first, num_rows = run(work)
    assert (first, num_rows) == ([2], 0)
    assert engine.values == [1]


def test_no_answer_comes_after_its_deadline() -> None:
    async def work() -> None:
        asking = Asking(Engine(delay_s=0.01))
        job, late = asking.job(1)
        asking.scheduler.submit(job)  # an engine takes it at once
        job.deadline_s = perf_counter()
        await late

    with pytest.raises(DeadlineError):
        run(work)


def test_a_full_queue_refuses_and_takes_again_when_it_is_empty() -> None:
    async def work() -> Any:
        asking = Asking(Engine(delay_s=0.05), batch_rows=2, limit_rows=4)
        outcomes = await asyncio.gather(*(asking.ask(1, 2) for _ in range(4)), return_exceptions=True)
        return [*outcomes, await asking.ask(5), asking.scheduler.num_rows]

    *answers, last, num_waiting = run(work)
    assert [isinstance(answer, BusyError) for answer in answers] == [False, False, True, True]
    assert last == [10]
    assert num_waiting == 0


def job_due_in(asking: Asking, seconds: float) -> Job:
    """A job of one row whose deadline is so many seconds after it was queued, to the bit."""
    job, _ = asking.job(1)
    job.deadline_s = job.queued_s + seconds
    return job


def test_a_request_that_cannot_be_in_time_is_refused_and_one_that_can_is_not() -> None:
    """Ten rows wait, each takes a tenth of a second, and nothing is gained by a batch."""

    async def work() -> Any:
        asking = Asking(Engine(delay_s=0.1), batch_rows=1, limit_rows=1_000)
        for _ in range(9):
            asking.scheduler.latency.learn(1, 0.1)
        waiting = [asyncio.create_task(asking.ask(value)) for value in range(10)]
        await asyncio.sleep(0)
        with pytest.raises(BusyError):
            asking.scheduler.admit(job_due_in(asking, 0.9))
        assert asking.scheduler.retry_after_s == 1
        asking.scheduler.admit(job_due_in(asking, 1.3))
        for each in waiting:
            each.cancel()

    run(work)


def test_who_comes_behind_several_batches_is_let_in_with_the_time_of_one_to_spare() -> None:
    """Batches take more or less than foreseen; who is let in at the last moment is computed in vain."""

    async def work() -> None:
        asking = Asking(Engine(delay_s=0.1), batch_rows=2, limit_rows=1_000)
        for num_rows in (1, 2, 1, 2):
            asking.scheduler.latency.learn(num_rows, 0.05 + 0.025 * num_rows)
        waiting = [asyncio.create_task(asking.ask(value)) for value in range(10)]
        await asyncio.sleep(0)
        wait_s = asking.scheduler.wait_s(1)
        assert wait_s == pytest.approx(0.55)
        with pytest.raises(BusyError):
            asking.scheduler.admit(job_due_in(asking, wait_s + 0.08))
        asking.scheduler.admit(job_due_in(asking, wait_s + 0.12))
        for each in waiting:
            each.cancel()

    run(work)


def test_what_waits_is_weighed_by_what_it_turned_out_to_cost() -> None:
    engine = Engine(delay_s=0.001)

    async def work() -> None:
        asking = Asking(engine, batch_rows=2, row_units=1_000)
        scheduler = asking.scheduler
        for _ in range(30):
            jobs = [asking.job(1.0) for _ in range(6)]
            for job, _ in jobs:
                scheduler.admit(job)
                job.cost = 100  # it is known after the job was let in
            scheduler.submit(*(job for job, _ in jobs))
            await asyncio.gather(*(future for _, future in jobs))
        scheduler.latency.learn(200, 0.2)
        idle_s = scheduler.wait_s(2)
        jobs = [asking.job(1.0) for _ in range(8)]
        for job, _ in jobs:
            scheduler.admit(job)
        assert scheduler.wait_s(2) == pytest.approx(5 * idle_s, rel=0.2)
        late, _ = asking.job(1.0, deadline_s=perf_counter() + 2 * idle_s)
        with pytest.raises(BusyError):
            scheduler.admit(late)
        scheduler.submit(*(job for job, _ in jobs))
        await asyncio.gather(*(future for _, future in jobs))

    run(work)


def test_a_poisoned_row_fails_its_own_request_only() -> None:
    engine = Engine(poison=13.0)

    async def work() -> Any:
        asking = Asking(engine)
        jobs = [asking.job(value) for value in (1, 13, 3)]
        asking.scheduler.submit(*(job for job, _ in jobs))
        outcomes = await asyncio.gather(*(future for _, future in jobs), return_exceptions=True)
        return [*outcomes, asking.scheduler.num_rows]

    first, poisoned, last, num_waiting = run(work)
    assert (first, last, num_waiting) == ([2], [6], 0)
    assert isinstance(poisoned, ArithmeticError)


def test_a_worker_that_dies_takes_down_only_the_request_that_kills_it_twice() -> None:
    engine = Engine()

    async def work() -> Any:
        asking = Asking(engine, deadly=13.0)
        jobs = [asking.job(value) for value in (1, 13, 3)]
        asking.scheduler.submit(*(job for job, _ in jobs))
        outcomes = await asyncio.gather(*(future for _, future in jobs), return_exceptions=True)
        return [*outcomes, asking.scheduler.num_rows, asking.pool.num_workers]

    first, deadly, last, num_waiting, num_workers = run(work)
    assert (first, last, num_waiting, num_workers) == ([2], [6], 0, 1)
    assert isinstance(deadly, EngineLostError)
    assert sorted(engine.batches) == [-3, -1, 1, 1]


def test_a_request_that_lost_its_worker_does_not_wait_for_ever_when_no_other_comes() -> None:
    engine = Engine()

    async def work() -> Any:
        asking = Asking(engine, deadly=13.0)
        asking.pool.add = lambda worker: None  # type: ignore[method-assign]
        job, future = asking.job(13, deadline_s=perf_counter() + 0.2)
        asking.scheduler.submit(job)
        with pytest.raises(DeadlineError):
            await asyncio.wait_for(future, 60)
        return asking.pool.num_workers

    assert run(work) == 0


def test_a_request_whose_client_is_gone_is_not_computed_and_leaves_the_queue() -> None:
    engine = Engine(delay_s=0.05)

    async def work() -> Any:
        asking = Asking(engine, batch_rows=1)
        first = asyncio.create_task(asking.ask(1))
        await asyncio.sleep(0)
        job, future = asking.job(2)
        asking.scheduler.submit(job)
        asking.scheduler.finish(job, ConnectionError("gone"))
        with pytest.raises(ConnectionError):
            await future
        return await first, await asking.ask(3), asking.scheduler.num_rows

    assert run(work) == ([2], [6], 0)
    assert engine.values == [1, 3]


def test_the_loop_answers_others_while_an_engine_computes() -> None:
    engine, may_answer = Engine(), threading.Event()
    compute = engine.run
    engine.run = lambda arrays: compute(arrays) if may_answer.wait(30) else {}  # type: ignore[method-assign]

    async def work() -> Any:
        asking = asyncio.create_task(Asking(engine).ask(1))
        for _ in range(10):
            await asyncio.sleep(0.001)
        assert not asking.done()
        may_answer.set()
        return await asking

    assert run(work) == [2]


def test_the_model_that_waits_longest_gets_the_next_free_worker() -> None:
    order: list[str] = []
    held = threading.Event()

    def engine(name: str) -> Callable[[Arrays], Arrays]:
        def computed(arrays: Arrays) -> Arrays:
            if name == "first":
                held.wait(60)
            order.append(name)
            return {"output": arrays["features"]}

        return computed

    async def work() -> None:
        pool = WorkerPool()
        names = ("first", "second", "third")
        pool.add(LocalWorker({name: engine(name) for name in names}))
        waiting = []
        for name in names:
            scheduler = Scheduler(
                name, pool, batch_rows=8, limit_rows=100, emit=lambda *_: None, join=join, concat=concat
            )
            future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            job = Job(1, FAR, partial(tell, future))
            job.rows = rows(1)
            scheduler.submit(job)
            waiting.append(future)
        held.set()
        await asyncio.gather(*waiting)

    run(work)
    assert order == ["first", "second", "third"]
