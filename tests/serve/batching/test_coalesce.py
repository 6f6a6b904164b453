"""Identical requests are computed once: what counts, whose turn it is, and what who goes away leaves to the others."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any

import pytest

from deepseek.errors import BusyError, DeadlineError
from deepseek.serve.batching.coalesce import Coalescer
from deepseek.serve.batching.jobs import Job
from deepseek.serve.batching.workers import EngineLostError
from support.servers.batching import FAR, Asking, Engine, rows, run


class Coalescing(Asking):
    """The same, with a coalescer before the scheduler."""

    def __init__(self, engine: Engine, **options: Any) -> None:
        super().__init__(engine, **options)
        self.joined: list[int] = []
        self.queue = Coalescer(self.scheduler, lambda features: features.tobytes(), self.joined.append)

    def put(self, *values: float, **options: Any) -> tuple[Job, asyncio.Future[Any]]:
        job, future = self.job(*values, **options)
        self.queue.admit(job)
        self.queue.submit(job)
        return job, future

    def settled(self) -> bool:
        """Nothing counts among what waits, and nothing is remembered."""
        return not (self.scheduler.num_rows or self.scheduler._cost or self.queue._groups or self.queue._group_of)


def test_an_urgent_request_makes_those_urgent_that_it_joins() -> None:
    engine = Engine(delay_s=0.02)

    async def work() -> bool:
        asking = Coalescing(engine, batch_rows=1)
        futures = [asking.put(value)[1] for value in (1, 2, 3)]
        futures += [asking.put(4, priority=2)[1], asking.put(5, priority=2)[1], asking.put(4, priority=0)[1]]
        assert await asyncio.gather(*futures) == [[2], [4], [6], [8], [10], [8]]
        return asking.settled()

    assert run(work)
    assert engine.values == [1, 4, 2, 3, 5]


def test_what_is_computed_already_takes_others_in_whatever_their_priority() -> None:
    engine = Engine(delay_s=0.3)  # long enough for a busy machine to ask again meanwhile

    async def work() -> tuple[float, float]:
        asking = Coalescing(engine)
        _, first = asking.put(1)
        while not engine.batches:
            await asyncio.sleep(0.001)
        job, second = asking.put(1, priority=0)
        assert await asyncio.gather(first, second) == [[2], [2]]
        assert asking.settled()
        return job.queued_s, job.started_s

    queued_s, started_s = run(work)
    assert queued_s == started_s, "it did not wait for its turn"
    assert engine.batches == [1]


def test_large_requests_are_sliced_once_for_all() -> None:
    engine = Engine(delay_s=0.01)

    async def work() -> Any:
        asking = Coalescing(engine, batch_rows=4)
        values = tuple(range(11))
        answers = await asyncio.gather(*(asking.put(*values)[1] for _ in range(3)))
        assert asking.joined == [1, 1]
        assert asking.settled()
        return answers

    assert run(work) == [[2.0 * value for value in range(11)]] * 3
    assert sum(engine.batches) == 11


def test_those_who_join_take_no_time_but_room_among_what_waits() -> None:
    async def work() -> None:
        asking = Coalescing(Engine(delay_s=0.02), batch_rows=1, limit_rows=20)
        assert await asking.put(0)[1] == [0]  # the pace is known now
        futures = [asking.put(1)[1]]
        alone_s = asking.scheduler.wait_s(1)
        futures += [asking.put(1)[1] for _ in range(19)]
        assert asking.scheduler.wait_s(1) == alone_s > 0
        with pytest.raises(BusyError, match="20 rows wait"):
            asking.put(1)
        await asyncio.gather(*futures)
        assert asking.settled()

    run(work)


def test_what_is_computed_counts_whoever_of_them_goes_away() -> None:
    engine = Engine(delay_s=0.02)

    async def work() -> Any:
        asking = Coalescing(engine, batch_rows=1)
        assert await asking.put(0)[1] == [0]  # the pace is known now
        busy, (first, second_answer), second = asking.put(9)[1], asking.put(1), asking.put(1)[1]
        before_s = asking.scheduler.wait_s(1)
        asking.queue.finish(first, ConnectionError("gone"))
        assert asking.scheduler.wait_s(1) == before_s > 0
        answers = await asyncio.gather(second_answer, busy, second, return_exceptions=True)
        assert asking.settled()
        return answers

    gone, *answered = run(work)
    assert isinstance(gone, ConnectionError)
    assert answered == [[18], [2]]


def test_the_last_deadline_decides_whether_it_is_worth_computing() -> None:
    engine = Engine(delay_s=0.2)

    async def work() -> Any:
        asking = Coalescing(engine)
        _, busy = asking.put(9)
        jobs, waits = zip(*(asking.put(1) for _ in range(3)), strict=True)
        jobs[0].deadline_s = jobs[2].deadline_s = perf_counter()  # only after all were let in
        answers = await asyncio.gather(*waits, busy, return_exceptions=True)
        assert asking.settled()
        return answers

    first, second, third, busy = run(work)
    assert isinstance(first, DeadlineError)
    assert isinstance(third, DeadlineError)
    assert (second, busy) == ([2], [18])
    assert engine.batches == [1, 1]


def test_none_is_answered_after_its_deadline_because_another_was_in_time() -> None:
    engine = Engine(delay_s=0.01)

    async def work() -> Any:
        asking = Coalescing(engine)
        _, first = asking.put(1)
        late_job, late = asking.put(1)
        late_job.deadline_s = perf_counter()  # passes before the engine answers, however busy the machine
        answers = await asyncio.gather(first, late, return_exceptions=True)
        assert asking.settled()
        return answers

    in_time, too_late = run(work)
    assert in_time == [2]
    assert isinstance(too_late, DeadlineError)


def test_two_deaths_are_told_to_all() -> None:
    engine = Engine()

    async def work() -> Any:
        asking = Coalescing(engine, deadly=7.0)
        waits = [asking.put(7)[1] for _ in range(3)]
        answers = await asyncio.gather(*waits, asking.put(1)[1], return_exceptions=True)
        assert asking.settled()
        return answers

    *lost, good = run(work)
    assert [type(each) for each in lost] == [EngineLostError] * 3
    assert good == [2]


def test_all_may_go_away_before_and_after_the_rows_are_prepared() -> None:
    engine = Engine(delay_s=0.02)

    async def work() -> None:
        asking = Coalescing(engine)
        _, busy = asking.put(9)
        early, told_early = asking.job(1)
        asking.queue.admit(early)
        asking.queue.finish(early, ConnectionError("gone"))
        asking.queue.submit(early)
        pairs = [asking.put(1, deadline_s=FAR) for _ in range(3)]
        for job, _ in pairs:
            asking.queue.finish(job, ConnectionError("gone"))
        assert asking.scheduler.num_rows == 1, "the busy one"
        assert not asking.queue._groups.keys() - {rows(9).tobytes()}
        again = asking.put(1)[1]
        answers = await asyncio.gather(told_early, *(each for _, each in pairs), return_exceptions=True)
        assert {type(each) for each in answers} == {ConnectionError}
        assert await asyncio.gather(busy, again) == [[18], [2]]
        assert asking.settled()

    run(work)
    assert engine.values == [9, 1]
