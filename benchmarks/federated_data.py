"""The tables and settings of federated.py: pneumoniamnist with pixels as columns, and payments of fraud-handbook."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from deepseek.data import Table, read_table
from deepseek.privacy.study.definition import Study
from deepseek.privacy.study.request import StudyRequest, make_study
from deepseek.privacy.study.settings import read_settings

DATA = Path(os.environ.get("DEEPSEEK_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
PNEUMONIA = ("model.kind='perceptron'", "model.widths=[32]", "rounds.num_rounds=20", "rounds.batch_size=32",
             "rounds.lr=0.05", "rounds.local_epochs=2", "rounds.strategy='fedavgm'")  # fmt: skip
FRAUD = ("model.kind='perceptron'", "model.widths=[16]", "rounds.num_rounds=20", "rounds.batch_size=16",
         "rounds.lr=0.3", "rounds.local_epochs=2", "rounds.strategy='fedavgm'")  # fmt: skip
NESTEROV = ("rounds.strategy='fedavgm_nesterov'", "rounds.server_momentum=0.9")
NUM_PARTIES = 10


def pneumonia_table(part: str) -> Table:
    """Pictures of 28 x 28 pixels as 784 columns."""
    with np.load(DATA / "pneumoniamnist" / "pneumoniamnist.npz") as arrays:
        pixels, labels = arrays[f"{part}_images"], arrays[f"{part}_labels"].ravel()
    flat = pixels.reshape(len(pixels), -1) / 255.0
    columns: dict[str, Any] = {f"p{place}": flat[:, place].copy() for place in range(flat.shape[1])}
    types = dict.fromkeys(columns, "number") | {"label": "text"}
    columns["label"] = np.array(["pneumonia" if label else "normal" for label in labels], object)
    return Table(columns, types)  # type: ignore[arg-type]


def fraud_table(file: str, num_rows: int) -> Table:
    """The first rows of a month that the customers of a tenth made."""
    table = read_table(DATA / "fraud-handbook" / file)
    mine = np.flatnonzero(table.column("CUSTOMER_ID") % 10 == 3)[:num_rows]
    return table.take(mine)


def study_of(table: Table, target: str, drop: tuple[str, ...], settings: tuple[str, ...]) -> Study:
    return make_study(table.take(np.arange(500)), StudyRequest("study", target, drop), read_settings(None, settings))
