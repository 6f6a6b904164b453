"""AdaptiveOptimizer at its default arguments with batches of 4, 8, 1,024 and 8,192 rows.

    python benchmarks/optimizer_batches.py [--quick]

Three tasks of optimizer_tasks.py (a table, a density, sentences), whose batches are made smaller or larger. A target is
the lowest score that AdamW at 1e-3 has within 60 % of the steps, as there. At the end ours is held against the best of
AdamW at 1e-3, 3e-3 and 1e-2, by the mean of the last fifth of the scores, which are noisy. Every score is a loss on
held-out data. No constant was chosen here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean, geometric_mean

import torch
from optimizer_tasks import Batch, Problem, moons_flow, review_words, supervised, turbofans
from result import claim, finish, options
from torch import Generator, nn
from torch.nn import functional

from deepseek.optimizers import AdaptiveOptimizer

RATES = (1e-3, 3e-3, 1e-2)
#: Rows of a batch -> steps of a training.
STEPS = {4: 1_500, 8: 1_500, 1_024: 300, 8_192: 150}
NUM_CHECKS = 30
TARGET_SHARE = 0.6  # of the steps, within which the rival sets the target
CLAIMS = ("targets_missed", "steps_to_target", "last_fifth")


@dataclass(frozen=True)
class Course:
    """The scores of a training after each of NUM_CHECKS parts."""

    scores: list[float]

    def first_at(self, target: float) -> int | None:
        """The number of the first part, from 1 on, that ends at the target or below; None where none does."""
        return next((number for number, score in enumerate(self.scores, start=1) if score <= target), None)

    @property
    def last_fifth(self) -> float:
        """The mean score of the last fifth of the parts."""
        return fmean(self.scores[-NUM_CHECKS // 5 :])


def turbofan_table() -> Problem:
    train, test = turbofans()
    model = nn.Sequential(
        nn.Linear(210, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1), nn.Flatten(0)
    )  # fmt: skip
    return supervised(model, train, test, functional.mse_loss, 256)


TASKS: dict[str, Callable[[], Problem]] = {
    "turbofan_table": turbofan_table, "moons_flow": moons_flow, "review_words": review_words,
}  # fmt: skip


def resize_batches(problem: Problem, num_rows: int) -> Problem:
    """The same problem with batches of that many rows, of as many of its own as it takes."""

    def draw(generator: Generator) -> Batch:
        batches = [problem.draw(generator)]
        while len(batches) * len(batches[0][0]) < num_rows:
            batches.append(problem.draw(generator))
        return tuple(torch.cat(parts)[:num_rows] for parts in zip(*batches, strict=True))

    return Problem(problem.model, draw, problem.loss, problem.score)


def train(task: str, num_rows: int, lr: float | None, seed: int) -> Course:
    """Train with ours where `lr` is None, else with AdamW."""
    torch.manual_seed(seed)
    problem = resize_batches(TASKS[task](), num_rows)
    params = problem.model.parameters()
    optimizer = AdaptiveOptimizer(params) if lr is None else torch.optim.AdamW(params, lr=lr)
    generator, scores = Generator().manual_seed(1000 + seed), []
    for _ in range(NUM_CHECKS):
        problem.model.train()
        for _ in range(STEPS[num_rows] // NUM_CHECKS):
            batch = problem.draw(generator)
            optimizer.zero_grad()
            problem.loss(batch).backward()
            optimizer.step()
        problem.model.eval()
        with torch.no_grad():
            scores.append(problem.score())
    return Course(scores)


def main() -> int:
    chosen = options(__doc__, CLAIMS, quick="one seed instead of three").parse_args()
    torch.set_num_threads(1)
    seeds = (0,) if chosen.quick else (0, 1, 2)
    steps: dict[str, float] = {}
    ends: dict[str, float] = {}
    missed = []
    for task in TASKS:
        for num_rows in STEPS:
            name, steps_by_seed, ends_by_seed = f"{task} {num_rows:,}", [], []
            for seed in seeds:
                rivals = [train(task, num_rows, lr, seed) for lr in RATES]
                target = min(rivals[0].scores[: round(TARGET_SHARE * NUM_CHECKS)])
                ours = train(task, num_rows, None, seed)
                at = ours.first_at(target)
                if at is None:
                    missed.append(f"{name}, seed {seed}")
                steps_by_seed.append(
                    (2 * NUM_CHECKS if at is None else at) / (rivals[0].first_at(target) or NUM_CHECKS)
                )
                ends_by_seed.append(ours.last_fifth / min(each.last_fifth for each in rivals))
            steps[name], ends[name] = geometric_mean(steps_by_seed), geometric_mean(ends_by_seed)
            print(f"{name}: steps {steps[name]:.2f}, end {ends[name]:.3f}", file=sys.stderr, flush=True)
    claims = [
        claim(
            "targets_missed", ours=float(len(missed)), unit=f"of {len(steps) * len(seeds)} targets", op="<=", bar=0.0,
            num_seeds=len(seeds), note="; ".join(missed),
        ),
        claim(
            "steps_to_target", ours=geometric_mean(steps.values()), unit="times the steps of AdamW at 1e-3",
            rival_name="AdamW at 1e-3", num_seeds=len(seeds),
            note=", ".join(f"{name} {ratio:.2f}" for name, ratio in steps.items()),
        ),
        claim(
            "last_fifth", ours=geometric_mean(ends.values()), unit="times the loss of the best of AdamW's three rates",
            rival_name="the best of AdamW at 1e-3, 3e-3 and 1e-2", num_seeds=len(seeds),
            note=", ".join(f"{name} {ratio:.3f}" for name, ratio in ends.items()),
        ),
    ]  # fmt: skip
    claims = [each for each in claims if chosen.only in (None, each["claim"])]
    return finish("optimizer_batches", claims, not_run=[name for name in CLAIMS if chosen.only not in (None, name)])


if __name__ == "__main__":
    sys.exit(main())
