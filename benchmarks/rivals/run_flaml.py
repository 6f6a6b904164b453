"""FLAML as a contender (see contender.py). Runs in .venv-flaml.

Variants: `own` gives training and validation rows together and lets FLAML choose between cross-validation and a
holdout; `tuning` gives the validation rows as X_val.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from contender import Job, measured, read_job, report
from flaml import AutoML

METRICS = {"binary": "log_loss", "multiclass": "log_loss", "regression": "rmse"}


def fit(job: Job) -> AutoML:
    train, validation = job.part("train"), job.part("validation")
    rows: dict[str, Any] = {}
    if job.variant == "tuning":
        rows = {"X_val": validation.drop(columns=[job.target]), "y_val": validation[job.target]}
    else:
        train = pd.concat([train, validation], ignore_index=True)
    rows |= {"X_train": train.drop(columns=[job.target]), "y_train": train[job.target]}
    search = AutoML()
    task = "regression" if job.task == "regression" else "classification"
    search.fit(
        **rows, task=task, metric=METRICS[job.task], time_budget=job.limit_s, seed=job.seed, verbose=0, n_jobs=-1
    )
    return search


def main() -> None:
    job = read_job()
    search, cost = measured(lambda: fit(job))
    test = job.part("test").drop(columns=[job.target])
    if job.task == "regression":
        job.write("predictions", search.predict(test))
    else:
        job.write("predictions", search.predict_proba(test), list(search.classes_))
    report(cost, ["flaml", "scikit-learn", "xgboost", "lightgbm"], models=[search.best_estimator])


if __name__ == "__main__":
    main()
