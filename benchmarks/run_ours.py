"""This framework as a contender of ship_quality.py (see rivals/contender.py): one `ship`, then its bundle predicts."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "rivals"))
import pandas as pd
from contender import Job, measured, read_job, report, size_of

import deepseek as ds

METRICS = {"binary": "log_loss", "multiclass": "log_loss", "regression": "rmse"}  # by which the contest is judged


def fit(job: Job) -> Path:
    development = pd.concat([job.part("train"), job.part("validation")], ignore_index=True)  # ship makes folds of them
    shipped = ds.ship(
        development,
        target=job.target,
        test=job.folder / "test.parquet",
        out=job.out / "bundle",
        budget_s=job.budget_s,
        seed=job.seed,
        metric=METRICS[job.task],
        overwrite=True,
    )
    return Path(shipped.path)


def main() -> None:
    job = read_job()
    bundle, cost = measured(lambda: fit(job))
    predictions = ds.load(bundle).predict(job.part("test").drop(columns=[job.target]))
    if job.task == "regression":
        job.write("predictions", predictions.values)
    else:
        job.write("predictions", predictions.probabilities, predictions.labels_known)
    evidence = {
        name: json.loads((bundle / "evidence" / f"{name}.json").read_text()) for name in ("validation", "search")
    }
    report(
        cost, ["numpy", "scikit-learn"], size_bytes=size_of(bundle), validation=evidence["validation"],
        models=[part["family"] for part in evidence["search"]["blend"]], num_trials=evidence["search"]["num_trials"],
    )  # fmt: skip


if __name__ == "__main__":
    main()
