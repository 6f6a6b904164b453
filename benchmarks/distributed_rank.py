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
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.distributed as dist
from distributed_task import CONTEXT, NUM_LAYERS, SMALLER, Text, gradient_bytes, loss_of, make_model
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from deepseek.train.distributed.data_parallel import wrap
from deepseek.train.distributed.gradient_compression import Compression

BATCH, RATE, WARMUP = 8, 1e-3, 50


def contender(name: str, rank: int) -> nn.Module:
    """Plain DDP, with the same argument that `wrap` sets, or ours."""
    if name == "ddp":
        return DistributedDataParallel(make_model(), gradient_as_bucket_view=True)
    return wrap(make_model(), Compression(kind=name, rank=rank, warm_start_steps=WARMUP if "sgd" in name else 0))


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
    ours = [model.compressor for model in models.values() if hasattr(model, "compressor")]
    return {
        "step_s": wall, "cpu_s": cpu, "bytes": gradient_bytes(make_model()), **alone(),
        "choices": [list(each.choices.values()) for each in ours],
        "times_s": [list(each.times_s.values()) for each in ours],
    }  # fmt: skip


def alone(num_layers: int = NUM_LAYERS, context: int = CONTEXT) -> dict[str, float]:
    """Median seconds of a step of the model without a group."""
    take, times = stepper(make_model(num_layers, context), Text(context), 10_000), []
    for index in range(15):
        start = time.perf_counter()
        take(index)
        times.append(time.perf_counter() - start)
    return {"alone_s": median(times[1:])}


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
    """Stands for a block: sleeps as long as it takes, and gives its parameters gradients that are there already."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, block: SleptBlock, *_weights: Tensor) -> Tensor:
        ctx.block = block
        if block.forward_s:
            time.sleep(block.forward_s)
        return inputs.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        time.sleep(ctx.block.backward_s)
        return grad, None, *(each.detach() for each in ctx.block.grads)  # autograd keeps what nobody else holds


class SleptBlock(nn.Module):
    """Some parameters, and how long they are worked at."""

    def __init__(self, parameters: list[nn.Parameter], forward_s: float, backward_s: float) -> None:
        super().__init__()
        self.weights = nn.ParameterList(parameters)
        self.inputs = tuple(parameters)  # a ParameterList is slow to walk through
        self.grads = [torch.randn_like(parameter) for parameter in parameters]
        self.forward_s, self.backward_s = forward_s, backward_s

    def forward(self, inputs: Tensor) -> Tensor:
        return Slept.apply(inputs, self, *self.inputs)


def slept_model(sleep_s: float) -> nn.Module:
    """The smaller model's parameters, half a layer at a time.

    A third of the step is forward and slept at once: nothing is sent meanwhile. Two thirds are backward, as counted in
    products of matrices, and each block has its share by its parameters.
    """
    model = make_model(**SMALLER)
    blocks = [[model.embed.weight, model.place]]
    for layer in model.body.layers:
        attention = [*layer.norm1.parameters(), *layer.self_attn.parameters()]
        blocks += [attention, [each for each in layer.parameters() if all(each is not other for other in attention)]]
    blocks[-1] += [*model.body.norm.parameters(), *model.head.parameters()]
    sizes = [sum(parameter.numel() for parameter in block) for block in blocks]
    return nn.Sequential(
        *(
            SleptBlock(block, sleep_s / 3 if block is blocks[0] else 0.0, sleep_s * 2 / 3 * size / sum(sizes))
            for block, size in zip(blocks, sizes, strict=True)
        )
    )


def loopback_bytes() -> int:
    """What has gone over the loopback so far, headers too."""
    (line,) = [line for line in Path("/proc/net/dev").read_text().splitlines() if line.strip().startswith("lo:")]
    return int(line.split()[9])


def scale(sleep_s: float, kind: str, rank: int, steps: int, bucket_mb: int) -> dict[str, Any]:
    """Median seconds a step of the slowest rank; of one rank alone where the group has no other."""
    model = slept_model(sleep_s)
    num_bytes = gradient_bytes(model)
    if dist.get_world_size() > 1:
        model = wrap(model, Compression(kind=kind, rank=rank, warm_start_steps=0), bucket_cap_mb=bucket_mb)
    inputs, times = torch.ones(1, requires_grad=True), []
    for index in range(steps + 5):
        if index == 5:
            cpu, sent = time.process_time(), loopback_bytes()
        start = time.perf_counter()
        model(inputs).sum().backward()
        model.zero_grad()
        if index >= 5:
            times.append(time.perf_counter() - start)
    taken = torch.tensor(sorted(times)[len(times) // 2])
    dist.all_reduce(taken, op=dist.ReduceOp.MAX)
    cpu_s = (time.process_time() - cpu) / steps
    sent = (loopback_bytes() - sent) // (steps * dist.get_world_size())
    return {"step_s": float(taken), "bytes": num_bytes, "sent": sent, "cpu_s": cpu_s, "times": times}


def main() -> None:
    options = json.loads(sys.argv[1])
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    figures = {"rates": rates, "alone": alone, "loss": loss, "scale": scale}[options.pop("do")](**options)
    dist.barrier()
    if os.environ["RANK"] == "0":
        print(json.dumps(figures), flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
