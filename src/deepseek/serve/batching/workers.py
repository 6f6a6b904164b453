"""Workers, each of which computes one batch at a time, and the models that wait for a free one.

    pool.request_worker(source)  # it has a batch to compute
    worker.run(model, arrays, callback) -> callback(arrays or error, seconds), in the event loop
    pool.free(worker)         # it can take the next batch: of the model that waits longest
    pool.watch(worker, 60.0)  # it has a batch and should answer within so long; else it is in pool.overdue()

A worker is a thread of this process (LocalWorker: notebooks, tests) or a process of its own (processes.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Protocol

from deepseek.contracts import Arrays
from deepseek.errors import DeepseekError

#: Handing work to a thread and back costs about 0.1 ms of CPU; below this the loop may as well do it itself.
MAX_INLINE_S = 0.002
MAX_DEATHS = 2  # workers that may die with the same request
BatchCallback = Callable[[Arrays | Exception, float], None]
RunBatch = Callable[[Arrays], Arrays]


class EngineLostError(DeepseekError):
    """The engine process died twice with the same request."""

    exit_code = 3
    status = 503
    code = "engine_lost"


class LostWorkerError(Exception):
    """A worker died while it computed; its batch can be given to another."""


class Worker(Protocol):
    """Computes one batch at a time."""

    def run(self, model: str, arrays: Arrays, callback: BatchCallback) -> None:
        """Begin a batch. `callback` is called in the event loop, with the outputs, the engine's error, or
        LostWorkerError, and the seconds that it took."""
        ...


class BatchSource(Protocol):
    """Batches of one model."""

    @property
    def oldest_s(self) -> float:
        """When the oldest waiting job was queued, on the clock of perf_counter."""
        ...

    def dispatch(self, worker: Worker) -> bool:
        """Give the worker a batch. False when nothing waits."""
        ...


class WorkerPool:
    """Gives free workers the batches that wait."""

    def __init__(self) -> None:
        self.num_workers = 0
        self._free: list[Worker] = []  # the last one is taken first: its caches are warm
        self._sources: dict[BatchSource, None] = {}
        self._due_s: dict[Worker, float] = {}  # by when a busy worker should have answered
        self._reservations: dict[Worker, asyncio.Future[None]] = {}

    @property
    def has_free(self) -> bool:
        """Whether a worker has no batch."""
        return bool(self._free)

    @property
    def num_free(self) -> int:
        """How many workers have no batch."""
        return len(self._free)

    def add(self, worker: Worker) -> None:
        """Add a worker, which is free."""
        self.num_workers += 1
        self.free(worker)

    def remove(self, worker: Worker) -> None:
        """Remove a worker, whether it is free or not."""
        self.num_workers -= 1
        self._due_s.pop(worker, None)
        if worker in self._free:
            self._free.remove(worker)
        reservation = self._reservations.pop(worker, None)
        if reservation is not None and not reservation.done():
            reservation.set_exception(LostWorkerError("the engine process is gone"))

    async def take(self, worker: Worker) -> None:
        """Wait until this worker has no batch, and reserve it until it is freed. LostWorkerError when it dies."""
        if worker in self._free:
            self._free.remove(worker)
            return
        reservation = self._reservations[worker] = asyncio.get_running_loop().create_future()
        await reservation

    def close(self) -> None:
        """Close the workers of this process."""
        for worker in self._free:
            if isinstance(worker, LocalWorker):
                worker.close()

    def watch(self, worker: Worker, limit_s: float) -> None:
        """The worker has got a batch, and should have answered after `limit_s`."""
        self._due_s[worker] = perf_counter() + limit_s

    def overdue(self, late_s: float = 0.0) -> list[Worker]:
        """Workers that should have answered, each listed once. `late_s`: how long this process stood still; it is added
        to all limits."""
        if late_s:
            self._due_s = {worker: due_s + late_s for worker, due_s in self._due_s.items()}
        now_s = perf_counter()
        overdue_workers = [worker for worker, due_s in self._due_s.items() if due_s < now_s]
        for worker in overdue_workers:
            del self._due_s[worker]
        return overdue_workers

    def request_worker(self, source: BatchSource) -> None:
        """Give free workers the batches of a model; if any are left, remember that it waits."""
        while self._free:
            worker = self._free.pop()
            if not source.dispatch(worker):
                self._free.append(worker)
                return
        self._sources[source] = None

    def free(self, worker: Worker) -> None:
        """Give a worker its next batch: of the model whose oldest job waits longest."""
        self._due_s.pop(worker, None)
        if (
            self._reservations
            and (reservation := self._reservations.pop(worker, None)) is not None
            and not reservation.done()
        ):
            reservation.set_result(None)
            return
        while self._sources:
            source = min(self._sources, key=lambda each: each.oldest_s)
            if source.dispatch(worker):
                return
            del self._sources[source]
        self._free.append(worker)


class LocalWorker:
    """Computes in this process: small batches at once, which is cheaper than a thread, others in a thread."""

    def __init__(self, runs: Mapping[str, RunBatch]) -> None:
        """`runs`: what computes a batch, by model. It may grow and shrink later."""
        self._runs = runs
        self._seconds: dict[str, float] = {}  # of a row, by model; a moving average
        self._thread = ThreadPoolExecutor(1, "engine")

    def run(self, model: str, arrays: Arrays, callback: BatchCallback) -> None:
        loop = asyncio.get_running_loop()
        num_rows = len(next(iter(arrays.values())))
        if num_rows * self._seconds.get(model, MAX_INLINE_S) < MAX_INLINE_S:
            loop.call_soon(callback, *self._compute(model, num_rows, arrays))
        else:
            work = loop.run_in_executor(self._thread, self._compute, model, num_rows, arrays)
            work.add_done_callback(lambda work: callback(*work.result()))

    def close(self) -> None:
        """Wait for the thread."""
        self._thread.shutdown()

    def _compute(self, model: str, num_rows: int, arrays: Arrays) -> tuple[Arrays | Exception, float]:
        started_s = perf_counter()
        result: Arrays | Exception
        try:
            result = self._runs[model](arrays)
        except Exception as error:  # noqa: BLE001  (engines may raise anything; the job gets it)
            result = error
        took_s = perf_counter() - started_s
        self._seconds[model] = 0.8 * self._seconds.get(model, took_s / num_rows) + 0.2 * took_s / num_rows
        return result, took_s
