"""Solutions of the lab mean_over_ranks."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from learn.solutions.tools import replace_text

WRONG = {
    "own_gradients": "ranks_differ", "sum_of_means": "not_as_one", "mean_of_means": "not_as_one",
    "returns_early": "left_alone", "loses_the_rest": "wrong_share",
}  # fmt: skip

PARALLEL = """
import os

import torch
import torch.distributed as dist


def share(num_rows, rank, num_ranks):
    return [rank * num_rows // num_ranks, (rank + 1) * num_rows // num_ranks]


def train(rank, num_ranks, store, x, y, steps, rate):
    dist.init_process_group("gloo", init_method=f"file://{os.path.abspath(store)}", rank=rank, world_size=num_ranks)
    try:
        x, y = torch.from_numpy(x), torch.from_numpy(y)
        w = torch.zeros(x.shape[1], dtype=torch.float64)
        total = torch.tensor([float(len(y))], dtype=torch.float64)
        dist.all_reduce(total)
        for _ in range(steps):
            gradient = x.T @ (x @ w - y)
            dist.all_reduce(gradient)
            w -= rate * gradient / total
        return w.numpy()
    finally:
        dist.destroy_process_group()
"""


def reference(folder: Path) -> None:
    (folder / "parallel.py").write_text(PARALLEL)
    rows = {int(row["ranks"]): float(row["seconds"]) for row in csv.DictReader((folder / "runs.csv").open())}
    efficiencies = {num: rows[1] / seconds / num for num, seconds in rows.items()}
    answers = {
        "speedup": rows[1] / rows[max(rows)], "efficiency": efficiencies[max(rows)],
        "largest": max(num for num, each in efficiencies.items() if each >= 0.7),
    }  # fmt: skip
    (folder / "answers.json").write_text(json.dumps(answers))


def own_gradients(folder: Path) -> None:
    """Each rank goes its own way."""
    replace_text(folder / "parallel.py", "            dist.all_reduce(gradient)\n", "")
    replace_text(folder / "parallel.py", "/ total", "/ len(y)")


def sum_of_means(folder: Path) -> None:
    replace_text(folder / "parallel.py", "x.T @ (x @ w - y)", "x.T @ (x @ w - y) / len(y)")
    replace_text(folder / "parallel.py", "/ total", "")


def mean_of_means(folder: Path) -> None:
    """As DistributedDataParallel does, which is right where all have the same number of rows."""
    replace_text(folder / "parallel.py", "x.T @ (x @ w - y)", "x.T @ (x @ w - y) / max(len(y), 1)")
    replace_text(folder / "parallel.py", "/ total", "/ num_ranks")


def returns_early(folder: Path) -> None:
    """A rank without rows has nothing to do."""
    replace_text(
        folder / "parallel.py", "        for _ in range(steps):",
        "        if not len(y):\n            return w.numpy()\n        for _ in range(steps):",
    )  # fmt: skip


def loses_the_rest(folder: Path) -> None:
    replace_text(
        folder / "parallel.py", "[rank * num_rows // num_ranks, (rank + 1) * num_rows // num_ranks]",
        "[rank * (num_rows // num_ranks), (rank + 1) * (num_rows // num_ranks)]",
    )  # fmt: skip
