"""AutoGluon, preset medium_quality, as a contender (see contender.py). Runs in .venv-autogluon.

Variants: `tuning` gives the validation rows as tuning_data; `holdout` gives training and validation rows together and
lets AutoGluon hold out its own; `refit` does the same and then refits the best model on all rows (its refit_full),
which it does not count against the time limit. The size is that of the folder as fit leaves it, before a refit adds
more.
"""

from __future__ import annotations

import shutil
from typing import Any

import pandas as pd
from autogluon.tabular import TabularPredictor
from contender import Job, measured, read_job, report, size_of

METRICS = {"binary": "log_loss", "multiclass": "log_loss", "regression": "root_mean_squared_error"}


def fit(job: Job) -> tuple[TabularPredictor, int]:
    """The fitted predictor and the bytes of its folder."""
    predictor = TabularPredictor(
        label=job.target, problem_type=job.task, eval_metric=METRICS[job.task], path=str(job.out / "model"), verbosity=1
    )
    train, validation = job.part("train"), job.part("validation")
    rows: dict[str, Any] = {"train_data": train, "tuning_data": validation}
    if job.variant != "tuning":
        rows = {"train_data": pd.concat([train, validation], ignore_index=True)}
    predictor.fit(**rows, presets="medium_quality", time_limit=job.limit_s)
    size_bytes = size_of(job.out / "model")
    if job.variant == "refit":
        predictor.refit_full(model="best")
    return predictor, size_bytes


def main() -> None:
    job = read_job()
    (predictor, size_bytes), cost = measured(lambda: fit(job))
    test = job.part("test").drop(columns=[job.target])
    if job.task == "regression":
        job.write("predictions", predictor.predict(test).to_numpy())
    else:
        found = predictor.predict_proba(test)
        job.write("predictions", found.to_numpy(), list(found.columns))
    predictor.clone_for_deployment(str(job.out / "deployed"))
    deployed = size_of(job.out / "deployed")
    for folder in ("model", "deployed"):
        shutil.rmtree(job.out / folder)
    models = list(predictor.model_names())
    report(cost, ["autogluon.tabular", "scikit-learn"], size_bytes=size_bytes, deployed_bytes=deployed, models=models)


if __name__ == "__main__":
    main()
