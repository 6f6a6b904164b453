"""The tables and settings of federated.py: pneumoniamnist with pixels as columns, payments of fraud-handbook, and
spoken digits of fsdd as powers by band and time."""

from __future__ import annotations

import os
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import wavfile
from scipy.signal import spectrogram

from deepseek.data import Table, read_table
from deepseek.privacy.study.definition import Study
from deepseek.privacy.study.request import StudyRequest, make_study
from deepseek.privacy.study.settings import read_settings

DATA = Path(os.environ.get("DEEPSEEK_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
PNEUMONIA = ("model.kind='perceptron'", "model.widths=[32]", "rounds.num_rounds=20", "rounds.batch_size=32",
             "rounds.lr=0.05", "rounds.local_epochs=2", "rounds.strategy='fedavgm'")  # fmt: skip
FRAUD = ("model.kind='perceptron'", "model.widths=[16]", "rounds.num_rounds=20", "rounds.batch_size=16",
         "rounds.lr=0.3", "rounds.local_epochs=2", "rounds.strategy='fedavgm'")  # fmt: skip
DIGITS = ("model.kind='perceptron'", "model.widths=[64]", "rounds.num_rounds=30", "rounds.batch_size=32",
          "rounds.lr=0.05", "rounds.local_epochs=2", "rounds.strategy='fedavgm'")  # fmt: skip
NUM_BANDS, NUM_TIMES = 16, 10  # of a recording
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


def digits_table() -> Table:
    """3,000 spoken digits of six speakers: the logarithm of the power in 16 bands at 10 times, in 160 columns."""
    with zipfile.ZipFile(DATA / "fsdd" / "recordings.zip") as recordings:
        names = sorted(name for name in recordings.namelist() if name.endswith(".wav"))
        rows = np.stack([_powers(*wavfile.read(recordings.open(name))).ravel() for name in names])
    parts = [Path(name).stem.split("_") for name in names]  # digit, speaker, number
    columns: dict[str, Any] = {f"p{place}": rows[:, place].copy() for place in range(rows.shape[1])}
    types = dict.fromkeys(columns, "number") | {"digit": "text", "speaker": "text"}
    columns["digit"] = np.array([f"d{digit}" for digit, _, _ in parts], object)
    columns["speaker"] = np.array([speaker for _, speaker, _ in parts], object)
    return Table(columns, types)  # type: ignore[arg-type]


def _powers(rate_hz: int, samples: NDArray[np.int16]) -> NDArray[np.float64]:
    """(NUM_BANDS, NUM_TIMES)"""
    power = spectrogram(samples / 32768, rate_hz, nperseg=256, noverlap=192)[2]  # (129, times)
    bands = np.array([2 + place * (len(power) - 2) // NUM_BANDS for place in range(NUM_BANDS + 1)])
    times = np.linspace(0, power.shape[1], NUM_TIMES + 1).round().astype(int)
    return np.array([
        [np.log10(power[low:high, begin : max(end, begin + 1)].mean() + 1e-10) for begin, end in pairwise(times)]
        for low, high in pairwise(bands)
    ])  # fmt: skip


def study_of(table: Table, target: str, drop: tuple[str, ...], settings: tuple[str, ...]) -> Study:
    return make_study(table.take(np.arange(500)), StudyRequest("study", target, drop), read_settings(None, settings))
