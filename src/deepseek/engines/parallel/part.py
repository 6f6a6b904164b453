"""This process's part of a Hugging Face model: its stage of the layers, and in it its share of every matrix.

    with torch.device("meta"):
        module = LlamaForCausalLM(config)             # no memory
    mesh = make_mesh(tp=2, pp=2)                       # 4 processes, see train/distributed/launch.py
    part = shard(module, mesh, "models/Llama", plan="tp+pp")
    logits = run(part, tokens)                         # on every process, as one would give them

Matrices are split by torch's DTensor (torch.distributed.tensor.parallel), layers by torch.distributed.pipelining. A
process opens the safetensors files itself and reads its slices alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from deepseek.errors import InputError
from deepseek.extras import need

need("torch", extra="train")

import torch  # noqa: E402  (after the door, so that its absence is an ExtraError)
import torch.distributed as dist  # noqa: E402
from torch import nn  # noqa: E402
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh  # noqa: E402
from torch.distributed.tensor import DTensor  # noqa: E402
from torch.distributed.tensor.parallel import parallelize_module  # noqa: E402

from deepseek.engines.parallel.blocks import Block, End, blocks_of  # noqa: E402
from deepseek.engines.parallel.weights import Checkpoint, Slice  # noqa: E402
from deepseek.train.distributed import ranks  # noqa: E402
from deepseek.train.distributed.data_parallel import check_group  # noqa: E402
from deepseek.train.pipeline.split import balance_stages  # noqa: E402

PLANS = {"tp": ("tp",), "pp": ("pp",), "tp+pp": ("pp", "tp")}


class Part(nn.Module):
    """The blocks of this process, in running order. Made by `shard`, run by `run`."""

    def __init__(self, blocks: Sequence[Block], mesh: DeviceMesh, config: Any, dtype: torch.dtype, end: End) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.mesh, self.config, self.dtype = mesh, config, dtype
        self.stage, self.num_stages = _place(mesh, "pp")
        self.width, self.is_per_token = end.width, end.is_per_token  # of what the model gives
        self.schedule: tuple[Any, Any] | None = None  # of the last shape, see forward.py

    @property
    def is_first(self) -> bool:
        return self.stage == 0

    @property
    def is_last(self) -> bool:
        return self.stage == self.num_stages - 1

    @property
    def num_held(self) -> int:
        """Parameters in the memory of this process."""
        return sum((p.to_local() if isinstance(p, DTensor) else p).numel() for p in self.parameters())

    def forward(self, value: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        for block in self.blocks:
            value = block(value, mask)
        return value


def make_mesh(tp: int = 1, pp: int = 1, device: str = "cpu") -> DeviceMesh:
    """A mesh of all processes; those that follow each other share matrices, which is where the link must be fast.

    Raises InputError where tp * pp is not the number of processes, or there is no process group.
    """
    check_group()
    world = dist.get_world_size()
    if tp < 1 or pp < 1 or tp * pp != world:
        fits = ", ".join(f"tp={each} pp={world // each}" for each in range(1, world + 1) if world % each == 0)
        raise InputError(
            f"tp={tp} pp={pp} does not make up {world} processes", expected=f"one of {fits}",
            fix=f"give one of these, or start {max(1, tp) * max(1, pp)} processes",
        )  # fmt: skip
    names = tuple(name for name, size in (("pp", pp), ("tp", tp)) if size > 1) or ("tp",)
    return init_device_mesh(device, tuple({"pp": pp, "tp": tp}[name] for name in names), mesh_dim_names=names)


def shard(module: nn.Module, mesh: DeviceMesh, folder: str | Path, *, plan: str) -> Part:
    """This process's part of `module`, with its weights out of `folder`. Every process calls it alike.

    module: of transformers' Llama, GPT-2 or BERT shape, best made on torch's meta device; it is taken apart.
    plan: "tp", "pp" or "tp+pp", the dimensions of the mesh. Stages are cut so that the largest is as small as can be.

    Raises InputError for a module, mesh or folder that cannot be split so; MissingError for weights that are not there.
    """
    _check_mesh(mesh, plan)
    ranks.delay_exit_for_gloo()
    row = blocks_of(module)
    config: Any = module.config
    tp_index, tp_count = _place(mesh, "tp")
    _check_heads(config, tp_count)
    stage, num_stages = _place(mesh, "pp")
    ends = balance_stages([sum(p.numel() for p in block.parameters()) for block in row], num_stages)
    mine = row[ends[stage - 1] if stage else 0 : ends[stage]]
    dtype = next(row[1].parameters()).dtype
    checkpoint = Checkpoint(folder)
    for block in mine:
        if tp_count > 1:
            _check_matrices(block, type(module).__name__)
            parallelize_module(block, mesh["tp"], block.styles(), src_data_rank=None)
            block.narrow(tp_count)
        _load(block, checkpoint, tp_index, tp_count)
    return Part(mine, mesh, config, dtype, cast("End", row[-1])).eval().requires_grad_(False)


def _place(mesh: DeviceMesh, name: str) -> tuple[int, int]:
    """This process's index along a dimension of the mesh, and how many there are."""
    if name not in (mesh.mesh_dim_names or ()):
        return 0, 1
    return mesh[name].get_local_rank(), mesh[name].size()


def _load(block: Block, checkpoint: Checkpoint, index: int, count: int) -> None:
    """Put this process's slices into the block's parameters."""
    for name, parameter in list(block.named_parameters()):
        path, _, last = name.rpartition(".")
        owner: Any = block.get_submodule(path)
        child, _, rest = name.partition(".")
        dim = None
        if isinstance(parameter, DTensor):
            placed = parameter.placements[0]
            dim = placed.dim if placed.is_shard() else None  # type: ignore[attr-defined]
        part = Slice(
            tuple(parameter.shape), dim, index, count, getattr(owner, "is_turned", False) and last == "weight",
            getattr(owner, "num_fused", 1) if dim == 0 else 1,
        )  # fmt: skip
        read: Any = checkpoint.read([f"{origin}.{rest}" for origin in block.origins[child]], part).to(parameter.dtype)
        if isinstance(parameter, DTensor):
            read = DTensor.from_local(
                read, parameter.device_mesh, parameter.placements, shape=parameter.shape, stride=parameter.stride()
            )
        owner.register_parameter(last, nn.Parameter(read, requires_grad=False))


def _check_mesh(mesh: DeviceMesh, plan: str) -> None:
    if plan not in PLANS:
        raise InputError(f"there is no plan {plan!r}", expected=", ".join(PLANS), fix="take one of these")
    if set(mesh.mesh_dim_names or ()) != set(PLANS[plan]):
        raise InputError(
            f"the mesh has the dimensions {mesh.mesh_dim_names}", expected=f"{PLANS[plan]} for the plan {plan!r}",
            fix="make it with make_mesh(tp=..., pp=...), each above 1 where the plan names it",
        )  # fmt: skip


def _check_heads(config: Any, count: int) -> None:
    for name in ("num_attention_heads", "num_key_value_heads"):
        heads = getattr(config, name, None)
        if heads is not None and heads % count:
            raise InputError(
                f"{name} is {heads}, which {count} processes cannot share out", expected=f"a divisor of {heads}",
                fix="give a smaller tp, and the rest of the processes to pp",
            )  # fmt: skip


def _check_matrices(block: Block, kind: str) -> None:
    """No matrix of a layer is left whole: a mixture of experts, for one, has matrices that no style here knows."""
    if not block.columns:
        return
    styled = block.styles()
    left = [name for name, p in block.named_parameters() if p.ndim > 1 and name.rpartition(".")[0] not in styled]
    if left:
        raise InputError(
            f"{left[0]} of {kind} cannot be split over processes", expected="the matrices of Llama, GPT-2 or BERT",
            fix='give plan="pp", which keeps layers whole',
        )  # fmt: skip
