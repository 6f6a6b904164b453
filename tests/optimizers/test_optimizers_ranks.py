"""AdaptiveOptimizer on two ranks: data parallel equals one process, and sharded ranks never differ in their rate."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = """
import gc, json, sys
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from deepseek.optimizers import AdaptiveOptimizer

def work(kind, out):
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 3))
    rank, world = 0, 1
    if kind != "one":
        dist.init_process_group("gloo")
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
    found = {"rank": rank, "rates": rates, "losses": losses, "weights": [float(w.detach().sum()) for w in whole]}
    with open(f"{out}/{rank}.json", "w") as file:
        json.dump(found, file)


work(*sys.argv[1:])
gc.collect()  # a group ends its threads only when no model holds it
if dist.is_initialized():
    dist.destroy_process_group()
"""


def run(tmp_path: Path, kind: str) -> list[dict[str, Any]]:
    """What each rank found, in order."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"] if kind != "one" else []
    out = tmp_path / kind
    out.mkdir()
    subprocess.run(
        [sys.executable, *launcher, str(program), kind, str(out)], timeout=120, check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    return [json.loads(path.read_text()) for path in sorted(out.iterdir())]


def test_data_parallel_training_equals_one_process(tmp_path: Path) -> None:
    (one,), (first, second) = run(tmp_path, "one"), run(tmp_path, "ddp")
    assert first["rates"] == second["rates"]
    assert first["weights"] == second["weights"]
    # The rate is kept in float32. Later on, sums in another order have grown into other weights.
    assert first["rates"][:20] == pytest.approx(one["rates"][:20], rel=1e-6)
    means = [(a + b) / 2 for a, b in zip(first["losses"], second["losses"], strict=True)]
    assert means[:10] == pytest.approx(one["losses"][:10], rel=1e-6)


def test_sharded_ranks_take_the_same_rate_and_train(tmp_path: Path) -> None:
    first, second = run(tmp_path, "fsdp")
    assert first["rates"] == second["rates"]
    assert first["weights"] == second["weights"]
    assert sum(first["losses"][-5:]) < 0.5 * sum(first["losses"][:5])
