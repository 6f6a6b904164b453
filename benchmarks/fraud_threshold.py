"""A threshold for 0.02 % false alarms, on weeks that did not set it: of the model that set it, and of a refitted one.

    python benchmarks/fraud_threshold.py [--develop] [--weeks 2018-07-04,...] [--families xgboost,...] [--seed 0]

The handbook's transactions as in fraud_graph.py. Of each test week the two weeks that end 7 days before it set the
threshold by its bound (deepseek.recipes.fraud_decision), and the trees learn from the four weeks that end 7 days before
these. The rival learns from as many rows: from the last two of these four weeks, sets the threshold, then learns anew
from the rows that set it, too. It keeps the threshold of trees that it no longer has, as `ship` does, and its bound
says nothing of the new ones. `--develop`: weeks of July, which choices are made by; nothing is recorded.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass

import numpy as np
from fraud_graph import (
    DAY_S,
    DELAY_DAYS,
    DEVELOPMENT_WEEKS,
    TEST_WEEKS,
    Payments,
    fill_missing,
    first_day,
    load_payments,
)
from result import claim, finish, print_claims

from deepseek.recipes.fraud_decision import DecisionLimits, JudgedRows, choose_alarms
from deepseek.train.candidates import BUILT_IN, FitData
from deepseek.train.tabular.intervals import exact_interval

MAX_FPR = 0.0002
FAMILIES = ("xgboost",)  # random_forest, too, by --families: it takes ten times as long
NUM_TREES = 25  # of forests: a quarter of those of the search
TRAIN_DAYS, HELD_DAYS = 28, 14


@dataclass
class Counts:
    """Of all weeks of one way."""

    num_genuine: int = 0
    num_false: int = 0
    num_frauds: int = 0
    num_caught: int = 0

    def add(self, alert: np.ndarray, fraud: np.ndarray) -> None:
        self.num_genuine += int((~fraud).sum())
        self.num_false += int((alert & ~fraud).sum())
        self.num_frauds += int(fraud.sum())
        self.num_caught += int((alert & fraud).sum())

    @property
    def rate(self) -> float:
        return self.num_false / self.num_genuine

    @property
    def recall(self) -> float:
        return self.num_caught / self.num_frauds


def main() -> int:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--develop", action="store_true", help="weeks of July; nothing is recorded")
    parser.add_argument("--weeks", help="first days of test weeks; nothing is recorded")
    parser.add_argument("--families", default=",".join(FAMILIES))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    weeks = DEVELOPMENT_WEEKS if options.develop else TEST_WEEKS
    weeks = tuple(options.weeks.split(",")) if options.weeks else weeks
    payments = load_payments()
    features = fill_missing(payments.features)
    claims = []
    for family in options.families.split(","):
        kept, refitted = Counts(), Counts()
        for start in weeks:
            measure_week(payments, features, start, family, options.seed, kept, refitted)
        claims += make_claims(family, len(weeks), kept, refitted)
    if weeks == TEST_WEEKS and options.families == ",".join(FAMILIES):
        return finish("fraud_threshold", claims, not_run=[])
    print_claims(claims)
    return 0


def measure_week(
    payments: Payments, features: np.ndarray, start: str, family: str, seed: int, kept: Counts, refitted: Counts
) -> None:
    """Adds one test week to the counts of both ways."""
    day, last = payments.time // DAY_S, first_day(start)
    held_start = last - DELAY_DAYS - HELD_DAYS
    held, test = rows_of(day, held_start, last - DELAY_DAYS), rows_of(day, last, last + 7)
    end = held_start - DELAY_DAYS
    train, late = rows_of(day, end - TRAIN_DAYS, end), rows_of(day, end - TRAIN_DAYS + HELD_DAYS, end)
    candidate = next(each for each in BUILT_IN if each.name == family)
    fraud = payments.fraud[test] == 1
    ours = fit(candidate, payments, features, train, seed)
    threshold = set_threshold(payments, held, ours.margin(features[held])[:, 0])
    kept.add(ours.margin(features[test])[:, 0] >= threshold, fraud)
    before = fit(candidate, payments, features, late, seed)
    threshold = set_threshold(payments, held, before.margin(features[held])[:, 0])
    after = fit(candidate, payments, features, np.concatenate([late, held]), seed)
    refitted.add(after.margin(features[test])[:, 0] >= threshold, fraud)
    print(f"{family} {start}: {kept} {refitted}", flush=True)


def set_threshold(payments: Payments, held: np.ndarray, score: np.ndarray) -> float:
    """By its bound on the held rows."""
    ones = np.ones(len(held))
    rows = JudgedRows(score, payments.fraud[held] == 1, ones, payments.time[held] * 1_000, len(held) / HELD_DAYS)
    return choose_alarms(rows, DecisionLimits(MAX_FPR)).threshold.value


def fit(candidate: object, payments: Payments, features: np.ndarray, rows: np.ndarray, seed: int) -> object:
    """Trees with the family's defaults."""
    num_features = features.shape[1]
    data = FitData(
        features[rows], payments.fraud[rows], np.ones(len(rows)), "binary", 2,
        ("numeric",) * num_features, (0,) * num_features, (0,) * num_features,
    )  # fmt: skip
    params = candidate.defaults(data)
    params |= {"n_estimators": NUM_TREES} if "n_estimators" in params else {"rounds": 100}
    return candidate.fit(data, params, seed=seed)


def rows_of(day: np.ndarray, start: int, end: int) -> np.ndarray:
    """Places of the rows of the days from start to before end."""
    return np.flatnonzero((day >= start) & (day < end))


def make_claims(family: str, num_weeks: int, kept: Counts, refitted: Counts) -> list[dict[str, object]]:
    """The bars: the rate that was asked is kept; a refit is shown beside it."""
    low, high = exact_interval(kept.num_false, kept.num_genuine)
    note = f"{num_weeks} weeks, {kept.num_false} of {kept.num_genuine:,} genuine rows [{low:.2g}, {high:.2g}]"
    beside = f"{refitted.num_false} of {refitted.num_genuine:,} genuine rows"
    return [
        claim(
            f"{family}: false-positive rate", ours=kept.rate, rival=refitted.rate, rival_name="refitted", unit="",
            op="<=", bar=MAX_FPR, note=note,
        ),
        claim(
            f"{family}: recall at that threshold", ours=kept.recall, rival=refitted.recall, rival_name="refitted",
            unit="", note=beside,
        ),
    ]  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
