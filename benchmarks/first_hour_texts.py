"""Texts in a table: `ship --budget 60s` against the plain way, TF-IDF with logistic regression of scikit-learn.

Four public sets with test rows of their own: 77 intents of a bank, 150 of an assistant (in scope), sentiment of film
reviews, and Chinese question pairs. The rival is TfidfVectorizer and LogisticRegression with their defaults, on words
and on runs of characters (char_wb, 2 to 4); of the two the one that is better on the test rows stands for it. Settings
of ours were chosen on parts of the training rows and on the sets' own development rows (docs/log.md), never on these.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from first_hour_run import ship
from fraud_features import data_folder
from result import claim
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

BUDGET_S = 60
MIN_GAIN = 0.01  # of the mean accuracy
RIVALS: dict[str, dict[str, Any]] = {
    "words": {},
    "characters": {"analyzer": "char_wb", "ngram_range": (2, 4)},
}


@dataclass(frozen=True)
class TextSet:
    """Training and test rows, with the columns of texts and the target."""

    train: pd.DataFrame
    test: pd.DataFrame
    texts: tuple[str, ...]
    target: str


def read_banking77(folder: Path) -> TextSet:
    train, test = (pd.read_csv(folder / "banking77" / f"{part}.csv") for part in ("train", "test"))
    return TextSet(train, test, ("text",), "category")


def read_clinc150(folder: Path) -> TextSet:
    frame = pd.read_parquet(folder / "clinc150" / "clinc150_full.parquet")
    frame = frame[frame["intent"] != "oos"]
    train, test = (frame[frame["split"] == part][["text", "intent"]] for part in ("train", "test"))
    return TextSet(train, test, ("text",), "intent")


def read_sst2(folder: Path) -> TextSet:
    frame = pd.read_parquet(folder / "sst2" / "sst2.parquet")
    train, test = (frame[frame["split"] == part][["text", "label"]] for part in ("train", "test"))
    return TextSet(train, test, ("text",), "label")


def read_question_pairs(folder: Path) -> TextSet:
    train, test = (pd.read_parquet(folder / "zh-question-matching" / f"bq_{part}.parquet") for part in ("dev", "test"))
    return TextSet(train, test, ("sentence1", "sentence2"), "label")


SETS: dict[str, Callable[[Path], TextSet]] = {
    "sst2": read_sst2, "bq": read_question_pairs, "banking77": read_banking77, "clinc150": read_clinc150,
}  # fmt: skip
QUICK = ("sst2", "bq")


def rival_accuracy(data: TextSet, settings: dict[str, Any]) -> tuple[float, float]:
    """Accuracy on the test rows of a vectorizer for each column and one regression, and the CPU seconds of both."""
    start_s = time.process_time()
    columns = [(name, TfidfVectorizer(**settings), name) for name in data.texts]
    model = make_pipeline(ColumnTransformer(columns), LogisticRegression())
    model.fit(data.train, data.train[data.target])
    accuracy = float(model.score(data.test, data.test[data.target]))
    return accuracy, time.process_time() - start_s


def our_run(data: TextSet, scratch: Path) -> dict[str, Any]:
    """What ship says of the same rows."""
    files = []
    for name, rows in (("train", data.train), ("test", data.test)):
        rows.to_parquet(scratch / f"{name}.parquet", index=False)
        files.append(str(scratch / f"{name}.parquet"))
    words = [files[0], "--test", files[1], "--target", data.target, "--budget", f"{BUDGET_S}s"]
    return ship(words, scratch / "bundle")


def measure(quick: bool) -> tuple[list[dict[str, Any]], list[str]]:
    """The claims, and what was not run."""
    names = QUICK if quick else tuple(SETS)
    claims = list(_measure_sets(names))
    gain = sum(each["ours"] - each["rival"] for each in claims) / len(claims)
    note = f"mean of {len(claims)} sets, the better rival of each"
    claims.append(claim("texts_mean_gain", ours=gain, unit="accuracy", op=">=", bar=MIN_GAIN, note=note))
    return claims, [f"data set {name}" for name in SETS if name not in names]


def _measure_sets(names: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    for name in names:
        try:
            data = SETS[name](data_folder())
        except OSError as error:
            sys.exit(f"{error}: set DEEPSEEK_DATA to the folder of public data sets")
        with tempfile.TemporaryDirectory() as scratch:
            ours = our_run(data, Path(scratch))
        rivals = {label: rival_accuracy(data, settings) for label, settings in RIVALS.items()}
        best = max(rivals, key=lambda label: rivals[label][0])
        accuracy = ours["metrics"]["accuracy"]["value"]
        took = ", ".join(f"{label} {value:.4f} in {seconds:.0f} CPU s" for label, (value, seconds) in rivals.items())
        note = f"{len(data.test):,} test rows; {ours['model']} in {ours['cpu_s']:.0f} CPU s; {took}"
        print(f"{name}: {accuracy:.4f}; {note}", flush=True)
        yield claim(
            f"texts_{name}", ours=accuracy, rival=rivals[best][0], rival_name=f"TF-IDF of {best}, LogisticRegression",
            ratio=accuracy / rivals[best][0], unit="accuracy", op=">=", bar=1.0, note=note,
        )  # fmt: skip
