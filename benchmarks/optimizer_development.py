"""AdaptiveOptimizer on its development tasks: the script that chooses its constants and arguments.

    python benchmarks/optimizer_development.py --out rows.jsonl                          # as it stands, and its rivals
    python benchmarks/optimizer_development.py --out rows.jsonl --set weight_decay=0.1   # another value
    python benchmarks/optimizer_development.py --out rows.jsonl --know-length            # as train/ has it
    python benchmarks/optimizer_development.py --out rows.jsonl --set BOUND_RATIO=2.0 --tasks table_b4 digits_b8
    python benchmarks/optimizer_development.py --out rows.jsonl --set state_dtype='"bfloat16"' MAX_TENSOR_ELEMENTS=-1 \\
        MAX_SIDE_LENGTH=1     # every tensor's moments in bfloat16: none is small, none has eigenbases

A name in capitals is a constant of deepseek/optimizers/config.py, another one an argument of the class. Scores are
losses on held-out data at the end of a task's budget. The ratio is against the best of AdamW at RIVAL_RATES, each
constant and with a cosine to 0. What FILE holds already is not run again, so that trainings can be cut off; delete it
after a change of the code. Nothing here is a claim: optimizers.py and optimizers_long.py have those, on other tasks.
"""

from __future__ import annotations

import argparse
import ast
import json
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import geometric_mean
from typing import Any

import torch
from optimizer_development_tasks import DEVELOPMENT, DevelopmentTask
from torch import Generator

from deepseek.optimizers import AdaptiveOptimizer, adaptive, config, directions, kronecker, schedules, stacks

RIVAL_RATES = (1e-3, 3e-3, 1e-2)
MODULES = (config, adaptive, directions, kronecker, schedules, stacks)
Make = Callable[[Any], torch.optim.Optimizer]


@dataclass(frozen=True)
class Row:
    """The end of one training."""

    task: str
    optimizer: str
    seed: int
    score: float
    cpu_s: float


def train(task: DevelopmentTask, name: str, make: Make, seed: int, *, cosine: bool, know_length: bool) -> Row:
    """A task to the end of its budget, which ours knows beforehand where it is said so."""
    torch.manual_seed(seed)
    problem = task.make()
    optimizer = make(problem.model.parameters())
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, task.budget) if cosine else None
    if know_length and isinstance(optimizer, AdaptiveOptimizer):
        optimizer.total_steps = task.budget
    generator, start = Generator().manual_seed(1000 + seed), time.process_time()
    for _ in range(task.budget):
        batch = problem.draw(generator)
        optimizer.zero_grad()
        problem.loss(batch).backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
    cpu_s = time.process_time() - start
    problem.model.eval()
    with torch.no_grad():
        score = problem.score()
    return Row(task.name, name, seed, score if math.isfinite(score) else 1e9, round(cpu_s, 1))


def change_constants(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Set the constants among `changes` wherever they were imported; returns the rest, arguments of the class."""
    for name, value in changes.items():
        if name.isupper() and not any(hasattr(module, name) for module in MODULES):
            raise SystemExit(f"{name} is no constant of deepseek/optimizers/config.py")
        for module in MODULES:
            if name.isupper() and hasattr(module, name):
                setattr(module, name, value)
    return {name: value for name, value in changes.items() if not name.isupper()}


def contenders(changes: Mapping[str, Any], *, know_length: bool) -> dict[str, tuple[Make, bool]]:
    """Name -> how it is made, and whether it follows a cosine. The first is ours."""
    arguments = change_constants(changes)
    label = (
        "ours"
        + " of known length" * know_length
        + "".join(f" {name}={value}" for name, value in sorted(changes.items()))
    )
    found: dict[str, tuple[Make, bool]] = {label: (lambda params: AdaptiveOptimizer(params, **arguments), False)}
    for lr in RIVAL_RATES:
        for cosine in (True, False):
            kind = "cosine" if cosine else "constant"
            found[f"AdamW {lr:g} {kind}"] = (lambda params, lr=lr: torch.optim.AdamW(params, lr=lr), cosine)
    return found


def report(rows: Sequence[Row], ours: str) -> None:
    """A line for each task that all have run, and the geometric mean."""
    scores: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        scores.setdefault(row.task, {}).setdefault(row.optimizer, []).append(row.score)
    ratios = {}
    for task, by_name in scores.items():
        rivals = {name: sum(each) / len(each) for name, each in by_name.items() if not name.startswith("ours")}
        if ours not in by_name or not rivals:
            continue
        best = min(rivals, key=lambda name: rivals[name])
        score = sum(by_name[ours]) / len(by_name[ours])
        ratios[task] = score / rivals[best]
        print(f"{task:<22} {score:9.5g}   {ratios[task]:6.3f} of {rivals[best]:9.5g} ({best}, of {len(rivals)} rivals)")
    if ratios:
        worst = max(ratios, key=lambda task: ratios[task])
        mean = geometric_mean(ratios.values())
        print(f"{ours}: {mean:.3f} over {len(ratios)} tasks, worst {ratios[worst]:.3f} {worst}")


def parse_change(text: str) -> tuple[str, Any]:
    """NAME=VALUE."""
    name, _, value = text.partition("=")
    return name, ast.literal_eval(value)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="JSON lines that are read, and added to")
    parser.add_argument("--tasks", nargs="*", default=[task.name for task in DEVELOPMENT])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0])
    parser.add_argument("--set", nargs="*", type=parse_change, default=[], metavar="NAME=VALUE")
    parser.add_argument("--know-length", action="store_true", help="give ours the number of steps as total_steps")
    parser.add_argument("--rivals", nargs="*", help="names such as 'AdamW 0.01 cosine'; all of them if left out")
    options = parser.parse_args()
    torch.set_num_threads(1)
    old = [Row(**json.loads(line)) for line in options.out.read_text().splitlines()] if options.out.exists() else []
    rows = {(row.task, row.optimizer, row.seed): row for row in old}
    made = contenders(dict(options.set), know_length=options.know_length)
    ours = next(iter(made))
    wanted = [ours, *(made if options.rivals is None else options.rivals)]
    for task in (task for task in DEVELOPMENT if task.name in options.tasks):
        for seed in options.seeds:
            for name in dict.fromkeys(wanted):
                if (task.name, name, seed) not in rows:
                    make, cosine = made[name]
                    rows[task.name, name, seed] = row = train(
                        task, name, make, seed, cosine=cosine, know_length=options.know_length
                    )
                    print(row, file=sys.stderr, flush=True)
                    with options.out.open("a") as file:
                        file.write(json.dumps(asdict(row)) + "\n")
    report([row for row in rows.values() if row.task in options.tasks], ours)
    return 0


if __name__ == "__main__":
    sys.exit(main())
