"""Ours on one table of unseen_tables.py, in a process of its own: one `ship` by its defaults, whose bundle predicts.

The user's own test rows are rows to measure by: they are not fitted on. A finding of the leak checks is accepted, for
the tables are as their packages have them.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "rivals"))
import numpy as np
import pandas as pd
from contender import measured, size_of
from run_tables import judge

import deepseek as ds

NUM_GROUPS = 5


def coverage(truth: pd.Series, values: np.ndarray, intervals: np.ndarray) -> list[float]:  # type: ignore[type-arg]
    """The share of truths inside of their intervals, by fifth of the prediction."""
    inside = (truth.to_numpy() >= intervals[:, 0]) & (truth.to_numpy() <= intervals[:, 1])
    groups = np.array_split(np.argsort(values, kind="stable"), NUM_GROUPS)
    return [float(inside[rows].mean()) for rows in groups]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--task", required=True)
    parser.add_argument("--budget", type=float, required=True)
    options = parser.parse_args()
    train, test = (pd.read_parquet(options.folder / f"{part}.parquet") for part in ("train", "test"))
    shipped, _ = measured(
        lambda: ds.ship(
            train, target=options.target, test=test, out=options.folder / "bundle", budget_s=options.budget,
            allow=("*",), overwrite=True,
        )
    )  # fmt: skip
    bundle = Path(shipped.path)
    answers = ds.load(bundle).predict(test.drop(columns=[options.target]))
    truth = test[options.target]
    if options.task == "regression":
        figures: dict[str, object] = {**judge(options.task, truth, answers.values)}
        figures["coverage"] = coverage(truth, answers.values, answers.intervals)
    else:
        figures = {**judge(options.task, truth, answers.probabilities, list(answers.labels_known))}
    search = json.loads((bundle / "evidence" / "search.json").read_text())
    trials = [{name: trial[name] for name in ("family", "loss", "fit_cpu_s")} for trial in search["trials"]]
    print(
        json.dumps(
            {
                "candidate": "ours", **figures, "cpu_s": shipped.cpu_s, "wall_s": shipped.wall_s,
                "model": shipped.model, "size_bytes": size_of(bundle), "task": shipped.task, "blend": search["blend"],
                "trials": trials, "warnings": list(shipped.warnings),
            }
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
