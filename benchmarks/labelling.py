"""Labels that 95 % of the accuracy with all labels takes: `label next` against random, margin, BADGE, TypiClust.

    python benchmarks/labelling.py [--quick] [--only CLAIM]

Each strategy asks for batches of labels; the same linear model on the same numbers of the items is fitted to them and
measured on test rows that nobody asks for. Margin, BADGE and TypiClust are written here after their papers, on the same
model; margin and BADGE begin with a batch at random, as published. banking77 has 10,003 questions of 77 intents (test:
3,080), cancer 569 rows (test: a third), neu-det 1,530 pictures of 6 defects (test: 300), fsdd 3,000 sounds of 10 digits
(test: 300). The batches were set before anything was run; what `label next` does was chosen
on scikit-learn's digits and other seeds. Bars: at most .40 of random's labels as the geometric mean, and no more than
the best rival on each set.
"""

from __future__ import annotations

import csv
import os
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from result import claim, finish, options
from sklearn.datasets import load_breast_cancer

from deepseek.automl.label.choose.features import describe_rows
from deepseek.automl.label.choose.learner import Learner, fit_learner
from deepseek.automl.label.choose.strategy import choose_batch, choose_typical

SEEDS = (0, 1, 2, 3, 4)
GOAL, MEAN_BAR, EACH_BAR = 0.95, 0.40, 1.0
BUDGETS = {
    "banking77": (100, 200, 350, 500, 700, 950, 1250, 1600, 2000, 2500, 3100, 3800, 4700, 5800),
    "cancer": (6, 10, 14, 20, 28, 40, 60, 90, 130, 200),
    "neu-det": (12, 18, 24, 36, 48, 66, 90, 120, 170, 240, 340, 480, 700),
    "fsdd": (20, 30, 40, 60, 80, 110, 150, 200, 280, 400, 560, 800, 1_200),
}
FILES = {"neu-det": ("images.zip", "image"), "fsdd": ("recordings.zip", "audio")}
DATA = Path(os.environ.get("DEEPSEEK_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


@dataclass(frozen=True)
class Pool:
    """Rows to ask for, and rows to measure on."""

    train: Any  # (N, D)
    answers: Any  # (N,)
    test: Any  # (T, D)
    truth: Any  # (T,)
    num_classes: int


def load_banking() -> Pool:
    parts = []
    for name in ("train", "test"):
        with (DATA / "banking77" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            parts.append([(row["text"], row["category"]) for row in csv.DictReader(file)])
    rows = [*parts[0], *parts[1]]
    texts = [text for text, _ in rows]
    _, codes = np.unique([label for _, label in rows], return_inverse=True)
    dense = describe_rows(range(len(rows)), {"text": texts}, {"text": "text"}, None, 0).dense
    size = len(parts[0])
    return Pool(dense[:size], codes[:size], dense[size:], codes[size:], int(codes.max()) + 1)


def load_files(name: str) -> Pool:
    """Pictures of six defects (neu-det: 1,230 to ask, 300 to measure on) or spoken digits (fsdd: 2,700 and 300)."""
    archive, kind = FILES[name]
    with (DATA / name / ("index.csv" if name == "fsdd" else "boxes.csv")).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if name == "fsdd":
        split, label = ({row["file"]: row[key] for row in rows} for key in ("split", "digit"))
    else:
        split = {row["image"]: row["split"] for row in rows}
        label = {each: each.rpartition("_")[0] for each in split}
    order = sorted(split, key=lambda each: (split[each] != "train", each))
    with TemporaryDirectory() as folder:
        with zipfile.ZipFile(DATA / name / archive) as content:
            paths = {Path(each).name: each for each in content.namelist()}
            for each in order:
                (Path(folder) / each).write_bytes(content.read(paths[each]))
        dense = describe_rows(range(len(order)), {"file": order}, {"file": kind}, Path(folder), 0).dense
    _, codes = np.unique([label[each] for each in order], return_inverse=True)
    size = sum(part == "train" for part in split.values())
    return Pool(dense[:size], codes[:size], dense[size:], codes[size:], int(codes.max()) + 1)


def load_cancer(seed: int) -> Pool:
    data = load_breast_cancer()
    order = np.random.default_rng(1_000 + seed).permutation(len(data.target))
    columns = {f"c{place}": data.data[order, place].tolist() for place in range(data.data.shape[1])}
    dense = describe_rows(range(len(order)), columns, dict.fromkeys(columns, "numeric"), None, 0).dense
    codes, size = data.target[order].astype(np.int64), 2 * len(order) // 3
    return Pool(dense[:size], codes[:size], dense[size:], codes[size:], 2)


@dataclass(frozen=True)
class Turn:
    """What a strategy knows when it asks for `num` more labels."""

    pool: Pool
    labeled: Any  # rows (L,)
    left: Any  # rows that have no label
    num: int
    learner: Learner | None  # of the labels so far; None before the first
    seed: int


def ask_random(turn: Turn) -> Any:
    return np.random.default_rng(turn.seed).permutation(turn.left)[: turn.num]


def ask_margin(turn: Turn) -> Any:
    if turn.learner is None:
        return ask_random(turn)
    top = np.sort(turn.learner.probabilities(turn.pool.train[turn.left]), axis=1)[:, -2:]
    return turn.left[np.argsort(top[:, 1] - top[:, 0], kind="stable")[: turn.num]]


def draw_spread(error: Any, points: Any, num: int, draw: np.random.Generator) -> list[int]:
    """k-means++ on the products of `error` (N, C) and `points` (N, D), which are never made: the inner product of two
    of them is the product of both inner products. The first is the longest."""
    length = np.square(error).sum(axis=1) * np.square(points).sum(axis=1)
    chosen = [int(np.argmax(length))]
    distance = np.full(len(error), np.inf)
    while len(chosen) < num:
        last = chosen[-1]
        inner = (error @ error[last]) * (points @ points[last])
        distance = np.minimum(distance, np.maximum(length + length[last] - 2 * inner, 0))
        distance[chosen] = 0
        total = distance.sum()
        if total <= 0:  # all that is left is equal to something that was chosen
            rest = np.setdiff1d(np.arange(len(error)), chosen)
            return [*chosen, *map(int, rest[: num - len(chosen)])]
        chosen.append(int(draw.choice(len(error), p=distance / total)))
    return chosen


def ask_badge(turn: Turn) -> Any:
    """Ash et al. 2020: k-means++ on the gradients of all that is left."""
    if turn.learner is None:
        return ask_random(turn)
    error = -turn.learner.probabilities(turn.pool.train[turn.left])
    error[np.arange(len(turn.left)), error.argmin(axis=1)] += 1
    points = np.hstack([turn.pool.train[turn.left], np.ones((len(turn.left), 1))])
    return turn.left[draw_spread(error, points, turn.num, np.random.default_rng(turn.seed))]


def ask_typical(turn: Turn) -> Any:
    """Hacohen et al. 2022, at every budget."""
    choices = choose_typical(turn.pool.train, turn.labeled, turn.left, turn.num, turn.seed)
    return np.array([each.row for each in choices])


def ask_ours(turn: Turn) -> Any:
    answers = turn.pool.answers[turn.labeled]
    choices = choose_batch(
        turn.pool.train, turn.labeled, answers, turn.left, turn.num, turn.pool.num_classes, turn.seed
    )
    return np.array([each.row for each in choices])


STRATEGIES: dict[str, Callable[[Turn], Any]] = {
    "ours": ask_ours, "random": ask_random, "margin": ask_margin, "BADGE": ask_badge, "TypiClust": ask_typical,
}  # fmt: skip


def accuracy(pool: Pool, learner: Learner) -> float:
    return float((learner.probabilities(pool.test).argmax(axis=1) == pool.truth).mean())


def needed_labels(pool: Pool, budgets: tuple[int, ...], ask: Callable[[Turn], Any], goal: float, seed: int) -> float:
    """Labels until the accuracy is `goal`, between two budgets by a line; the last budget where it is not reached."""
    labeled: Any = np.zeros(0, np.int64)
    learner, before = None, (0, 0.0)
    for budget in budgets:
        left = np.setdiff1d(np.arange(len(pool.train)), labeled)
        more = ask(Turn(pool, labeled, left, budget - len(labeled), learner, 100_000 * seed + budget))
        labeled = np.concatenate([labeled, more])
        learner = fit_learner(pool.train[labeled], pool.answers[labeled], np.ones(len(labeled)), pool.num_classes)
        now = accuracy(pool, learner)
        if now >= goal:
            share = (goal - before[1]) / (now - before[1])
            return before[0] + share * (budget - before[0])
        before = (budget, max(now, before[1]))
    return float(budgets[-1])


def measure(name: str, seeds: tuple[int, ...]) -> dict[str, float]:
    """Mean number of labels by strategy."""
    fixed = load_banking() if name == "banking77" else load_files(name) if name in FILES else None
    found: dict[str, list[float]] = {each: [] for each in STRATEGIES}
    for seed in seeds:
        pool = fixed or load_cancer(seed)
        whole = fit_learner(pool.train, pool.answers, np.ones(len(pool.train)), pool.num_classes)
        goal = GOAL * accuracy(pool, whole)
        for each, ask in STRATEGIES.items():
            start_s = time.process_time()
            found[each].append(needed_labels(pool, BUDGETS[name], ask, goal, seed))
            cost_s = time.process_time() - start_s
            print(
                f"{name} seed {seed} {each:10} {found[each][-1]:7.1f} labels, goal {goal:.3f}, {cost_s:.1f} CPU s",
                flush=True,
            )
    return {each: float(np.mean(values)) for each, values in found.items()}


def main() -> int:
    names = [f"labels_needed_{name}" for name in BUDGETS]
    asked = options(__doc__, [*names, "labels_needed_mean"], quick="cancer alone").parse_args()
    chosen = ["cancer"] if asked.quick else list(BUDGETS)
    if asked.only in names:
        chosen = [asked.only.removeprefix("labels_needed_")]
    claims, ratios = [], []
    for name in chosen:
        found = measure(name, SEEDS)
        rival = min((each for each in found if each not in ("ours", "random")), key=lambda each: found[each])
        ratios.append(found["ours"] / found["random"])
        others = ", ".join(f"{each} {value:.0f}" for each, value in found.items())
        claims.append(
            claim(
                f"labels_needed_{name}", ours=found["ours"], rival=found[rival], rival_name=rival,
                ratio=found["ours"] / found[rival], unit="labels", op="<=", bar=EACH_BAR, num_seeds=len(SEEDS),
                note=f"for {GOAL:.0%} of the accuracy with all labels; {others}",
            )
        )  # fmt: skip
    if len(ratios) == len(BUDGETS):
        mean = float(np.exp(np.mean(np.log(ratios))))
        claims.append(
            claim(
                "labels_needed_mean", ours=mean, rival=1.0, rival_name="random", ratio=mean, unit="share of random",
                op="<=", bar=MEAN_BAR, num_seeds=len(SEEDS),
                note=f"geometric mean over {len(ratios)} of the six sets of the bar: {', '.join(BUDGETS)}",
            )
        )  # fmt: skip
    not_run = [name for name in names if name not in {each["claim"] for each in claims}]
    return finish("labelling", claims, not_run=[*not_run, "cifar10-jpeg, sst2"])


if __name__ == "__main__":
    sys.exit(main())
