"""Chances of each class for each row, from models that were not fitted on it: `ship`'s own preparation and search.

Twice: in the second pass rows that look wrong after the first weigh less, so that wrong labels teach less.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deepseek.automl.blend import FLOORS
from deepseek.automl.develop import select_blend
from deepseek.automl.search import Budget, Search, choose_candidates
from deepseek.contracts import Float64, Task
from deepseek.data import Table, encode_target, fit_preprocessor, make_folds
from deepseek.train.candidates import FitData
from deepseek.train.tabular.calibrate import fit_calibration
from deepseek.train.tabular.metrics import default_metric, find_metric

NUM_FOLDS = 5
NUM_TRIALS = 3  # families with their defaults, the cheapest first
NUM_PASSES = 2  # in the second, rows that look wrong after the first teach little
LEAST_WEIGHT = 0.02


@dataclass(frozen=True, slots=True)
class OutOfFold:
    """N rows that a model could be fitted for."""

    rows: NDArray[np.int64]  # (N,) of the table; rows of classes with fewer than NUM_FOLDS rows are left out
    codes: NDArray[np.int64]  # (N,) the classes that the table says
    probabilities: Float64  # (N, C) calibrated
    labels: tuple[str, ...]  # (C,)
    num_left_out: int


def score_out_of_fold(
    table: Table, target: str, labels: tuple[str, ...], kinds: Mapping[str, str], seed: int
) -> OutOfFold | None:
    """None where fewer than two classes have NUM_FOLDS rows."""
    all_codes = encode_target(table, target, labels)
    counts = np.bincount(all_codes, minlength=len(labels))
    common = [label for label, count in zip(labels, counts, strict=True) if count >= NUM_FOLDS]
    if len(common) < 2:
        return None
    kept = np.flatnonzero(counts[all_codes] >= NUM_FOLDS)
    part = table.take(kept)
    codes = encode_target(part, target, common)
    task: Task = "binary" if len(common) == 2 else "multiclass"
    preprocessor = fit_preprocessor(part, kinds, target=target)
    features = preprocessor.features
    data = FitData(
        preprocessor.table(part).features, codes, np.ones(len(codes)), task, len(common),
        tuple(feature.kind for feature in features), tuple(feature.num_levels for feature in features),
        (0,) * len(features),
    )  # fmt: skip
    folds = make_folds(part, target=target, task=task, num_folds=NUM_FOLDS, seed=seed)
    probabilities = _score_folds(data, folds, seed)
    for _ in range(NUM_PASSES - 1):
        probabilities = _score_folds(replace(data, weight=_doubts(probabilities, codes)), folds, seed)
    return OutOfFold(kept, codes, probabilities, tuple(common), len(all_codes) - len(kept))


def _score_folds(data: FitData, folds: list[tuple[NDArray[np.int64], NDArray[np.int64]]], seed: int) -> Float64:
    """(N, C) calibrated."""
    metric = find_metric(data.task, default_metric(data.task, data.target))
    search = Search(data, folds, metric, seed, choose_candidates(None)[0])
    trials = search.run(Budget(None), num_trials=NUM_TRIALS, reserve=lambda _: 0.0, progress=lambda _: None)
    held_out = data.rows(search.held_out)
    blend = select_blend(trials, held_out, metric, "log-odds", seed)
    margin = blend.held_out_log_odds(FLOORS[1])
    calibrated = fit_calibration(margin, held_out.target, held_out.weight, seed=seed).apply(margin)
    probabilities = np.empty((len(data.target), data.num_classes))
    probabilities[search.held_out] = calibrated
    return probabilities


def _doubts(probabilities: Float64, codes: NDArray[np.int64]) -> Float64:
    """(N,) of mean 1: what a row counts in the next pass, by the chance of its label against the next best class."""
    rows = np.arange(len(codes))
    own, others = probabilities[rows, codes], probabilities.copy()
    others[rows, codes] = 0.0
    weights = np.maximum(own / np.maximum(own + others.max(axis=1), 1e-12), LEAST_WEIGHT)
    return np.asarray(weights / weights.mean())
