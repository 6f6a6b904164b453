"""Scores of drift of each column in each window, by Evidently and by NannyML. Runs in .venv-drift.

python drift_windows.py FOLDER: each subfolder is a table with reference.parquet and streams *.parquet, whose column
`window` numbers their windows. Prints {TABLE: {STREAM: {METHOD: {COLUMN: [score of each window]}}}}: the higher the
score, the more drift. Evidently's tests are called as its DataDriftPreset calls them, without the making of a report.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
import warnings
from pathlib import Path

import pandas as pd

os.environ["NML_DISABLE_USAGE_LOGGING"] = os.environ["DO_NOT_TRACK"] = "1"
Scores = dict[str, list[float]]
#: Of numbers and of categories; None: what Evidently chooses itself.
EVIDENTLY = {"default": (None, None), "ks": ("ks", "chisquare"), "psi": ("psi", "psi")}
NANNYML = {
    "jensen_shannon": ("jensen_shannon", "jensen_shannon"), "ks": ("kolmogorov_smirnov", "chi2"),
    "wasserstein": ("wasserstein", "l_infinity"),
}  # fmt: skip


def is_text(values: pd.Series) -> bool:
    """Whether a column holds categories: pandas 3 has a type of its own for strings."""
    return not pd.api.types.is_numeric_dtype(values)


def evidently_scores(reference: pd.DataFrame, stream: pd.DataFrame) -> dict[str, Scores]:
    """Each column by the test that the preset takes for it, and its share of missing values."""
    from evidently.legacy.calculations.stattests import get_stattest
    from evidently.legacy.core import ColumnType

    window_scores: dict[str, Scores] = {}
    for _, rows in stream.groupby("window"):
        for name in reference:
            past, now = reference[name].dropna(), rows[name].dropna()
            kind = ColumnType.Categorical if is_text(reference[name]) else ColumnType.Numerical
            for label, methods in EVIDENTLY.items():
                test = get_stattest(past, now, kind, methods[kind == ColumnType.Categorical])
                score = test(past, now, kind, None).drift_score
                is_probability = test.name in ("ks", "chisquare", "z")
                value = -math.log(max(score, 1e-300)) if is_probability else float(score)
                window_scores.setdefault(f"Evidently {label}", {}).setdefault(name, []).append(value)
            missing = float(rows[name].isna().mean())
            window_scores.setdefault("Evidently missing", {}).setdefault(name, []).append(missing)
    return window_scores


def nannyml_scores(reference: pd.DataFrame, stream: pd.DataFrame) -> dict[str, Scores]:
    """Each way that NannyML has to see drift of inputs, on one chunk for each window."""
    import nannyml

    columns = list(reference.columns)
    rows = stream.drop(columns="window")
    size = int((stream["window"] != stream["window"].iloc[0]).to_numpy().argmax())  # all windows have as many rows
    texts = [name for name in columns if is_text(reference[name])]
    window_scores: dict[str, Scores] = {}
    for label, (continuous, categorical) in NANNYML.items():
        calculator = nannyml.UnivariateDriftCalculator(
            column_names=columns, treat_as_categorical=texts, continuous_methods=[continuous],
            categorical_methods=[categorical], chunk_size=size,
        )  # fmt: skip
        calculator.fit(reference)
        table = calculator.calculate(rows).filter(period="analysis").to_df()
        window_scores[f"NannyML {label}"] = {
            name: table[(name, categorical if name in texts else continuous, "value")].astype(float).tolist()
            for name in columns
        }
    missing = nannyml.MissingValuesCalculator(column_names=columns, chunk_size=size)
    missing.fit(reference)
    table = missing.calculate(rows).filter(period="analysis").to_df()
    window_scores["NannyML missing"] = {name: table[(name, "value")].astype(float).tolist() for name in columns}
    reconstruction = nannyml.DataReconstructionDriftCalculator(column_names=columns, chunk_size=size)
    reconstruction.fit(reference)
    table = reconstruction.calculate(rows).filter(period="analysis").to_df()
    window_scores["NannyML reconstruction"] = {"all": table[("reconstruction_error", "value")].astype(float).tolist()}
    return window_scores


def main() -> None:
    warnings.simplefilter("ignore")
    window_scores: dict[str, dict[str, dict[str, Scores]]] = {}
    for table in sorted(path for path in Path(sys.argv[1]).iterdir() if path.is_dir()):
        reference = pd.read_parquet(table / "reference.parquet")
        names = sorted(path.stem for path in table.glob("*.parquet") if path.stem != "reference")
        streams = [pd.read_parquet(table / f"{name}.parquet") for name in names]
        started = time.process_time()
        together = nannyml_scores(reference, pd.concat(streams, ignore_index=True))
        between = time.process_time()
        first = 0
        for name, stream in zip(names, streams, strict=True):
            last = first + stream["window"].nunique()
            methods = {
                method: {column: values[first:last] for column, values in scores.items()}
                for method, scores in together.items()
            }
            window_scores.setdefault(table.name, {})[name] = methods | evidently_scores(reference, stream)
            first = last
        print(
            f"{table.name}: NannyML {between - started:.1f} s of CPU, Evidently {time.process_time() - between:.1f} s",
            file=sys.stderr, flush=True,
        )  # fmt: skip
    print(json.dumps(window_scores))


if __name__ == "__main__":
    main()
