"""AdaptiveOptimizer at its default arguments to the end of long trainings, beside tuned rivals.

    python benchmarks/optimizers_long.py [--quick] [--only CLAIM] [--tasks NAME ...]

Six tasks of 3,000 to 20,000 steps: two language models, two image nets, a table and a sequence. The score is a loss on
held-out data at the end, and no constant was chosen here (optimizer_development.py has the tasks for that). Rivals:
AdamW at three rates, constant and with a cosine to 0, OneCycle at two, torch.optim.Muon for matrices with AdamW for the
rest at two with a cosine, and SOAP, ScheduleFree and Prodigy where `make bench-rivals` has put them. "The best" is the
best of all of them on a task. Steps to AdamW's end: until a loss is as low as the best AdamW with a cosine has it at
the end of the budget. Seconds are of the CPU, of training alone. The claims of a known length are of total_steps, as
the trainer gives it; all others are of the default arguments.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from statistics import geometric_mean
from typing import Any

import numpy as np
import torch
from fraud_features import cache_folder
from optimizer_development_tasks import RecurrentCharacters, Transformer, as_characters, next_character
from optimizer_tasks import DilatedConvolutions, Problem, photos, public, sentences, spectrograms, supervised, turbofans
from result import ROOT, claim, finish, options
from run_cache import Line, Runs, source_digest
from torch import Generator, nn
from torch.nn import functional

RIVALS = ROOT / ".venv-optimizers" / "bin" / "python"
EDITION = "1"  # raised when a rival or a task changes
NUM_CHECKS = 40  # evaluations on the way, which are not timed
CLAIMS = (
    "final_metric",
    "final_metric_worst",
    "steps_to_adamw_end",
    "cpu_to_adamw_end",
    "with_cosine",
    "known_length",
    "known_length_worst",
    "report_overfitting",
)


@dataclass(frozen=True)
class LongTask:
    """`make` is called after torch.manual_seed."""

    make: Callable[[], Problem]
    budget: int


@dataclass(frozen=True)
class Course:
    """The losses of one training after each of NUM_CHECKS parts, and the CPU seconds until then."""

    losses: list[float]
    cpu_s: list[float]

    @property
    def end(self) -> float:
        """The loss at the end."""
        return self.losses[-1] if math.isfinite(self.losses[-1]) else 1e9


def shakespeare() -> Problem:
    text = as_characters(public("tinyshakespeare/input.txt").read_text(), 66)
    return next_character(text, Transformer(66, 48, 64, 2), 48, 12)


def review_words() -> Problem:
    """The next word of a film review, of 4,000."""
    (words, _), _ = sentences()
    return next_character(words[words > 0].clamp_max(999), RecurrentCharacters(1000, 64), 16, 16)


def photo_convolutions() -> Problem:
    train, test = photos()
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32),
        nn.ReLU(), nn.Conv2d(32, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(32, 10),
    )  # fmt: skip
    return mirrored(supervised(model, train, test, functional.cross_entropy, 64))


def photo_plain() -> Problem:
    """The same photos, without norms."""
    train, test = photos()
    model = nn.Sequential(
        nn.Conv2d(3, 16, 4, 4), nn.GELU(), nn.Conv2d(16, 32, 3, 2, 1), nn.GELU(), nn.Flatten(), nn.Dropout(0.3),
        nn.Linear(512, 10),
    )  # fmt: skip
    return mirrored(supervised(model, train, test, functional.cross_entropy, 16))


def mirrored(problem: Problem) -> Problem:
    """A problem of photos whose batches are mirrored half of the time."""

    def draw(generator: Generator) -> tuple[torch.Tensor, ...]:
        images, kinds = problem.draw(generator)
        is_mirrored = torch.rand((), generator=generator) < 0.5
        return images.flip(3) if is_mirrored else images, kinds

    return Problem(problem.model, draw, problem.loss, problem.score)


def turbofan() -> Problem:
    train, test = turbofans()
    model = nn.Sequential(
        nn.Linear(210, 48), nn.ReLU(), nn.Dropout(0.2), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 1), nn.Flatten(0)
    )  # fmt: skip
    return supervised(model, train, test, functional.mse_loss, 32)


def spoken_digits() -> Problem:
    train, test = spectrograms()
    return supervised(DilatedConvolutions(), train, test, functional.cross_entropy, 16)


TASKS = {
    "shakespeare": LongTask(shakespeare, 4_000),
    "review_words": LongTask(review_words, 3_000),
    "photo_convolutions": LongTask(photo_convolutions, 3_000),
    "photo_plain": LongTask(photo_plain, 6_000),
    "turbofan": LongTask(turbofan, 20_000),
    "spoken_digits": LongTask(spoken_digits, 3_000),
}


def make_muon(params: list[nn.Parameter], lr: float) -> list[torch.optim.Optimizer]:
    """torch's Muon takes matrices only."""
    matrices = [param for param in params if param.ndim == 2]
    rest = [param for param in params if param.ndim != 2]
    made: list[torch.optim.Optimizer] = [torch.optim.AdamW(rest, lr=lr)] if rest else []
    return [torch.optim.Muon(matrices, lr=lr, adjust_lr_fn="match_rms_adamw"), *made] if matrices else made


def make_peer(module: str, name: str, params: list[nn.Parameter], lr: float) -> list[torch.optim.Optimizer]:
    """An optimizer of another package."""
    return [getattr(importlib.import_module(module), name)(params, lr=lr)]


def make_ours(params: list[nn.Parameter], lr: float) -> list[torch.optim.Optimizer]:
    from deepseek.optimizers import AdaptiveOptimizer

    return [AdaptiveOptimizer(params, lr=lr)]


def make_adamw(params: list[nn.Parameter], lr: float) -> list[torch.optim.Optimizer]:
    return [torch.optim.AdamW(params, lr=lr)]


#: Name -> how it is made of parameters and a rate, the rates, the schedules, whether it is of the rivals' environment.
CONTENDERS: dict[str, tuple[Callable[..., list[torch.optim.Optimizer]], tuple[float, ...], tuple[str, ...], bool]] = {
    "ours": (make_ours, (1e-3,), ("none", "cosine", "total_steps"), False),
    "AdamW": (make_adamw, (1e-3, 3e-3, 1e-2), ("cosine", "none"), False),
    "OneCycle": (make_adamw, (3e-3, 1e-2), ("onecycle",), False),
    "Muon": (make_muon, (1e-3, 3e-3), ("cosine",), False),
    "SOAP": (partial(make_peer, "pytorch_optimizer", "SOAP"), (3e-3, 1e-2), ("cosine",), True),
    "ScheduleFree": (partial(make_peer, "schedulefree", "AdamWScheduleFree"), (3e-3, 1e-2), ("none",), True),
    "Prodigy": (partial(make_peer, "prodigyopt", "Prodigy"), (1.0,), ("cosine",), True),
}


def train(task: LongTask, name: str, lr: float, schedule: str, seed: int) -> Course:
    """A task to the end of its budget."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    problem, budget = task.make(), task.budget
    optimizers = CONTENDERS[name][0](list(problem.model.parameters()), lr)
    schedulers: list[Any] = []
    if schedule == "cosine":
        schedulers = [torch.optim.lr_scheduler.CosineAnnealingLR(each, budget) for each in optimizers]
    elif schedule == "onecycle":
        schedulers = [torch.optim.lr_scheduler.OneCycleLR(each, lr, total_steps=budget + 1) for each in optimizers]
    elif schedule == "total_steps":
        for each in optimizers:
            each.total_steps = budget  # type: ignore[attr-defined]
    generator, losses, seconds, cpu_s = Generator().manual_seed(1000 + seed), [], [], 0.0
    for _ in range(NUM_CHECKS):
        set_mode(problem.model, optimizers, is_training=True)
        start = time.process_time()
        for _ in range(budget // NUM_CHECKS):
            batch = problem.draw(generator)
            for each in optimizers:
                each.zero_grad()
            problem.loss(batch).backward()
            for each in [*optimizers, *schedulers]:
                each.step()
        cpu_s += time.process_time() - start
        set_mode(problem.model, optimizers, is_training=False)
        with torch.no_grad():
            losses.append(problem.score())
        seconds.append(round(cpu_s, 2))
    return Course(losses, seconds)


def set_mode(model: nn.Module, optimizers: list[Any], *, is_training: bool) -> None:
    """Of the model, and of optimizers that have weights of their own to evaluate."""
    model.train(is_training)
    for each in optimizers:
        switch = getattr(each, "train" if is_training else "eval", None)
        if switch is not None:
            switch()


@cache
def runs() -> Runs:
    """What was trained before: a training of some minutes is not repeated where neither it nor torch has changed."""
    return Runs(cache_folder("optimizers_long") / "runs.jsonl")


@cache
def course(task: str, name: str, lr: float, schedule: str, seed: int) -> Course:
    """One training, in a process of its own, with the interpreter that has the optimizer; of a line that is there, else
    of a run."""
    key: Line = {
        "edition": EDITION, "torch": torch.__version__, "task": task, "name": name, "lr": lr, "schedule": schedule,
        "seed": seed, "source": source_digest("optimizers") if name == "ours" else None,
    }  # fmt: skip
    known = runs().find(key)
    if known is not None:
        return Course(known["losses"], known["cpu_s"])
    python = str(RIVALS) if CONTENDERS[name][3] else sys.executable
    job = json.dumps([task, name, lr, schedule, seed])
    command = [python, str(Path(__file__).resolve()), "--train", job]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    found = Course(**json.loads(done.stdout.splitlines()[-1]))
    runs().add({**key, **asdict(found)})
    print(
        f"{task}: {name} {lr:g} {schedule}, seed {seed}: {found.end:.4g}, {found.cpu_s[-1]:.0f} CPU s", file=sys.stderr
    )
    return found


def rivals_of(task: str, seed: int) -> dict[str, Course]:
    """Every rival's course by a name that says its rate and schedule."""
    found = {}
    for name, (_, rates, schedules, is_of_rivals) in CONTENDERS.items():
        if name == "ours" or (is_of_rivals and not RIVALS.exists()):
            continue
        for lr in rates:
            for schedule in schedules:
                found[f"{name} {lr:g} {schedule}"] = course(task, name, lr, schedule, seed)
    return found


def measure(tasks: list[str], seeds: tuple[int, ...]) -> list[dict[str, Any]]:
    """All claims of these tasks."""
    ends, cosines, known, steps, seconds, notes = {}, {}, {}, {}, {}, []
    for task in tasks:
        per_seed = []
        for seed in seeds:
            rivals = rivals_of(task, seed)
            ours, cosine, long = (course(task, "ours", 1e-3, kind, seed) for kind in ("none", "cosine", "total_steps"))
            best = min(rivals, key=lambda name: rivals[name].end)
            adamw = min(
                (each for name, each in rivals.items() if name.startswith("AdamW") and name.endswith("cosine")),
                key=lambda each: each.end,
            )
            hit = next((at for at, loss in enumerate(ours.losses) if loss <= adamw.end), None)
            per_seed.append(
                (ours.end / rivals[best].end, cosine.end / adamw.end, long.end / rivals[best].end,
                 2.0 if hit is None else (hit + 1) / NUM_CHECKS,
                 2.0 if hit is None else ours.cpu_s[hit] / adamw.cpu_s[-1])
            )  # fmt: skip
            notes.append(f"{task} {ours.end:.4g}, best {rivals[best].end:.4g} ({best})")
        ends[task], cosines[task], known[task], steps[task], seconds[task] = map(
            geometric_mean, zip(*per_seed, strict=True)
        )
    note = "; ".join(notes) + ("" if RIVALS.exists() else "; SOAP, ScheduleFree and Prodigy are not installed")
    worst = max(ends, key=lambda task: ends[task])

    def listed(ratios: dict[str, float]) -> str:
        return ", ".join(f"{task} {ratio:.3f}" for task, ratio in ratios.items())

    figures = (
        ("final_metric", geometric_mean(ends.values()), 1.0, "the best tuned rival", f"{listed(ends)}. {note}"),
        ("final_metric_worst", ends[worst], 1.01, "the best tuned rival", f"worst: {worst}"),
        ("steps_to_adamw_end", geometric_mean(steps.values()), 0.60, "AdamW with a cosine", listed(steps)),
        ("cpu_to_adamw_end", geometric_mean(seconds.values()), 0.60, "AdamW with a cosine", listed(seconds)),
        ("known_length", geometric_mean(known.values()), 1.0, "the best tuned rival", listed(known)),
        ("known_length_worst", max(known.values()), 1.01, "the best tuned rival", listed(known)),
        ("with_cosine", geometric_mean(cosines.values()), 1.0, "AdamW with a cosine", listed(cosines)),
    )
    return [
        claim(
            name, ours=ours, unit=f"times {rival}", rival_name=rival, op="<=", bar=bar, num_seeds=len(seeds), note=text
        )
        for name, ours, bar, rival, text in figures
    ]


def few_radiographs(seed: int, lr: float | None) -> float:
    """The loss on 524 chest X-rays of a net with far more weights than the 200 X-rays it learns from, after 600 steps.

    Without `lr` our optimizer, to which the loss on 200 others is reported each 10 steps; else AdamW with a cosine.
    """
    from deepseek.optimizers import AdaptiveOptimizer

    arrays = np.load(public("pneumoniamnist/pneumoniamnist.npz"))
    (images, kinds), (test_images, test_kinds) = (
        (torch.from_numpy(arrays[f"{part}_images"]).float()[:, None] / 128 - 1,
         torch.from_numpy(arrays[f"{part}_labels"]).long().squeeze(1))
        for part in ("train", "val")
    )  # fmt: skip
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    train_rows, val_rows = torch.randperm(len(images))[:400].split(200)
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Dropout(0.3), nn.Linear(128, 64), nn.ReLU(), nn.Dropout(0.3),
        nn.Linear(64, 2),
    )  # fmt: skip
    ours = AdaptiveOptimizer(model.parameters()) if lr is None else None
    optimizer = ours or torch.optim.AdamW(model.parameters(), lr=lr or 1e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 600) if ours is None else None
    handle = ours.attach(model) if ours else None
    generator = Generator().manual_seed(seed)

    def loss_on(rows: torch.Tensor) -> float:
        model.eval()
        with torch.no_grad():
            return functional.cross_entropy(model(images[rows]), kinds[rows]).item()

    for step in range(600):
        model.train()
        rows = train_rows[torch.randint(200, (50,), generator=generator)]
        smoothing = handle.label_smoothing if handle else 0.0
        optimizer.zero_grad()
        functional.cross_entropy(model(images[rows]), kinds[rows], label_smoothing=smoothing).backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        if ours is not None and step % 10 == 9:
            ours.report(train_loss=loss_on(train_rows), val_loss=loss_on(val_rows))
    model.eval()
    with torch.no_grad():
        return functional.cross_entropy(model(test_images), test_kinds).item()


def measure_report(seeds: tuple[int, ...]) -> dict[str, Any]:
    """`report` on a task that over-fits."""
    ours = [few_radiographs(seed, None) for seed in seeds]
    rivals = {lr: [few_radiographs(seed, lr) for seed in seeds] for lr in (3e-4, 1e-3, 3e-3)}
    best = min(rivals, key=lambda lr: geometric_mean(rivals[lr]))
    shown = "; ".join(f"AdamW {lr:g} " + ", ".join(f"{loss:.3f}" for loss in losses) for lr, losses in rivals.items())
    return claim(
        "report_overfitting", ours=geometric_mean(ours), rival=geometric_mean(rivals[best]), op="<=", bar=1.0,
        ratio=geometric_mean(ours) / geometric_mean(rivals[best]), unit="loss on X-rays that were not seen",
        rival_name=f"AdamW {best:g} with a cosine", num_seeds=len(seeds),
        note="ours by seed " + ", ".join(f"{loss:.3f}" for loss in ours) + f"; {shown}",
    )  # fmt: skip


def main() -> int:
    if sys.argv[1:2] == ["--train"]:
        task, name, lr, schedule, seed = json.loads(sys.argv[2])
        print(json.dumps(asdict(train(TASKS[task], name, lr, schedule, seed))))
        return 0
    parser: argparse.ArgumentParser = options(__doc__, CLAIMS, quick="one seed instead of three")
    parser.add_argument("--tasks", nargs="*", choices=list(TASKS), default=list(TASKS), help="some of the tasks")
    chosen = parser.parse_args()
    seeds = (0,) if chosen.quick else (0, 1, 2)
    claims = [] if chosen.only == "report_overfitting" else measure(chosen.tasks, seeds)
    if chosen.only in (None, "report_overfitting"):
        claims.append(measure_report(seeds))
    claims = [each for each in claims if chosen.only in (None, each["claim"])]
    not_run = [f"task {name}" for name in TASKS if name not in chosen.tasks]
    not_run += [name for name in CLAIMS if name not in {each["claim"] for each in claims}]
    return finish("optimizers_long", claims, not_run=not_run)


if __name__ == "__main__":
    sys.exit(main())
