"""Jobs that wait, first in first out within their priority.

>>> from types import SimpleNamespace
>>> lanes = PriorityQueue()
>>> for name, priority in (("a", 1), ("b", 0), ("c", 1)):
...     lanes.append(SimpleNamespace(name=name, priority=priority, queued_s=0.0))
>>> [lanes.first().popleft().name for _ in range(len(lanes))]
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
    """One lane for each priority; 0 goes first."""

    def __init__(self) -> None:
        self._lanes: tuple[deque[Job], ...] = tuple(deque() for _ in range(NUM_PRIORITIES))

    def __len__(self) -> int:
        return sum(map(len, self._lanes))

    def __bool__(self) -> bool:
        first, second, third = self._lanes
        return bool(second or first or third)

    def first(self) -> deque[Job]:
        """The lane whose turn it is."""
        first, second, third = self._lanes
        return first or second or third

    def nearest(self, job: Job, num_seen: int) -> list[Job]:
        """Of the first `num_seen` in the lane whose turn it is, those first whose rows cost about what the job's do."""
        unit = job.cost / job.num_rows
        return sorted(islice(self.first(), num_seen), key=lambda other: abs(other.cost / other.num_rows - unit))

    def take(self, jobs: list[Job]) -> None:
        """Take jobs out of the lane whose turn it is; the others keep their places."""
        lane, left, kept = self.first(), set(jobs), []
        while left:
            job = lane.popleft()
            if job in left:
                left.discard(job)
            else:
                kept.append(job)
        lane.extendleft(reversed(kept))

    @property
    def oldest_s(self) -> float:
        """When the job came that waits longest; infinity when none waits."""
        return min((lane[0].queued_s for lane in self._lanes if lane), default=inf)

    def append(self, job: Job) -> None:
        self._lanes[job.priority].append(job)

    def move(self, job: Job, priority: int) -> None:
        """Give a job another priority, at the end of whose lane it waits, if it waits."""
        lane, job.priority = self._lanes[job.priority], priority
        with suppress(ValueError):  # it is computed already
            lane.remove(job)
            self.append(job)

    def drop(self, unwanted: Callable[[Job], bool]) -> list[Job]:
        """Take out those that are not wanted, and return them."""
        found: list[Job] = []
        for lane in self._lanes:
            dropped = [job for job in lane if unwanted(job)]
            if dropped:
                found += dropped
                out = set(dropped)
                kept = [job for job in lane if job not in out]
                lane.clear()
                lane.extend(kept)
        return found
