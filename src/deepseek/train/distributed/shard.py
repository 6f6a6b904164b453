"""Sharded training: torch's FSDP2, alone or in replicas whose gradients travel compressed.

    model = shard(model, (2, 4), Compression(kind="auto"))    # 8 ranks: 2 replicas of 4 shards each

Each replica lies in one fast network (a machine, a rack): within it torch shards parameters, gradients and optimizer
state, and averages gradients by reduce-scatter. Between replicas each rank averages only its own shard, in the way of
gradient_compression.py. torch's own two-dimensional sharding has no place for that: its hook runs after the replicas'
all-reduce. So each replica is sharded alone, and the hook averages over the replicas.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import Any, cast

import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from deepseek.errors import InputError
from deepseek.train.distributed.data_parallel import Compressor, check_group, check_trainable
from deepseek.train.distributed.gradient_compression import Compression

__all__ = ["Compression", "ShardCompressor", "make_mesh", "shard"]


def make_mesh(replicas: int, shards: int, device: str = "cpu") -> DeviceMesh:
    """A mesh (replicate, shard) of all ranks; ranks that follow each other are in one replica.

    Raises InputError where the ranks do not divide so, or there is no process group.
    """
    check_group()
    world = dist.get_world_size()
    if replicas < 1 or shards < 1 or replicas * shards != world:
        fits = ", ".join(f"({world // size}, {size})" for size in range(1, world + 1) if world % size == 0)
        raise InputError(
            f"{replicas} replicas of {shards} shards do not make up {world} ranks", expected=f"one of {fits}",
            fix=f"give one of these, or start {max(1, replicas) * max(1, shards)} ranks with torchrun",
        )  # fmt: skip
    return init_device_mesh(device, (replicas, shards), mesh_dim_names=("replicate", "shard"))


def shard(
    model: nn.Module,
    mesh: DeviceMesh | tuple[int, int] | None = None,
    compression: Compression | None = None,
    **arguments: Any,
) -> nn.Module:
    """Shard `model` in place over `mesh` and return it, its parameters those of rank 0 and now DTensors.

    `mesh` is (replicas, shards), a DeviceMesh of these two named dimensions or of one (shards), or None: one replica of
    all ranks. Each child of a ModuleList or Sequential is gathered and freed by itself. `arguments` go to fully_shard
    (`mp_policy`, `offload_policy`, ...). With replicas, `model.compressor` is a ShardCompressor that a checkpoint must
    keep. Make the optimizer afterwards. Raises InputError where the mesh does not fit the ranks.
    """
    config = compression or Compression()
    check_trainable(model, config)
    replicate, inner = split_mesh(mesh)
    for tensor in (*model.parameters(), *model.buffers()):
        if not tensor.is_meta:
            dist.broadcast(tensor.detach(), 0)
    parts = dict(layer_blocks(model)) | {"": model}
    for part in parts.values():
        fully_shard(part, mesh=inner, **arguments)
    if replicate is not None and replicate.size() > 1:
        layouts = {name: shard_shapes(part, name, inner.size()) for name, part in parts.items()}
        sharded_layouts = {name: shapes for name, shapes in layouts.items() if shapes}
        compressor = ShardCompressor(config, replicate.get_group(), num_parts=len(sharded_layouts))
        for name, shapes in sharded_layouts.items():
            cast("FSDPModule", parts[name]).set_all_reduce_hook(partial(compressor.average, shapes))
        cast("Any", model).compressor = compressor
    return model


def split_mesh(mesh: DeviceMesh | tuple[int, int] | None) -> tuple[DeviceMesh | None, DeviceMesh]:
    """The mesh over replicas, if there is one, and the mesh over shards, of this rank."""
    whole = mesh if isinstance(mesh, DeviceMesh) else make_mesh(*(mesh or (1, dist.get_world_size())))
    if whole.ndim == 1:
        return None, whole
    names = whole.mesh_dim_names
    if whole.ndim != 2 or names is None:
        raise InputError(
            f"the mesh has {whole.ndim} dimensions named {names}", expected="two with names, or one",
            fix="make it with deepseek.train.distributed.shard.make_mesh(replicas, shards)",
        )  # fmt: skip
    return whole[names[0]], whole[names[1]]


def layer_blocks(model: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The outermost children of lists and sequences that hold parameters, by name: the layers of most models."""
    listed = isinstance(model, (nn.ModuleList, nn.Sequential))
    for name, child in model.named_children():
        if listed and any(True for _ in child.parameters()) and not isinstance(child, nn.ModuleList):
            yield prefix + name, child
        else:
            yield from layer_blocks(child, f"{prefix}{name}.")


def shard_shapes(part: nn.Module, prefix: str, num_shards: int) -> dict[str, tuple[int, ...]]:
    """Shape of each shard in the flat gradient that the hook of a sharded module gets, in order.

    FSDP2 shards dimension 0 and fills up the last shards with rows of zeros.
    """
    shapes: dict[nn.Parameter, tuple[str, tuple[int, ...]]] = {}
    for name, parameter in own_parameters(part, prefix):
        if parameter.requires_grad:  # a tied one counts once
            rows, *rest = parameter.shape
            shapes.setdefault(parameter, (name, (-(-rows // num_shards), *rest)))
    return dict(shapes.values())


def own_parameters(module: nn.Module, prefix: str) -> Iterator[tuple[str, nn.Parameter]]:
    """Parameters that no sharded module within takes, in FSDP2's order."""
    yield from module.named_parameters(prefix, recurse=False)
    for name, child in module.named_children():
        if not isinstance(child, FSDPModule):
            yield from own_parameters(child, f"{prefix}.{name}" if prefix else name)


class ShardCompressor(Compressor):
    """Averages shards over replicas. One step is a call from each sharded module."""

    def __init__(self, config: Compression, group: dist.ProcessGroup, *, num_parts: int) -> None:
        super().__init__(config, group)
        self.num_parts = num_parts
        self.num_calls = 0  # in this step

    def average(self, shapes: dict[str, tuple[int, ...]], flat: Tensor) -> None:
        """The hook: replace a module's reduced gradients by their mean over the replicas."""
        sizes = [math.prod(shape) for shape in shapes.values()]
        grads = {",".join(shapes): flat}  # some parameter had no gradient: one vector, sent as it is
        if sum(sizes) == flat.numel():
            parts = flat.split(sizes)  # type: ignore[no-untyped-call]
            grads = {name: part.view(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
        self.reduce(grads, self.kind_of(",".join(grads)), measure=self.is_measured() and len(grads) > 1)
        self.num_calls = (self.num_calls + 1) % self.num_parts
        self.step += self.num_calls == 0
