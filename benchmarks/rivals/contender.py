"""What every contender of ship_quality.py shares: the same files to read, the same clock, the same files to write.

A contender is a program of its own, run in its own environment:

    python run_NAME.py --folder PARTS --target COLUMN --task TASK --budget CPU_S --limit WALL_S --seed N --out DIR

PARTS holds train.parquet, validation.parquet and test.parquet. It writes DIR/predictions.parquet (one column per class
label, or `value`) and prints one JSON object as its last line. Runs on what every environment here has: pandas.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class Job:
    """One fit of one contender."""

    folder: Path
    out: Path
    target: str
    task: str  # binary, multiclass or regression
    budget_s: float  # CPU seconds of all threads
    limit_s: float  # wall seconds, for contenders that count those
    seed: int

    def part(self, name: str) -> pd.DataFrame:
        """train, validation or test."""
        return pd.read_parquet(self.folder / f"{name}.parquet")

    def write(self, name: str, values: Any, labels: Sequence[Any] | None = None) -> None:
        """Values (N,) of a regression, or probabilities (N, C) in the order of `labels`."""
        names = ["value"] if labels is None else [str(label) for label in labels]
        pd.DataFrame(values, columns=names).to_parquet(self.out / f"{name}.parquet", index=False)


def read_job() -> Job:
    parser = argparse.ArgumentParser()
    for name in ("folder", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for name in ("target", "task"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("budget", "limit"):
        parser.add_argument(f"--{name}", type=float, required=True, dest=f"{name}_s")
    parser.add_argument("--seed", type=int, required=True)
    job = Job(**vars(parser.parse_args()))
    job.out.mkdir(parents=True, exist_ok=True)
    return job


def cpu_s() -> float:
    """CPU seconds of this process, all threads, and of the children that it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def size_of(folder: Path) -> int:
    """Bytes of all files under a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def measured(fit: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """What `fit` returns, and what it took: from its first line to its last, all that it imports late included."""
    clock = time.perf_counter(), cpu_s()
    model = fit()
    return model, {"wall_s": time.perf_counter() - clock[0], "cpu_s": cpu_s() - clock[1], "start_cpu_s": clock[1]}


def report(cost: dict[str, float], packages: Sequence[str], **more: Any) -> None:
    """Print the result as the last line."""
    versions = {name: importlib.metadata.version(name) for name in packages}
    print(json.dumps({**cost, **more, "versions": versions}))
