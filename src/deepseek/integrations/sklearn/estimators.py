"""`ship` as estimators of scikit-learn: pipelines, cross-validation, searches and pickles take them.

    model = AutoClassifier(budget_s=60).fit(X, y)
    model.predict_proba(X_new)                      # (N, C) in the order of model.classes_
    model.bundle_.path                              # the bundle, with its evidence: serve, explain, verify it

Main path of fit(): X and y checked -> one Table with its target -> ship -> the bundle.
What a fit costs is set by `budget_s` (CPU seconds), or by `trials`, which also makes it the same on every machine.
"""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from deepseek.automl.options import ShipOptions
from deepseek.automl.ship import ship_with
from deepseek.automl.shipped import ShipResult
from deepseek.automl.split_data import ALLOW_ALL
from deepseek.contracts import Float32, Task
from deepseek.data import Table
from deepseek.data.table.values import level_name
from deepseek.integrations.sklearn.errors import EstimatorInputError, value_errors
from deepseek.integrations.sklearn.estimator_bundle import EstimatorBundle
from deepseek.integrations.sklearn.tables import (
    check_weights,
    class_names,
    free_name,
    numeric_kinds,
    read_rows,
    read_training_rows,
)

TARGET, WEIGHTS = "target", "sample_weight"  # names of the columns that fit() adds
_NOT_EQUIVALENT = (
    "a row of weight 2 lies on one side of every split into rows to fit on and rows to judge by; two rows of weight 1 "
    "may lie on both, so the folds, the early stopping and the calibration differ"
)
#: For sklearn.utils.estimator_checks.check_estimator(..., expected_failed_checks=...): what cannot hold, and why.
EXPECTED_FAILED_CHECKS: Mapping[str, str] = {
    "check_sample_weight_equivalence_on_dense_data": _NOT_EQUIVALENT,
    "check_sample_weight_equivalence_on_sparse_data": _NOT_EQUIVALENT,
}


class ShipWarning(UserWarning):
    """What `ship` says of the rows, the columns and the figures of a fit; the same texts are in `warnings_`."""


class _ShipEstimator(BaseEstimator):
    """What both estimators share. A subclass names its parameters in __init__, as scikit-learn asks."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = True
        return tags

    def _fit(
        self, X: Any, table: Table, target: NDArray[Any], sample_weight: Any, *, task: Task, **options: Any
    ) -> Self:
        """Ship the rows of `table` with `target` (N,): texts for classes, float64 for regression."""
        weight = check_weights(sample_weight, table.num_rows)
        if weight is not None and not weight.all():  # a row of weight 0 is not there
            table, target, weight = table.take(weight > 0), target[weight > 0], weight[weight > 0]
        kinds = {**numeric_kinds(X, table), **(self.kinds or {})}
        target_name = free_name(TARGET, table)
        is_text = target.dtype == object
        table = _with_column(table, target_name, target, "text" if is_text else "number")
        weights_name = None if weight is None else free_name(WEIGHTS, table)
        if weight is not None:
            table = _with_column(table, str(weights_name), weight, "number")
        if self.leaks not in ("warn", "fail"):
            raise EstimatorInputError(f"leaks is {self.leaks!r}", expected="warn or fail", fix="choose one of them")
        with value_errors():
            shipped = self._ship(table, target=target_name, weights=weights_name, task=task, kinds=kinds, **options)
        self.metrics_, self.baseline_, self.warnings_ = shipped.metrics, shipped.baseline, shipped.warnings
        for text in shipped.warnings:
            warnings.warn(text, ShipWarning, stacklevel=3)
        return self

    def _ship(self, table: Table, **options: Any) -> ShipResult:
        """Write the bundle to the folder of the user's, or to one that goes with the estimator."""
        scratch = None if self.bundle is not None else Path(tempfile.mkdtemp(prefix="deepseek-estimator-"))
        out = Path(self.bundle) if scratch is None else scratch / "estimator"
        try:
            shipped = ship_with(
                table,
                ShipOptions(
                    out=out, overwrite=True, seed=_seed(self.random_state), split=self.split, budget_s=self.budget_s,
                    trials=self.trials, candidates=self.candidates, metric=self.metric, monotone=self.monotone,
                    missing=tuple(self.missing), allow=(ALLOW_ALL,) if self.leaks == "warn" else (), **options,
                ),
            )  # fmt: skip
        except BaseException:
            if scratch is not None:
                shutil.rmtree(scratch, ignore_errors=True)
            raise
        self.bundle_ = EstimatorBundle(out.resolve(), shipped.digest, scratch=scratch)
        return shipped

    def _outputs(self, X: Any) -> Float32:
        """Outputs (N, C) or (N, 1) of the bundle, within what its decision allows."""
        check_is_fitted(self)
        table = read_rows(self, X)
        with value_errors():
            return self.bundle_.runtime.outputs(table)


class AutoClassifier(ClassifierMixin, _ShipEstimator):
    """Searches, blends and calibrates a classifier with `ship`, and answers from the bundle that it wrote.

    Parameters mean what they mean to `ship`: budget_s (CPU seconds) or trials, candidates, metric, kinds and monotone
    (by column), missing (texts that say "not known"), split (random, time:COLUMN, group:COLUMN), costs
    (costs[truth][decision]), max_fpr, min_recall and positive (the class of two that they speak of). `leaks`: whether
    a column that gives the target away is a warning or an error. `bundle`: the folder to write to, which a later fit
    replaces; None: one that goes with the estimator. `random_state`: None draws a seed.

    After fit(): classes_, n_features_in_, feature_names_in_ (of frames), bundle_, metrics_ and baseline_ (figures with
    intervals on rows that were held back), warnings_.
    """

    def __init__(
        self, *, budget_s: float = 120.0, trials: int | None = None, candidates: Sequence[str] | None = None,
        metric: str | None = None, kinds: Mapping[str, str] | None = None, monotone: Mapping[str, int] | None = None,
        missing: Sequence[str] = (), split: str = "random", costs: Any = None, max_fpr: float | None = None,
        min_recall: float | None = None, positive: Any = None, leaks: str = "warn", bundle: str | Path | None = None,
        random_state: Any = 0,
    ) -> None:  # fmt: skip
        self.budget_s = budget_s
        self.trials = trials
        self.candidates = candidates
        self.metric = metric
        self.kinds = kinds
        self.monotone = monotone
        self.missing = missing
        self.split = split
        self.costs = costs
        self.max_fpr = max_fpr
        self.min_recall = min_recall
        self.positive = positive
        self.leaks = leaks
        self.bundle = bundle
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit to N rows X (an array, a sparse matrix, a frame) with classes y (N,) and weights (N,). ValueError for
        what cannot be used; CheckError where a stated limit is not met."""
        table, y = read_training_rows(self, X, y, is_numeric=False)
        check_classification_targets(y)
        weight = check_weights(sample_weight, len(y))
        self.classes_, codes = np.unique(y if weight is None else y[weight > 0], return_inverse=True)
        names = class_names(self.classes_)
        if len(names) < 2:
            raise EstimatorInputError(
                f"y has one class only: {names[0]!r}", expected="rows of at least two classes of a weight above 0",
                fix="bring rows of another class",
            )  # fmt: skip
        target = np.empty(len(y), object)
        target[:] = names[0]  # of rows of weight 0, which are left out
        target[slice(None) if weight is None else weight > 0] = np.array(names, object)[codes]
        return self._fit(
            X, table, target, sample_weight, task="binary" if len(names) == 2 else "multiclass", costs=self.costs,
            max_fpr=self.max_fpr, min_recall=self.min_recall,
            positive=None if self.positive is None else level_name(self.positive),
        )  # fmt: skip

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Calibrated probabilities (N, C) in the order of classes_."""
        return self._outputs(X)[:, self._label_places()].astype(np.float64)

    def predict(self, X: Any) -> NDArray[Any]:
        """Classes (N,): by the threshold or the costs that were asked for, else the most probable."""
        output = self._outputs(X)
        place_of_label = np.argsort(self._label_places())
        return self.classes_[place_of_label[self.bundle_.runtime.decision.classes(output)]]

    def _label_places(self) -> NDArray[np.int64]:
        """For each class, its place among the bundle's labels (C,)."""
        labels = self.bundle_.runtime.labels
        return np.array([labels.index(name) for name in class_names(self.classes_)], np.int64)


class AutoRegressor(RegressorMixin, _ShipEstimator):
    """Searches and blends a regression with `ship`, and answers from the bundle that it wrote.

    Parameters and attributes as of AutoClassifier, where they speak of values; `interval`: the share of values that
    intervals should hold, 0..1.
    """

    def __init__(
        self, *, budget_s: float = 120.0, trials: int | None = None, candidates: Sequence[str] | None = None,
        metric: str | None = None, kinds: Mapping[str, str] | None = None, monotone: Mapping[str, int] | None = None,
        missing: Sequence[str] = (), split: str = "random", interval: float = 0.9, leaks: str = "warn",
        bundle: str | Path | None = None, random_state: Any = 0,
    ) -> None:  # fmt: skip
        self.budget_s = budget_s
        self.trials = trials
        self.candidates = candidates
        self.metric = metric
        self.kinds = kinds
        self.monotone = monotone
        self.missing = missing
        self.split = split
        self.interval = interval
        self.leaks = leaks
        self.bundle = bundle
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit to N rows X (an array, a sparse matrix, a frame) with values y (N,) and weights (N,). ValueError for what
        cannot be used."""
        table, y = read_training_rows(self, X, y, is_numeric=True)
        values = np.asarray(y, np.float64)
        return self._fit(X, table, values, sample_weight, task="regression", interval=self.interval)

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Values (N,)."""
        return self._outputs(X)[:, 0].astype(np.float64)

    def predict_interval(self, X: Any) -> NDArray[np.float64]:
        """Values (N, 2) between which the target lies in the share `interval` of rows."""
        runtime = self.bundle_.runtime if hasattr(self, "bundle_") else None
        output = self._outputs(X)
        intervals = None if runtime is None else runtime.decision.apply(output).intervals
        return np.asarray(intervals, np.float64)


def _with_column(table: Table, name: str, values: NDArray[Any], kind: Any) -> Table:
    return replace(table, columns={**table.columns, name: values}, types={**table.types, name: kind})


def _seed(random_state: Any) -> int:
    """A seed of `ship`: a whole number as it is, else one that is drawn."""
    if isinstance(random_state, (int, np.integer)) and 0 <= random_state < 2**31:
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))
