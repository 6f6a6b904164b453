"""Five libraries with their defaults on one table of rivals/tables.py, in .venv-tables.

    .venv-tables/bin/python benchmarks/rivals/run_tables.py --table pima --out FOLDER

Writes FOLDER/train.parquet and FOLDER/test.parquet for ours, and prints one JSON object a library: what it answered
for the test rows is judged here, by the same lines that judge ours. Each gets its columns as its documentation asks:
CatBoost its categories as texts, LightGBM and HistGradientBoosting theirs as categories, forests theirs as numbers,
linear models as one column a level; dates as year, month, day, day of the week and time.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from contender import measured
from tables import TABLES, UnseenTable

NUM_THREADS = 1
MAX_LEVELS = 254  # of a category of HistGradientBoosting
MAX_TEXT_SHARE = 0.5  # of distinct values, from which a column of texts is no category


def judge(task: str, truth: pd.Series, answer: Any, labels: list[str] | None = None) -> dict[str, float]:  # type: ignore[type-arg]
    """The loss of values (N,), or of probabilities (N, C) in the order of `labels`; of these the calibration, too."""
    if task == "regression":
        return {"loss": float(np.sqrt(np.mean((np.asarray(answer, float) - truth.to_numpy(float)) ** 2)))}
    assert labels is not None
    shares = np.clip(np.asarray(answer, float), 1e-7, 1.0)
    shares /= shares.sum(axis=1, keepdims=True)
    place = {label: index for index, label in enumerate(labels)}
    code = np.array([place[label] for label in truth])
    true_shares = shares[np.arange(len(shares)), code]
    sure, right = shares.max(axis=1), shares.argmax(axis=1) == code
    bins = np.minimum((sure * 10).astype(int), 9)
    gaps = [abs(sure[bins == each].mean() - right[bins == each].mean()) * np.mean(bins == each) for each in set(bins)]
    return {
        "loss": float(-np.log(true_shares).mean()), "error_rate": float(1 - right.mean()), "ece": float(np.sum(gaps)),
    }  # fmt: skip


def plain_columns(train: pd.DataFrame, test: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both with dates as numbers, without texts that hardly repeat and columns that never change; texts stay texts."""
    both = pd.concat([train, test], ignore_index=True)
    columns: dict[str, Any] = {}
    for name in both.columns:
        values = both[name]
        known = values[: len(train)].dropna()
        if known.nunique() < 2 and not values[: len(train)].isna().any():
            continue
        if values.dtype.kind in "biuf":
            columns[name] = values.astype(float)
            continue
        dates = values if values.dtype.kind == "M" else pd.to_datetime(values, errors="coerce", format="ISO8601")
        if dates.notna().sum() > 0.9 * values.notna().sum():
            dates = dates.dt.tz_localize(None) if getattr(dates.dt, "tz", None) is not None else dates
            parts = {part: getattr(dates.dt, part) for part in ("year", "month", "day", "dayofweek", "hour")}
            parts["time"] = dates.dt.as_unit("s").astype("datetime64[s]").astype("int64").where(dates.notna()) / 86_400
            columns.update({f"{name} {part}": value.astype(float) for part, value in parts.items()})
        elif known.nunique() <= MAX_TEXT_SHARE * len(known):
            columns[name] = values.astype("str").where(values.notna())
    frame = pd.DataFrame(columns)
    return frame.iloc[: len(train)], frame.iloc[len(train) :]


def texts_of(frame: pd.DataFrame) -> list[str]:
    return [name for name in frame.columns if frame[name].dtype.kind not in "biuf"]


def as_categories(train: pd.DataFrame, test: pd.DataFrame, most: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Texts as pandas' categories: those of the training rows, the most frequent `most` of them."""
    train, test = train.copy(), test.copy()
    for name in texts_of(train):
        levels = train[name].value_counts().index[:most]
        kind = pd.CategoricalDtype(sorted(levels))
        train[name], test[name] = train[name].astype(kind), test[name].astype(kind)
    return train, test


def as_codes(train: pd.DataFrame, test: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Texts as numbers of their order, all missing numbers as the median."""
    train, test = as_categories(train, test, len(train))
    for frame in (train, test):
        for name in train.columns:
            if isinstance(frame[name].dtype, pd.CategoricalDtype):
                frame[name] = frame[name].cat.codes
    middle = train.median().fillna(0.0)
    return train.fillna(middle), test.fillna(middle)


def catboost(task: str) -> Callable[..., Any]:
    from catboost import CatBoostClassifier, CatBoostRegressor

    def fit(train: pd.DataFrame, target: Any, test: pd.DataFrame) -> Any:
        texts = texts_of(train)
        train, test = (
            frame.assign(**{name: frame[name].fillna("missing") for name in texts}) for frame in (train, test)
        )
        make = CatBoostRegressor if task == "regression" else CatBoostClassifier
        model = make(verbose=False, allow_writing_files=False, thread_count=NUM_THREADS, cat_features=texts)
        return answer(model.fit(train, target), test)

    return fit


def lightgbm(task: str) -> Callable[..., Any]:
    from lightgbm import LGBMClassifier, LGBMRegressor

    def fit(train: pd.DataFrame, target: Any, test: pd.DataFrame) -> Any:
        train, test = as_categories(train, test, len(train))
        names = {name: f"x{index}" for index, name in enumerate(train.columns)}  # it refuses some letters in names
        make = LGBMRegressor if task == "regression" else LGBMClassifier
        model = make(verbose=-1, n_jobs=NUM_THREADS).fit(train.rename(columns=names), target)
        return answer(model, test.rename(columns=names))

    return fit


def histgb(task: str) -> Callable[..., Any]:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    def fit(train: pd.DataFrame, target: Any, test: pd.DataFrame) -> Any:
        train, test = as_categories(train, test, MAX_LEVELS)
        make = HistGradientBoostingRegressor if task == "regression" else HistGradientBoostingClassifier
        return answer(make(categorical_features="from_dtype", random_state=0).fit(train, target), test)

    return fit


def forest(task: str) -> Callable[..., Any]:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    def fit(train: pd.DataFrame, target: Any, test: pd.DataFrame) -> Any:
        train, test = as_codes(train, test)
        make = RandomForestRegressor if task == "regression" else RandomForestClassifier
        return answer(make(random_state=0, n_jobs=NUM_THREADS).fit(train, target), test)

    return fit


def linear(task: str) -> Callable[..., Any]:
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    def fit(train: pd.DataFrame, target: Any, test: pd.DataFrame) -> Any:
        texts = texts_of(train)
        numbers = [name for name in train.columns if name not in texts]
        train, test = (
            frame.assign(**{name: frame[name].fillna("missing") for name in texts}) for frame in (train, test)
        )
        levels = OneHotEncoder(min_frequency=5, max_categories=200, handle_unknown="infrequent_if_exist")
        encoder = make_column_transformer(
            (levels, texts),
            (make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler()), numbers),
        )
        model = Ridge() if task == "regression" else LogisticRegression(max_iter=1_000)
        return answer(make_pipeline(encoder, model).fit(train, target), test)

    return fit


def answer(model: Any, test: pd.DataFrame) -> Any:
    """Values (N,), or probabilities and the classes in their order."""
    if not hasattr(model, "predict_proba"):
        return model.predict(test), None
    return model.predict_proba(test), [str(label) for label in model.classes_]


RIVALS: dict[str, Callable[[str], Callable[..., Any]]] = {
    "catboost": catboost, "lightgbm": lightgbm, "histgb": histgb, "forest": forest, "linear": linear,
}  # fmt: skip


def run(table: UnseenTable, out: Path, names: list[str]) -> None:
    """Write the table's parts, and print what each rival did on them."""
    train, test = table.split()
    out.mkdir(parents=True, exist_ok=True)
    train.to_parquet(out / "train.parquet", index=False)
    test.to_parquet(out / "test.parquet", index=False)
    print(json.dumps({"num_train": len(train), "num_test": len(test), "num_columns": train.shape[1] - 1}), flush=True)
    features = plain_columns(train.drop(columns=[table.target]), test.drop(columns=[table.target]))
    for name in names:
        fit = RIVALS[name](table.task)
        (answers, labels), cost = measured(
            lambda fit=fit: fit(features[0].copy(), train[table.target], features[1].copy())
        )
        print(
            json.dumps({"candidate": name, **judge(table.task, test[table.target], answers, labels), **cost}),
            flush=True,
        )
    packages = ("catboost", "lightgbm", "scikit-learn", "pandas")
    print(json.dumps({"versions": {name: importlib.metadata.version(name) for name in packages}}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--list", action="store_true", help="Print the tables and leave.")
    parser.add_argument("--table")
    parser.add_argument("--rivals", default=",".join(RIVALS), help="Which, by name; an empty text for none.")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.list:
        for table in TABLES:
            print(json.dumps({"name": table.name, "half": table.half, "task": table.task, "target": table.target}))
        return
    (table,) = [table for table in TABLES if table.name == options.table]
    run(table, options.out, [name for name in options.rivals.split(",") if name])


if __name__ == "__main__":
    sys.exit(main())
