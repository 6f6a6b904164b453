"""How good the estimate of AUC and accuracy without labels is on real rows whose inputs have shifted, beside CBPE.

Windows of 500 rows are drawn from real tables by their inputs alone: rows of a level more or less often, rows with high
or low values of a column, one half of its range. So labels given inputs are what they are in the table, and all else
moves. Both get the same 2,000 labeled earlier rows, and no label of the window. The truth is the figure of the window's
own rows.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from drift_tables import RIVALS, ServedTable
from result import ROOT
from sklearn.metrics import roc_auc_score

from deepseek.observe.drift.performance import AnsweredSample, PastCalibration, estimate_performance
from deepseek.observe.drift.scores import ColumnValues, RowScorer, read_columns

NUM_ROWS, NUM_SHIFTS = 500, 24
FIGURES = ("auc", "accuracy")
Errors = dict[str, list[float]]


def shifted_windows(served: ServedTable, seed: int) -> Iterator[pd.DataFrame]:
    """Answered rows with their target, both classes in each window."""
    rng = np.random.default_rng([seed, 9])
    pool = served.pool
    num_made = 0
    while num_made < NUM_SHIFTS:
        column = str(rng.choice(list(served.columns)))
        if column in served.levels:
            level = rng.choice(pool[column].value_counts().index[:4])
            weights = np.where(pool[column] == level, rng.choice([0.1, 5.0]), 1.0)
        else:
            place = pool[column].rank(pct=True).to_numpy()
            weights = np.exp(rng.choice([-3, 3]) * place)
            if num_made % 3 == 0:
                weights *= place > 0.5 if rng.random() < 0.5 else place <= 0.5
        weights = weights / weights.sum()
        if (weights > 0).sum() < 2 * NUM_ROWS:
            continue
        rows = pool.iloc[rng.choice(len(pool), NUM_ROWS, replace=False, p=weights)].reset_index(drop=True)
        if 0 < rows["target"].sum() < NUM_ROWS:
            num_made += 1
            yield served.answer(rows)


def _columns(served: ServedTable, rows: pd.DataFrame) -> list[ColumnValues]:
    return read_columns(pa.Table.from_pandas(rows[list(served.columns)], preserve_index=False))


def _sample(rows: pd.DataFrame, scores: np.ndarray, *, labeled: bool) -> AnsweredSample:
    positive = rows["score"].to_numpy()
    labels = rows["target"].to_numpy().astype(np.int64) if labeled else np.full(len(rows), -1)
    return AnsweredSample(np.column_stack([1 - positive, positive]), (positive >= 0.5).astype(np.int64), labels, scores)


def truth_of(rows: pd.DataFrame) -> dict[str, float]:
    positive, target = rows["score"].to_numpy(), rows["target"].to_numpy()
    return {"auc": float(roc_auc_score(target, positive)), "accuracy": float(((positive >= 0.5) == target).mean())}


def run_rival(tables: Mapping[str, tuple[pd.DataFrame, Sequence[pd.DataFrame]]]) -> dict[str, dict[str, list[float]]]:
    """CBPE's estimates of each window, by table."""
    with tempfile.TemporaryDirectory() as folder:
        for name, (reference, windows) in tables.items():
            place = Path(folder) / name
            place.mkdir()
            for part, rows in (("reference", reference), ("windows", pd.concat(windows, ignore_index=True))):
                answered = rows.assign(answer=(rows["score"] >= 0.5).astype(int))
                if part == "windows":
                    numbers = np.repeat(np.arange(len(windows)), NUM_ROWS)
                    answered = answered.drop(columns="target").assign(window=numbers)
                answered.to_parquet(place / f"{part}.parquet", index=False)
        script = ROOT / "benchmarks" / "rivals" / "drift_cbpe.py"
        done = subprocess.run(
            [str(RIVALS / "bin" / "python"), str(script), folder], stdout=subprocess.PIPE, text=True, check=True
        )
    rival_errors: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return rival_errors


def measure_estimates(
    names: Sequence[str], seeds: Sequence[int], *, max_columns: int, with_rival: bool
) -> tuple[dict[str, Errors], dict[str, list[bool]], dict[str, Errors]]:
    """Absolute errors of ours and whether the interval holds the truth, by figure; the rival's errors. {figure: {table:
    errors}}; none of the rival's without it."""
    ours: dict[str, Errors] = {figure: {} for figure in FIGURES}
    inside: dict[str, list[bool]] = {figure: [] for figure in FIGURES}
    tables, truths = {}, {}
    for name in names:
        for seed in seeds:
            served = ServedTable.make(name, seed, max_columns=max_columns)
            scorer = RowScorer(_columns(served, served.reference))
            past = PastCalibration.fit(_sample(served.reference, scorer.past.single, labeled=True))
            windows = list(shifted_windows(served, seed))
            for rows in windows:
                now = _sample(rows, scorer.score(_columns(served, rows)).single, labeled=False)
                performance = estimate_performance(now, past=past)
                assert performance is not None
                for figure, truth in truth_of(rows).items():
                    estimate = performance.estimated[figure]
                    ours[figure].setdefault(name, []).append(abs(estimate.value - truth))
                    inside[figure].append(estimate.low <= truth <= estimate.high)
            tables[f"{name}-{seed}"] = served.reference, windows
            truths[f"{name}-{seed}"] = [truth_of(rows) for rows in windows]
    rival: dict[str, Errors] = {figure: {} for figure in FIGURES}
    for key, estimates in (run_rival(tables) if with_rival else {}).items():
        for figure in FIGURES:
            errors = [abs(value - truth[figure]) for value, truth in zip(estimates[figure], truths[key], strict=True)]
            rival[figure].setdefault(key.rsplit("-", 1)[0], []).extend(errors)
    return ours, inside, rival
