"""One rank of distributed.py, started by distributed_link.py with its options as JSON.

`rates`: plain DDP and ours train in turn, a few steps each; seconds a step. `loss`: one of them trains to the end.
`scale`: the compute of a step is a sleep, layer by layer; its gradients and their way between the ranks are real.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from distributed_task import Text, gradient_bytes, loss_of, make_model
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from deepseek.train.compression import Compression
from deepseek.train.data_parallel import wrap

BATCH, RATE, WARMUP = 8, 1e-3, 50
BUCKET_MB = 5


def contender(name: str, rank: int) -> nn.Module:
    """Plain DDP, with the same argument that `wrap` sets, or ours."""
    if name == "ddp":
        return DistributedDataParallel(make_model(), gradient_as_bucket_view=True)
    return wrap(make_model(), Compression(kind=name, rank=rank, warm_start_steps=WARMUP if name == "powersgd" else 0))


def stepper(model: nn.Module, text: Text, num_steps: int) -> Callable[[int], None]:
    """A step of AdamW with a linear warm-up and a cosine."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, fused=True)
    warm = torch.optim.lr_scheduler.LinearLR(optimizer, 0.1, total_iters=WARMUP)
    cool = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, num_steps - WARMUP))
    schedule = torch.optim.lr_scheduler.SequentialLR(optimizer, [warm, cool], [WARMUP])

    def step(index: int) -> None:
        inputs, target = text.batch(index, dist.get_rank(), BATCH)
        optimizer.zero_grad()
        loss_of(model, inputs, target).backward()
        optimizer.step()
        schedule.step()

    return step


def rates(contenders: list[str], rank: int, steps: int) -> dict[str, Any]:
    """Seconds of each step, the slowest rank's, the contenders in turn step by step; CPU seconds of this process."""
    text = Text()
    models = {name: contender(name, rank) for name in contenders}
    take = {name: stepper(model, text, 10_000) for name, model in models.items()}
    for name, step in take.items():  # new buckets, the measurement, and past the warm start
        if name == "powersgd":
            models[name].compressor.step = WARMUP
        for index in range(4):
            step(index)
    wall: dict[str, list[float]] = {name: [] for name in contenders}
    cpu: dict[str, list[float]] = {name: [] for name in contenders}
    for index in range(steps):
        for name in contenders if index % 2 == 0 else contenders[::-1]:
            dist.barrier()
            start, cpu_start = time.perf_counter(), time.process_time()
            take[name](index)
            slowest = torch.tensor(time.perf_counter() - start)
            cpu[name].append(time.process_time() - cpu_start)
            dist.all_reduce(slowest, op=dist.ReduceOp.MAX)
            wall[name].append(float(slowest))
    alone = make_model()
    take_alone, times = stepper(alone, text, 10_000), []
    for index in range(7):
        start = time.perf_counter()
        take_alone(index)
        times.append(time.perf_counter() - start)
    ours = [model.compressor for model in models.values() if hasattr(model, "compressor")]
    return {
        "step_s": wall, "cpu_s": cpu, "bytes": gradient_bytes(alone), "alone_s": sorted(times)[3],
        "choices": [list(each.choices.values()) for each in ours],
        "times_s": [list(each.times_s.values()) for each in ours],
    }  # fmt: skip


def loss(name: str, rank: int, steps: int) -> dict[str, Any]:
    """Validation loss after `steps` steps, and along the way."""
    text, model = Text(), contender(name, rank)
    step, trace = stepper(model, text, steps), []
    start = time.perf_counter()
    for index in range(steps):
        step(index)
        if index + 1 == steps or (index + 1) % (steps // 8) == 0:
            trace.append(text.validation_loss(model.module))
            if dist.get_rank() == 0:
                print(
                    f"{name} {index + 1}/{steps}: {trace[-1]:.4f}, {time.perf_counter() - start:.0f} s",
                    file=sys.stderr,
                    flush=True,
                )
    return {"loss": trace[-1], "trace": trace}


class Slept(torch.autograd.Function):
    """Stands for a layer: sleeps as long as it takes, and gives its parameters gradients that are there already."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, layer: SleptLayer, *_weights: Tensor) -> Tensor:
        ctx.layer = layer
        time.sleep(layer.forward_s)
        return inputs.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        time.sleep(ctx.layer.backward_s)
        return grad, None, *ctx.layer.grads


class SleptLayer(nn.Module):
    """A third of a layer's time is forward, two thirds backward, as counted in products of matrices."""

    def __init__(self, parameters: list[nn.Parameter], seconds: float) -> None:
        super().__init__()
        self.weights = nn.ParameterList(parameters)
        self.grads = [torch.randn_like(parameter) for parameter in parameters]
        self.forward_s, self.backward_s = seconds / 3, seconds * 2 / 3

    def forward(self, inputs: Tensor) -> Tensor:
        return Slept.apply(inputs, self, *self.weights)


def slept_model(sleep_s: float) -> nn.Module:
    """The parameters of the task's model, layer by layer, and the time of each layer by its share of them."""
    model = make_model()
    layers = [[model.embed.weight, model.place]]
    layers += [list(layer.parameters()) for layer in model.body.layers]
    layers += [[*model.body.norm.parameters(), *model.head.parameters()]]
    total = sum(parameter.numel() for layer in layers for parameter in layer)
    shares = [sum(parameter.numel() for parameter in layer) / total for layer in layers]
    return nn.Sequential(*(SleptLayer(layer, sleep_s * part) for layer, part in zip(layers, shares, strict=True)))


def scale(sleep_s: float, kind: str, rank: int, steps: int) -> dict[str, Any]:
    """Median seconds a step of the slowest rank; of one rank alone where the group has no other."""
    model = slept_model(sleep_s)
    num_bytes = gradient_bytes(model)
    if dist.get_world_size() > 1:
        model = wrap(model, Compression(kind=kind, rank=rank, warm_start_steps=0), bucket_cap_mb=BUCKET_MB)
    inputs, times = torch.ones(1, requires_grad=True), []
    for index in range(steps + 5):
        if index == 5:
            cpu = time.process_time()
        start = time.perf_counter()
        model(inputs).sum().backward()
        model.zero_grad()
        if index >= 5:
            times.append(time.perf_counter() - start)
    taken = torch.tensor(sorted(times)[len(times) // 2])
    dist.all_reduce(taken, op=dist.ReduceOp.MAX)
    choices = list(model.compressor.choices.values()) if dist.get_world_size() > 1 else []
    cpu_s = (time.process_time() - cpu) / steps
    return {"step_s": float(taken), "bytes": num_bytes, "choices": choices, "cpu_s": cpu_s, "times": times}


def main() -> None:
    options = json.loads(sys.argv[1])
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    found = {"rates": rates, "loss": loss, "scale": scale}[options.pop("do")](**options)
    dist.barrier()
    if os.environ["RANK"] == "0":
        print(json.dumps(found), flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
