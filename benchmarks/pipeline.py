"""A pipeline of 8 processes against one process with the same work: throughput, and the bubble against theory.

    python benchmarks/pipeline.py [--quick] [--only CLAIM]

Two cores cannot compute eight stages at once, so the time of each layer is slept, and only that: a transformer layer
(512 wide, 4 rows of 128 words: 1 MiB of activations) is timed forward and backward with one thread, and 16 blocks sleep
as long, two in each of 8 stages. All else is real: `parallelize`, torch's schedule, 32 micro-batches, 1 MiB over gloo
for each hop in both directions while the others work. The one process sleeps as long for the same 32 micro-batches.

Theory, without any cost of sending: a bubble of (P - 1) / (M + P - 1), 6.56 times one process. Bars: 5.5 times with
the default schedule and with 1F1B, and a bubble of 1F1B within 10 % of theory. 1F1B is run as torch's "interleaved"
with one stage in a process, which starts more micro-batches ahead so that sending hides behind work; torch's plain
1F1B, which cannot hide it (each turn of a process waits for two hops), is shown beside it.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from result import claim, finish, options
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from deepseek.train.pipeline import parallelize
from deepseek.train.pipeline.split import measure_blocks

WORLD, MICRO_BATCHES = 8, 32
ROWS, WORDS, WIDTH = 4, 128, 512  # of a micro-batch
THEORY = (WORLD - 1) / (MICRO_BATCHES + WORLD - 1)
#: Claim -> schedule, stages, layers of the model.
CLAIMS = {
    "1f1b_overlapped": ("interleaved", 8, 16),
    "auto": ("auto", 8, 16),
    "1f1b_one_layer": ("interleaved", 8, 8),
    "1f1b": ("1f1b", 8, 16),
    "gpipe": ("gpipe", 8, 16),
    "interleaved": ("interleaved", 16, 16),
    "breadth_first": ("breadth_first", 16, 16),
    "zero_bubble": ("zero_bubble", 16, 16),
    "zero_bubble_v": ("zero_bubble_v", 16, 16),
    "dualpipe_v": ("dualpipe_v", 16, 16),
}
LAYERS = 16  # of the one process
#: What is judged; the rest is shown.
JUDGED = ("1f1b_overlapped", "auto")
QUICK = (*JUDGED, "1f1b_one_layer")


class Clock:
    """Sleeps that together last as long as asked for: what one oversleeps, as a busy machine wakes it late, the next
    sleeps less. Work that is emulated would not grow by that."""

    late_s = 0.0

    @classmethod
    def sleep(cls, seconds: float) -> None:
        start_s = time.perf_counter()
        time.sleep(max(0.0, seconds - cls.late_s))
        cls.late_s += time.perf_counter() - start_s - seconds


class Sleep(torch.autograd.Function):
    """As it is, after a sleep forward and another backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, forward_s: float, backward_s: float) -> Tensor:
        ctx.backward_s = backward_s
        Clock.sleep(forward_s)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        Clock.sleep(ctx.backward_s)
        return gradients[0], None, None


class Block(nn.Module):
    """Sleeps forward, backward to its input, and backward to its weight, each apart, as a layer's work is. The input of
    the first needs no gradient; it sleeps all of its backward pass for the weight, so that all stages cost alike."""

    def __init__(self, forward_s: float, input_s: float, weight_s: float, *, first: bool) -> None:
        super().__init__()
        self.forward_s, self.input_s = forward_s, input_s
        self.weight_s = weight_s + input_s * first
        self.weight = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = Sleep.apply(x, self.forward_s, self.input_s) * Sleep.apply(self.weight, 0.0, self.weight_s)
        return out


def time_layer(_: int, file: str) -> None:
    """Seconds of a real layer: forward, backward to the input, backward to the weights."""
    torch.set_num_threads(1)
    layer = nn.TransformerEncoderLayer(WIDTH, 8, 4 * WIDTH, dropout=0.0, batch_first=True)
    inputs = torch.randn(ROWS, WORDS, WIDTH, requires_grad=True)
    (cost,) = measure_blocks(
        [("layer", layer)], inputs, num_runs=40
    )  # the least of so many, as other work would make it longer
    share = cost.input_s / (cost.input_s + cost.weight_s)
    Path(file).write_text(json.dumps([cost.forward_s, share * cost.backward_s, (1 - share) * cost.backward_s]))


def model(times: Sequence[float], layers: int) -> nn.Sequential:
    return nn.Sequential(*(Block(*times, first=index == 0) for index in range(layers)))


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(ROWS * MICRO_BATCHES, WORDS, WIDTH, generator=generator)
    return inputs, inputs[:, 0].clone()


def loss(output: Tensor, targets: Tensor) -> Tensor:
    return mse_loss(output[:, 0], targets)


def time_one(_: int, file: str, times: Sequence[float]) -> None:
    """Seconds of one step of one process: every micro-batch through all blocks, forward and backward."""
    torch.set_num_threads(1)
    blocks, (inputs, targets) = model(times, LAYERS), batch()
    start_s = time.perf_counter()
    for x, y in zip(inputs.chunk(MICRO_BATCHES), targets.chunk(MICRO_BATCHES), strict=True):
        (loss(blocks(x), y) / MICRO_BATCHES).backward()
    Path(file).write_text(json.dumps(time.perf_counter() - start_s))


def time_pipe(rank: int, file: str, times: Sequence[float], setting: tuple[str, int, int], rounds: int) -> None:
    """Seconds of a step of the pipeline, and of processor time in all processes; rank 0 writes them down."""
    schedule, stages, layers = setting
    torch.set_num_threads(1)
    dist.init_process_group("gloo", store=dist.FileStore(f"{file}.store", WORLD), rank=rank, world_size=WORLD)
    inputs, targets = batch()
    pipe = parallelize(
        model(times, layers), stages=stages, schedule=schedule, micro_batches=MICRO_BATCHES,
        example=(inputs, targets), loss=loss,
    )  # fmt: skip
    took, cpu = [], []
    for _round in range(rounds + 1):  # the first one connects and allocates
        dist.barrier()
        start_s, start_cpu_s = time.perf_counter(), time.process_time()
        pipe.step(inputs, targets)
        used = torch.tensor([time.process_time() - start_cpu_s])
        dist.barrier()
        took.append(time.perf_counter() - start_s)
        dist.all_reduce(used)
        cpu.append(float(used))
    if rank == 0:
        facts = {
            "took": took[1:], "cpu": cpu[1:], "schedule": pipe.plan.schedule, "why": pipe.plan.why,
            "forecast": pipe.plan.forecast.step_s, "blocks": [len(stage) for stage in pipe.plan.stages],
            "link_ms": 1e3 * pipe.plan.link.seconds(ROWS * WORDS * WIDTH * 4),
        }  # fmt: skip
        Path(file).write_text(json.dumps(facts))
    dist.destroy_process_group()


def run(function: Any, *args: Any, nprocs: int = 1) -> Any:
    """A function in processes of its own, and what it wrote down."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "found.json"
        mp.spawn(function, (str(file), *args), nprocs=nprocs)
        return json.loads(file.read_text())


def claims_of(name: str, times: Sequence[float], one_s: float, rounds: int) -> list[dict[str, Any]]:
    """The pipeline under one setting: throughput over one process, and the bubble over the theoretical one."""
    _, stages, layers = CLAIMS[name]
    figures = run(time_pipe, times, CLAIMS[name], rounds, nprocs=WORLD)
    step_s, rival_s = median(figures["took"]), one_s * layers / LAYERS
    bubble = 1 - MICRO_BATCHES * sum(times) * layers / WORLD / step_s
    print(f"{name}: {figures['why']}; layers a stage {figures['blocks']}", flush=True)
    each_ms = 1e3 * layers / stages
    slept = f"{each_ms * times[0]:.1f} ms forward and {each_ms * sum(times[1:]):.1f} ms backward"
    note = (
        f"{figures['schedule']}, {stages} stages; a stage sleeps {slept}; rounds "
        f"{', '.join(f'{took:.3f}' for took in figures['took'])} s, forecast {figures['forecast']:.3f} s; "
        f"bubble {bubble:.2%}; {median(figures['cpu']):.2f} s of processor time in 8 processes; a MiB takes "
        f"{figures['link_ms']:.2f} ms"
    )
    bar: dict[str, Any] = {"op": ">=", "bar": 5.5} if name in JUDGED else {}
    claims = [
        claim(
            f"pipeline_{name}_throughput", ours=step_s, rival=rival_s, rival_name="one process",
            ratio=rival_s / step_s, unit="s a step", num_seeds=rounds, note=note, **bar,
        )
    ]  # fmt: skip
    if name.startswith("1f1b"):
        bar = {"op": "<=", "bar": 1.1} if name in JUDGED else {}
        claims.append(
            claim(
                f"pipeline_{name}_bubble", ours=bubble, rival=THEORY, rival_name="(P - 1) / (M + P - 1)",
                ratio=bubble / THEORY, unit="share of the time in which processes wait", num_seeds=rounds,
                note=f"all but sleep counts as waiting; load average {os.getloadavg()[0]:.1f} at the end", **bar,
            )
        )  # fmt: skip
    return claims


def main() -> int:
    args = options(__doc__, CLAIMS, quick="The judged claims, and one with shorter stages.").parse_args()
    names = [args.only] if args.only else list(QUICK if args.quick else CLAIMS)
    times = run(time_layer)
    one_s = run(time_one, times)
    print(f"a layer takes {', '.join(f'{1e3 * each:.1f}' for each in times)} ms; one process {one_s:.2f} s", flush=True)
    claims = [each for name in names for each in claims_of(name, times, one_s, 3 if name in JUDGED else 1)]
    left_out = [f"pipeline_{name}_throughput" for name in CLAIMS if name not in names]
    return finish("pipeline", claims, not_run=left_out)


if __name__ == "__main__":
    sys.exit(main())
