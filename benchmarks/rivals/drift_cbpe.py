"""NannyML's CBPE on chunks of rows without labels. Runs in .venv-drift.

python drift_cbpe.py FOLDER: reference.parquet and windows.parquet of each subfolder, with score, answer and (reference)
target; `window` numbers the windows. Prints {TABLE: {"auc": [estimate of each window], "accuracy": [...]}}.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path

import pandas as pd

os.environ["NML_DISABLE_USAGE_LOGGING"] = os.environ["DO_NOT_TRACK"] = "1"


def main() -> None:
    import nannyml

    warnings.simplefilter("ignore")
    estimate_of = {}
    for table in sorted(path for path in Path(sys.argv[1]).iterdir() if path.is_dir()):
        reference, rows = (pd.read_parquet(table / f"{name}.parquet") for name in ("reference", "windows"))
        size = int((rows["window"] == 0).sum())
        estimator = nannyml.CBPE(
            y_pred_proba="score", y_pred="answer", y_true="target", metrics=["roc_auc", "accuracy"],
            problem_type="classification_binary", chunk_size=size,
        )  # fmt: skip
        estimator.fit(reference)
        estimates = estimator.estimate(rows.drop(columns="window")).filter(period="analysis").to_df()
        estimate_of[table.name] = {
            name: estimates[(metric, "value")].astype(float).tolist()
            for name, metric in (("auc", "roc_auc"), ("accuracy", "accuracy"))
        }
    print(json.dumps(estimate_of))


if __name__ == "__main__":
    main()
