"""Solutions of the lab project_ranks."""

from __future__ import annotations

import shutil
from pathlib import Path

from learn.solutions.tools import deepseek_verb, replace_text

WRONG = {
    "ends_with_a_rank": "ended_by_kill", "begins_anew": "began_anew", "hardly_trained": "weak",
    "silence_first": "wrong_state", "first_steps_as_best": "wrong_state",
}  # fmt: skip

TRAIN = """
import os
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from deepseek.train import ArrayStream, TrainConfig, resume
from deepseek.train.distributed.launch import launch


class Net(nn.Module):
    def __init__(self, num_columns, num_classes):
        super().__init__()
        self.register_buffer("mean", torch.zeros(num_columns))
        self.register_buffer("std", torch.ones(num_columns))
        self.layers = nn.Sequential(nn.Linear(num_columns, 32), nn.ReLU(), nn.Linear(32, num_classes))

    def forward(self, x):
        return self.layers((x - self.mean) / self.std)


def build():
    x = torch.tensor(np.load("rows.npz")["x"])
    net = Net(x.shape[1], 2)
    net.mean, net.std = x.mean(0), x.std(0)
    return net


def run_rank(rows, folder):
    folder, rank = Path(folder), dist.get_rank()
    (folder / f"rank-{rank}.pid").write_text(str(os.getpid()))
    with np.load(rows, allow_pickle=False) as file:
        x, y = torch.tensor(file["x"], dtype=torch.float32), torch.tensor(file["y"], dtype=torch.int64)
    torch.manual_seed(0)
    net = Net(x.shape[1], int(y.max()) + 1)
    net.mean, net.std = x.mean(0), x.std(0) + 1e-6
    data = ArrayStream((x, y), 16, torch.Generator().manual_seed(0), (rank, dist.get_world_size()))
    log = (folder / "steps.log").open("a", buffering=1)

    def loss(output, target):
        if rank == 0:
            log.write("step\\n")
        return nn.functional.cross_entropy(output, target)

    config = TrainConfig(epochs=40, lr=0.01, checkpoint_every=50, checkpoint_wait=True)
    resume(DistributedDataParallel(net), data, config, loss=loss, checkpoints=str(folder / "checkpoints"))
    if rank == 0:
        save_file(net.state_dict(), folder / "model.safetensors")


def train(rows, folder, num_processes):
    launch(run_rank, (rows, folder), num_processes=num_processes, max_restarts=5)


def predict(folder, x):
    weights = load_file(Path(folder) / "model.safetensors")
    net = Net(weights["mean"].shape[0], weights["layers.2.bias"].shape[0])
    net.load_state_dict(weights)
    with torch.no_grad():
        return net(torch.tensor(x, dtype=torch.float32)).argmax(1).numpy()
"""
RUN = """
loss = "torch.nn:CrossEntropyLoss"
[model]
build = "train.py:build"
[data]
train = "rows.npz"
batch_size = 32
[train]
epochs = 15
lr = 0.01
"""
WATCH = """
import math
from statistics import fmean, median


def state_of(log, now_s):
    losses = [line["loss"] for line in log]
    if any(not math.isfinite(loss) for loss in losses[-20:]):
        return "diverged"
    if len(losses) >= 40:
        before = losses[:-20]
        best = min(fmean(before[end - 20 : end]) for end in range(20, len(before) + 1))
        if fmean(losses[-20:]) > 2 * best:
            return "diverged"
    times = [line["time_s"] for line in log]
    steps = [after - first for first, after in zip(times, times[1:])]
    if steps and now_s - times[-1] > 10 * median(steps):
        return "silent"
    return "fine"
"""


def reference(folder: Path) -> None:
    for name, text in (("train.py", TRAIN), ("run.toml", RUN), ("watch.py", WATCH)):
        (folder / name).write_text(text)
    pack(folder)


def pack(folder: Path) -> None:
    deepseek_verb(folder, "train", "run.toml", "--out", "run")
    deepseek_verb(folder, "export", "run", "--input", "30", "--labels", "0,1", "--out", "model", "--overwrite")


def ends_with_a_rank(folder: Path) -> None:
    replace_text(folder / "train.py", "max_restarts=5", "max_restarts=0")


def begins_anew(folder: Path) -> None:
    """A folder of checkpoints that no second start finds again."""
    replace_text(folder / "train.py", 'str(folder / "checkpoints")', "str(folder / f'checkpoints-{os.getpgid(0)}')")


def hardly_trained(folder: Path) -> None:
    """One epoch with a rate that is too low."""
    replace_text(folder / "run.toml", "epochs = 15\nlr = 0.01", "epochs = 1\nlr = 0.00001")
    shutil.rmtree(folder / "run")
    pack(folder)


def silence_first(folder: Path) -> None:
    """Looks at the clock alone."""
    replace_text(folder / "watch.py", "> 2 * best", "> 1e9")


def first_steps_as_best(folder: Path) -> None:
    """The mean of all steps before is much higher than the lowest, so that what runs off slowly looks fine."""
    replace_text(
        folder / "watch.py", "min(fmean(before[end - 20 : end]) for end in range(20, len(before) + 1))", "before[0]"
    )
