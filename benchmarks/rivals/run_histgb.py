"""scikit-learn's HistGradientBoosting with its defaults, as a contender (see contender.py).

It writes two sets of predictions: of a model fitted on the training rows (`train_only`), and of one fitted on training
and validation rows (`predictions`), as it needs no rows to tune on.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from contender import Job, measured, read_job, report
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor


def fit(job: Job, rows: pd.DataFrame) -> Any:
    kind = HistGradientBoostingRegressor if job.task == "regression" else HistGradientBoostingClassifier
    return kind(random_state=job.seed).fit(rows.drop(columns=[job.target]), rows[job.target])


def predict(job: Job, model: Any, name: str) -> None:
    test = job.part("test").drop(columns=[job.target])
    if job.task == "regression":
        job.write(name, model.predict(test))
    else:
        job.write(name, model.predict_proba(test), model.classes_)


def main() -> None:
    job = read_job()
    train = job.part("train")
    predict(job, fit(job, train), "train_only")
    rows = pd.concat([train, job.part("validation")], ignore_index=True)
    model, cost = measured(lambda: fit(job, rows))
    predict(job, model, "predictions")
    report(cost, ["scikit-learn"])


if __name__ == "__main__":
    main()
