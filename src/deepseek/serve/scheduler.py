"""Dynamic batching: rows of concurrent requests go through the engine together.

    scores = await scheduler.score(features, deadline_s)

Greedy, without a timer: whatever arrived in one turn of the event loop is one batch, and what arrives while a batch is
computed in a thread is the next one. So a lone request never waits for company, and load makes batches by itself.

The first request of a batch leads: its own coroutine computes for the others, and hands on when it is done. So a lone
request costs no task and no future. When a batch of several fails, each of them is tried once more by itself.

A batch runs in the loop while it is cheaper than handing it to a thread (INLINE_S, by the measured cost of a row), else
in a thread. A request with more rows than a batch is already one: it takes a lane of its own, so that single rows need
not wait behind it. Rows that wait are bounded (limits.Gate), and a request whose deadline has passed is not computed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from deepseek.contracts import Float32, Scores
from deepseek.serve.limits import Gate, late

Score = Callable[[Float32], Scores]
Part = tuple[Scores, float]  # a request's scores, and the seconds that it waited
#: Handing work to a thread and back costs about 0.1 ms of CPU; below this the loop may as well do it itself.
INLINE_S = 0.002


@dataclass(slots=True)
class Job:
    """One request's rows and who waits for them."""

    features: Float32
    deadline_s: float
    queued_s: float
    leads: bool = False  # whether its own coroutine computes the next batch
    gone: bool = False  # whether nobody waits for it any more
    told: asyncio.Future[Part | None] | None = None  # its part of a batch; None: lead, or go alone

    def tell(self, part: Part | None) -> None:
        if self.told is not None and not self.told.done():
            self.told.set_result(part)


class Scheduler:
    """Batches the rows of one model."""

    def __init__(
        self,
        score: Score,
        *,
        small: Executor,
        large: Executor,
        batch_rows: int,
        gate: Gate,
        emit: Callable[[int, float], None],
    ) -> None:
        """`small` and `large` run what the loop should not; `emit` is told the rows and the seconds of every batch."""
        self.batch_rows = batch_rows
        self.gate = gate
        self._small = Lane(score, small, batch_rows, gate, emit)
        self._large = Lane(score, large, batch_rows, gate, emit)

    async def score(self, features: Float32, deadline_s: float) -> Part:
        """Scores for (N, F), and the seconds that they waited. BusyError, DeadlineError."""
        num_rows = len(features)
        self.gate.enter(num_rows)
        try:
            return await (self._small if num_rows <= self.batch_rows else self._large).submit(features, deadline_s)
        finally:
            self.gate.leave(num_rows)


class Lane:
    """One queue with at most one batch of it in work."""

    def __init__(
        self, score: Score, executor: Executor, batch_rows: int, gate: Gate, emit: Callable[[int, float], None]
    ) -> None:
        self._score = score
        self._executor = executor
        self._batch_rows = batch_rows
        self._gate = gate
        self._emit = emit
        self._waiting: deque[Job] = deque()
        self._led = False  # whether somebody leads

    async def submit(self, features: Float32, deadline_s: float) -> Part:
        job = Job(features, deadline_s, perf_counter())
        try:
            if self._led:
                job.told = asyncio.get_running_loop().create_future()
                self._waiting.append(job)
                part = await job.told
                if part is not None:
                    return part
            else:
                self._led = job.leads = True
                await asyncio.sleep(0)  # what else comes in this turn of the loop is in the batch
            return await (self._lead(job) if job.leads else self._alone(job))
        finally:
            job.gone = True
            if job.leads:
                self._hand_on()

    async def _lead(self, job: Job) -> Part:
        """Compute for a job and for those that fit into its batch."""
        followers = self._take(len(job.features)) if job.deadline_s >= perf_counter() else []
        if not followers:
            return await self._alone(job)
        batch = [job, *followers]
        # In a task, so that whatever an engine raises for one of them is no error of this one.
        work = asyncio.create_task(self._compute(np.concatenate([each.features for each in batch])))
        try:
            await asyncio.wait([work])
            if work.exception() is None:
                mine, *theirs = _shares(batch, *work.result())
                for follower, part in zip(followers, theirs, strict=True):
                    follower.tell(part)
                return mine
        finally:
            for follower in followers:
                follower.tell(None)  # those that have no part yet go alone
        return await self._alone(job)

    async def _alone(self, job: Job) -> Part:
        if job.deadline_s < perf_counter():
            raise late()
        scores, started_s = await self._compute(job.features)
        return scores, started_s - job.queued_s

    async def _compute(self, features: Float32) -> tuple[Scores, float]:
        """Scores, and when computing began."""
        num_rows = len(features)
        started_s = perf_counter()
        if num_rows <= self._batch_rows and self._gate.row_s * num_rows <= INLINE_S:
            scores = self._score(features)
        else:
            scores = await asyncio.get_running_loop().run_in_executor(self._executor, self._score, features)
        duration_s = perf_counter() - started_s
        self._gate.learn(num_rows, duration_s)
        self._emit(num_rows, duration_s)
        return scores, started_s

    def _take(self, num_rows: int) -> list[Job]:
        """Who joins a batch that has `num_rows` already. Those that came too late are told so, not computed."""
        found: list[Job] = []
        now_s = perf_counter()
        while self._waiting and num_rows + len(self._waiting[0].features) <= self._batch_rows:
            job = self._waiting.popleft()
            if job.deadline_s < now_s:
                job.tell(None)  # it finds out by itself
            elif not job.gone:
                found.append(job)
                num_rows += len(job.features)
        return found

    def _hand_on(self) -> None:
        """Let the next one lead, if there is one."""
        self._led = False
        while self._waiting and not self._led:
            job = self._waiting.popleft()
            if not job.gone:
                self._led = job.leads = True
                job.tell(None)


def _shares(batch: list[Job], scores: Scores, started_s: float) -> Iterator[Part]:
    """Each job's rows of the scores."""
    start = 0
    for job in batch:
        stop = start + len(job.features)
        yield Scores(scores.margin[start:stop], scores.output[start:stop]), started_s - job.queued_s
        start = stop
