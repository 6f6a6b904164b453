"""The data sets of ship_quality.py and their splits: training 60 %, validation 20 %, test 20 %, the same for everybody.

Class labels are written as text, so that no contender has to guess whether a digit is a number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from fraud_features import FEATURES, TARGET, data_folder, fold, load_features
from sklearn import datasets
from sklearn.model_selection import train_test_split

#: Fixed on 2026-11-25, before anything was changed after the log's entry on test rows that had been looked at; the
#: seeds before them (11, 22, 33) and the fraud week of the handbook's first fold had been seen while choices were made.
SEEDS = (101, 102, 103, 104, 105)
FRAUD_WEEK = "2018-06-06"  # first day of the test week, as fresh


@dataclass(frozen=True)
class Dataset:
    """A table to learn from. `load` returns all rows, or training and test rows where the split is given."""

    name: str
    task: str  # binary, multiclass or regression
    target: str
    load: Callable[[], tuple[pd.DataFrame, pd.DataFrame | None]]

    def write_parts(self, seed: int, folder: Path) -> None:
        """train.parquet, validation.parquet and test.parquet of one split."""
        folder.mkdir(parents=True, exist_ok=True)
        rows, test = self.load()
        if self.task != "regression":
            rows[self.target] = rows[self.target].astype(str)
        if test is None:
            rows, test = self._part(rows, 0.2, seed)
        elif self.task != "regression":
            test[self.target] = test[self.target].astype(str)
        train, validation = self._part(rows, 0.25, seed)
        for name, part in (("train", train), ("validation", validation), ("test", test)):
            part.to_parquet(folder / f"{name}.parquet", index=False)

    def _part(self, rows: pd.DataFrame, share: float, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
        classes = None if self.task == "regression" else rows[self.target]
        first, second = train_test_split(rows, test_size=share, random_state=seed, stratify=classes)
        return first, second


def _bunch(load: Callable[..., Any]) -> Callable[[], tuple[pd.DataFrame, None]]:
    return lambda: (load(as_frame=True).frame, None)


def _concrete() -> tuple[pd.DataFrame, None]:
    return pd.read_csv(data_folder() / "concrete" / "concrete.csv"), None


def _fraud_week() -> tuple[pd.DataFrame, pd.DataFrame]:
    """One fold of the handbook with its 15 features alone; the seed splits the training week."""
    week = fold(load_features(), FRAUD_WEEK)
    train, test = (part.select([*FEATURES, TARGET]).to_pandas() for part in (week.train, week.test))
    return train, test


DATASETS = {
    each.name: each
    for each in (
        Dataset("cancer", "binary", "target", _bunch(datasets.load_breast_cancer)),
        Dataset("wine", "multiclass", "target", _bunch(datasets.load_wine)),
        Dataset("digits", "multiclass", "target", _bunch(datasets.load_digits)),
        Dataset("diabetes", "regression", "target", _bunch(datasets.load_diabetes)),
        Dataset("concrete", "regression", "strength_mpa", _concrete),
        Dataset("fraud_week", "binary", TARGET, _fraud_week),
    )
}
