"""Runs one contender on one split, measures it and keeps what it found.

Rivals' runs are dear and do not change with our code, so they are kept in the cache folder by data, seed and
budget; ours by the source of the package as well. `fresh=True` runs anew.

The rivals count wall seconds, not CPU seconds. They start with budget / cores, more where other work keeps the machine
busy; one that was cut off before it had used its CPU seconds runs again with a longer limit, so that nobody gets less
than agreed. What each really used is in its facts.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from fraud_features import cache_folder
from quality_data import DATASETS, Dataset

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
#: Raised when a contender's program does something else than before: what was kept is then out of date.
EDITION = "2"
ENOUGH = 0.85  # share of the budget below which a run that was cut off counts as starved
MAX_TRIES = 3
HANGS_S = 3_600  # a contender that takes longer is given up
MAX_STRETCH = 3.0


@dataclass(frozen=True)
class Contender:
    """A program and the environment that runs it."""

    name: str
    program: Path
    python: Path
    counts_wall: bool = False  # its limit is in wall seconds

    @property
    def ready(self) -> bool:
        """Whether its environment is there."""
        return self.python.exists()

    def source_digest(self) -> str:
        """What a change of means a new run: the edition; for ours the program and the package."""
        files = [self.program, *sorted((ROOT / "src" / "deepseek").rglob("*.py"))] if self.name == "ours" else []
        return hashlib.sha256(b"\0".join([EDITION.encode(), *(file.read_bytes() for file in files)])).hexdigest()


OURS = Contender("ours", HERE / "run_ours.py", Path(sys.executable))
HISTGB = Contender("histgb", HERE / "rivals" / "run_histgb.py", Path(sys.executable))
AUTOGLUON = Contender("autogluon", HERE / "rivals" / "run_autogluon.py", ROOT / ".venv-autogluon/bin/python", True)
FLAML = Contender("flaml", HERE / "rivals" / "run_flaml.py", ROOT / ".venv-flaml/bin/python", True)
CONTENDERS = {each.name: each for each in (OURS, HISTGB, AUTOGLUON, FLAML)}


@dataclass(frozen=True)
class Run:
    """What one contender did on one split."""

    contender: str
    dataset: Dataset
    seed: int
    truth: pd.Series[Any]
    predictions: pd.DataFrame
    facts: dict[str, Any]  # cpu_s, wall_s, size_bytes, versions, date, limit_s, tries, ... as the program printed them
    cached: bool
    others: dict[str, pd.DataFrame]  # further predictions by name: `train_only` of histgb, `no_refit` of AutoGluon

    def losses(self, predictions: pd.DataFrame | None = None) -> np.ndarray[Any, Any]:
        """The loss of each test row (N,): log loss, or squared error."""
        predictions_of_all = self.predictions if predictions is None else predictions
        if self.dataset.task == "regression":
            return np.asarray(np.square(predictions_of_all["value"].to_numpy(float) - self.truth.to_numpy(float)))
        rows = predictions_of_all.reindex(columns=sorted(set(predictions_of_all) | set(self.truth)), fill_value=0.0)
        true_probabilities = rows.to_numpy(float)[np.arange(len(rows)), rows.columns.get_indexer(self.truth)]
        return np.asarray(-np.log(np.clip(true_probabilities / rows.to_numpy(float).sum(axis=1), 1e-15, 1.0)))

    def loss(self) -> float:
        """Log loss, or root mean squared error."""
        return total(self.dataset.task, self.losses())

    def measures(self) -> dict[str, float]:
        """What a reader asks for besides the loss."""
        if self.dataset.task == "regression":
            return {"rmse": self.loss()}
        by_rival = self.predictions
        wrong = float(np.mean(by_rival.columns[by_rival.to_numpy().argmax(axis=1)] != self.truth))
        shown = {"log_loss": self.loss(), "error_rate": wrong}
        if self.dataset.task == "binary":
            from sklearn.metrics import average_precision_score, roc_auc_score

            positive = sorted(by_rival)[1]
            hit, score = self.truth == positive, by_rival[positive]
            shown |= {"auc": roc_auc_score(hit, score), "average_precision": average_precision_score(hit, score)}
        return {name: float(value) for name, value in shown.items()}


def total(task: str, losses: np.ndarray[Any, Any]) -> float:
    """The loss of rows (..., N) as one number a set."""
    mean = losses.mean(axis=-1)
    return np.sqrt(mean) if task == "regression" else mean  # type: ignore[no-any-return]


def compete(contender: Contender, dataset: str, seed: int, budget_s: float, *, fresh: bool = False) -> Run:
    """Run a contender on a split, or read what it did before. Raises RuntimeError with its last words when it fails."""
    spec = DATASETS[dataset]
    with tempfile.TemporaryDirectory() as scratch:
        parts = Path(scratch) / "parts"
        spec.write_parts(seed, parts)
        digest = hashlib.sha256((contender.source_digest() + _digest(parts)).encode()).hexdigest()[:12]
        kept = cache_folder() / "quality" / f"{contender.name}-{dataset}-{seed}-{budget_s:g}s-{digest}"
        cached = (kept / "facts.json").exists() and not fresh
        if not cached:
            facts = _run(contender, spec, parts, Path(scratch) / "out", seed, budget_s)
            _keep(facts, Path(scratch) / "out", kept)
        facts = json.loads((kept / "facts.json").read_text())
        truth = pd.read_parquet(parts / "test.parquet")[spec.target]
    predictions = {file.stem: pd.read_parquet(file) for file in kept.glob("*.parquet")}
    return Run(
        contender.name, spec, seed, truth, predictions.pop("predictions"), facts, cached, predictions,
    )  # fmt: skip


def _digest(parts: Path) -> str:
    """The rows themselves, whatever the Parquet writer's version."""
    text = b"".join(pd.read_parquet(file).to_csv(index=False).encode() for file in sorted(parts.glob("*.parquet")))
    return hashlib.sha256(text).hexdigest()


def _run(contender: Contender, spec: Dataset, parts: Path, out: Path, seed: int, budget_s: float) -> dict[str, Any]:
    cores = os.cpu_count() or 1
    limit_s = budget_s / cores * min(MAX_STRETCH, max(1.0, os.getloadavg()[0] / cores))
    for tries in range(1, MAX_TRIES + 1):
        shutil.rmtree(out, ignore_errors=True)
        facts = _run_once(contender, spec, parts, out, seed, budget_s, limit_s)
        facts |= {"limit_s": limit_s, "tries": tries, "date": datetime.now(UTC).isoformat(timespec="seconds")}
        starved = facts["cpu_s"] < ENOUGH * budget_s and facts["wall_s"] > ENOUGH * limit_s
        if not (contender.counts_wall and starved):
            break
        limit_s *= min(MAX_STRETCH, budget_s / facts["cpu_s"])
    return facts


def _run_once(
    contender: Contender, spec: Dataset, parts: Path, out: Path, seed: int, budget_s: float, limit_s: float
) -> dict[str, Any]:
    flags = {
        "folder": parts, "out": out, "target": spec.target, "task": spec.task, "budget": budget_s, "limit": limit_s,
        "seed": seed,
    }  # fmt: skip
    command = [str(contender.python), str(contender.program)]
    for name, value in flags.items():
        command += [f"--{name}", str(value)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=HANGS_S)
    if done.returncode:
        raise RuntimeError(f"{contender.name} failed on {spec.name}, seed {seed}:\n{done.stderr[-2_000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])  # type: ignore[no-any-return]


def _keep(facts: dict[str, Any], out: Path, kept: Path) -> None:
    """Predictions first, facts last: a folder with facts is whole."""
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    for file in out.glob("*.parquet"):
        shutil.copy(file, kept / file.name)
    (kept / "facts.json").write_text(json.dumps(facts, indent=2))
