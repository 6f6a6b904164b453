"""Tables as people bring them: 30 without a known leak, from scikit-learn, the simulator and the public data sets.

A table whose source has a column that is made of the target comes without it, and says so. Rows in large ones are every
so many-th.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn import datasets

from deepseek.data.table.synth import simulate_fraud

MAX_ROWS = 60_000
OLYMPUS = {
    "agnp": "spectrum_score", "alkox": "conversion", "autoam": "shape_score", "benzylation": "impurity",
    "colors_bob": "difference_to_green", "crossed_barrel": "toughness", "fullerenes": "product", "hplc": "peak_area",
    "oer_plate_3496": "overpotential", "p3ht": "conductivity", "perovskites": "hse_gap", "photo_pce10": "degradation",
    "photo_wf3": "degradation", "snar": "impurity", "suzuki": "yield", "thin_film": "instability_index",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class CleanTable:
    """A table with its target, and how it is split."""

    name: str
    read: Callable[[], pd.DataFrame]
    target: str
    split: str = "random"

    def frame(self) -> pd.DataFrame:
        rows = self.read()
        return rows.iloc[:: max(1, -(-len(rows) // MAX_ROWS))].reset_index(drop=True)


def shared_folder() -> Path:
    """The folder of public data sets."""
    return Path(os.environ.get("DEEPSEEK_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")


def clean_tables() -> list[CleanTable]:
    """The 30 tables."""
    folder = shared_folder()
    tables = [
        CleanTable(name, lambda load=load: load(as_frame=True).frame, "target")
        for name, load in (
            ("iris", datasets.load_iris), ("wine", datasets.load_wine), ("cancer", datasets.load_breast_cancer),
            ("digits", datasets.load_digits), ("diabetes", datasets.load_diabetes),
        )
    ]  # fmt: skip
    tables += [
        CleanTable("linnerud", lambda: datasets.load_linnerud(as_frame=True).frame, "Pulse"),
        CleanTable("payments, simulated", lambda: pd.DataFrame(dict(simulate_fraud().columns)), "fraud", "time:time"),
        CleanTable("concrete", lambda: pd.read_csv(folder / "concrete/concrete.csv"), "strength_mpa"),
        CleanTable("turbofan, life", lambda: _turbofan(folder), "life", "group:unit"),
        CleanTable("bearings, life", lambda: _bearings(folder), "life_s", "group:bearing"),
        CleanTable("payments of April", lambda: _payments(folder, "04"), "TX_FRAUD", "time:TX_DATETIME"),
        CleanTable("steel defects", lambda: _boxes(folder / "neu-det/boxes.csv"), "class"),
        CleanTable("circuit boards", lambda: _boxes(folder / "deeppcb/boxes.csv"), "class"),
        CleanTable("spoken digits", lambda: _without(folder / "fsdd/index.csv", "file", "split"), "speaker"),
    ]
    tables += [
        CleanTable(name, lambda name=name: pd.read_csv(folder / f"olympus-process/{name}.csv"), target)
        for name, target in OLYMPUS.items()
    ]
    return tables


def _turbofan(folder: Path) -> pd.DataFrame:
    rows = pd.read_parquet(folder / "cmapss-fd001/train_FD001.parquet")
    return rows.assign(life=rows.groupby("unit")["cycle"].transform("max") - rows["cycle"])


def _bearings(folder: Path) -> pd.DataFrame:
    rows = pd.read_parquet(folder / "femto-bearing/learning_features.parquet")
    last = rows.groupby("bearing")["snapshot"].transform("max")
    return rows.assign(life_s=10 * (last - rows["snapshot"]))


def _payments(folder: Path, month: str) -> pd.DataFrame:
    """A month of card payments without TX_FRAUD_SCENARIO, which says of each fraud what kind it is."""
    return pd.read_parquet(folder / f"fraud-handbook/transactions-2018-{month}.parquet").drop(
        columns="TX_FRAUD_SCENARIO"
    )


def _boxes(path: Path) -> pd.DataFrame:
    """Boxes around defects without the name of the picture, which may hold the class."""
    rows = pd.read_csv(path)
    return rows.drop(columns=[name for name in ("image", "split") if name in rows.columns])


def _without(path: Path, *names: str) -> pd.DataFrame:
    return pd.read_csv(path).drop(columns=list(names))


def as_numbers(target: pd.Series) -> np.ndarray:  # type: ignore[type-arg]
    """A target as numbers: of classes their place in order."""
    if target.dtype.kind == "f" or target.nunique() > 20:
        return target.to_numpy(np.float64)
    return np.unique(target.to_numpy(), return_inverse=True)[1].astype(np.float64)
