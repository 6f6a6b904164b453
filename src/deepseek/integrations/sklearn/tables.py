"""X as scikit-learn passes it, checked by its own rules -> a Table.

    table = read_rows(estimator, X, reset=False)       # an array, a sparse matrix, a pandas or polars frame
    numeric_kinds(X, table)                            # {"x0": "numeric", ...} for arrays; {} for frames

Columns of an array are x0, x1, ... and are numbers, whatever their values; those of a frame keep their names, and
`ship` finds their kinds. scikit-learn checks shapes, names of columns and infinite values.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_X_y, validate_data

from deepseek.data import Table, read_table
from deepseek.data.features.prepare import MAX_FEATURES
from deepseek.data.table.values import level_name
from deepseek.integrations.sklearn.errors import EstimatorInputError, value_errors


def is_frame(X: Any) -> bool:
    """Whether X has named columns of several types: a frame of pandas or polars."""
    return type(X).__module__.partition(".")[0] in ("pandas", "polars") and hasattr(X, "columns")


def read_rows(estimator: Any, X: Any) -> Table:
    """The rows X of a fitted estimator. ValueError for rows that differ in shape or names from those it was fitted on,
    and for infinite values."""
    if is_frame(X):
        return _read_frame(validate_data(estimator, X, reset=False, skip_check_array=True))
    return _read_array(validate_data(estimator, X, reset=False, **_ARRAY_CHECKS))


def read_training_rows(estimator: Any, X: Any, y: Any, *, is_numeric: bool) -> tuple[Table, NDArray[Any]]:
    """The rows X with their targets y (N,): numbers where `is_numeric`. Sets n_features_in_ and feature_names_in_.
    ValueError in scikit-learn's words for what no estimator takes."""
    if is_frame(X):
        validate_data(estimator, X, y, skip_check_array=True)
        # the same checks of y as for arrays, beside a column that is always in order
        _, y = check_X_y(np.zeros((len(X), 1)), y, y_numeric=is_numeric, ensure_min_samples=2, estimator=estimator)
        return _read_frame(X), y
    array, y = validate_data(estimator, X, y, y_numeric=is_numeric, ensure_min_samples=2, **_ARRAY_CHECKS)
    return _read_array(array), y


def read_any_rows(X: Any) -> Table:
    """Rows for an estimator of others: what it does not take it says itself when it is asked."""
    if is_frame(X):
        return _read_frame(X)
    array = X if hasattr(X, "toarray") else np.asarray(X)
    if array.ndim != 2 or not array.shape[0]:
        raise EstimatorInputError(f"X has the shape {array.shape}", expected="rows (N, F)", fix="pass a matrix of rows")
    if array.dtype.kind not in "biuf":
        raise EstimatorInputError(
            f"X is an array of {array.dtype}", expected="numbers, or a frame with named columns", fix="pass a DataFrame"
        )
    return _read_array(array)


def numeric_kinds(X: Any, table: Table) -> dict[str, str]:
    """The kinds of the columns that are sure: an array holds numbers alone."""
    return {} if is_frame(X) else dict.fromkeys(table.names, "numeric")


def check_weights(sample_weight: Any, num_rows: int) -> NDArray[np.float64] | None:
    """Weights (N,), or None where all are equal. ValueError for any that are no weights."""
    if sample_weight is None:
        return None
    weight = np.asarray(sample_weight, np.float64)
    if weight.ndim == 0:
        return None
    if weight.shape != (num_rows,):
        raise EstimatorInputError(
            f"sample_weight has the shape {weight.shape}",
            expected=f"({num_rows},), one weight for each row", fix="give one weight for each row",
        )  # fmt: skip
    if not np.isfinite(weight).all() or (weight < 0).any() or not weight.any():
        raise EstimatorInputError(
            "the sample weights are negative, infinite, NaN or all zero",
            expected="finite weights of 0 or more, not all zero", fix="mend sample_weight",
        )  # fmt: skip
    return None if (weight == weight[0]).all() else weight


def class_names(classes: NDArray[Any]) -> tuple[str, ...]:
    """The classes as a bundle names them. ValueError where two of them have one name, as 1 and "1"."""
    names = tuple(str(level_name(value)) for value in classes.tolist())
    if len(set(names)) < len(names):
        raise EstimatorInputError(
            f"two of the classes are written the same: {', '.join(names[:20])}",
            expected="classes with names of their own", fix="rename one of them",
        )  # fmt: skip
    return names


def free_name(wanted: str, table: Table) -> str:
    """`wanted`, with underscores behind it until no column of the table has that name."""
    while wanted in table.columns:
        wanted += "_"
    return wanted


_ARRAY_CHECKS: dict[str, Any] = {
    "accept_sparse": ["csr", "csc", "coo"],
    "dtype": "numeric",
    "ensure_all_finite": "allow-nan",
}


def _read_frame(frame: Any) -> Table:
    with value_errors():
        return read_table(frame)


def _read_array(array: Any) -> Table:
    """A dense or sparse array of numbers (N, F). The preprocessing has room for MAX_FEATURES columns: a wider one is
    refused before it is filled with zeros."""
    if array.shape[1] > MAX_FEATURES:
        raise EstimatorInputError(
            f"X has {array.shape[1]:,} columns", expected=f"at most {MAX_FEATURES:,}",
            fix="choose columns first, for example with SelectKBest or TruncatedSVD in a Pipeline",
        )  # fmt: skip
    dense = array.toarray() if hasattr(array, "toarray") else array
    columns = {f"x{index}": np.array(column, np.float64) for index, column in enumerate(dense.T)}
    return Table(columns, dict.fromkeys(columns, "number"))
