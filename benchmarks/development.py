"""Tables to choose settings by: none of them is in a contest whose figures are claimed.

    python benchmarks/development.py [--candidates mlp,xgboost] [--tables iris,p3ht] [--seeds 1,2]

Prints the loss of candidates with their defaults on held rows, as the search judges them: log loss at the trial's own
temperature, or root mean squared error as a share of the target's spread; a row a table, the geometric mean at the end.
Five folds for each seed. xgboost stops early on a fold's held rows, but every fold is judged at the mean of the folds'
rounds, as a refit would grow, so that its loss compares with those of families that never saw them. What a change of a
default, of the blend or of the calibration is worth is measured here; `ship_quality.py` and `ship_fraud.py` then say
what came of it.
"""

from __future__ import annotations

import argparse
import io
import sys
import wave
import zipfile
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from fraud_features import data_folder
from sklearn import datasets
from sklearn.model_selection import KFold, StratifiedKFold

from deepseek.automl.search import Budget, Search
from deepseek.data import encode_target, find_kinds, fit_preprocessor, infer_task, read_table
from deepseek.train.candidates import BUILT_IN, Candidate, FitData
from deepseek.train.tabular.metrics import METRICS

TARGET = "target"


@dataclass(frozen=True)
class Development:
    """A table with its target in the column TARGET."""

    name: str
    task: str  # binary, multiclass or regression
    load: Callable[[], pd.DataFrame]

    def fit_data(self) -> FitData:
        """All rows prepared as `ship` prepares them."""
        table = read_table(self.load())
        info = infer_task(table, TARGET, task=self.task)  # type: ignore[arg-type]
        prepared = fit_preprocessor(table, find_kinds(table, target=TARGET), target=TARGET)
        features = prepared.features
        return FitData(
            features=prepared.table(table).features,
            target=encode_target(table, TARGET, info.labels),
            weight=np.ones(table.num_rows),
            task=info.task,
            num_classes=len(info.labels),
            kinds=tuple(f.kind for f in features),
            num_levels=tuple(f.num_levels for f in features),
            monotone=(0,) * len(features),
        )


def _iris() -> pd.DataFrame:
    frame = datasets.load_iris(as_frame=True).frame
    frame[TARGET] = frame[TARGET].astype(str)
    return frame


def _olympus(name: str) -> Callable[[], pd.DataFrame]:
    """A table of measured processes: its last column is what was measured."""

    def load() -> pd.DataFrame:
        frame = pd.read_csv(data_folder() / "olympus-process" / f"{name}.csv")
        return frame.rename(columns={frame.columns[-1]: TARGET})

    return load


def _thirds(name: str) -> Callable[[], pd.DataFrame]:
    """The same with low, middle and high instead of the value."""

    def load() -> pd.DataFrame:
        frame = _olympus(name)()
        frame[TARGET] = pd.qcut(frame[TARGET], 3, labels=["low", "middle", "high"]).astype(str)
        return frame

    return load


def _pneumonia(num_rows: int) -> Callable[[], pd.DataFrame]:
    """Chest X-rays as means of 4 x 4 pixels: 49 numbers."""

    def load() -> pd.DataFrame:
        with np.load(data_folder() / "pneumoniamnist" / "pneumoniamnist.npz") as file:
            images, labels = file["train_images"], file["train_labels"][:, 0]
        pick = np.random.default_rng(0).permutation(len(images))[:num_rows]
        cells = images[pick].reshape(num_rows, 7, 4, 7, 4).mean(axis=(2, 4)).reshape(num_rows, 49)
        frame = pd.DataFrame(cells, columns=[f"cell_{index}" for index in range(49)])
        return frame.assign(**{TARGET: np.where(labels[pick] == 1, "pneumonia", "normal")})

    return load


def _spoken(num_rows: int) -> Callable[[], pd.DataFrame]:
    """Spoken digits as log energies: 8 bands in each of 5 fifths of the recording."""

    def load() -> pd.DataFrame:
        folder = data_folder() / "fsdd"
        index = pd.read_csv(folder / "index.csv").sample(num_rows, random_state=0)
        rows = []
        with zipfile.ZipFile(folder / "recordings.zip") as archive:
            for name in index["file"]:
                with wave.open(io.BytesIO(archive.read(name))) as sound:
                    signal = np.frombuffer(sound.readframes(sound.getnframes()), np.int16).astype(float)
                fifths = np.array_split(signal, 5)
                energies = [[np.mean(band) for band in np.array_split(np.abs(np.fft.rfft(x)), 8)] for x in fifths]
                rows.append(np.log1p(np.ravel(energies)))
        frame = pd.DataFrame(np.array(rows), columns=[f"band_{number}" for number in range(40)])
        return frame.assign(**{TARGET: index["digit"].astype(str).to_numpy()})

    return load


def _engines(num_rows: int, *, late: bool) -> Callable[[], pd.DataFrame]:
    """Turbofan engines: the remaining life in cycles, capped at 125, or whether it is 30 or less."""

    def load() -> pd.DataFrame:
        frame = pd.read_parquet(data_folder() / "cmapss-fd001" / "train_FD001.parquet")
        life = (frame.groupby("unit")["cycle"].transform("max") - frame["cycle"]).clip(upper=125)
        frame = frame.drop(columns=["unit", "cycle"]).assign(**{TARGET: life.astype(float)})
        if late:
            frame[TARGET] = np.where(frame[TARGET] <= 30, "late", "not yet")
        return frame.sample(num_rows, random_state=0)

    return load


def _friedman() -> pd.DataFrame:
    """Friedman (1991), equation 1 of scikit-learn's make_friedman1, 500 rows."""
    features, target = datasets.make_friedman1(500, noise=1.0, random_state=0)
    return pd.DataFrame(features, columns=[f"x{index}" for index in range(10)]).assign(**{TARGET: target})


TABLES = {
    each.name: each
    for each in (
        Development("iris", "multiclass", _iris),
        Development("suzuki_thirds", "multiclass", _thirds("suzuki")),
        Development("p3ht_thirds", "multiclass", _thirds("p3ht")),
        Development("spoken_500", "multiclass", _spoken(500)),
        Development("spoken_1500", "multiclass", _spoken(1500)),
        Development("pneumonia_200", "binary", _pneumonia(200)),
        Development("pneumonia_800", "binary", _pneumonia(800)),
        Development("engines_late", "binary", _engines(1000, late=True)),
        Development("engines_life", "regression", _engines(1000, late=False)),
        Development("friedman", "regression", _friedman),
        Development("crossed_barrel", "regression", _olympus("crossed_barrel")),
        Development("photo_wf3", "regression", _olympus("photo_wf3")),
        Development("hplc", "regression", _olympus("hplc")),
        Development("colors_bob", "regression", _olympus("colors_bob")),
        Development("agnp", "regression", _olympus("agnp")),
    )
}


def fold_loss(candidate: Candidate, data: FitData, seed: int) -> tuple[float, float]:
    """The loss on five held folds, and the CPU seconds of a fit."""
    kind = KFold if data.task == "regression" else StratifiedKFold
    folds = list(kind(5, shuffle=True, random_state=seed).split(data.features, data.target))
    metric = METRICS[data.task]["rmse" if data.task == "regression" else "log_loss"]
    alone = Search(data, folds, metric, seed, (candidate,))
    (trial,) = alone.run(Budget(None), num_trials=1, reserve=lambda _: 0, progress=lambda _: None)
    spread = float(data.target.std()) if data.task == "regression" else 1.0
    return trial.loss / spread, trial.fit_s


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--candidates", default=",".join(each.name for each in BUILT_IN))
    parser.add_argument("--tables", default=",".join(TABLES))
    parser.add_argument("--seeds", default="1")
    options = parser.parse_args()
    wanted = [each for each in BUILT_IN if each.name in options.candidates.split(",")]
    print(f"{'table':<16}" + "".join(f"{each.name[:15]:>22}" for each in wanted))
    losses: list[list[float]] = []
    for name in options.tables.split(","):
        data = TABLES[name].fit_data()
        row = f"{name:<16}"
        losses.append([])
        for each in wanted:
            fold_losses = [fold_loss(each, data, int(seed)) for seed in options.seeds.split(",")]
            loss, cpu_s = np.mean(fold_losses, axis=0)
            losses[-1].append(loss)
            row += f"{loss:>14.4f} {cpu_s:>5.2f} s"
        print(row, flush=True)
    means = np.exp(np.log(losses).mean(axis=0))
    print(f"{'geometric mean':<16}" + "".join(f"{mean:>14.4f}{'':>8}" for mean in means))
    return 0


if __name__ == "__main__":
    sys.exit(main())
