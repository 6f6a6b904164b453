"""Does the stated interval of an operating point hold the rate of new rows, 95 times in 100?

A model is shipped once for each table. Then, 200 times for each rule: rows that set the threshold and rows that measure
it are drawn from rows that the model has not seen, the operating point is measured as `ship` does it, and its intervals
are held against the rates of all unseen rows at that threshold.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from first_hour_tables import shared_folder
from result import claim
from sklearn.datasets import load_digits

import deepseek as ds
from deepseek.contracts import Float64
from deepseek.engines.decide import Decision
from deepseek.operating_point import OperatingPoint
from deepseek.train.tabular.decide import choose_threshold
from deepseek.train.tabular.operating_point import DecisionRule, measure_operating_point

NUM_RESAMPLES = 200
NUM_SET, NUM_MEASURED = 3_000, 1_500  # rows that set the threshold, and that measure it
RULES: dict[str, dict[str, float]] = {
    "no limit": {}, "false-positive rate <= 0.01": {"max_fpr": 0.01}, "recall >= 0.9": {"min_recall": 0.9},
}  # fmt: skip
RATES = ("recall", "false_positive_rate", "precision", "alert_share")


@dataclass(frozen=True, slots=True)
class Unseen:
    """Rows that a model has not seen: their classes (N,), 1 the positive one, and its outputs (N, 2)."""

    name: str
    target: np.ndarray[Any, Any]
    output: Float64


def measure(quick: bool) -> tuple[list[dict[str, Any]], list[str]]:
    """One claim for each rate: the share of resamples whose interval holds the rate of all rows."""
    held: dict[str, list[bool]] = defaultdict(list)
    for unseen in _unseen_rows(num_rows=20_000 if quick else 60_000):
        for rule, limits in RULES.items():
            for rate, holds in _resample(unseen, rule, limits).items():
                held[rate] += holds
                print(f"{unseen.name:<24}{rule:<30}{rate:<22}{np.mean(holds):.3f}", flush=True)
    note = f"{NUM_RESAMPLES} resamples of {NUM_MEASURED:,} rows for each of 3 tables and {len(RULES)} rules"
    claims = [
        claim(f"first_hour_{rate}_in_interval", ours=float(np.mean(holds)), unit="share", op=">=", bar=0.95, note=note)
        for rate, holds in held.items()
    ]
    return claims, []


def _resample(unseen: Unseen, rule: str, limits: dict[str, float]) -> dict[str, list[bool]]:
    """Of each rate and each resample whether its interval holds the rate of all rows."""
    rng, held = np.random.default_rng(0), defaultdict(list)
    ones = np.ones(len(unseen.target))
    for _ in range(NUM_RESAMPLES):
        to_set, to_measure = (rng.integers(0, len(unseen.target), num) for num in (NUM_SET, NUM_MEASURED))
        chosen = choose_threshold(unseen.target[to_set], unseen.output[to_set, 1], ones[to_set], **limits)
        decided = Decision("binary", ("no", "yes"), threshold=chosen.value).classes(unseen.output.astype(np.float32))
        decision = DecisionRule("yes", chosen.value, rule, **limits)
        point = measure_operating_point(unseen.target[to_measure], decided[to_measure], ones[to_measure], decision)
        truth = measure_operating_point(unseen.target, decided, ones, decision)
        for rate in RATES:
            held[rate].append(_holds(point, truth, rate))
    return held


def _holds(point: OperatingPoint, truth: OperatingPoint, rate: str) -> bool:
    """Whether the interval holds the true rate; a rate that was not measured promises nothing."""
    measured, true = getattr(point, rate), getattr(truth, rate)
    return measured is None or true is None or measured.low <= true.value <= measured.high


def _unseen_rows(num_rows: int) -> Iterator[Unseen]:
    payments = [_month(month) for month in ("04", "05")]
    yield _ship("payments", payments[0].iloc[::8], payments[1].iloc[:num_rows], "fraud")
    engines = pd.read_parquet(shared_folder() / "cmapss-fd001/train_FD001.parquet")
    life = engines.groupby("unit")["cycle"].transform("max") - engines["cycle"]
    engines = engines.assign(ends=life < 30)
    yield _ship("turbofans", engines[engines["unit"] <= 20], engines[engines["unit"] > 20], "ends")
    digits = load_digits(as_frame=True).frame
    digits = digits.assign(target=digits["target"] >= 5)
    yield _ship("digits", digits[:600], digits[600:], "target")


def _month(month: str) -> pd.DataFrame:
    rows = pd.read_parquet(shared_folder() / f"fraud-handbook/transactions-2018-{month}.parquet")
    rows = rows.drop(columns=["TX_FRAUD_SCENARIO", "TRANSACTION_ID", "CUSTOMER_ID", "TERMINAL_ID"])
    return rows.rename(columns={"TX_FRAUD": "fraud"})


def _ship(name: str, train: pd.DataFrame, unseen: pd.DataFrame, target: str) -> Unseen:
    """A model of the first rows, and its outputs for the others."""
    with tempfile.TemporaryDirectory() as scratch:
        shipped = ds.ship(train, target=target, out=Path(scratch) / "model", trials=2, seed=0)
        with ds.load(shipped.path) as model:
            output = model.predict(unseen.drop(columns=target)).probabilities
    return Unseen(name, unseen[target].to_numpy().astype(np.int64), output.astype(np.float64))
