"""kill -9 of a random rank, again and again: does training go on, how soon, and how much of it is lost?

    python benchmarks/elastic.py [--quick] [--only CLAIM]

One run of `launch` with four ranks (gloo, DistributedDataParallel, 1.3 M parameters, AdamW) and a checkpoint each 50
steps, with checkpoint_wait: without it, a kill while one is being written costs the steps done meanwhile too. At a
random moment, one to two and a half intervals after the first step, a random rank gets SIGKILL. Recovery is the time
from the kill to the end of the first step after it, and includes the death being noticed, four new processes, the
rendezvous, reading the checkpoint and reading past the batches that it had used. Steps that were done and are done
again are the loss. A step sleeps 20 ms, as if it were larger than two cores can compute for four ranks; all else is
real. Bars: every kill is recovered from at the first restart, the median recovery takes at most 15 s, and no kill costs
more steps than lie between two checkpoints.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.distributed as dist
from result import claim, finish, options
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from deepseek.train import TrainConfig, resume
from deepseek.train.distributed.launch import launch, restart_count

NUM_RANKS, INTERVAL, NAP_S = 4, 50, 0.02
PATIENCE_S = 120  # for a recovery, before it counts as none
CLAIMS = ("recovered_at_the_first_restart", "median_recovery", "most_steps_lost")


class Steps:
    """A sink: one line for each step, with the clock that all processes of a machine share."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("a")

    def start(self, config: Mapping[str, Any]) -> None: ...

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.file.write(f"{restart_count()} {step} {time.monotonic()}\n")
        self.file.flush()

    def close(self) -> None:
        self.file.close()


def slow_loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    time.sleep(NAP_S)
    return nn.functional.mse_loss(output, target)


def train(folder: Path) -> None:
    """What each rank runs, until it is told to stop."""
    (folder / f"pid-{restart_count()}-{dist.get_rank()}").write_text(str(os.getpid()))
    torch.manual_seed(0)
    model = DistributedDataParallel(nn.Sequential(nn.Linear(256, 1024), nn.ReLU(), nn.Linear(1024, 1024)))
    rows = torch.randn(200, 16, 256, generator=torch.Generator().manual_seed(dist.get_rank()))
    resume(
        model, [(batch, batch.repeat(1, 4)) for batch in rows],
        TrainConfig(epochs=10_000, schedule="constant", checkpoint_every=INTERVAL, checkpoint_wait=True, log_every=1),
        loss=slow_loss,
        sinks=[Steps(folder / "steps")] if dist.get_rank() == 0 else [], checkpoints=folder / "checkpoints",
    )  # fmt: skip


@dataclass(frozen=True)
class Death:
    """One kill, and what came of it."""

    rank: int
    num_restarts: int  # until the first step after it
    recovery_s: float
    back_s: float  # until the run was further than before
    num_lost: int


def steps(folder: Path) -> list[tuple[int, int, float]]:
    """Restart, step and time of each step so far; a line that is being written is left out."""
    path = folder / "steps"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [(int(a), int(b), float(c)) for a, b, c in (line.split() for line in lines if line.endswith("\n"))]


def awaited(folder: Path, attempt: int, step: int) -> tuple[int, int, float]:
    """The first record of a later attempt than this and of a later step."""
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        for step_in_log in steps(folder):
            if step_in_log[0] > attempt and step_in_log[1] > step:
                return step_in_log
        time.sleep(0.05)
    raise TimeoutError(f"no step within {PATIENCE_S} s after a kill")


def deaths(num_kills: int) -> Iterator[Death]:
    """Kill and watch, one kill after the other in one run."""
    draw = random.Random(0)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        log = (folder / "log").open("wb")
        command = [sys.executable, __file__, "--train", temporary, "--kills", str(num_kills)]
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            attempt, _, _ = awaited(folder, -1, 0)
            for _ in range(num_kills):
                time.sleep(draw.uniform(1, 2.5) * pace(folder, attempt) * INTERVAL)
                rank = draw.randrange(NUM_RANKS)
                pid = int((folder / f"pid-{attempt}-{rank}").read_text())
                kill_s = time.monotonic()
                os.kill(pid, signal.SIGKILL)
                after, first, first_s = awaited(folder, attempt, 0)
                done = max(step for a, step, _ in steps(folder) if a == attempt)
                _, _, back_s = awaited(folder, attempt, done)
                yield Death(rank, after - attempt, first_s - kill_s, back_s - kill_s, done - first + 1)
                attempt = after
        except (TimeoutError, ProcessLookupError):
            print((folder / "log").read_text()[-4000:], file=sys.stderr)
            raise
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
            log.close()


def pace(folder: Path, attempt: int) -> float:
    """Seconds between two steps of this attempt, after some of them."""
    while len(times := [at_s for a, _, at_s in steps(folder) if a == attempt]) < 10:
        time.sleep(0.05)
    return (times[-1] - times[0]) / (len(times) - 1)


def summary(deaths: list[Death], only: str | None) -> list[dict[str, Any]]:
    recovery = sorted(each.recovery_s for each in deaths)
    lost = sorted(each.num_lost for each in deaths)
    at_once = sum(each.num_restarts == 1 for each in deaths)
    ranks = ", ".join(f"{sum(each.rank == rank for each in deaths)} of rank {rank}" for rank in range(NUM_RANKS))
    claims = [
        claim(
            CLAIMS[0], ours=at_once, ratio=at_once / len(deaths), unit="recoveries", op=">=", bar=1.0,
            num_seeds=len(deaths), note=f"{len(deaths)} kills: {ranks}",
        ),
        claim(
            CLAIMS[1], ours=median(recovery), unit="s", op="<=", bar=15.0, num_seeds=len(deaths),
            note=f"from {recovery[0]:.1f} to {recovery[-1]:.1f} s; past the step of the kill after "
            f"{median(each.back_s for each in deaths):.1f} s",
        ),
        claim(
            CLAIMS[2], ours=lost[-1], ratio=lost[-1] / INTERVAL, unit="steps", op="<=", bar=1.0, num_seeds=len(deaths),
            note=f"a checkpoint each {INTERVAL} steps; median {median(lost):g}",
        ),
    ]  # fmt: skip
    return [each for each in claims if only in (None, each["claim"])]


def main() -> int:
    parser = options(__doc__, CLAIMS, quick="5 kills instead of 20, the same bars.")
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--kills", type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.train:
        try:
            launch(train, (args.train,), num_processes=NUM_RANKS, max_restarts=args.kills)
        except KeyboardInterrupt:
            return 130
        return 0
    deaths_of_runs = []
    for death in deaths(5 if args.quick else 20):
        deaths_of_runs.append(death)
        print(f"kill {len(deaths_of_runs)}: {death}", flush=True)
    claims = summary(deaths_of_runs, args.only)
    left_out = [name for name in CLAIMS if args.only not in (None, name)]
    return finish("elastic", claims, not_run=left_out)


if __name__ == "__main__":
    sys.exit(main())
