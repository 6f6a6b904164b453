"""A worker that is taken, to open a model, gets no batch meanwhile; the others go on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from deepseek.serve.batching.workers import LostWorkerError, WorkerPool


class Idle:
    """A worker that is only passed around."""

    def run(self, model: str, arrays: Any, done: Any) -> None:
        raise NotImplementedError


class Waiting:
    """A queue that notes who would compute for it."""

    oldest_s = 0.0

    def __init__(self) -> None:
        self.given: list[Any] = []

    def dispatch(self, worker: Any) -> bool:
        self.given.append(worker)
        return True


def test_a_free_worker_is_taken_at_once_and_the_other_computes() -> None:
    async def check() -> None:
        pool, one, other, queue = WorkerPool(), Idle(), Idle(), Waiting()
        for worker in (other, one):
            pool.add(worker)
        await pool.take(one)
        pool.request_worker(queue)
        pool.request_worker(queue)
        assert queue.given == [other]
        pool.free(one)
        assert queue.given == [other, one]

    asyncio.run(check())


def test_a_busy_worker_is_taken_when_its_batch_is_done() -> None:
    async def check() -> None:
        pool, worker, queue = WorkerPool(), Idle(), Waiting()
        pool.add(worker)
        pool.request_worker(queue)  # it computes
        pool.request_worker(queue)  # and more waits
        taking = asyncio.create_task(pool.take(worker))
        await asyncio.sleep(0)
        assert not taking.done()
        pool.free(worker)
        await taking
        assert queue.given == [worker]
        pool.free(worker)
        assert queue.given == [worker, worker]

    asyncio.run(check())


def test_who_waits_for_a_worker_that_dies_is_told() -> None:
    async def check() -> None:
        pool, worker, queue = WorkerPool(), Idle(), Waiting()
        pool.add(worker)
        pool.request_worker(queue)
        taking = asyncio.create_task(pool.take(worker))
        await asyncio.sleep(0)
        pool.remove(worker)
        with pytest.raises(LostWorkerError):
            await taking
        assert pool.num_workers == 0

    asyncio.run(check())
