"""Parity of the device's program with the model; lossless and lossy programs have different limits.

    float32    no output differs by more than 1e-4 (relative where it is above 1), no probability of a bundle by 1e-5
    int8       the same class in at least `keep` of the rows, which no constant answer may reach; without classes, an
               error of at most 1 - keep of the values' root mean square

The class of a bundle is what its decision says, so its threshold or costs are compared, too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepseek.compress.edge.target import EdgeTarget
from deepseek.contracts import Float32
from deepseek.engines.parity import OUTPUT_LIMIT

MAX_DIFFERENCE = 1e-4


@dataclass(frozen=True, slots=True)
class Parity:
    """Differences between a program and the model over rows that the variant was not calibrated on."""

    num_rows: int
    max_difference: float
    limit: float | None  # of max_difference; None for a lossy variant, which agreement or relative_error decides on
    agreement: float | None  # share of rows with the same class
    most_frequent: float | None  # share of rows in the model's most frequent class: what a constant answer would reach
    relative_error: float
    passes: bool

    def summary(self) -> str:
        """One phrase for tables and error messages."""
        agreement_text = "" if self.agreement is None else f", the same class in {self.agreement:.2%}"
        if self.limit is None and self.most_frequent is not None and self.most_frequent > 0.9:
            agreement_text += f" (one class is {self.most_frequent:.2%})"
        return f"largest difference {self.max_difference:.2g}{agreement_text} of {self.num_rows} rows"


def compare_outputs(
    target: EdgeTarget, outputs: Float32, classes: NDArray[np.int32], rows: slice, *, lossy: bool, keep: float
) -> Parity:
    """Compare the program's outputs (N, O) and classes (N,) for `rows` of the target with the expected ones. `keep`:
    smallest agreement of a lossy program, 0 to 1."""
    expected = target.expected[rows].astype(np.float64)
    if len(outputs) != len(expected):
        return Parity(len(outputs), float("inf"), MAX_DIFFERENCE, None, None, float("inf"), False)
    distance = np.abs(outputs - expected)
    is_probability = target.runtime is not None and target.is_classes
    relative = distance if is_probability else distance / np.maximum(1.0, np.abs(expected))
    largest = float(np.nan_to_num(relative, nan=np.inf).max(initial=0.0))
    root_mean_square = float(np.sqrt((expected**2).mean())) or 1.0
    error = float(np.nan_to_num(np.sqrt((distance**2).mean()), nan=np.inf)) / root_mean_square
    agreement = most_frequent = None
    if target.is_classes:
        expected_labels = expected_classes(target, rows)
        agreement = float((classes == expected_labels).mean())
        most_frequent = float(np.bincount(expected_labels).max() / len(expected_labels))
    limit = None if lossy else (OUTPUT_LIMIT if is_probability else MAX_DIFFERENCE)
    if limit is not None:
        passes = largest <= limit
    elif agreement is None or most_frequent is None:
        passes = error <= 1 - keep
    else:  # where a constant answer would pass, passing says nothing
        passes = agreement >= keep > most_frequent
    if limit is not None and is_probability:  # a probability at the threshold may fall on either side
        passes = passes and agreement is not None and agreement >= 0.99
    return Parity(len(outputs), largest, limit, agreement, most_frequent, error, bool(passes))


def expected_classes(target: EdgeTarget, rows: slice) -> NDArray[np.int64]:
    """Class numbers (N,) of the rows, as the model itself decides."""
    expected = target.expected[rows]
    if target.pictures is not None:
        return target.pictures.decide(expected)
    if target.runtime is None:
        return np.asarray(expected.argmax(axis=1), np.int64)
    return target.runtime.decision.classes(expected)
