"""AdaptiveOptimizer on two ranks: data parallel equals one process, and sharded ranks never differ in their rate."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from deepseek.optimizers import AdaptiveOptimizer
from support.servers.ranks import run_ranks


def work(kind: str) -> dict[str, Any]:
    """60 steps of this rank's part of 64 rows: what the optimizer's rate and the loss were, and the weights' sums."""
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    model: nn.Module = nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 3))
    rank, world = dist.get_rank(), dist.get_world_size()
    if kind == "ddp":
        model = DistributedDataParallel(model)
    if kind == "fsdp":
        for layer in (model[0], model[2]):
            fully_shard(layer)
        fully_shard(model)
    optimizer = AdaptiveOptimizer(model.parameters())
    rates, losses = [], []
    for step in range(60):
        x = torch.randn(64, 6, generator=torch.Generator().manual_seed(step))
        y = torch.stack([x[:, 0] * x[:, 1], x[:, 2].sin(), x.sum(1) / 3], 1)
        part = slice(rank * 64 // world, (rank + 1) * 64 // world)
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x[part]), y[part])
        loss.backward()
        optimizer.step()
        rates.append(optimizer.get_current_lr())
        losses.append(loss.item())
    whole = [p.full_tensor() if hasattr(p, "full_tensor") else p for p in model.parameters()]
    return {"rates": rates, "losses": losses, "weights": [float(w.detach().sum()) for w in whole]}


@pytest.mark.slow
def test_data_parallel_training_equals_one_process(tmp_path: Path) -> None:
    (one,) = run_ranks(1, work, "one", folder=tmp_path)
    first, second = run_ranks(2, work, "ddp", folder=tmp_path)
    assert first["rates"] == second["rates"]
    assert first["weights"] == second["weights"]
    # The rate is kept in float32. Later on, sums in another order have grown into other weights.
    assert first["rates"][:20] == pytest.approx(one["rates"][:20], rel=1e-6)
    means = [(a + b) / 2 for a, b in zip(first["losses"], second["losses"], strict=True)]
    assert means[:10] == pytest.approx(one["losses"][:10], rel=1e-6)


@pytest.mark.slow
def test_sharded_ranks_take_the_same_rate_and_train(tmp_path: Path) -> None:
    first, second = run_ranks(2, work, "fsdp", folder=tmp_path)
    assert first["rates"] == second["rates"]
    assert first["weights"] == second["weights"]
    assert sum(first["losses"][-5:]) < 0.5 * sum(first["losses"][:5])


def work_with_a_broken_batch(kind: str) -> dict[str, Any]:
    """As work(), but the rows of one rank are NaN in the third step: what was skipped, and the weights."""
    torch.manual_seed(0)
    model: nn.Module = nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 3))
    if kind == "ddp":
        model = DistributedDataParallel(model)
    else:
        fully_shard(model)
    optimizer = AdaptiveOptimizer(model.parameters())
    for step in range(6):
        x = torch.randn(32, 6, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        loss = model(x).square().mean()
        (loss * torch.nan if step == 2 and dist.get_rank() == 1 else loss).backward()
        optimizer.step()
    whole = [p.full_tensor() if hasattr(p, "full_tensor") else p for p in model.parameters()]
    return {
        "steps": optimizer.param_groups[0]["step"],
        "num_skipped": optimizer.num_skipped_steps,
        "weights": [float(w.detach().sum()) for w in whole],
    }


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*not finite")
@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_a_gradient_that_is_not_finite_on_one_rank_is_skipped_by_all(tmp_path: Path, kind: str) -> None:
    first, second = run_ranks(2, work_with_a_broken_batch, kind, folder=tmp_path)
    assert (first["steps"], first["num_skipped"]) == (5, 1)
    assert first == second
    assert all(math.isfinite(weight) for weight in first["weights"])
