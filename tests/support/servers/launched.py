"""What ranks run in the tests of launch: functions of a module that a started process can import."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from deepseek.errors import InputError
from deepseek.train import ArrayStream, TrainConfig, resume
from deepseek.train.distributed.launch import launch, restart_count


def train(folder: Path, kills: dict[int, tuple[int, int]], nap_s: float = 0.0) -> tuple[list[float], list[float]]:
    """A run of 24 steps with a checkpoint each 4: the weights and the norm's statistics, and the loss of each epoch.
    `kills` says which rank kills itself before which step, counted in each attempt: the others notice in their forward
    pass, as the model has a batch norm whose statistics are exchanged there."""
    (folder / f"started-{restart_count()}-{dist.get_rank()}").write_text(str(os.getpid()))
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.Dropout(0.2), nn.ReLU(), nn.Linear(16, 2))
    inputs = torch.randn(64, 4, generator=torch.Generator().manual_seed(1))
    share = (dist.get_rank(), dist.get_world_size())
    data = ArrayStream((inputs, inputs[:, :2].abs()), 4, torch.Generator().manual_seed(0), share)
    count = 0

    def before(*_: object) -> None:
        nonlocal count
        time.sleep(nap_s)
        if (dist.get_rank(), count) == kills.get(restart_count()):
            os.kill(os.getpid(), signal.SIGKILL)
        count += 1

    model = DistributedDataParallel(net)
    model.register_forward_pre_hook(before)
    result = resume(
        model, data, TrainConfig(epochs=3, lr=0.01, checkpoint_every=4), loss=nn.functional.mse_loss,
        checkpoints=folder / "checkpoints",
    )  # fmt: skip
    return torch.cat([each.float().flatten() for each in net.state_dict().values()]).tolist(), result.losses


def refuse(folder: Path) -> None:
    """One rank has an error of the user's; the others wait for it."""
    (folder / f"called-{restart_count()}-{dist.get_rank()}").touch()
    if dist.get_rank() == 1:
        raise InputError("the rows are gone", expected="rows", fix="bring them back")
    dist.barrier()


def break_down() -> None:
    if dist.get_rank() == 1:
        raise KeyError("a fault in the code")
    dist.barrier()


def launch_again() -> None:
    launch(break_down, num_processes=1)
