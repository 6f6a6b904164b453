"""Columns ranked by drift, by Evidently and by NannyML, for each Parquet file of a folder. Runs in .venv-drift.

python root_cause_ranking.py FOLDER WINDOW_START_S  ->  {"Evidently": {NAME: [column, ...]}, "NannyML": {...}}
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path

import pandas as pd

os.environ["NML_DISABLE_USAGE_LOGGING"] = os.environ["DO_NOT_TRACK"] = "1"
#: What happened, and no column that could be its cause: the rivals need not rank it.
NOT_INPUTS = (
    "time", "request_id", "row", "num_rows", "label", "error", "status", "prediction", "confidence",
    "duration_s", "flags",
)  # fmt: skip


def evidently_ranking(past: pd.DataFrame, now: pd.DataFrame) -> list[str]:
    from evidently import Report
    from evidently.presets import DataDriftPreset

    snapshot = Report([DataDriftPreset(method="psi")]).run(now, past)
    scores = {}
    for metric in json.loads(snapshot.json())["metrics"]:
        column = metric.get("config", {}).get("column") or metric.get("params", {}).get("column")
        if column is not None and isinstance(metric["value"], int | float):
            scores[column] = float(metric["value"])
    return sorted(scores, key=lambda name: -scores[name])


def nannyml_ranking(past: pd.DataFrame, now: pd.DataFrame) -> list[str]:
    import nannyml

    columns = list(past.columns)
    calculator = nannyml.UnivariateDriftCalculator(
        column_names=columns, chunk_number=10, continuous_methods=["jensen_shannon"],
        categorical_methods=["jensen_shannon"],
    )  # fmt: skip
    calculator.fit(past)
    result = calculator.calculate(now)
    return list(nannyml.AlertCountRanker().rank(result)["column_name"])


def main() -> None:
    warnings.simplefilter("ignore")
    folder, start_s = Path(sys.argv[1]), float(sys.argv[2])
    rankings: dict[str, dict[str, list[str]]] = {}
    for path in sorted(folder.glob("*.parquet")):
        rows = pd.read_parquet(path)
        in_window = rows["time"].astype("int64") / 1e6 >= start_s
        rows["length of comment"] = rows["input.comment"].str.len()
        rows = rows.drop(columns=[*(name for name in NOT_INPUTS if name in rows), "input.comment", "model"])
        rows = rows.rename(columns={"length of comment": "input.comment"})
        for name, ranking in (("Evidently", evidently_ranking), ("NannyML", nannyml_ranking)):
            rankings.setdefault(name, {})[path.stem] = ranking(rows[~in_window].copy(), rows[in_window].copy())
    print(json.dumps(rankings))


if __name__ == "__main__":
    main()
