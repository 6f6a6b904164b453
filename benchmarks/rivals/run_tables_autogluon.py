"""AutoGluon on the parts that run_tables.py wrote: one preset, one thread, judged by the same lines. Its environment is
.venv-autogluon.

    .venv-autogluon/bin/python benchmarks/rivals/run_tables_autogluon.py --folder PARTS --target y --task binary
        --preset medium_quality --limit 20

Prints one JSON object. AutoGluon counts its limit by the wall: run it on a core of its own. What it predicts with is
its best model; the size is that of a clone for deployment.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

import pandas as pd
from autogluon.tabular import TabularPredictor
from contender import measured, size_of
from run_tables import judge

METRICS = {"binary": "log_loss", "multiclass": "log_loss", "regression": "root_mean_squared_error"}


def fit(train: pd.DataFrame, target: str, task: str, preset: str, limit_s: float, path: Path) -> TabularPredictor:
    predictor = TabularPredictor(
        label=target, problem_type=task, eval_metric=METRICS[task], path=str(path), verbosity=0
    )
    # Folds one after the other in this process: Ray's workers would be more than the one core that ours has.
    folds = {"ag_args_ensemble": {"fold_fitting_strategy": "sequential_local"}} if preset != "medium_quality" else {}
    return predictor.fit(train, presets=preset, time_limit=limit_s, num_cpus=1, **folds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    for name in ("target", "task", "preset"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--limit", type=float, required=True, help="Wall seconds.")
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    train, test = (pd.read_parquet(chosen.folder / f"{part}.parquet") for part in ("train", "test"))
    out = Path(tempfile.mkdtemp())
    try:
        predictor, cost = measured(
            lambda: fit(train, chosen.target, chosen.task, chosen.preset, chosen.limit, out / "model")
        )
        features = test.drop(columns=[chosen.target])
        if chosen.task == "regression":
            figures = judge(chosen.task, test[chosen.target], predictor.predict(features).to_numpy())
        else:
            shares = predictor.predict_proba(features)
            truth = test[chosen.target].astype(str)
            figures = judge(chosen.task, truth, shares.to_numpy(), [str(label) for label in shares.columns])
        predictor.clone_for_deployment(str(out / "deployed"))
        size_bytes, best = size_of(out / "deployed"), predictor.model_best
    finally:
        shutil.rmtree(out)
    version = importlib.metadata.version("autogluon.tabular")
    print(json.dumps({**figures, **cost, "size_bytes": size_bytes, "model": best, "version": version}))


if __name__ == "__main__":
    sys.exit(main())
