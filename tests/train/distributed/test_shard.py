"""FSDP2 in replicas: the gradients of one process, replicas that stay equal, a mesh that must fit."""

from __future__ import annotations

import hashlib
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor

from deepseek.errors import InputError
from deepseek.train import TrainConfig, fit
from deepseek.train.distributed.gradient_compression import Compression
from deepseek.train.distributed.shard import make_mesh, shard
from support.servers.ranks import run_ranks


class Net(nn.Module):
    """Sizes that two shards do not divide; a tied weight; layers in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(20, 61)
        self.body = nn.ModuleList([nn.Linear(61, 61), nn.Sequential(nn.Linear(61, 61), nn.Tanh())])
        self.head = nn.Linear(61, 20)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.tanh(self.first(inputs))
        for layer in self.body:
            hidden = torch.tanh(layer(hidden))
        return self.head(hidden)


def make_net() -> nn.Module:
    torch.manual_seed(dist.get_rank())  # shard takes those of rank 0
    return Net()


def full(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def weights_of(model: nn.Module) -> list[Tensor]:
    return [full(parameter.detach()).clone() for parameter in model.parameters()]


def digest_of(weights: list[Tensor]) -> str:
    return hashlib.sha256(b"".join(weight.numpy().tobytes() for weight in weights)).hexdigest()


def inputs_of(step: int, rank: int) -> Tensor:
    return torch.randn(8, 20, generator=torch.Generator().manual_seed(10 * step + rank))


def trained(kind: Any, mesh: tuple[int, int]) -> dict[str, Any]:
    """SGD on the sharded model, and on one process that sees the rows of all ranks."""
    model = shard(make_net(), mesh, Compression(kind=kind, rank=4, warm_start_steps=2))
    torch.manual_seed(0)
    alone = Net()
    first = [parameter.detach().clone() for parameter in alone.parameters()]
    optimizers = [torch.optim.SGD(each.parameters(), lr=0.2) for each in (model, alone)]
    for step in range(12):
        (model(inputs_of(step, dist.get_rank())) - 1).square().mean().backward()
        rows = torch.cat([inputs_of(step, rank) for rank in range(dist.get_world_size())])
        (alone(rows) - 1).square().mean().backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    weights = weights_of(model)
    pairs = zip(weights, alone.parameters(), strict=True)
    return {
        "digest": digest_of(weights),
        "difference": max(float((mine - theirs.detach()).abs().max()) for mine, theirs in pairs),
        "moved": max(float((mine - theirs.detach()).abs().max()) for mine, theirs in zip(weights, first, strict=True)),
        "step": model.compressor.step if hasattr(model, "compressor") else None,
        "local": model.head.weight.to_local().numel(),
    }


def in_all_ways() -> dict[str, Any]:
    return {
        "sharded": trained("none", (1, 4)),
        **{kind: trained(kind, (2, 2)) for kind in ("none", "fp16", "int8", "powersgd", "auto")},
    }


@pytest.mark.slow
def test_shards_and_replicas_train_as_one_process_does(tmp_path: Path) -> None:
    ranks = run_ranks(4, in_all_ways, folder=tmp_path)
    allowed = {"sharded": 1e-6, "none": 1e-6, "fp16": 1e-4, "int8": 1e-3, "powersgd": 2e-2, "auto": 2e-2}
    for kind, limit in allowed.items():
        outcomes = [rank[kind] for rank in ranks]
        assert len({each["digest"] for each in outcomes}) == 1, f"{kind}: the replicas drift apart"
        assert outcomes[0]["difference"] < limit, (kind, outcomes[0])
        assert outcomes[0]["moved"] > 3 * limit, (kind, outcomes[0])
        assert outcomes[0]["step"] == (None if kind == "sharded" else 12)
        assert outcomes[0]["local"] < 20 * 61
    for kind in ("fp16", "int8", "powersgd"):
        assert ranks[0][kind]["digest"] != ranks[0]["none"]["digest"], f"{kind} was not used"


def refused() -> list[str]:
    outcomes = []
    for make in (lambda: shard(make_net(), (2, 2)), lambda: make_mesh(0, 3), lambda: shard(nn.ReLU(), (1, 3))):
        with pytest.raises(InputError) as caught:
            make()
        outcomes.append(str(caught.value))
    with pytest.raises(InputError) as caught:
        shard(make_net(), init_device_mesh("cpu", (1, 3)))
    return [*outcomes, str(caught.value)]


def test_ranks_that_the_mesh_does_not_divide_are_an_error_with_the_way_out(tmp_path: Path) -> None:
    for divide, zero, nothing, unnamed in run_ranks(3, refused, folder=tmp_path):
        assert divide == (
            "2 replicas of 2 shards do not make up 3 ranks. Expected: one of (3, 1), (1, 3). "
            "To mend it: give one of these, or start 4 ranks with torchrun."
        )
        assert "0 replicas" in zero
        assert "no parameter to train" in nothing
        assert "make_mesh" in unnamed


def scaled() -> dict[str, Any]:
    """fp16 in the loop. In the second step an element of rank 1's shard overflows, and of no other rank's."""
    model = shard(make_net(), (1, 2))
    count = 0

    def loss(output: Tensor, target: Tensor) -> Tensor:
        nonlocal count
        count += 1
        return (output.float() - target).square().mean()

    def overflow(weight: Tensor) -> None:
        if count == 2 and dist.get_rank() == 1:
            weight.grad.to_local()[0, 0] = math.inf

    model.head.weight.register_post_accumulate_grad_hook(overflow)
    seen: list[list[Tensor]] = []

    class Kept(torch.optim.SGD):
        def zero_grad(self, set_to_none: bool = True) -> None:
            seen.append(weights_of(model))
            super().zero_grad(set_to_none)

    data = [(inputs_of(step, dist.get_rank()), torch.ones(8, 20)) for step in range(4)]
    config = TrainConfig(epochs=1, precision="fp16", clip_norm=10.0)
    fit(model, data, config, loss=loss, optimizer=lambda parameters: Kept(parameters, lr=0.1))
    moved = [not all(map(torch.equal, before, after)) for before, after in pairwise([*seen, weights_of(model)])]
    return {"moved": moved, "digest": digest_of(weights_of(model))}


def test_a_gradient_that_overflows_on_one_rank_alone_is_left_out_on_all(tmp_path: Path) -> None:
    first, second = run_ranks(2, scaled, folder=tmp_path)
    assert first["moved"] == second["moved"] == [True, False, True, True]
    assert first["digest"] == second["digest"]
