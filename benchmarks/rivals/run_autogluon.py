"""AutoGluon, preset medium_quality, as a contender (see contender.py). Runs in .venv-autogluon.

The validation rows are its tuning_data. It predicts twice: as its fit leaves it (`no_refit`), and after its best model
was refitted on all rows (`predictions`), which counts neither against its time limit nor as its CPU seconds. The size
is that of the folder as fit leaves it.
"""

from __future__ import annotations

import shutil

from autogluon.tabular import TabularPredictor
from contender import Job, measured, read_job, report, size_of

METRICS = {"binary": "log_loss", "multiclass": "log_loss", "regression": "root_mean_squared_error"}


def fit(job: Job) -> TabularPredictor:
    predictor = TabularPredictor(
        label=job.target, problem_type=job.task, eval_metric=METRICS[job.task], path=str(job.out / "model"), verbosity=1
    )
    return predictor.fit(
        job.part("train"), tuning_data=job.part("validation"), presets="medium_quality", time_limit=job.limit_s
    )


def predict(job: Job, predictor: TabularPredictor, name: str) -> None:
    test = job.part("test").drop(columns=[job.target])
    if job.task == "regression":
        job.write(name, predictor.predict(test).to_numpy())
    else:
        probabilities = predictor.predict_proba(test)
        job.write(name, probabilities.to_numpy(), list(probabilities.columns))


def main() -> None:
    job = read_job()
    predictor, cost = measured(lambda: fit(job))
    size_bytes = size_of(job.out / "model")
    predict(job, predictor, "no_refit")
    _, refit = measured(lambda: predictor.refit_full(model="best"))
    predict(job, predictor, "predictions")
    predictor.clone_for_deployment(str(job.out / "deployed"))
    deployed = size_of(job.out / "deployed")
    for folder in ("model", "deployed"):
        shutil.rmtree(job.out / folder)
    models = list(predictor.model_names())
    report(
        cost,
        ["autogluon.tabular", "scikit-learn"],
        size_bytes=size_bytes,
        refit_cpu_s=refit["cpu_s"],
        deployed_bytes=deployed,
        models=models,
    )


if __name__ == "__main__":
    main()
