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
from deepseek.serve.core.limits import deadline_error

#: A slice of a large request may take as long; a row that comes meanwhile waits no longer than this for its turn.
SLICE_S = 0.02
JOINED_SLICES_S = 0.005
#: A batch that takes so many times its fixed part is as large as one need be: what is beyond is left to other workers.
BATCH_FIXED_COSTS = 4
ROW_COST_WEIGHT = 0.05  # what the newest request counts in the usual cost of a row
GATHER_DIVISOR = 32  # the share of a batch's time that rows may wait for company before they are prepared
SWEEP_INTERVAL_S = 0.05  # between two looks for requests that wait in vain
#: A batch may take so many times what is foreseen, and so long in any case, before its worker is given up.
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
        emit: Callable[[int, float], None],
        join: Callable[[list[Any]], Arrays],
        concat: Callable[[list[Arrays]], Arrays],
        fits: Callable[[Any, Any], bool] = _accept_all,
    ) -> None:
        """A batch costs at most what `batch_rows` of `row_units` do (1 where all rows cost the same); `limit_rows` may
        wait; no batch may take longer than `engine_timeout_s`, a slice of a large request about `slice_s`; `emit` is
        told rows and seconds of every batch; `join` makes the engine's arrays of the rows of several slices, `concat`
        one of several outputs (or raises why it cannot); `fits` says whether rows of two jobs can be joined."""
        self.batch_rows = batch_rows
        self.behind_s = 0.0  # so much later than its age says is its turn among the models
        self.pace = LatencyModel()
        self.num_rows = 0  # that wait or are computed
        self.waiting = PriorityQueue()
        self._cost = 0  # of those, in units of the pace
        self._usual = 1.0  # units of a row, of late
        self._model = model
        self._pool = pool
        self._limit_rows = limit_rows
        self._limit_units = batch_rows * row_units
        self._differ = row_units > 1
        self._engine_timeout_s, self._slice_s = engine_timeout_s, slice_s
        self._emit = emit
        self._join = join
        self._concat = concat
        self._fits = fits
        self._alone: deque[JobSlice] = deque()  # of batches that failed
        self._sweeping = False

    def admit(self, job: Job) -> None:
        """Count a job whose rows are not prepared yet. It is submitted or cancelled later. BusyError as check()."""
        self.check(job)
        job.counted = max(1, round(job.num_rows * self._usual)) if self._differ else job.num_rows
        self.num_rows += job.num_rows
        self._cost += job.counted

    def check(self, job: Job) -> None:
        """BusyError when its rows do not fit into the queue, or would be late; never while nothing waits."""
        num_rows = job.num_rows
        if self.num_rows:
            wait_s = self.wait_s(num_rows)
            if self._cost > self._batch_units:
                wait_s += self.pace.seconds(self._batch_units)  # let in at the last moment, some are computed in vain
            if self.num_rows + num_rows > self._limit_rows or job.queued_s + wait_s > job.deadline_s:
                raise BusyError(
                    f"{self.num_rows} rows wait already, an answer would take {wait_s:.1f} s",
                    expected=f"at most {self._limit_rows} waiting rows, and an answer before the request's deadline",
                    fix=f"ask again in {self.retry_after_s} s",
                )

    def spare(self, job: Job) -> None:
        """Nothing will be computed for a job that was admitted. Its rows still take room among those that wait."""
        self._cost -= job.counted or 0
        job.counted = 0

    def wait_s(self, num_rows: int) -> float:
        """Seconds until `num_rows` more would be computed."""
        units = self._cost + (round(num_rows * self._usual) if self._differ else num_rows)
        return self.pace.wait(units, batch_units=self._batch_units, num_workers=self._pool.num_workers or 1)

    @property
    def _batch_units(self) -> int:
        """What a full batch of usual rows costs."""
        if not self._differ:
            return self.batch_rows
        return max(1, min(round(self.batch_rows * self._usual), self._limit_units))

    @property
    def spare_s(self) -> float:
        """Seconds for which rows that come now need not be prepared, because no worker is free for them."""
        return 0.0 if self._pool.has_free else self.pace.seconds(self._batch_units) / GATHER_DIVISOR

    @property
    def retry_after_s(self) -> int:
        """Whole seconds after which the waiting rows should be done, at least 1."""
        return max(1, round(self.wait_s(0)))

    def submit(self, *jobs: Job) -> None:
        """Queue jobs whose rows are prepared. The `done` of each is called once, later."""
        for job in jobs:
            if self._differ:
                self._weigh(job)
            if not job.gone:
                self.waiting.append(job)
        self._call()

    def _weigh(self, job: Job) -> None:
        """Its cost is known now."""
        self._usual += ROW_COST_WEIGHT * (job.cost / job.num_rows - self._usual)
        if job.counted is not None and not job.gone:
            self._cost += job.cost - job.counted
            job.counted = job.cost

    def cancel(self, job: Job, reason: Exception) -> None:
        """Tell the reason; what is not computed yet will not be."""
        self.finish(job, reason)

    @property
    def oldest_s(self) -> float:
        return self.behind_s + (self._alone[0][0].queued_s if self._alone else self.waiting.oldest_s)

    def dispatch(self, worker: Worker) -> bool:
        """Give the worker a batch, if there is one."""
        batch = self._take()
        if not batch:
            return False
        now_s = perf_counter()
        rows, cost = [], 0
        for job, start, stop in batch:
            job.started_s = job.started_s or now_s
            cost += slice_cost((job, start, stop))
            rows.append(job.rows if stop - start == job.num_rows else job.rows[start:stop])
        self._pool.watch(worker, self._patience_s(cost))
        worker.run(self._model, self._join(rows), partial(self._told, worker, batch, now_s))
        return True

    def _patience_s(self, cost: int) -> float:
        """After how long a worker that has not answered a batch is taken for one that never will."""
        foreseen_s = self.pace.seconds(cost)
        return min(self._engine_timeout_s, max(PATIENCE_S, SLOWER * foreseen_s) if foreseen_s else inf)

    def _take(self) -> list[JobSlice]:
        """The next batch. Who comes too late is told so, not computed."""
        waiting = min(self._batch_units, round(len(self.waiting) * self._usual))
        soonest_s = perf_counter() + self.pace.seconds(max(1, waiting))
        while self._alone:
            alone = self._alone.popleft()
            if not self._vain(alone[0], soonest_s):
                return [alone]
        while self.waiting:
            lane = self.waiting.first()
            job = lane.popleft()
            if self._vain(job, soonest_s):
                continue
            return self._slices(job, lane, soonest_s) if job.num_rows > self.batch_rows else self._fill(job, soonest_s)
        return []

    def _fill(self, first: Job, soonest_s: float) -> list[JobSlice]:
        """Small requests up to the size of a batch, `first` among them."""
        batch, room, units = [(first, 0, first.num_rows)], self.batch_rows - first.num_rows, first.cost
        if self._differ:
            return batch + self._near(first, room, soonest_s)
        while room and self.waiting:
            lane = self.waiting.first()
            job = lane[0]
            if self._vain(job, soonest_s):
                lane.popleft()
            elif job.num_rows <= room and units + job.cost <= self._limit_units and self._fits(first.rows, job.rows):
                batch.append((lane.popleft(), 0, job.num_rows))
                room -= job.num_rows
                units += job.cost
            else:
                break
        return batch

    def _near(self, first: Job, room: int, soonest_s: float) -> list[JobSlice]:
        """Up to `room` rows of requests whose rows are about as long as those of `first`, which has waited longest.
        Batches are long here: another worker that will be free soon gets its share, if that is worth a batch."""
        taken: list[Job] = []
        units, share = first.cost, -(-(1 + len(self.waiting)) // (self._pool.num_workers or 1))
        enough = min(self._limit_units, self.pace.units_within(BATCH_FIXED_COSTS * self.pace.seconds(0)))
        for job in self.waiting.nearest(first, self.batch_rows):
            if not room:
                break
            most = self._limit_units if len(taken) + 1 < share else enough
            if job.num_rows <= room and units + job.cost <= most and not self._vain(job, soonest_s):
                taken.append(job)
                room -= job.num_rows
                units += job.cost
        self.waiting.take(taken)
        return [(job, 0, job.num_rows) for job in taken]

    def _slices(self, job: Job, lane: deque[Job], soonest_s: float) -> list[JobSlice]:
        """The next rows of a large request, and of those behind it that fit whole into the same short time."""
        batch = [self._slice_of(job)]
        left = self.pace.units_within(JOINED_SLICES_S) - slice_cost(batch[0])
        while lane and lane[0].num_rows > self.batch_rows:
            job = lane[0]
            if self._vain(job, soonest_s):
                lane.popleft()
                continue
            rest = job, job.next_row, job.num_rows
            left -= slice_cost(rest)
            if left < 0 or not self._fits(batch[0][0].rows, job.rows):
                break
            batch.append(rest)
            lane.popleft()
            job.next_row = job.num_rows
        return batch

    def _slice_of(self, job: Job) -> JobSlice:
        """The next rows of a large request, which goes to the end of the queue while it has more."""
        start = job.next_row
        num_rows = max(self.batch_rows, self.pace.units_within(self._slice_s) * job.num_rows // job.cost)
        job.next_row = stop = min(job.num_rows, start + num_rows)
        if stop < job.num_rows:
            self.waiting.append(job)
        return job, start, stop

    def _vain(self, job: Job, soonest_s: float) -> bool:
        if job.gone:
            return True
        if job.deadline_s < soonest_s:
            self.finish(job, deadline_error())
            return True
        return False

    def _told(
        self, worker: Worker, batch: list[JobSlice], begun_s: float, found: Arrays | Exception, took_s: float
    ) -> None:
        """A batch has come back."""
        if isinstance(found, LostWorkerError):
            self._lost(batch)
            return
        self._pool.free(worker)  # first, so that it computes while the answers are written
        if isinstance(found, Exception):
            self._failed(batch, found)
            return
        computed = BatchOutputs(found, batch)
        at = cost = 0
        now_s = perf_counter()
        for job, start, stop in batch:
            num_rows = stop - start
            cost += slice_cost((job, start, stop))
            if job.deadline_s < now_s:
                self.finish(job, deadline_error())
            elif num_rows == job.num_rows:
                self.finish(job, JobOutputs(job, computed, at, at + num_rows))
            elif not job.gone:
                self._gather(job, start, {name: array[at : at + num_rows] for name, array in found.items()})
            at += num_rows
        # What counts for those who wait is when an answer is here, not how long the engine computed.
        self.pace.learn(cost, now_s - begun_s)
        self._emit(at, took_s)

    def _gather(self, job: Job, start: int, outputs: Arrays) -> None:
        """The outputs of a slice; the last one completes the job."""
        job.parts.append((start, outputs))
        job.num_left -= len(next(iter(outputs.values())))
        if not job.num_left:
            self.finish(job, join_slices(job, self._concat))

    def _failed(self, batch: list[JobSlice], error: Exception) -> None:
        """The engine raised: each of several is tried by itself, so that one poisoned row fails no other request."""
        if len(batch) == 1:
            self.finish(batch[0][0], error)
        else:
            self._alone.extend(batch)
            self._call()

    def _lost(self, batch: list[JobSlice]) -> None:
        """The worker died: tried once more on another, each by itself, for one of them may be why it died."""
        for each in batch:
            each[0].num_deaths += 1
            if each[0].num_deaths >= MAX_DEATHS:
                self.finish(each[0], engine_lost_error())
            else:
                self._alone.append(each)
        if self._alone:
            self._call()

    def finish(self, job: Job, told: JobOutputs | Exception) -> None:
        """Tell who waits, once."""
        if not job.gone:
            if job.counted is not None:
                self.num_rows -= job.num_rows
                self._cost -= job.counted
            job.finish(told)

    def _call(self) -> None:
        """There is work. What nobody takes at once may come to wait in vain."""
        self._pool.call(self)
        if not self._sweeping and (self.waiting or self._alone):
            self._sweeping = True
            asyncio.get_running_loop().call_later(SWEEP_INTERVAL_S, self._sweep)

    def _sweep(self) -> None:
        """Tell those whose deadline has passed, although no worker has become free."""
        now_s = perf_counter()
        late_ones = self.waiting.drop(lambda job: job.gone or job.deadline_s < now_s)
        late_ones += [each[0] for each in self._alone if each[0].deadline_s < now_s]
        for job in late_ones:
            self.finish(job, deadline_error())
        self._alone = deque(each for each in self._alone if not each[0].gone)
        self._sweeping = bool(self.waiting or self._alone)
        if self._sweeping:
            asyncio.get_running_loop().call_later(SWEEP_INTERVAL_S, self._sweep)


def engine_lost_error() -> EngineLostError:
    """The error for a request with which two workers died."""
    return EngineLostError(
        "the engine process died twice while it computed this request",
        expected="rows that the engine can compute",
        fix="send the rows one by one to find which it is, and tell who runs this server",
    )
