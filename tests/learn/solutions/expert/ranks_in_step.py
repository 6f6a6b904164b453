"""Solutions of the lab ranks_in_step."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np

from learn.solutions.tools import replace_text

WRONG = {
    "mean_of_means": "wrong_average", "momentum_everywhere": "whole_state", "sum_of_micro_batches": "wrong_pipeline",
    "forgets_the_others": "wrong_parameters", "no_momentum": "wrong_answer",
}  # fmt: skip

STRATEGIES = """
import torch
import torch.distributed as dist


def average_gradients(model, num_rows):
    total = torch.tensor(float(num_rows), dtype=torch.float64)
    dist.all_reduce(total)
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.grad *= num_rows
            dist.all_reduce(parameter.grad)
            parameter.grad /= total


class ShardedMomentum:
    def __init__(self, parameters, lr, momentum):
        self.parameters, self.lr, self.momentum = list(parameters), lr, momentum
        self.rank, self.world = dist.get_rank(), dist.get_world_size()
        self.velocities = [torch.zeros(self.size(each), dtype=each.dtype) for each in self.parameters]

    def size(self, parameter):
        return -(-parameter.numel() // self.world)

    @torch.no_grad()
    def step(self):
        for parameter, velocity in zip(self.parameters, self.velocities):
            size = self.size(parameter)
            room = size * self.world - parameter.numel()
            own = slice(self.rank * size, (self.rank + 1) * size)
            flat = torch.nn.functional.pad(parameter.flatten(), (0, room))
            gradient = torch.nn.functional.pad(parameter.grad.flatten(), (0, room))[own]
            velocity.mul_(self.momentum).add_(gradient)
            pieces = [torch.empty(size, dtype=flat.dtype) for _ in range(self.world)]
            dist.all_gather(pieces, (flat[own] - self.lr * velocity).contiguous())
            parameter.copy_(torch.cat(pieces)[: parameter.numel()].view_as(parameter))


def pipeline_backward(stage, inputs, targets, num_micro, width, loss):
    rank, last = dist.get_rank(), dist.get_world_size() - 1
    num = torch.tensor(0 if inputs is None else len(inputs))
    dist.broadcast(num, 0)
    size, dtype = int(num) // num_micro, next(stage.parameters()).dtype
    passed = []
    for number in range(num_micro):
        rows = slice(number * size, (number + 1) * size)
        if rank == 0:
            x = inputs[rows]
        else:
            x = torch.empty(size, width, dtype=dtype)
            dist.recv(x, rank - 1)
            x.requires_grad_()
        y = stage(x)
        if rank < last:
            dist.send(y.detach(), rank + 1)
        passed.append((x, y, rows))
    for x, y, rows in passed:
        if rank == last:
            (loss(y, targets[rows]) / num_micro).backward()
        else:
            gradient = torch.empty_like(y)
            dist.recv(gradient, rank + 1)
            y.backward(gradient)
        if rank > 0:
            dist.send(x.grad, rank - 1)
"""


def reference(folder: Path) -> None:
    (folder / "strategies.py").write_text(STRATEGIES)
    write_answers(folder)


def write_answers(folder: Path, *, is_plain: bool = False) -> None:
    with (folder / "rows.csv").open() as file:
        rows = np.array([[float(value) for value in row.values()] for row in csv.DictReader(file)])
    run = json.loads((folder / "run.json").read_text())
    x, y = np.column_stack([rows[:, :-1], np.ones(len(rows))]), rows[:, -1]
    weights, velocity = np.zeros(5), np.zeros(5)
    for _ in range(run["steps"]):
        velocity = (0 if is_plain else run["momentum"]) * velocity + 2 * x.T @ (x @ weights - y) / len(y)
        weights = weights - run["lr"] * velocity
    (folder / "answers.json").write_text(json.dumps({"weights": weights[:4].tolist(), "bias": weights[4]}))


def mean_of_means(folder: Path) -> None:
    replace_text(folder / "strategies.py", "parameter.grad *= num_rows", "pass")
    replace_text(folder / "strategies.py", "parameter.grad /= total", "parameter.grad /= dist.get_world_size()")


def momentum_everywhere(folder: Path) -> None:
    replace_text(
        folder / "strategies.py", "self.velocities = [torch.zeros(self.size(each), dtype=each.dtype)",
        "self.velocities = [torch.zeros(self.world * self.size(each), dtype=each.dtype)[: self.size(each)]",
    )  # fmt: skip


def sum_of_micro_batches(folder: Path) -> None:
    replace_text(folder / "strategies.py", "(loss(y, targets[rows]) / num_micro)", "loss(y, targets[rows])")


def forgets_the_others(folder: Path) -> None:
    """Each rank updates its own piece, and takes the others as they were."""
    replace_text(
        folder / "strategies.py",
        "dist.all_gather(pieces, (",
        "pieces = list(flat.split(size))\n            pieces[self.rank].copy_((",
    )


def no_momentum(folder: Path) -> None:
    write_answers(folder, is_plain=True)
