"""Bounded numbers as whole numbers modulo 2^32, whose sum over parties is exact.

q = round(x / bound * scale),  scale = 2^(31 - ceil(log2 n)) - 1,  so that a sum of n of them fits a signed 32-bit
sum x = bound * (sum q mod 2^32, read as signed) / scale
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float64
from deepseek.errors import CheckError

Field = NDArray[np.uint32]


def field_scale(num_parties: int) -> int:
    """The whole number that `bound` becomes.

    >>> field_scale(2), field_scale(10)
    (1073741823, 134217727)
    """
    return (1 << (31 - max(1, (num_parties - 1).bit_length()))) - 1


def to_field(vector: Float64, bound: float, num_parties: int) -> Field:
    """Whole numbers modulo 2^32 (B,) of numbers within ±bound; what lies beyond is clipped. CheckError for numbers that
    are not finite: they would be zeros of the sum."""
    if not np.isfinite(vector).all():
        raise CheckError(
            "an update has numbers that are not finite", expected="finite numbers", fix="leave this party out"
        )
    scaled = np.rint(np.clip(vector / bound, -1, 1) * field_scale(num_parties))
    return scaled.astype(np.int64).astype(np.uint32)


def from_field(total: Field, bound: float, num_parties: int) -> Float64:
    """The sum (B,) of the numbers of up to num_parties parties, from the sum of their to_field().

    >>> parts = [to_field(np.array([0.5, -1.0]), 1.0, 3) for _ in range(3)]
    >>> from_field(parts[0] + parts[1] + parts[2], 1.0, 3).round(6).tolist()
    [1.5, -3.0]
    """
    return total.astype(np.uint32).view(np.int32).astype(np.float64) * (bound / field_scale(num_parties))
