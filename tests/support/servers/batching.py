"""For tests of batching: a scheduler with workers in the running loop, and an engine that keeps what it was given."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from deepseek.contracts import Arrays, Float32
from deepseek.serve.batching.jobs import Job, JobOutputs
from deepseek.serve.batching.scheduler import Scheduler
from deepseek.serve.batching.workers import BatchCallback, LocalWorker, LostWorkerError, Worker, WorkerPool

FAR = 1e9  # a deadline that never passes


class Engine:
    """Doubles its first feature, and remembers how many rows came together."""

    def __init__(self, *, delay_s: float = 0.0, poison: float | None = None) -> None:
        self.batches: list[int] = []
        self.values: list[float] = []
        self._delay_s = delay_s
        self._poison = poison

    def run(self, arrays: Arrays) -> Arrays:
        features = arrays["features"]
        self.batches.append(len(features))
        self.values += features[:, 0].tolist()
        time.sleep(self._delay_s)
        if self._poison is not None and (features == self._poison).any():
            raise ArithmeticError("a poisoned row")
        return {"output": features[:, :1] * 2}


class Mortal:
    """A worker that dies with every batch that holds the deadly value; another takes its place at once."""

    def __init__(self, pool: WorkerPool, engine: Engine, deadly: float) -> None:
        self._pool, self._engine, self._deadly = pool, engine, deadly
        self._worker = LocalWorker({"m": engine.run})

    def run(self, model: str, arrays: Arrays, done: BatchCallback) -> None:
        if (arrays["features"] == self._deadly).any():
            self._engine.batches.append(-len(arrays["features"]))
            self._pool.remove(self)
            asyncio.get_running_loop().call_soon(done, LostWorkerError("killed"), 0.0)
            self._pool.add(Mortal(self._pool, self._engine, self._deadly))
        else:
            self._worker.run(model, arrays, done)


def rows(*values: float) -> Float32:
    return np.array([[value] for value in values], np.float32)


def join(rows: list[Float32]) -> Arrays:
    return {"features": np.concatenate(rows)}


def concat(outputs: list[Arrays]) -> Arrays:
    return {"output": np.concatenate([part["output"] for part in outputs])}


class Asking:
    """A scheduler, and workers for it, in the running loop."""

    def __init__(
        self, engine: Engine, *, batch_rows: int = 8, limit_rows: int = 100, num_workers: int = 1,
        deadly: float | None = None, row_units: int = 1,
    ) -> None:  # fmt: skip
        self.pool = WorkerPool()
        self.emitted: list[int] = []
        self.scheduler = Scheduler(
            "m", self.pool, batch_rows=batch_rows, limit_rows=limit_rows, row_units=row_units,
            emit=lambda n, *_: self.emitted.append(n), join=join, concat=concat,
        )  # fmt: skip
        for _ in range(num_workers):
            worker: Worker = LocalWorker({"m": engine.run}) if deadly is None else Mortal(self.pool, engine, deadly)
            self.pool.add(worker)

    def job(
        self, *values: float, deadline_s: float = FAR, priority: int = 1, cost: int | None = None
    ) -> tuple[Job, asyncio.Future[Any]]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        job = Job(len(values), deadline_s, partial(tell, future), priority=priority)
        job.rows = rows(*values)
        job.cost = len(values) if cost is None else cost
        return job, future

    async def ask(self, *values: float, **options: Any) -> list[float]:
        job, future = self.job(*values, **options)
        self.scheduler.admit(job)
        self.scheduler.submit(job)
        return await future


def tell(future: asyncio.Future[Any], outcome: JobOutputs | Exception) -> None:
    assert not future.done(), "a job is told once"
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome.batch.outputs["output"][outcome.start : outcome.stop, 0].tolist())


def run(work: Callable[[], Any]) -> Any:
    return asyncio.run(work())
