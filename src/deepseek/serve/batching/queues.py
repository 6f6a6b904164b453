"""Jobs that wait, first in first out within their priority.

>>> from types import SimpleNamespace
>>> queue = PriorityQueue()
>>> for name, priority in (("a", 1), ("b", 0), ("c", 1)):
...     queue.append(SimpleNamespace(name=name, priority=priority, queued_s=0.0))
>>> [queue.first().popleft().name for _ in range(len(queue))]
['b', 'a', 'c']
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deepseek.serve.batching.jobs import Job

NUM_PRIORITIES = 3


class PriorityQueue:
    """One queue for each priority; 0 goes first."""

    def __init__(self) -> None:
        self._queues: tuple[deque[Job], ...] = tuple(deque() for _ in range(NUM_PRIORITIES))

    def __len__(self) -> int:
        return sum(map(len, self._queues))

    def __bool__(self) -> bool:
        first, second, third = self._queues
        return bool(second or first or third)

    def first(self) -> deque[Job]:
        """The queue whose turn it is."""
        first, second, third = self._queues
        return first or second or third

    def most_similar(self, job: Job, num_seen: int) -> list[Job]:
        """The first `num_seen` jobs of the queue whose turn it is, ordered by how near their cost of a row is."""
        unit = job.cost / job.num_rows
        return sorted(islice(self.first(), num_seen), key=lambda other: abs(other.cost / other.num_rows - unit))

    def take(self, jobs: list[Job]) -> None:
        """Remove jobs from the queue whose turn it is; the others keep their order."""
        queue, remaining, kept = self.first(), set(jobs), []
        while remaining:
            job = queue.popleft()
            if job in remaining:
                remaining.discard(job)
            else:
                kept.append(job)
        queue.extendleft(reversed(kept))

    @property
    def oldest_s(self) -> float:
        """When the oldest waiting job was queued (perf_counter); infinity when none waits."""
        return min((queue[0].queued_s for queue in self._queues if queue), default=inf)

    def append(self, job: Job) -> None:
        self._queues[job.priority].append(job)

    def move(self, job: Job, priority: int) -> None:
        """Give a job another priority. If it waits, it goes to the end of that priority's queue."""
        queue, job.priority = self._queues[job.priority], priority
        with suppress(ValueError):  # it is being computed already
            queue.remove(job)
            self.append(job)

    def drop(self, unwanted: Callable[[Job], bool]) -> list[Job]:
        """Remove the jobs that are not wanted, and return them."""
        dropped_jobs: list[Job] = []
        for queue in self._queues:
            dropped = [job for job in queue if unwanted(job)]
            if dropped:
                dropped_jobs += dropped
                dropped_set = set(dropped)
                kept = [job for job in queue if job not in dropped_set]
                queue.clear()
                queue.extend(kept)
        return dropped_jobs
