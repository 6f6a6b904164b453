"""Sums over parameters of which each rank holds a part (FSDP2) or some (a pipeline), and all need the same sum."""

from __future__ import annotations

from collections.abc import Iterable

import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor


def local_part(tensor: Tensor) -> Tensor:
    """The part of a tensor that this rank holds: all of it, unless it is sharded."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def sum_over_shards(sums: Tensor, params: Iterable[Tensor]) -> Tensor:
    """Sums of what each rank holds, added over the ranks that hold different parts. In place where it is needed.

    Parameters of one optimizer lie on one mesh, sharded over the same axes of it.
    """
    for param in params:
        if isinstance(param, DTensor):
            for axis, placement in enumerate(param.placements):
                if placement.is_shard():
                    dist.all_reduce(sums, group=param.device_mesh.get_group(axis))
            break
    return sums


def max_over_group(largest: Tensor, group: dist.ProcessGroup | None) -> Tensor:
    """The largest of what each process holds, of those that hold different tensors. In place where there are such."""
    if group is not None:
        dist.all_reduce(largest, op=dist.ReduceOp.MAX, group=group)
    return largest


def sum_over_group(sums: Tensor, group: dist.ProcessGroup | None) -> Tensor:
    """Sums of what each process holds, added over those that hold different tensors. In place where there are such."""
    if group is not None:
        dist.all_reduce(sums, group=group)
    return sums
