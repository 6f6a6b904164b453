"""Identical requests that wait or are computed at the same time are computed once, where the settings say so.

    queue = Coalescer(scheduler, adapter.identity, emit)           # in the place of a model's scheduler
    queue.admit(job)
    queue.submit(job)         # joins the one with the same rows, if there is one

What is compared are the prepared rows, byte by byte, within one version of one model: a dict whose keys are the bytes
themselves cannot take one input for another. Each request is still admitted, counted and limited by itself, and waits
for as long as its own deadline says. For the scheduler there is one job for all of them: as urgent as the most urgent
of them, worth computing until the last deadline, and cancelled when nobody waits for it any more. Who joins takes no
time of the engines, but room in the queue: what it sent stays in memory until it is answered.

Nothing is kept after it was answered: this is no cache.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Any

from deepseek.serve.batching.jobs import Job, JobOutputs
from deepseek.serve.batching.scheduler import SWEEP_INTERVAL_S, Scheduler
from deepseek.serve.core.rate_limits import deadline_error


@dataclass(slots=True)
class CoalescedGroup:
    """Requests that wait for the same rows."""

    shared: Job  # the one job that the scheduler computes for all of them
    waiters: dict[Job, None] = field(default_factory=dict)  # in the order in which they came


class Coalescer:
    """A scheduler of one model that computes identical rows once. All of it runs in the event loop."""

    def __init__(self, scheduler: Scheduler, identity: Callable[[Any], Hashable], emit: Callable[[int], None]) -> None:
        """`identity` is equal for prepared rows that are the same to the bit, and for no others; `emit` is
        called with the number of requests that joined another."""
        self.admit = scheduler.admit
        self._scheduler = scheduler
        self._identity = identity
        self._emit = emit
        self._groups: dict[Hashable, CoalescedGroup] = {}
        self._group_of: dict[Job, CoalescedGroup] = {}
        self._sweeping = False

    def submit(self, *jobs: Job) -> None:
        """Queue jobs whose rows are prepared, or let them wait for the same rows of others."""
        fresh: list[Job] = []
        num_joined = 0
        for job in jobs:
            if job.is_finished:
                continue
            key = self._identity(job.rows)
            group = self._groups.get(key)
            if group is None:
                self._groups[key] = group = CoalescedGroup(self._make_shared(job, key))
                fresh.append(group.shared)
            else:
                self._join(job, group.shared)
                num_joined += 1
            group.waiters[job] = None
            self._group_of[job] = group
        if num_joined:
            self._emit(num_joined)
            self._watch()
        if fresh:
            self._scheduler.submit(*fresh)

    def finish(self, job: Job, reason: Exception) -> None:
        """Finish a job with an error. The others of its group go on; without any, the shared job is cancelled."""
        self._scheduler.finish(job, reason)
        group = self._group_of.pop(job, None)
        if group is None:  # its rows were not prepared yet, or it is finished
            return
        del group.waiters[job]
        if not group.waiters:
            self._scheduler.finish(group.shared, reason)

    def _make_shared(self, job: Job, key: Hashable) -> Job:
        """The job that is computed for this one and those that join it. It is counted in its place."""
        shared = Job(job.num_rows, job.deadline_s, partial(self._on_result, key), priority=job.priority)
        shared.rows, shared.cost, shared.queued_s = job.rows, job.cost, job.queued_s
        shared.counted_cost, job.counted_cost = job.counted_cost, None
        return shared

    def _join(self, job: Job, shared: Job) -> None:
        self._scheduler.discount(job)
        job.rows = shared.rows  # one copy is enough
        shared.deadline_s = max(shared.deadline_s, job.deadline_s)
        if job.priority < shared.priority:
            self._scheduler.queue.move(shared, job.priority)

    def _on_result(self, key: Hashable, result: JobOutputs | Exception) -> None:
        """Finish all jobs of a group with the outputs of the shared job, or with its error."""
        group = self._groups.pop(key)
        for job in group.waiters:
            del self._group_of[job]
        now_s = perf_counter()
        for job in group.waiters:
            if isinstance(result, Exception):
                self._scheduler.finish(job, result)
            elif job.deadline_s < now_s:
                self._scheduler.finish(job, deadline_error())
            else:
                job.started_s = max(group.shared.started_s, job.queued_s)
                self._scheduler.finish(job, JobOutputs(job, result.batch, result.start, result.stop))

    def _watch(self) -> None:
        """Check deadlines here: the scheduler knows only the latest deadline of a group."""
        if not self._sweeping:
            self._sweeping = True
            asyncio.get_running_loop().call_later(SWEEP_INTERVAL_S, self._sweep)

    def _sweep(self) -> None:
        self._sweeping = False
        now_s = perf_counter()
        for job in [job for job in self._group_of if job.deadline_s < now_s]:
            self.finish(job, deadline_error())
        if self._group_of:
            self._watch()
