"""One process or many: what the loop asks of torch.distributed, and nothing more.

Without an initialized process group every function answers for one process.
"""

from __future__ import annotations

import atexit
import time
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import torch
import torch.distributed as dist

GLOO_EXIT_DELAY_S = 0.1


def is_distributed() -> bool:
    """Whether this process has joined a process group."""
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if is_distributed() else 0


def num_ranks() -> int:
    """How many processes train together."""
    return dist.get_world_size() if is_distributed() else 1


def cpu_group() -> Any:
    """A gloo group of its own: its traffic never waits for the gradients'. None for one process. All ranks call it."""
    if not is_distributed():
        return None
    delay_exit_for_gloo()
    return dist.new_group(backend="gloo")


def sum_over_ranks(values: Sequence[float], group: Any) -> list[float]:
    """Each number added up over all ranks."""
    if group is None:
        return list(values)
    added = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(added, group=group)
    return [float(each) for each in added]


def broadcast_buffers(buffers: Iterable[torch.Tensor]) -> None:
    """Give every rank the buffers of the first, such as the statistics of norms: each has seen its own rows last."""
    if is_distributed():
        for buffer in buffers:
            dist.broadcast(buffer, 0)


def is_rank_lost(error: BaseException) -> bool:
    """Whether an error comes of a rank that is gone: NCCL has classes for it, gloo a plain RuntimeError."""
    return is_distributed() and (isinstance(error, dist.DistError) or "gloo/" in str(error))


@cache
def delay_exit_for_gloo() -> None:
    """At the end of a process that uses gloo groups, give their threads time to release what they hold.

    A thread of gloo drops each piece of work once it is done, and asks for the interpreter to do so. If that is gone by
    then, it aborts the process (torch 2.13), which an elastic launcher takes for a rank that has died.
    """
    atexit.register(time.sleep, GLOO_EXIT_DELAY_S)


def destroy_group(group: Any) -> None:
    """End the threads of a group. Nothing may be under way in it."""
    if group is not None:
        dist.destroy_process_group(group)


def broadcast_object(value: Any, group: Any) -> Any:
    """The value that rank 0 has, on every rank."""
    if group is None:
        return value
    objects = [value]
    dist.broadcast_object_list(objects, src=0, group=group)
    return objects[0]
