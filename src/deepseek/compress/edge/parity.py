"""Does the program on the device answer as the model does? Lossless and lossy programs have different limits.

    float32    no output differs by more than 1e-4 (of its size, where that is above 1); of a bundle's chances 1e-5
    int8       the same class in at least `keep` of the rows, which no constant answer may reach; without classes, an
               error of at most 1 - keep of the values' root mean square

The class of a bundle is what its decision says, so its threshold or costs are held, too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepseek.compress.edge.subject import EdgeTarget
from deepseek.contracts import Float32
from deepseek.engines.parity import OUTPUT_LIMIT

MAX_DIFFERENCE = 1e-4


@dataclass(frozen=True, slots=True)
class Parity:
    """Over N rows that the variant was not calibrated on."""

    num_rows: int
    max_difference: float
    limit: float | None  # of it; None where it is not what counts
    agreement: float | None  # share of rows with the same class
    most_frequent: float | None  # share of rows in the model's most frequent class: what a constant answer would reach
    relative_error: float
    passes: bool

    def shown(self) -> str:
        """In words, for tables and errors."""
        agreed = "" if self.agreement is None else f", the same class in {self.agreement:.2%}"
        if self.limit is None and self.most_frequent is not None and self.most_frequent > 0.9:
            agreed += f" (one class is {self.most_frequent:.2%})"
        return f"largest difference {self.max_difference:.2g}{agreed} of {self.num_rows} rows"


def compare_outputs(
    subject: EdgeTarget, outputs: Float32, chosen: NDArray[np.int32], rows: slice, *, lossy: bool, keep: float
) -> Parity:
    """The program's outputs (N, O) and classes (N,) for `rows` of the subject against what is expected."""
    expected = subject.expected[rows].astype(np.float64)
    if len(outputs) != len(expected):
        return Parity(len(outputs), float("inf"), MAX_DIFFERENCE, None, None, float("inf"), False)
    distance = np.abs(outputs - expected)
    is_bundle = subject.runtime is not None
    share = is_bundle and subject.is_classes
    relative = distance if share else distance / np.maximum(1.0, np.abs(expected))
    most = float(np.nan_to_num(relative, nan=np.inf).max(initial=0.0))
    size = float(np.sqrt((expected**2).mean())) or 1.0
    error = float(np.nan_to_num(np.sqrt((distance**2).mean()), nan=np.inf)) / size
    agreement = frequent = None
    if subject.is_classes:
        decided = expected_classes(subject, rows)
        agreement, frequent = float((chosen == decided).mean()), float(np.bincount(decided).max() / len(decided))
    limit = None if lossy else (OUTPUT_LIMIT if share else MAX_DIFFERENCE)
    if limit is not None:
        passes = most <= limit
    elif agreement is None or frequent is None:
        passes = error <= 1 - keep
    else:  # where a constant answer would pass, passing says nothing
        passes = agreement >= keep > frequent
    if limit is not None and share:  # a chance at the threshold itself may fall on either side
        passes = passes and agreement is not None and agreement >= 0.99
    return Parity(len(outputs), most, limit, agreement, frequent, error, bool(passes))


def expected_classes(subject: EdgeTarget, rows: slice) -> NDArray[np.int64]:
    """The class number of each row, as the model itself decides."""
    expected = subject.expected[rows]
    if subject.runtime is None:
        return np.asarray(expected.argmax(axis=1), np.int64)
    return subject.runtime.decision.classes(expected)
