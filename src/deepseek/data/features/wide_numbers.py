"""Numbers in the precision that another library's model reads them in: two float32 features that sum to the float64.

    x = head + rest      head = float32(x), rest = float32(x - head)

The sum has 48 bits of the 53. Trees of other libraries split at the very values of their training rows, so a number
that is rounded to float32 first may go the other way. A missing value has the least float32 as its head, which the
graph of such a model turns into NaN; the model itself knows what to do with that.

No column of a training table is of this kind: it comes with a finished model (integrations/sklearn).
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

MISSING_HEAD = -FLOAT32_MAX


@dataclass(frozen=True)
class WideNumberEncoder:
    """A number as its head and its rest. One that is not below the largest float32 counts as missing, and is
    flagged.

    >>> head, rest = WideNumberEncoder().careful(0.1)[0]
    >>> head + rest == 0.1, head == 0.1
    (True, False)
    """

    usual: float = 0.0  # the value that example() shows

    dtype: ClassVar[str] = "float64"
    expected: ClassVar[str] = "a number, or null where it is missing"

    @property
    def parts(self) -> tuple[EncodedFeature, ...]:
        return (EncodedFeature("", "numeric"), EncodedFeature(" (rest)", "numeric"))

    def encode(self, values: Values, out: Float32) -> ReplacedRows:
        parsed = parse_numbers(values)
        fits = np.abs(parsed) < FLOAT32_MAX
        known = np.where(fits, parsed, 0.0) + 0.0
        heads = known.astype(np.float32)
        out[:, 0] = np.where(fits, heads, np.float32(MISSING_HEAD))
        out[:, 1] = np.where(fits, known - heads.astype(np.float64), 0.0)
        flagged = ~fits & ~np.isnan(parsed)
        return ReplacedRows(imputed=np.flatnonzero(flagged).tolist() if flagged.any() else ())

    def quick(self) -> Callable[[Any], FeatureValues | None]:
        def number(value: Any) -> FeatureValues | None:
            if type(value) is float or type(value) is int:
                return self._features(value) if abs(value) < FLOAT32_MAX else None
            return (MISSING_HEAD, 0.0) if value is None else None

        return number

    def careful(self, value: Any) -> tuple[FeatureValues, ReplacementReason | None]:
        parsed = parse_number(value)
        if abs(parsed) < FLOAT32_MAX:
            return self._features(parsed), None
        return (MISSING_HEAD, 0.0), None if np.isnan(parsed) else "imputed"

    def example(self) -> Any:
        return self.usual

    def _features(self, value: float) -> FeatureValues:
        head = float(np.float32(value))
        return (head + 0.0, float(value) - head)


class WideNumbers(FinishedModelKind):
    """The kind number_wide, which claims no column: only a finished model brings it."""

    name: ClassVar[str] = "wide"
    kinds: ClassVar[tuple[str, ...]] = ("number_wide",)
    coder: ClassVar[type] = WideNumberEncoder
