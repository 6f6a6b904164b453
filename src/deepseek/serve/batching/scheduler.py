"""Dynamic batching: rows of concurrent requests go through an engine together.

    scheduler.submit(job)  ->  a free worker gets a batch  ->  job.done(part or error)

Greedy, without a timer: a free worker is given what waits at that moment, and what comes while it computes is the next
batch. So a lone request never waits for company, and load makes batches by itself.

What is budgeted are rows, and tokens where rows differ in length, never requests. A batch holds rows of several
requests up to the batch size; where rows differ in length, it is filled with those nearest to the one that waits
longest, among as many as fit into a batch. While little waits each worker takes its share of it, or more where two
batches would cost much more than one. A request with more rows than the batch size goes in slices as large as SLICE_S
allows, and joins the queue again after each, so that single rows need not wait behind it; several such requests go
together for up to JOINED_SLICES_S.

When a batch of several requests fails, each of them is tried once more by itself; when a worker dies with it, too, on
whichever worker is free. A request whose deadline has passed is not computed, and none is answered after it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from math import inf
from time import perf_counter
from typing import Any

from deepseek.contracts import Arrays
from deepseek.errors import BusyError
from deepseek.serve.batching.jobs import BatchOutputs, Job, JobOutputs, JobSlice, join_slices, slice_cost
from deepseek.serve.batching.latency_model import LatencyModel
from deepseek.serve.batching.queues import PriorityQueue
from deepseek.serve.batching.workers import MAX_DEATHS, EngineLostError, LostWorkerError, Worker, WorkerPool
from deepseek.serve.core.rate_limits import deadline_error

#: A slice of a large request may take as long; a row that comes meanwhile waits no longer than this for its turn.
SLICE_S = 0.02
JOINED_SLICES_S = 0.005
#: A batch that takes so many times its fixed part is large enough: further rows are left to other workers.
BATCH_FIXED_COSTS = 4
ROW_COST_WEIGHT = 0.05  # of the newest request in the mean cost of a row
GATHER_DIVISOR = 32  # 1/32 of a batch's time may pass before rows are prepared, to prepare more together
SWEEP_INTERVAL_S = 0.05  # between two looks for requests whose deadline has passed
#: A batch may take so many times its predicted time, and so long in any case, before its worker is killed.
SLOWER, PATIENCE_S = 10.0, 10.0


def _accept_all(*_: Any) -> bool:
    """Rows of two jobs can be joined, whatever they are."""
    return True


class Scheduler:
    """Batches the rows of one model. All of it runs in the event loop."""

    def __init__(
        self,
        model: str,
        pool: WorkerPool,
        *,
        batch_rows: int,
        limit_rows: int,
        row_units: int = 1,
        engine_timeout_s: float = 60.0,
        slice_s: float = SLICE_S,
        emit: Callable[[int, float, Arrays], None],
        join: Callable[[list[Any]], Arrays],
        concat: Callable[[list[Arrays]], Arrays],
        fits: Callable[[Any, Any], bool] = _accept_all,
    ) -> None:
        """A batch costs at most what `batch_rows` of `row_units` do (1 where all rows cost the same); `limit_rows` may
        wait; no batch may take longer than `engine_timeout_s`, a slice of a large request about `slice_s`; `emit` is
        called with rows, seconds and outputs of every batch; `join` makes the engine's arrays of the rows of several
        slices, `concat` one of several outputs (or raises why it cannot); `fits` says whether two jobs' rows can be
        joined."""
        self.batch_rows = batch_rows
        self.delay_s = 0.0  # added to its age when the pool chooses among models: it is served later
        self.latency = LatencyModel()
        self.num_rows = 0  # that wait or are computed
        self.queue = PriorityQueue()
        self._cost = 0  # of those, in units of the latency model
        self._mean_row_cost = 1.0  # units of a row, a moving average
        self._model = model
        self._pool = pool
        self.limit_rows = limit_rows
        self._limit_units = batch_rows * row_units
        self._rows_differ = row_units > 1
        self._engine_timeout_s, self._slice_s = engine_timeout_s, slice_s
        self._emit = emit
        self._join = join
        self._concat = concat
        self._fits = fits
        self._retries: deque[JobSlice] = deque()  # slices of failed batches, computed again one by one
        self._sweeping = False

    def admit(self, job: Job) -> None:
        """Count a job whose rows are not prepared yet. It is submitted or cancelled later. BusyError as check()."""
        self.check(job)
        job.counted_cost = max(1, round(job.num_rows * self._mean_row_cost)) if self._rows_differ else job.num_rows
        self.num_rows += job.num_rows
        self._cost += job.counted_cost

    def check(self, job: Job) -> None:
        """BusyError when its rows do not fit into the queue, or would be late; never while nothing waits."""
        num_rows = job.num_rows
        if self.num_rows:
            wait_s = self.wait_s(num_rows)
            if self._cost > self._batch_units:
                # Admitted at the last moment, some would be computed too late.
                wait_s += self.latency.seconds(self._batch_units)
            if self.num_rows + num_rows > self.limit_rows or job.queued_s + wait_s > job.deadline_s:
                raise BusyError(
                    f"{self.num_rows} rows wait already, an answer would take {wait_s:.1f} s",
                    expected=f"at most {self.limit_rows} waiting rows, and an answer before the request's deadline",
                    fix=f"ask again in {self.retry_after_s} s",
                )

    def discount(self, job: Job) -> None:
        """Count no cost for an admitted job that another job is computed for. Its rows still count as waiting."""
        self._cost -= job.counted_cost or 0
        job.counted_cost = 0

    def wait_s(self, num_rows: int) -> float:
        """Seconds until `num_rows` more would be computed."""
        units = self._cost + (round(num_rows * self._mean_row_cost) if self._rows_differ else num_rows)
        return self.latency.wait(units, batch_units=self._batch_units, num_workers=self._pool.num_workers or 1)

    @property
    def _batch_units(self) -> int:
        """The cost of a full batch of average rows."""
        if not self._rows_differ:
            return self.batch_rows
        return max(1, min(round(self.batch_rows * self._mean_row_cost), self._limit_units))

    @property
    def gather_s(self) -> float:
        """Seconds for which new rows need not be prepared, because no worker is free for them."""
        return 0.0 if self._pool.has_free else self.latency.seconds(self._batch_units) / GATHER_DIVISOR

    @property
    def retry_after_s(self) -> int:
        """Whole seconds after which the waiting rows should be done, at least 1."""
        return max(1, round(self.wait_s(0)))

    def submit(self, *jobs: Job) -> None:
        """Queue jobs whose rows are prepared. The callback of each is called once, later."""
        for job in jobs:
            if self._rows_differ:
                self._update_cost(job)
            if not job.is_finished:
                self.queue.append(job)
        self._call_workers()

    def _update_cost(self, job: Job) -> None:
        """Count the real cost of a job, which is known once its rows are prepared."""
        self._mean_row_cost += ROW_COST_WEIGHT * (job.cost / job.num_rows - self._mean_row_cost)
        if job.counted_cost is not None and not job.is_finished:
            self._cost += job.cost - job.counted_cost
            job.counted_cost = job.cost

    @property
    def oldest_s(self) -> float:
        return self.delay_s + (self._retries[0][0].queued_s if self._retries else self.queue.oldest_s)

    def dispatch(self, worker: Worker) -> bool:
        """Give the worker a batch, if there is one."""
        batch = self._next_batch()
        if not batch:
            return False
        now_s = perf_counter()
        rows, cost = [], 0
        for job, start, stop in batch:
            job.started_s = job.started_s or now_s
            cost += slice_cost((job, start, stop))
            rows.append(job.rows if stop - start == job.num_rows else job.rows[start:stop])
        self._pool.watch(worker, self._patience_s(cost))
        worker.run(self._model, self._join(rows), partial(self._on_result, worker, batch, now_s))
        return True

    def _patience_s(self, cost: int) -> float:
        """Seconds after which a worker that has not answered a batch is given up."""
        foreseen_s = self.latency.seconds(cost)
        return min(self._engine_timeout_s, max(PATIENCE_S, SLOWER * foreseen_s) if foreseen_s else inf)

    def _next_batch(self) -> list[JobSlice]:
        """The next batch; empty when nothing waits. Jobs that would be late are finished with an error instead."""
        waiting_units = min(self._batch_units, round(len(self.queue) * self._mean_row_cost))
        soonest_s = perf_counter() + self.latency.seconds(max(1, waiting_units))
        while self._retries:
            rows = self._retries.popleft()
            if not self._drop_useless(rows[0], soonest_s):
                return [rows]
        while self.queue:
            queue = self.queue.first()
            job = queue.popleft()
            if self._drop_useless(job, soonest_s):
                continue
            return self._slices(job, queue, soonest_s) if job.num_rows > self.batch_rows else self._fill(job, soonest_s)
        return []

    def _fill(self, first: Job, soonest_s: float) -> list[JobSlice]:
        """A batch of small requests, beginning with `first`."""
        batch, room, units = [(first, 0, first.num_rows)], self.batch_rows - first.num_rows, first.cost
        if self._rows_differ:
            return batch + self._fill_similar(first, room, soonest_s)
        while room and self.queue:
            queue = self.queue.first()
            job = queue[0]
            if self._drop_useless(job, soonest_s):
                queue.popleft()
            elif job.num_rows <= room and units + job.cost <= self._limit_units and self._fits(first.rows, job.rows):
                batch.append((queue.popleft(), 0, job.num_rows))
                room -= job.num_rows
                units += job.cost
            else:
                break
        return batch

    def _fill_similar(self, first: Job, room: int, soonest_s: float) -> list[JobSlice]:
        """Up to `room` rows of requests whose rows are about as long as those of `first`, which has waited longest.
        Batches are long here: another worker that will be free soon gets its share, if that is worth a batch."""
        chosen: list[Job] = []
        units, share = first.cost, -(-(1 + len(self.queue)) // (self._pool.num_workers or 1))
        enough = min(self._limit_units, self.latency.units_within(BATCH_FIXED_COSTS * self.latency.seconds(0)))
        for job in self.queue.most_similar(first, self.batch_rows):
            if not room:
                break
            limit_units = self._limit_units if len(chosen) + 1 < share else enough
            if job.num_rows <= room and units + job.cost <= limit_units and not self._drop_useless(job, soonest_s):
                chosen.append(job)
                room -= job.num_rows
                units += job.cost
        self.queue.take(chosen)
        return [(job, 0, job.num_rows) for job in chosen]

    def _slices(self, job: Job, queue: deque[Job], soonest_s: float) -> list[JobSlice]:
        """The next rows of a large request, and of those behind it that fit whole into the same short time."""
        batch = [self._slice_of(job)]
        units_left = self.latency.units_within(JOINED_SLICES_S) - slice_cost(batch[0])
        while queue and queue[0].num_rows > self.batch_rows:
            job = queue[0]
            if self._drop_useless(job, soonest_s):
                queue.popleft()
                continue
            rest = job, job.next_row, job.num_rows
            units_left -= slice_cost(rest)
            if units_left < 0 or not self._fits(batch[0][0].rows, job.rows):
                break
            batch.append(rest)
            queue.popleft()
            job.next_row = job.num_rows
        return batch

    def _slice_of(self, job: Job) -> JobSlice:
        """The next rows of a large request, which goes to the end of the queue while it has more."""
        start = job.next_row
        num_rows = max(self.batch_rows, self.latency.units_within(self._slice_s) * job.num_rows // job.cost)
        job.next_row = stop = min(job.num_rows, start + num_rows)
        if stop < job.num_rows:
            self.queue.append(job)
        return job, start, stop

    def _drop_useless(self, job: Job, soonest_s: float) -> bool:
        """Whether a job need not be computed: it is finished, or would be late, which finishes it."""
        if job.is_finished:
            return True
        if job.deadline_s < soonest_s:
            self.finish(job, deadline_error())
            return True
        return False

    def _on_result(
        self, worker: Worker, batch: list[JobSlice], started_s: float, result: Arrays | Exception, took_s: float
    ) -> None:
        """Pass the outputs or the error of a batch to its jobs."""
        if isinstance(result, LostWorkerError):
            self._on_worker_lost(batch)
            return
        self._pool.free(worker)  # first, so that it computes while the answers are written
        if isinstance(result, Exception):
            self._on_failure(batch, result)
            return
        computed = BatchOutputs(result, batch, worker_pid=getattr(worker, "pid", 0), compute_s=took_s)
        row = cost = 0
        now_s = perf_counter()
        for job, start, stop in batch:
            num_rows = stop - start
            cost += slice_cost((job, start, stop))
            if job.deadline_s < now_s:
                self.finish(job, deadline_error())
            elif num_rows == job.num_rows:
                self.finish(job, JobOutputs(job, computed, row, row + num_rows))
            elif not job.is_finished:
                self._gather(job, start, {name: array[row : row + num_rows] for name, array in result.items()})
            row += num_rows
        # Waiting requests depend on when the outputs arrive, not on how long the engine computed.
        self.latency.learn(cost, now_s - started_s)
        self._emit(row, took_s, result)

    def _gather(self, job: Job, start: int, outputs: Arrays) -> None:
        """Keep the outputs of a slice; the last one completes the job."""
        job.parts.append((start, outputs))
        job.num_left -= len(next(iter(outputs.values())))
        if not job.num_left:
            self.finish(job, join_slices(job, self._concat))

    def _on_failure(self, batch: list[JobSlice], error: Exception) -> None:
        """After an engine error, try each of several requests by itself, so that one bad row fails no other request."""
        if len(batch) == 1:
            self.finish(batch[0][0], error)
        else:
            self._retries.extend(batch)
            self._call_workers()

    def _on_worker_lost(self, batch: list[JobSlice]) -> None:
        """After the death of a worker, try each request once more by itself, for one of them may be the cause."""
        for job, start, stop in batch:
            job.num_deaths += 1
            if job.num_deaths >= MAX_DEATHS:
                self.finish(job, engine_lost_error())
            else:
                self._retries.append((job, start, stop))
        if self._retries:
            self._call_workers()

    def finish(self, job: Job, result: JobOutputs | Exception) -> None:
        """Pass the result to the job's callback, once, and count the job as done. Slices that are not computed yet
        will not be."""
        if not job.is_finished:
            if job.counted_cost is not None:
                self.num_rows -= job.num_rows
                self._cost -= job.counted_cost
            job.finish(result)

    def _call_workers(self) -> None:
        """Offer the waiting jobs to free workers, and check the deadlines of those that are left."""
        self._pool.request_worker(self)
        if not self._sweeping and (self.queue or self._retries):
            self._sweeping = True
            asyncio.get_running_loop().call_later(SWEEP_INTERVAL_S, self._sweep)

    def _sweep(self) -> None:
        """Finish jobs whose deadline has passed, although no worker has become free."""
        now_s = perf_counter()
        late_jobs = self.queue.drop(lambda job: job.is_finished or job.deadline_s < now_s)
        for job in late_jobs + [job for job, _, _ in self._retries if job.deadline_s < now_s]:
            self.finish(job, deadline_error())
        self._retries = deque(rows for rows in self._retries if not rows[0].is_finished)
        self._sweeping = bool(self.queue or self._retries)
        if self._sweeping:
            asyncio.get_running_loop().call_later(SWEEP_INTERVAL_S, self._sweep)


def engine_lost_error() -> EngineLostError:
    """The error for a request with which two workers died."""
    return EngineLostError(
        "the engine process died twice while it computed this request",
        expected="rows that the engine can compute",
        fix="send the rows one by one to find which it is, and tell who runs this server",
    )
