"""A party's rows as inputs of the model: the study's own preprocessing, scaled as the study says.

The inputs (N, D) are joined as nn.dense.Perceptron joins them, so that the bundle at the end reads raw rows in the same
way: numbers within ±CLIP, then one input for each level of a category. `standardize` then centers and scales each input
by the mean and spread over all parties, which finish_model() folds into the first layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float32, Float64
from deepseek.data import Table, encode_target
from deepseek.errors import InputError
from deepseek.nn.dense import Perceptron
from deepseek.privacy.study.definition import Study

CLIP = 3.0  # scaled numbers end here, three distances between the quartiles from the median
MIN_SPREAD = 1e-6


@dataclass(frozen=True, slots=True)
class InputRows:
    """Rows that a model learns from or is measured on."""

    inputs: Float32  # (N, D)
    target: NDArray[Any]  # (N,) int64 class numbers; float64 values in the study's scale for regression

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, rows: NDArray[np.int64]) -> InputRows:
        return InputRows(self.inputs[rows], self.target[rows])


@dataclass(frozen=True, slots=True)
class Standardization:
    """Mean and spread (D,) of each input over the rows of all parties."""

    mean: Float64
    spread: Float64

    def apply(self, rows: InputRows) -> InputRows:
        """The rows with inputs of mean 0 and spread 1 over all parties."""
        inputs = (rows.inputs - self.mean.astype(np.float32)) / self.spread.astype(np.float32)
        return InputRows(inputs.astype(np.float32), rows.target)

    @classmethod
    def of_moments(cls, mean: Float64, mean_square: Float64) -> Standardization:
        """From the means of each input and of its square, (D,) each. An input that never changes is only centered."""
        variance = np.maximum(mean_square - mean**2, 0)
        spread = np.sqrt(variance)
        return cls(mean, np.where(spread > MIN_SPREAD, spread, 1.0))


def joiner(study: Study) -> Perceptron:
    """A perceptron without layers, whose join() makes the inputs (N, D) of prepared features."""
    scaling = study.inputs
    width = len(scaling.numeric) + sum(scaling.num_levels)
    return Perceptron(
        numeric=np.array(scaling.numeric, np.int32), centre=np.array(scaling.centre, np.float32),
        scale=np.array(scaling.scale, np.float32), codes=np.array(scaling.codes, np.int32),
        embeddings=[np.eye(levels, dtype=np.float32) for levels in scaling.num_levels], weights=[], biases=[],
        skip=np.zeros((width, study.num_margins), np.float32), baseline=np.zeros(width, np.float32),
        logged=np.array(scaling.logged, np.bool_), clip=CLIP,
    )  # fmt: skip


def num_inputs(study: Study) -> int:
    """D, the width of the model's input."""
    return len(study.tree_edges) or len(study.inputs.numeric) + sum(study.inputs.num_levels)


def read_rows(study: Study, table: Table) -> InputRows:
    """The rows of a party's table. InputError for a table of another schema, by the column, and for a target that is
    missing or of a class that the study does not know."""
    if study.target not in table.columns:
        raise InputError(
            f"the data has no column {study.target!r}, the target of the study",
            expected=f"columns {', '.join(column.name for column in study.preprocessor.columns)} and {study.target}",
            fix="bring the data into the schema of the study",
        )
    check_types(study, table)
    target = encode_target(table, study.target, study.labels)
    if study.task == "regression":
        target = (target - study.target_centre) / study.target_scale
    known = {column.name for column in study.preprocessor.columns} | set(study.preprocessor.ignored)
    features = study.preprocessor.table(table.drop([name for name in table.names if name not in known])).features
    if study.tree_edges:
        return InputRows(bin_features(study.tree_edges, features), target)
    return InputRows(joiner(study).join(features), target)


def bin_features(edges: tuple[tuple[float, ...], ...], features: Float32) -> Float32:
    """Bin numbers (N, F) of prepared features (N, F): how many edges of its feature each value is above."""
    columns = [
        np.searchsorted(np.array(each, np.float32), features[:, place], side="left") for place, each in enumerate(edges)
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def check_types(study: Study, table: Table) -> None:
    """InputError for a column that is text where the study learns from numbers, or the other way round: a category of
    numbers would silently be 'other' in every row."""
    for column in study.preprocessor.columns:
        if column.name in table.columns and not table.missing_mask(column.name).all():
            is_number = table.types[column.name] == "number"
            if column.coder.dtype == "float64" and table.types[column.name] == "text":
                raise InputError(
                    f"column {column.name!r} holds text",
                    expected="numbers, as the schema of the study says",
                    fix="bring the column into the schema of the study",
                )
            if column.coder.dtype == "str" and is_number:
                raise InputError(
                    f"column {column.name!r} holds numbers",
                    expected="categories, as the schema of the study says",
                    fix="bring the column into the schema of the study",
                )
