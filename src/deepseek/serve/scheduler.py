"""Dynamic batching: rows of concurrent requests go through the engine together.

    scores = await scheduler.score(features, deadline_s)

Greedy, without a timer: whatever arrived in one turn of the event loop is one batch, and what arrives while a batch is
computed in a thread is the next one. So a lone request never waits for company, and load makes batches by itself.

A batch runs in the loop while it is cheaper than handing it to a thread (INLINE_S, by the measured cost of a row), else
in a thread. A request with more rows than a batch is already one: it takes a lane of its own, so that single rows need
not wait behind it. Rows that wait are bounded (limits.Gate), and a request whose deadline has passed is not computed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from deepseek.contracts import Float32, Scores
from deepseek.serve.limits import Gate, late

Score = Callable[[Float32], Scores]
Batched = tuple[Scores, float, float] | None  # scores, when the batch began, how long it took; None: nothing to do
#: Handing work to a thread and back costs about 0.1 ms of CPU; below this the loop may as well do it itself.
INLINE_S = 0.002


@dataclass(slots=True)
class Job:
    """One request's rows and who waits for them."""

    features: Float32
    deadline_s: float
    done: asyncio.Future[tuple[Scores, float]]
    queued_s: float


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

    async def score(self, features: Float32, deadline_s: float) -> tuple[Scores, float]:
        """Scores for (N, F), and the seconds that they waited. BusyError, DeadlineError."""
        self.gate.enter(len(features))
        lane = self._small if len(features) <= self.batch_rows else self._large
        return await lane.submit(features, deadline_s)


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
        self._suspects: deque[Job] = deque()  # of a batch that failed: each is tried once more, alone
        self._batch: list[Job] = []
        self._work: asyncio.Task[Batched] | None = None

    def submit(self, features: Float32, deadline_s: float) -> asyncio.Future[tuple[Scores, float]]:
        job = Job(features, deadline_s, asyncio.get_running_loop().create_future(), perf_counter())
        self._waiting.append(job)
        if self._work is None:
            self._start()
        return job.done

    def _start(self) -> None:
        # A task, so that whatever an engine raises reaches the requests of the batch and nothing else.
        self._work = asyncio.get_running_loop().create_task(self._compute())
        self._work.add_done_callback(self._finish)

    async def _compute(self) -> Batched:
        started_s = perf_counter()
        self._batch = batch = self._take(started_s)
        if not batch:
            return None
        features = batch[0].features if len(batch) == 1 else np.concatenate([job.features for job in batch])
        if len(features) <= self._batch_rows and self._gate.row_s * len(features) <= INLINE_S:
            scores = self._score(features)
        else:
            scores = await asyncio.get_running_loop().run_in_executor(self._executor, self._score, features)
        return scores, started_s, perf_counter() - started_s

    def _take(self, now_s: float) -> list[Job]:
        """The next jobs that fit into a batch. Those that came too late are answered here, not computed."""
        if self._suspects:
            return [self._suspects.popleft()]
        batch: list[Job] = []
        num_rows = 0
        while self._waiting and (not batch or num_rows + len(self._waiting[0].features) <= self._batch_rows):
            job = self._waiting.popleft()
            if job.done.cancelled() or job.deadline_s < now_s:
                self._gate.leave(len(job.features))
                _answer(job, late())
            else:
                batch.append(job)
                num_rows += len(job.features)
        return batch

    def _finish(self, work: asyncio.Task[Batched]) -> None:
        """Hand out what a batch brought, and begin the next one."""
        if work.cancelled():  # the event loop itself is ending
            return
        batch, error = self._batch, work.exception()
        if error is not None and len(batch) > 1:
            self._suspects.extend(batch)
        elif error is not None:
            self._gate.leave(len(batch[0].features))
            _answer(batch[0], error)
        elif (result := work.result()) is not None:
            scores, started_s, duration_s = result
            num_rows = sum(len(job.features) for job in batch)
            self._gate.leave(num_rows)
            self._gate.learn(num_rows, duration_s)
            self._emit(num_rows, duration_s)
            _share(batch, scores, started_s)
        self._work = None
        if self._waiting or self._suspects:
            self._start()


def _share(batch: list[Job], scores: Scores, started_s: float) -> None:
    """Give each job its rows of the scores."""
    start = 0
    for job in batch:
        stop = start + len(job.features)
        part = scores if len(batch) == 1 else Scores(scores.margin[start:stop], scores.output[start:stop])
        _answer(job, (part, started_s - job.queued_s))
        start = stop


def _answer(job: Job, result: tuple[Scores, float] | BaseException) -> None:
    if job.done.done():
        return
    if isinstance(result, BaseException):
        job.done.set_exception(result)
    else:
        job.done.set_result(result)
