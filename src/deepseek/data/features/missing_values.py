"""Numbers whose gaps the model itself knows how to take: trees of xgboost that send a missing value left or right.

A missing value becomes the least float32, which goes left at every split, or the largest, which goes right. A column in
which trees do both has two features, equal but for the gaps, and each split reads the one that goes its way. So a table
of trees needs no third branch, and any engine runs it.

No column of a training table is of this kind: it comes with a finished model (engines/tabular/xgboost_file.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from deepseek.contracts import Float32
from deepseek.data.features.modality import (
    EncodedFeature,
    FeatureValues,
    FinishedModelKind,
    ReplacedRows,
    ReplacementReason,
)
from deepseek.data.table.values import FLOAT32_MAX, Values, parse_number, parse_numbers


@dataclass(frozen=True)
class MissingValueEncoder:
    """A missing number goes left where `low`, right where `high`; one feature each. One beyond float32 counts as
    missing, and is flagged."""

    low: bool
    high: bool
    usual: float = 0.0  # the value that example() shows

    dtype: ClassVar[str] = "float64"
    expected: ClassVar[str] = "a number, or null where it is missing"

    @property
    def parts(self) -> tuple[EncodedFeature, ...]:
        low = (EncodedFeature("", "numeric"),) if self.low else ()
        high = (EncodedFeature(" (missing last)" if self.low else "", "numeric"),) if self.high else ()
        return low + high

    @property
    def _sentinels(self) -> FeatureValues:
        return ((-FLOAT32_MAX,) if self.low else ()) + ((FLOAT32_MAX,) if self.high else ())

    def encode(self, values: Values, out: Float32) -> ReplacedRows:
        parsed = parse_numbers(values)
        missing = ~(np.abs(parsed) <= FLOAT32_MAX)
        for index, sentinel in enumerate(self._sentinels):
            out[:, index] = np.where(missing, sentinel, parsed) + 0.0
        flagged = missing & ~np.isnan(parsed)
        return ReplacedRows(imputed=np.flatnonzero(flagged).tolist() if flagged.any() else ())

    def quick(self) -> Callable[[Any], FeatureValues | None]:
        sentinels = self._sentinels
        width = len(sentinels)

        def number(value: Any) -> FeatureValues | None:
            if value is None:
                return sentinels
            if (type(value) is not float and type(value) is not int) or not -FLOAT32_MAX <= value <= FLOAT32_MAX:
                return None
            return (value + 0.0,) * width

        return number

    def careful(self, value: Any) -> tuple[FeatureValues, ReplacementReason | None]:
        parsed = parse_number(value)
        if abs(parsed) <= FLOAT32_MAX:
            return (parsed + 0.0,) * len(self._sentinels), None
        return self._sentinels, None if np.isnan(parsed) else "imputed"

    def example(self) -> Any:
        return self.usual


class MissingValueNumbers(FinishedModelKind):
    """The kind number_with_gaps, which claims no column: only a finished model brings it."""

    name: ClassVar[str] = "gaps"
    kinds: ClassVar[tuple[str, ...]] = ("number_with_gaps",)
    coder: ClassVar[type] = MissingValueEncoder
