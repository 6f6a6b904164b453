"""FLAML as a contender (see contender.py). Runs in .venv-flaml.

It gets training and validation rows together and chooses between cross-validation and a holdout itself, which on small
tables does better than a fixed validation part; it refits its best model on all rows.
"""

from __future__ import annotations

import pandas as pd
from contender import Job, measured, read_job, report
from flaml import AutoML

METRICS = {"binary": "log_loss", "multiclass": "log_loss", "regression": "rmse"}


def fit(job: Job) -> AutoML:
    rows = pd.concat([job.part("train"), job.part("validation")], ignore_index=True)
    search = AutoML()
    task = "regression" if job.task == "regression" else "classification"
    search.fit(
        X_train=rows.drop(columns=[job.target]),
        y_train=rows[job.target],
        task=task,
        metric=METRICS[job.task],
        time_budget=job.limit_s,
        seed=job.seed,
        verbose=0,
        n_jobs=-1,
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
